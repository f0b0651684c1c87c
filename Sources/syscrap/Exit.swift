internal import App
internal import ArgumentParser
internal import Model

/// The exit codes of the contract.
enum Exit {
  static let failed: Int32 = 1
  static let usage: Int32 = 2
  static let notFound: Int32 = 3
  static let changed: Int32 = 4
  static let denied: Int32 = 5
  static let unreachable: Int32 = 6
  static let lint: Int32 = 7

  static func code(_ error: OperationError.Code) -> Int32 {
    switch error {
    case .failed, .refused: failed
    case .usage: usage
    case .notFound: notFound
    case .denied: denied
    case .unreachable: unreachable
    }
  }
}

/// Ends the command with a code, after a message where there is one.
struct Ending: Error {
  var code: Int32
  var message: String?
  init(_ code: Int32, _ message: String? = nil) {
    self.code = code
    self.message = message
  }

  init(_ error: OperationError) {
    code = Exit.code(error.code)
    let lines = error.problems.map { Terminal.safe($0.description) } + [Terminal.safe(error.message)]
    message = lines.joined(separator: "\n")
  }
}
