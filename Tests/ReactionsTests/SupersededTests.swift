internal import FoundationEssentials
internal import Logging
internal import Model
internal import TestKit
internal import Testing

@testable internal import Reactions

/// A reaction whose news somebody else has told.
@Suite(.timeLimit(.minutes(1))) struct SupersededTests {
  private static let start = Date(timeIntervalSince1970: 1_700_000_000)

  @Test(
    "A refusal because somebody else told the news makes the reaction begin anew from the store, and tell only the end")
  func beginsAnew() async throws {
    let (ledger, clock, exchange) = (Ledger(), ManualClock(), SampleExchange())
    let tests = ReactionWorkerTests()
    // What the other instance has stored meanwhile.
    await ledger.add(tests.sample(95, after: 0))
    let first = Task {
      try await worker(ledger, clock, exchange, announce: { try await ledger.announce($0) }).run()
    }
    await ledger.waitFor(1)
    first.cancel()
    _ = try? await first.value
    let theirs = try #require(await ledger.announced.first?.episode)

    // This one knew nothing of it: its own firing is refused, again and again until it has read.
    let refused = EventLog<Episode>()
    let other = Ledger()
    await other.add(tests.sample(50, after: 0))
    let second = Task {
      try await worker(other, clock, exchange, wall: Self.start + 5) { announcement in
        if announcement.kind == .firing {
          refused.append(announcement.episode)
          await other.preset([theirs])
          throw Superseded("told by another instance")
        }
        try await other.announce(announcement)
      }.run()
    }
    try await clock.sleepers(atLeast: 1)
    await other.add(tests.sample(95, after: 1))
    await exchange.offer([tests.sample(95, after: 1)])
    _ = try await refused.first()
    // Samples that come before it has read anew decide nothing.
    await exchange.offer([tests.sample(96, after: 2)])
    for _ in 0..<4 {
      try await clock.sleepers(atLeast: 1)
      clock.advance(by: .seconds(1))
    }
    try await clock.sleepers(atLeast: 1)
    await other.add(tests.sample(40, after: 7))
    await exchange.offer([tests.sample(40, after: 7)])
    await other.waitFor(1)
    second.cancel()
    _ = try? await second.value
    let announced = await other.announced
    #expect(announced.map(\.kind) == [.resolved])
    #expect(announced.map(\.episode.id) == [theirs.id])
    #expect(refused.all.count == 1)
    #expect(refused.all.first?.id != theirs.id)
  }

  private func worker(
    _ ledger: Ledger, _ clock: ManualClock, _ exchange: SampleExchange, wall: Date = Self.start,
    announce: @escaping @Sendable (Announcement) async throws -> Void
  ) -> ReactionWorker {
    ReactionWorker(
      ReactionWorkerTests.reaction(), rule: Range(),
      environment: ReactionEnvironment(
        history: ledger, targets: { [Target(id: "web-1", name: "web-1", host: "127.0.0.1")] },
        plan: { _ in AggregationPlan(metrics: [MetricPlan(metric: "Vitals.CPU", interval: .seconds(10))]) },
        announce: announce),
      exchange: exchange, time: Timepiece(clock: clock) { wall },
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }
}
