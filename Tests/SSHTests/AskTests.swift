import Foundation
import Remote
import TestKit
import Testing

@testable import SSH

@Suite("Questions over a real sshd", .serialized, .enabled(if: SSHServer.isAvailable, "openssh-server is missing"))
struct AskTests {
  @Test("Answers come in the questions' order, each for itself")
  func mixed() async throws {
    try await Harness.with { harness in
      let directory = harness.server.directory
      let binary = pattern(5000) + [0, 0, 10, 13, 27] + Array("\n0000 0\n".utf8)
      let path = directory.file("it's \\ odd $(name)!")
      try Data(binary).write(to: URL(fileURLWithPath: path))
      let lines = try directory.write("two\nlines", "inside")
      let empty = try directory.write("empty", "")
      try await harness.connected { connection in
        let answers = try await connection.ask([
          .run(Command(["echo", "one"])), .read(path: path), .read(path: "/no/such"), .read(path: "/proc"),
          .read(path: path, limit: 100), .read(path: empty), .read(path: lines), .read(path: path, limit: binary.count),
          .read(path: "relative"), .run(Command(["a\0b"])), .run(Command(["false"])),
        ])
        #expect(answers.count == 11)
        #expect(answers[0] == .result(CommandResult(status: 0, output: Array("one\n".utf8))))
        #expect(answers[1] == .content(binary, isTruncated: false))
        #expect(message(answers[2]) == "/no/such: there is no such file.")
        #expect(message(answers[3]) == "/proc: it is not a regular file.")
        #expect(answers[4] == .content(Array(binary.prefix(100)), isTruncated: true))
        #expect(answers[5] == .content([], isTruncated: false))
        #expect(answers[6] == .content(Array("inside".utf8), isTruncated: false))
        #expect(answers[7] == .content(binary, isTruncated: false))
        #expect(message(answers[8]) == "relative is not an absolute path.")
        guard case .failed(let error) = answers[9] else { return #expect(Bool(false), "a NUL byte passed") }
        #expect(error.code == .invalidCommand)
        #expect(answers[10] == .result(CommandResult(status: 1)))
      }
    }
  }

  @Test("All reads of one ask cost one channel")
  func oneChannel() async throws {
    try await Harness.with(options: ["LogLevel DEBUG1"]) { harness in
      try await harness.connected { connection in
        let paths = ["/proc/stat", "/proc/meminfo", "/proc/loadavg", "/proc/uptime"]
        let answers = try await connection.ask(paths.map { .read(path: $0) })
        for answer in answers {
          guard case .content(let bytes, false) = answer else { return #expect(Bool(false), "\(answer)") }
          #expect(bytes.last == 10)
        }
      }
      let sessions = harness.server.log.all.count { $0.contains("Starting session: command") }
      #expect(sessions == 1)
    }
  }

  @Test("Reads do not wait behind a command that hangs, not even with a single channel", arguments: [1, 2, 4])
  func hungCommand(channels: Int) async throws {
    var configuration = SSHConfiguration()
    configuration.channelClose = .seconds(1)
    try await Harness.with { [configuration] harness in
      try await harness.connected(channels: channels, configuration: configuration) { connection in
        let answers = try await connection.ask([
          .run(Command(["sleep", "60"], deadline: .seconds(1))), .read(path: "/proc/uptime"),
        ])
        guard case .failed(let error) = answers[0], case .content = answers[1] else {
          return #expect(Bool(false), "\(answers)")
        }
        #expect(error.code == .timedOut)
        #expect(error.phase == .command)
      }
    }
  }

  @Test("Commands that hang in every slot they may take leave one for reads")
  func reservedSlot() async throws {
    try await Harness.with { harness in
      try await harness.connected(channels: 3) { connection in
        async let hung = connection.ask((0..<4).map { _ in .run(Command(["sleep", "2"], deadline: .seconds(1))) })
        for _ in 0..<5 {
          let answers = try await connection.ask([.read(path: "/proc/loadavg")])
          guard case .content = answers.first else { return #expect(Bool(false), "\(answers)") }
        }
        #expect(await connection.live.count { !$0.isAnswered && !$0.isRead } == 2)
        let answers = try await hung
        #expect(answers.count == 4)
      }
    }
  }

  private func message(_ answer: Answer) -> String? {
    guard case .failed(let error) = answer else { return nil }
    return error.message
  }
}
