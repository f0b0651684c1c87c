import Foundation
import Remote
import TestKit
import Testing

@testable import SSH

@Suite("Commands over a real sshd", .serialized, .enabled(if: SSHServer.isAvailable, "openssh-server is missing"))
struct CommandTests {
  @Test("A command's output, errors and exit status come back")
  func statusAndOutput() async throws {
    try await Harness.with { harness in
      try await harness.connected { connection in
        let result = try await connection.run(Command(["sh", "-c", "echo out; echo err >&2; exit 3"]))
        #expect(result == CommandResult(status: 3, output: Array("out\n".utf8), errors: Array("err\n".utf8)))
        let environment = try await connection.run(Command(["sh", "-c", "echo $LC_ALL"]))
        #expect(environment == CommandResult(status: 0, output: Array("C\n".utf8)))
      }
    }
  }

  @Test("A command ended by a signal has no status and the signal's name")
  func signal() async throws {
    try await Harness.with { harness in
      try await harness.connected { connection in
        let result = try await connection.run(Command(["sh", "-c", "kill -TERM $$"]))
        #expect(result == CommandResult(status: nil, signal: "TERM"))
      }
    }
  }

  @Test("A mebibyte of any bytes passes through stdin and back unchanged")
  func binaryEcho() async throws {
    let bytes = pattern(1 << 20)
    try await Harness.with { harness in
      try await harness.connected { connection in
        let result = try await connection.run(Command(["cat"], input: bytes))
        #expect(result == CommandResult(status: 0, output: bytes))
      }
    }
  }

  @Test("A command that ends without reading its input is no failure")
  func unreadInput() async throws {
    try await Harness.with { harness in
      try await harness.connected { connection in
        let result = try await connection.run(Command(["true"], input: pattern(1 << 20)))
        #expect(result.status == 0)
        #expect(try await connection.run(Command(["echo", "x"])).output == Array("x\n".utf8))
      }
    }
  }

