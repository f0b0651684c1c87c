internal import FoundationEssentials
internal import Logging
internal import Model
internal import TestKit
internal import Testing

@testable internal import Reactions

/// A history in memory and a list of what was announced.
actor Ledger: History {
  struct Refused: Error {}
  var samples: [Sample] = []
  var open: [Episode] = []
  var announced: [Announcement] = []
  var refusals = 0
  private var waiters: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []

  func add(_ sample: Sample) { samples.append(sample) }
  func preset(_ episodes: [Episode]) { open = episodes }
  func refuse(_ count: Int) { refusals = count }

  func announce(_ announcement: Announcement) throws {
    if refusals > 0 {
      refusals -= 1
      throw Refused()
    }
    announced.append(announcement)
    let ready = waiters.filter { announced.count >= $0.count }
    waiters.removeAll { announced.count >= $0.count }
    for waiter in ready { waiter.continuation.resume() }
  }

  /// Returns once that many announcements are there.
  func waitFor(_ count: Int) async {
    if announced.count >= count { return }
    await withCheckedContinuation { waiters.append((count, $0)) }
  }

  func recent(_ series: Series, type: SampleType, count: Int) -> [Sample] {
    Array(samples.filter { $0.series == series && $0.type == type }.suffix(count))
  }
  func newest(metric: String, target: String) -> [Sample] {
    samples.last { $0.series.metric == metric && $0.series.target == target }.map { [$0] } ?? []
  }
  func openEpisodes(reaction: String) -> [Episode] { open.filter { $0.key.reaction == reaction } }
}

/// Says that reminders reach nobody, and how often it was asked.
actor Outage {
  var asked = 0
  private var hasEnded = false
  func isOver() -> Bool {
    asked += 1
    return hasEnded
  }
  func end() { hasEnded = true }
}

/// Targets that change while a worker lives.
private actor Fleet {
  private(set) var targets = [Target(id: "web-1", name: "web-1", host: "127.0.0.1")]
  private(set) var refused: Set<String> = []

  func set(_ targets: [Target], refused: Set<String>) {
    self.targets = targets
    self.refused = refused
  }
}

