internal import Remote
internal import Testing

@Suite("Scripted host", .timeLimit(.minutes(1)))
struct ScriptedHostTests {
  private let loadavg = Question.read(path: "/proc/loadavg")
  private let lost = RemoteError(.lost, phase: .connection, "gone")

  @Test("answers come from the table, the files and the script, and what was asked is recorded")
  func answers() async throws {
    let uname = Command(["uname"])
    let host = ScriptedHost([.run(uname): .result(CommandResult(status: 0, output: [76]))])
    await host.file("/proc/loadavg", "0.1 0.2")
    let remote = try await host.connect()
    let short = Question.read(path: "/proc/loadavg", limit: 3)
    let answers = try await remote.ask([loadavg, .run(uname), short])
    #expect(
      answers == [
        .content(Array("0.1 0.2".utf8), isTruncated: false), .result(CommandResult(status: 0, output: [76])),
        .content(Array("0.1".utf8), isTruncated: true),
      ])
    #expect(try await remote.run(uname) == CommandResult(status: 0, output: [76]))
    guard case .failed(let error) = try await remote.ask([.read(path: "/x")])[0] else {
      Issue.record("an unscripted question was answered")
      return
    }
    #expect(error.code == .invalidCommand)
    #expect(await host.asked == [[loadavg, .run(uname), short], [.run(uname)], [.read(path: "/x")]])
  }

  @Test("connections are refused as often as told, and a failing question leaves the connection alive")
  func failures() async throws {
    let host = ScriptedHost()
    await host.refuse(lost, times: 2)
    for _ in 0..<2 { await #expect(throws: lost) { try await host.connect() } }
    let remote = try await host.connect()
    await host.failNext(lost)
    await #expect(throws: lost) { try await remote.ask([]) }
    #expect(try await remote.ask([]).isEmpty)
    #expect(await host.attempts == 3)
    #expect(await host.connections == 1)
  }

  @Test("a silent host answers once released; a cancelled caller does not wait for that")
  func silence() async throws {
    let host = ScriptedHost([loadavg: .content([49], isTruncated: false)])
    let remote = try await host.connect()
    await host.hang()
    async let answers = remote.ask([loadavg])
    await host.asked(atLeast: 1)
    let cancelled = Task { [loadavg] in try await remote.ask([loadavg]) }
    await host.asked(atLeast: 2)
    cancelled.cancel()
    #expect(await cancelled.result.isClosed)
    await host.release()
    #expect(try await answers == [.content([49], isTruncated: false)])
  }

  @Test("an ended connection throws for ever, tells its reason, and a new one works")
  func ends() async throws {
    let host = ScriptedHost()
    let first = try await host.connect()
    await host.hang()
    let hanging = Task { [loadavg] in try await first.ask([loadavg]) }
    let reason = Task { await first.ended() }
    await host.asked(atLeast: 1)
    await host.end(lost)
    #expect(await reason.value == lost)
    await #expect(throws: lost) { try await hanging.value }
    await host.release()
    await #expect(throws: lost) { try await first.ask([]) }
    let second = try await host.connect()
    #expect(try await second.ask([]).isEmpty)
    await second.close()
    #expect(await second.ended() == nil)
    #expect(await first.ended() == lost)
  }
}

extension Result where Failure == any Error {
  fileprivate var isClosed: Bool {
    guard case .failure(let error) = self else { return false }
    return (error as? RemoteError)?.code == .closed
  }
}