  @Test("Sixty commands at once share four channels, and one channel as well", arguments: [4, 1])
  func manyAtOnce(channels: Int) async throws {
    try await Harness.with { harness in
      try await harness.connected(channels: channels) { connection in
        let outputs = try await withThrowingTaskGroup(of: (Int, CommandResult).self) { group in
          for index in 0..<60 {
            group.addTask { (index, try await connection.run(Command(["echo", "\(index)"]))) }
          }
          return try await group.reduce(into: [Int: CommandResult]()) { $0[$1.0] = $1.1 }
        }
        #expect(
          outputs
            == Dictionary(
              uniqueKeysWithValues: (0..<60).map { ($0, CommandResult(status: 0, output: Array("\($0)\n".utf8))) }))
      }
    }
  }

  @Test("Where the server allows fewer channels than we, the bound falls and every command still runs")
  func maxSessions() async throws {
    try await Harness.with(options: ["MaxSessions 1"]) { harness in
      try await harness.connected(channels: 4) { connection in
        let results = try await withThrowingTaskGroup(of: CommandResult.self) { group in
          for index in 0..<12 { group.addTask { try await connection.run(Command(["echo", "\(index)"])) } }
          return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(results.count { $0.status == 0 && !$0.output.isEmpty } == 12)
        // A channel that was refused while another had just ended tells nothing of the bound; these last longer.
        async let first = connection.run(Command(["sleep", "2"]))
        async let second = connection.run(Command(["sleep", "0"]))
        #expect(try await (first.status, second.status) == (0, 0))
        #expect(await connection.bound == 1)
      }
    }
  }

  @Test("More waiting commands than the bound are refused at once")
  func queueBound() async throws {
    var configuration = SSHConfiguration()
    configuration.waiters = 2
    try await Harness.with { [configuration] harness in
      try await harness.connected(channels: 1, configuration: configuration) { connection in
        let codes = await withTaskGroup(of: RemoteError.Code?.self) { group in
          for _ in 0..<5 {
            group.addTask { await failure { try await connection.run(Command(["sleep", "0.3"])) }?.code }
          }
          return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(codes.count { $0 == .tooManyChannels } == 2)
        #expect(codes.count { $0 == nil } == 3)
      }
    }
  }

  @Test("Endless output is cut at the limit, costs little memory, and the next command works")
  func endlessOutput() async throws {
    try await Harness.with { harness in
      try await harness.connected { connection in
        // Other suites run beside this one: the smallest rise of a few is this command's own.
        var rises: [Int] = []
        for _ in 0..<4 {
          let before = try residentBytes()
          let result = try await connection.run(Command(["yes"]))
          rises.append(try residentBytes() - before)
          #expect(result.isTruncated)
          #expect(result.status == nil)
          #expect(result.output.count == RemoteLimits.output)
          #expect(try await connection.run(Command(["echo", "next"])).output == Array("next\n".utf8))
        }
        let rise = rises.min() ?? .max
        #expect(rise <= 8 << 20, "memory rose by \(rises) bytes")
      }
    }
  }

  @Test("A flood on stderr stops nobody: it is cut and the channel closed")
  func errorFlood() async throws {
    try await Harness.with { harness in
      try await harness.connected { connection in
        let flood = try await connection.run(Command(["sh", "-c", "echo first; sleep 0.1; yes >&2"]))
        #expect(flood.isTruncated)
        #expect(flood.errors.count == RemoteLimits.errors)
        #expect(flood.output == Array("first\n".utf8))
        let modest = try await connection.run(
          Command(["sh", "-c", "head -c 60000 /dev/zero >&2; head -c 900000 /dev/zero; head -c 5000 /dev/zero >&2"]))
        #expect(
          modest
            == CommandResult(
              status: 0, output: [UInt8](repeating: 0, count: 900_000), errors: [UInt8](repeating: 0, count: 65_000)))
      }
    }
  }

  @Test("A late command fails alone: others run on, and with one channel the connection gives up in a bounded time")
  func deadline() async throws {
    var configuration = SSHConfiguration()
    configuration.channelClose = .milliseconds(500)
    try await Harness.with { [configuration] harness in
      try await harness.connected(channels: 2, configuration: configuration) { connection in
        async let late = failure { try await connection.run(Command(["sleep", "30"], deadline: .milliseconds(300))) }
        let answers = try await connection.ask([.read(path: "/proc/uptime")])
        guard case .content(let bytes, false) = answers.first else {
          Issue.record("no uptime: \(answers)")
          return
        }
        #expect(!bytes.isEmpty)
        let error = await late
        #expect(error?.code == .timedOut)
        #expect(error?.phase == .command)
        #expect(try await connection.run(Command(["echo", "on"])).status == 0)
      }
      let single = try await harness.connector(channels: 1, configuration: configuration).connection()
      let error = await failure { try await single.run(Command(["sleep", "30"], deadline: .milliseconds(300))) }
      #expect(error?.code == .timedOut)
      let end = await single.ended()
      #expect(end?.code == .lost)
      #expect(end?.message.contains("did not confirm the close") == true)
      let after = await failure { try await single.run(Command(["true"])) }
      #expect(after?.phase == .connection)
    }
  }

  @Test("A cancelled caller gets its error at once and the connection goes on")
  func cancellation() async throws {
    try await Harness.with { harness in
      try await harness.connected { connection in
        let task = Task { await failure { try await connection.run(Command(["sleep", "30"])) } }
        _ = try await connection.run(Command(["true"]))
        task.cancel()
        let error = await task.value
        #expect(error?.code == .closed)
        #expect(error?.phase == .command)
        #expect(try await connection.run(Command(["true"])).status == 0)
      }
    }
  }

  @Test("Eight channels send stdin through a send buffer of 4 KiB without a failed call")
  func tinySendBuffer() async throws {
    var configuration = SSHConfiguration()
    configuration.sendBuffer = 4096
    let bytes = pattern(400_000)
    try await Harness.with { [configuration] harness in
      try await harness.connected(channels: 10, configuration: configuration) { connection in
        let results = try await withThrowingTaskGroup(of: CommandResult.self) { group in
          for _ in 0..<8 { group.addTask { try await connection.run(Command(["cat"], input: bytes)) } }
          return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(results == Array(repeating: CommandResult(status: 0, output: bytes), count: 8))
      }
    }
  }

  private func residentBytes() throws -> Int {
    let fields = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")
    return (Int(fields[1]) ?? 0) * 4096
  }
}
