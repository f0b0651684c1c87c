internal import Remote

@testable internal import Aggregation

/// Captures and answers made of them, see Captures.swift.
enum Fixture {
  static func bytes(_ name: String) throws -> [UInt8] {
    guard let capture = captures[name] else { throw Unreadable("no capture \(name)") }
    return Array(capture.utf8)
  }

  /// Answers to a metric's questions from files by path; everything else is answered as missing.
  static func answers(_ questions: [Question], _ files: [String: [UInt8]], df: Answer? = nil) -> [Answer] {
    questions.map { question in
      switch question {
      case .read(let path, _):
        files[path].map { .content($0, isTruncated: false) }
          ?? .failed(RemoteError(.protocolError, phase: .command, "\(path): No such file or directory"))
      case .run: df ?? .failed(RemoteError(.protocolError, phase: .command, "not found"))
      }
    }
  }

  static func text(_ text: String) -> [UInt8] { Array(text.utf8) }
}
