internal import Remote
internal import TestKit
internal import Testing

@testable internal import Aggregation

@Suite("Joining what is asked of one target")
struct AskerTests {
  private let clock = ManualClock()
  private let link = Link()
  private let host = GatedHost()

  private func asker(connected: Bool = true) async -> Asker {
    let timeline = Timeline(clock)
    if connected { await link.up(host, at: .zero) }
    return Asker(link: link, timeline: timeline)
  }

  private static func file(_ name: String) -> Question { .read(path: "/proc/\(name)") }
  private static let df: Question = .run(Command(["df"]))

  private static func answer(_ question: Question) -> Answer {
    .content(Array("\(question)".utf8), isTruncated: false)
  }

  /// Asks from one task each and lets them leave together.
  private func ask(_ asker: Asker, _ all: [[Question]]) async throws -> [Task<[Answer], any Error>] {
    let tasks = all.map { questions in Task { try await asker.ask(questions) } }
    try await eventually("all have asked") { await asker.gatheredCount == all.count }
    try await clock.sleepers(atLeast: 1)
    clock.advance(by: Asker.window)
    return tasks
  }

  @Test("Five wrappers that are due together make one ask without repetitions, and each gets its own answers in order")
  func joined() async throws {
    let asker = await asker()
    let all = [["stat", "loadavg"], ["meminfo"], ["meminfo", "vmstat", "uptime"], ["uptime", "stat"], ["stat"]]
      .map { $0.map(Self.file) }
    let tasks = try await ask(asker, all)
    for (questions, task) in zip(all, tasks) {
      #expect(try await task.value == questions.map(Self.answer))
    }
    let asked = await host.asked
    #expect(asked.count == 1)
    #expect(asked[0].count == 5)
    #expect(Set(asked[0]) == Set(["stat", "loadavg", "meminfo", "vmstat", "uptime"].map(Self.file)))
  }

  @Test("More questions than one ask may hold travel in several")
  func many() async throws {
    let asker = await asker()
    let questions = (0..<150).map { Self.file("\($0)") }
    let tasks = try await ask(asker, [questions])
    #expect(try await tasks[0].value == questions.map(Self.answer))
    let asked = await host.asked
    #expect(asked.map(\.count).sorted() == [22, 64, 64])
  }

  @Test("A command that hangs holds up nobody but who asked for it, and is not started twice")
  func hungCommand() async throws {
    let asker = await asker()
    await host.hold(Self.df)
    let tasks = try await ask(asker, [[Self.file("mounts"), Self.df], [Self.file("stat")]])
    #expect(try await tasks[1].value == [Self.answer(Self.file("stat"))])
    let more = try await ask(asker, [[Self.df], [Self.file("stat")]])
    #expect(try await more[1].value == [Self.answer(Self.file("stat"))])
    #expect(await host.asked.filter { $0 == [Self.df] }.count == 1)
    await host.release()
    #expect(try await tasks[0].value == [Self.answer(Self.file("mounts")), Self.answer(Self.df)])
    #expect(try await more[0].value == [Self.answer(Self.df)])
  }

  @Test("Without a connection the answer is an error at once, and nothing waits")
  func notConnected() async throws {
    let asker = await asker(connected: false)
    let reason = RemoteError(.unreachable, phase: .connect, "nobody listens")
    _ = await link.down(reason, at: .zero, random: 0)
    await #expect(throws: reason) { try await asker.ask([Self.file("stat")]) }
    #expect(clock.sleeperCount == 0)
  }

  @Test("A connection that breaks is an error for all who wait, and is closed")
  func broken() async throws {
    let asker = await asker()
    await host.hold(Self.df)
    let tasks = try await ask(asker, [[Self.df, Self.file("mounts")], [Self.df]])
    try await eventually("df is under way") { await host.asked.contains([Self.df]) }
    let reason = RemoteError(.lost, phase: .connection, "gone")
    await host.fail(reason)
    for task in tasks { await #expect(throws: reason) { try await task.value } }
    try await eventually("closed") { await host.isClosed }
  }

  @Test("Who is cancelled goes at once; the others are answered")
  func cancelled() async throws {
    let asker = await asker()
    await host.hold(Self.df)
    let tasks = try await ask(asker, [[Self.df], [Self.df]])
    try await eventually("df is under way") { await host.asked.contains([Self.df]) }
    tasks[0].cancel()
    await #expect(throws: RemoteError.self) { try await tasks[0].value }
    await host.release()
    #expect(try await tasks[1].value == [Self.answer(Self.df)])
  }

  @Test("A command whose transport never ends is given up after its deadline, and asked anew")
  func overdue() async throws {
    let asker = await asker()
    await host.hold(Self.df)
    let tasks = try await ask(asker, [[Self.df]])
    try await eventually("df is under way") { await host.asked.count == 1 }
    clock.advance(by: RemoteLimits.deadline + .seconds(16))
    let next = try await ask(asker, [[Self.df]])
    await #expect(throws: RemoteError(.timedOut, phase: .command, "no answer came within the deadline")) {
      try await tasks[0].value
    }
    try await eventually("df is under way again") { await host.asked.count == 2 }
    await host.release()
    #expect(try await next[0].value == [Self.answer(Self.df)])
  }
}