@Suite(.timeLimit(.minutes(1))) struct ReactionWorkerTests {
  static let start = Date(timeIntervalSince1970: 1_700_000_000)
  let ledger = Ledger()
  let clock = ManualClock()
  let exchange = SampleExchange()

  func environment(_ targets: [Target] = [Target(id: "web-1", name: "web-1", host: "127.0.0.1")]) -> ReactionEnvironment
  {
    ReactionEnvironment(
      history: ledger, targets: { targets },
      plan: { _ in AggregationPlan(metrics: [MetricPlan(metric: "Vitals.CPU", interval: .seconds(10))]) },
      announce: { try await ledger.announce($0) })
  }

  var time: Timepiece {
    let clock = clock
    let started = clock.now
    return Timepiece(clock: clock) {
      let parts = started.duration(to: clock.now).components
      return Self.start.addingTimeInterval(Double(parts.seconds) + Double(parts.attoseconds) * 1e-18)
    }
  }

  func worker(
    _ reaction: ReactionTarget, rule: any Reaction = Range(), targets: [Target]? = nil
  ) -> ReactionWorker {
    ReactionWorker(
      reaction, rule: rule, environment: targets.map { environment($0) } ?? environment(), exchange: exchange,
      time: time, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  static func reaction(_ change: (inout ReactionTarget) -> Void = { _ in }) -> ReactionTarget {
    var reaction = ReactionTarget(
      id: "cpu", reaction: "Range", selector: .generic,
      conditions: [MetricCondition(metric: "Vitals.CPU", limits: ["max": 90])])
    change(&reaction)
    return reaction
  }

  func sample(_ percent: Double, after seconds: Double, target: String = "web-1") -> Sample {
    Sample(
      series: Series(target: target, metric: "Vitals.CPU"), at: Self.start.addingTimeInterval(seconds),
      value: ["percent": .double(percent)])
  }

  @Test("a worker is woken by samples: the crossing fires at once with its last values, the return resolves")
  func woken() async throws {
    let life = Task { try await worker(Self.reaction()).run() }
    try await clock.sleepers(atLeast: 1, within: .seconds(10))
    await ledger.add(sample(50, after: 0))
    await ledger.add(sample(95, after: 1))
    await exchange.offer([sample(50, after: 0)])
    await exchange.offer([sample(95, after: 1)])
    await ledger.waitFor(1)
    await exchange.offer([sample(80, after: 2)])
    await ledger.waitFor(2)
    life.cancel()
    _ = try? await life.value
    let announced = await ledger.announced
    #expect(announced.map(\.kind) == [.firing, .resolved])
    #expect(announced.map(\.episode.value) == ["95 %", "80 %"])
    #expect(announced[0].episode.recent.map(\.value) == ["50 %", "95 %"])
    #expect(announced[0].episode.limit == "at most 90 %")
    #expect(announced[0].episode.id == announced[1].episode.id)
  }

  @Test("a new reaction is considered at once against the newest stored sample")
  func storedSamples() async throws {
    await ledger.add(sample(99, after: 0))
    let life = Task { try await worker(Self.reaction()).run() }
    await ledger.waitFor(1)
    life.cancel()
    #expect(await ledger.announced.map(\.kind) == [.firing])
  }

  @Test("an edited limit resolves the episode that an earlier document opened")
  func edited() async throws {
    await ledger.add(sample(95, after: 0))
    let first = Task { try await worker(Self.reaction()).run() }
    await ledger.waitFor(1)
    first.cancel()
    _ = try? await first.value
    await ledger.preset(await ledger.announced.map(\.episode))
    let second = Task {
      try await worker(Self.reaction { $0.conditions[0].limits = ["max": 100] }).run()
    }
    await ledger.waitFor(2)
    second.cancel()
    let announced = await ledger.announced
    #expect(announced.map(\.kind) == [.firing, .resolved])
    #expect(announced[1].episode.id == announced[0].episode.id)
  }

  @Test("an announcement that could not be stored is decided again and made once")
  func retried() async throws {
    await ledger.refuse(2)
    await ledger.add(sample(95, after: 0))
    let life = Task { try await worker(Self.reaction()).run() }
    for _ in 0..<8 {
      try await clock.sleepers(atLeast: 1, within: .seconds(10))
      clock.advance(by: .seconds(1))
    }
    await ledger.waitFor(1)
    life.cancel()
    _ = try? await life.value
    #expect(await ledger.announced.map(\.kind) == [.firing])
  }

  @Test("while reminders reach nobody none is announced, the end is; afterwards each condition is reminded of once")
  func remindersOfAnOutage() async throws {
    let reaction = Self.reaction { $0.repeatInterval = .seconds(5) }
    let targets = ["web-1", "web-2", "web-3"].map { Target(id: $0, name: $0, host: "127.0.0.1") }
    let outage = Outage()
    var environment = environment(targets)
    environment.mayRemind = { await outage.isOver() }
    let worker = ReactionWorker(
      reaction, rule: Range(), environment: environment, exchange: exchange, time: time,
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    await worker.tick()
    for target in targets { await worker.consider([sample(95, after: 0, target: target.name)]) }
    for second in 1...30 {
      clock.advance(by: .seconds(1))
      await worker.tick()
      if second == 20 { await worker.consider([sample(10, after: 20, target: "web-3")]) }
    }
    #expect(await ledger.announced.map(\.kind) == [.firing, .firing, .firing, .resolved])
    // Once in each tick from the fifth second on, however many are due.
    #expect(await outage.asked == 26)
    await outage.end()
    for _ in 1...4 {
      clock.advance(by: .seconds(1))
      await worker.tick()
    }
    let reminders = await ledger.announced.dropFirst(4)
    #expect(reminders.map(\.kind) == [.reminder(1), .reminder(1)])
    #expect(Set(reminders.map(\.episode.key.target)) == ["web-1", "web-2"])
  }

  @Test("silence makes a Presence fire and the next value resolves it")
  func silence() async throws {
    let reaction = Self.reaction {
      $0.reaction = "Presence"
      $0.conditions = [MetricCondition(metric: "Vitals.CPU", limits: ["max_age": 30])]
    }
    await ledger.add(sample(1, after: 0))
    let life = Task { try await worker(reaction, rule: Presence()).run() }
    for _ in 0..<32 {
      try await clock.sleepers(atLeast: 1, within: .seconds(10))
      clock.advance(by: .seconds(1))
    }
    await ledger.waitFor(1)
    await exchange.offer([sample(2, after: 40)])
    await ledger.waitFor(2)
    life.cancel()
    #expect(await ledger.announced.map(\.kind) == [.firing, .resolved])
  }

  @Test("samples of targets that the selector does not choose are not looked at")
  func selector() async throws {
    let targets = [
      Target(id: "web-1", name: "web-1", host: "h", labels: ["role": "web"]),
      Target(id: "db-1", name: "db-1", host: "h", labels: ["role": "db"]),
    ]
    await ledger.add(sample(99, after: 0, target: "db-1"))
    await ledger.add(sample(98, after: 0, target: "web-1"))
    let life = Task {
      try await worker(Self.reaction { $0.selector = .labels(["role": "web"]) }, targets: targets).run()
    }
    await ledger.waitFor(1)
    life.cancel()
    #expect(await ledger.announced.map(\.episode.key.target) == ["web-1"])
  }

  @Test("the episodes of a removed rule end with that reason")
  func orphans() async throws {
    await ledger.add(sample(95, after: 0))
    let life = Task { try await worker(Self.reaction()).run() }
    await ledger.waitFor(1)
    life.cancel()
    let open = await ledger.announced.map(\.episode)
    let orphans = Orphans(environment: environment(), time: time)
    #expect(try await orphans.close(open, reactions: ["cpu"]) == 0)
    // Its document is there, but broken: nothing is known of the condition, so nothing ends.
    #expect(try await orphans.close(open, reactions: [], refused: ["cpu"]) == 0)
    #expect(await ledger.announced.count == 1)
    #expect(try await orphans.close(open, reactions: []) == 1)
    let last = try #require(await ledger.announced.last)
    #expect(last.kind == .resolved)
    #expect(last.episode.end_reason == "rule removed")
  }

  @Test("the episodes of a target whose document is refused stay open; those of one that is gone end")
  func refusedTarget() async throws {
    let fleet = Fleet()
    var environment = environment()
    environment.targets = { await fleet.targets }
    environment.refusedTargets = { await fleet.refused }
    let worker = ReactionWorker(
      Self.reaction(), rule: Range(), environment: environment, exchange: exchange, time: time,
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    await worker.tick()
    await worker.consider([sample(95, after: 0)])
    await fleet.set([], refused: ["web-1"])
    for _ in 1...10 {
      clock.advance(by: .seconds(1))
      await worker.tick()
    }
    #expect(await ledger.announced.map(\.kind) == [.firing])
    await fleet.set([], refused: [])
    for _ in 1...4 {
      clock.advance(by: .seconds(1))
      await worker.tick()
    }
    #expect(await ledger.announced.map(\.kind) == [.firing, .resolved])
    #expect(await ledger.announced.last?.episode.end_reason == "target no longer checked")
  }

  @Test("a slow subscriber loses the oldest batches, counted, and delays nobody")
  func bounded() async {
    let (id, stream) = await exchange.subscribe(metrics: ["Vitals.CPU"])
    for second in 0..<(SampleExchange.bound + 5) { await exchange.offer([sample(1, after: Double(second))]) }
    #expect(await exchange.dropped == 5)
    await exchange.unsubscribe(id)
    var received: [Date] = []
    for await batch in stream { received += batch.map(\.at) }
    #expect(received.count == SampleExchange.bound)
    #expect(received.first == Self.start.addingTimeInterval(5))
  }
}

@Suite(.timeLimit(.minutes(1))) struct ReactionRestartTests {
  let stage = ReactionWorkerTests()

  /// Runs a worker until it stands on its first tick, with what is stored, and returns what it announced.
  private func announcedAtStart(_ reaction: ReactionTarget, rule: any Reaction = Range()) async throws -> [Announcement
    .Kind]
  {
    let life = Task { try await stage.worker(reaction, rule: rule).run() }
    try await stage.clock.sleepers(atLeast: 1, within: .seconds(10))
    life.cancel()
    _ = try? await life.value
    return await stage.ledger.announced.map(\.kind)
  }

  @Test("a restart in the middle of an N-of-M episode says nothing: the window is filled from the store")
  func windowSurvives() async throws {
    let reaction = ReactionWorkerTests.reaction { $0.conditions[0].times = .init(n: 2, last: 4) }
    for (second, percent) in [(0.0, 95.0), (1, 10), (2, 95), (3, 10)] {
      await stage.ledger.add(stage.sample(percent, after: second))
    }
    var machine = EpisodeMachine(
      key: ConditionKey(reaction: "cpu", target: "web-1", metric: "Vitals.CPU"),
      rule: EpisodeRule(reaction, reaction.conditions[0]))
    let moment = Moment(wall: ReactionWorkerTests.start, uptime: .zero)
    let bad = Finding(verdict: .bad, value: "95 %", limit: "at most 90 %")
    _ = machine.consider(bad, at: moment)
    let firing = machine.consider(bad, at: moment)
    await stage.ledger.preset([try #require(firing?.episode)])
    #expect(try await announcedAtStart(reaction) == [])
  }

  @Test("the time while nobody watched is nobody's silence: a start long after the last value fires nothing")
  func ownDowntime() async throws {
    await stage.ledger.add(stage.sample(1, after: -3600))
    let reaction = ReactionWorkerTests.reaction {
      $0.reaction = "Presence"
      $0.conditions = [MetricCondition(metric: "Vitals.CPU", limits: ["max_age": 30])]
    }
    let life = Task { try await stage.worker(reaction, rule: Presence()).run() }
    for _ in 0..<5 {
      try await stage.clock.sleepers(atLeast: 1, within: .seconds(10))
      stage.clock.advance(by: .seconds(1))
    }
    try await stage.clock.sleepers(atLeast: 1, within: .seconds(10))
    life.cancel()
    _ = try? await life.value
    #expect(await stage.ledger.announced.map(\.kind) == [])
  }

  @Test("a metric's own no_data wins over the document's")
  func ownNoData() {
    let reaction = ReactionWorkerTests.reaction { $0.conditions[0].noData = .alert }
    #expect(EpisodeRule(reaction, reaction.conditions[0]).noData == .alert)
    #expect(EpisodeRule(reaction, MetricCondition(metric: "Vitals.CPU")).noData == .keep)
  }

  @Test("the same sample seen again counts once")
  func seenAgain() {
    let reaction = ReactionWorkerTests.reaction { $0.conditions[0].times = .init(n: 2, last: 3) }
    var machine = EpisodeMachine(
      key: ConditionKey(reaction: "cpu", target: "web-1", metric: "Vitals.CPU"),
      rule: EpisodeRule(reaction, reaction.conditions[0]))
    let moment = Moment(wall: ReactionWorkerTests.start, uptime: .zero)
    let bad = Finding(verdict: .bad, value: "95 %", limit: "at most 90 %")
    let stamp = SampleStamp(stage.sample(95, after: 0))
    #expect(machine.consider(bad, stamp: stamp, at: moment)?.kind == .silent)
    #expect(machine.consider(bad, stamp: stamp, at: moment) == nil)
    #expect(machine.state == .pending)
  }

  @Test("a life that was replaced announces nothing")
  func fenced() async throws {
    await stage.ledger.add(stage.sample(95, after: 0))
    let worker = ReactionWorker(
      ReactionWorkerTests.reaction(), rule: Range(), environment: stage.environment(), exchange: stage.exchange,
      time: stage.time, isCurrent: { false }, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    let life = Task { try await worker.run() }
    try await stage.clock.sleepers(atLeast: 1, within: .seconds(10))
    life.cancel()
    _ = try? await life.value
    #expect(await stage.ledger.announced.map(\.kind) == [])
  }
}
