import Foundation
import Logging
import Model
import Notifications
import Storage
import TestKit
import Testing

@Suite("Messages of workers that died")
struct RescuerTests {
  private let interval: Duration = .seconds(5)
  private let start = Office.opening

  private func lease(_ id: String, until: Date, epoch: Int = 1) -> QueueLease {
    var entry = QueueEntry(id: id, key: nil, reaction: "", target: "t", type: "email", payload: [:], created: start)
    entry.state = .leased
    entry.owner = "w"
    entry.epoch = epoch
    entry.lease_until = until
    return QueueLease(entry: entry)
  }

  /// The number of the look at which a lease that never moves is given up.
  private func look(until: Date, now: (Int) -> Date) -> Int? {
    var watch = LeaseWatch(lease: .seconds(60), interval: interval)
    return (0..<40).first { !watch.look(at: [lease("1", until: until)], now: now($0)).isEmpty }
  }

  @Test("a lease that nobody moves ends when it says, where it was watched from its beginning")
  func normal() {
    #expect(look(until: start.addingTimeInterval(60)) { start.addingTimeInterval(Double($0) * 5) } == 12)
  }

  @Test("one that was over when the looking began, or because the clock was set forward, has 25 s more")
  func over() {
    #expect(look(until: start.addingTimeInterval(-9)) { start.addingTimeInterval(Double($0) * 5) } == 5)
    #expect(look(until: start.addingTimeInterval(60)) { start.addingTimeInterval(86_400 + Double($0) * 5) } == 5)
  }

  @Test("one that seems to end in an hour or a day, because the clock was set back, ends after 70 s")
  func ahead() {
    for step in [3600.0, 86_400] {
      #expect(look(until: start.addingTimeInterval(step)) { start.addingTimeInterval(Double($0) * 5) } == 14)
    }
  }

  @Test("a living worker keeps its lease for an hour while the clock jumps to and fro by an hour each second")
  func strobe() {
    for seed in 1...20 as ClosedRange<UInt64> {
      let dice = Dice(seed: seed)
      var watch = LeaseWatch(lease: .seconds(60), interval: interval)
      var until = start.addingTimeInterval(60)
      for second in 1...3600 {
        let now = start.addingTimeInterval(Double(second) + [0, 3600, -3600, 86_400, -86_400][dice.roll(5)])
        if second % 20 == 0 { until = now.addingTimeInterval(60) }
        guard second % 5 == 0 else { continue }
        #expect(watch.look(at: [lease("1", until: until)], now: now).isEmpty, "second \(second), seed \(seed)")
      }
    }
  }

  @Test("what another took meanwhile is another lease")
  func epochs() {
    var watch = LeaseWatch(lease: .seconds(60), interval: interval)
    let until = start.addingTimeInterval(-9)
    for epoch in 1...30 { #expect(watch.look(at: [lease("1", until: until, epoch: epoch)], now: start).isEmpty) }
    for _ in 0..<30 { #expect(watch.look(at: [], now: start).isEmpty) }
    #expect(watch.look(at: [lease("1", until: until, epoch: 30)], now: start).isEmpty)
  }

  @Test("what an owner held that has ended for certain is due again at the first look, whatever its lease says")
  func endedOwner() async throws {
    let office = Office { _, _ in .delivered(receipt: "ok") }
    try await office.announce(.firing)
    let now = office.context.now()
    let lease = try #require(
      try await office.storage.claim(owner: "home/former/worker", now: now, lease: .seconds(60)))
    let rescuer = Rescuer(
      storage: office.storage, doorbell: office.doorbell, clock: office.clock, now: office.context.now,
      logger: Logger(label: "test"), hasEnded: { $0.hasPrefix("home/") && !$0.hasPrefix("home/present/") })
    let rescuing = Task { try await rescuer.run() }
    try await office.clock.sleepers(atLeast: 1)
    let entry = try #require(try await office.entries().first)
    #expect(entry.state == .pending)
    #expect(entry.attempts.map(\.outcome) == ["crashed"])
    #expect(entry.id == lease.entry.id)
    // The living of the same home keep theirs.
    _ = try await office.storage.claim(owner: "home/present/worker", now: now, lease: .seconds(60))
    office.clock.advance(by: Rescuer.interval)
    try await office.clock.sleepers(atLeast: 1)
    #expect(try await office.entries().first?.state == .leased)
    rescuing.cancel()
    _ = await rescuing.result
  }

  @Test("of several messages that a process had in hand when it ended none is held to have ended it")
  func severalInHand() async throws {
    let office = Office { _, _ in .delivered(receipt: "ok") }
    let now = office.context.now()
    _ = try await office.storage.record(
      nil,
      queueing: (1...3).map {
        QueueEntry(
          id: "\($0)", key: nil, reaction: "", target: "t", type: "email", payload: [:], created: office.now)
      })
    for owner in ["home/1/pool.0/a", "home/1/pool.1/b", "home/2/pool.0/c"] {
      _ = try #require(try await office.storage.claim(owner: owner, now: now, lease: .seconds(60)))
    }
    let rescuer = Rescuer(
      storage: office.storage, doorbell: office.doorbell, clock: office.clock, now: office.context.now,
      logger: Logger(label: "test"), hasEnded: { $0.hasPrefix("home/") })
    let rescuing = Task { try await rescuer.run() }
    try await office.clock.sleepers(atLeast: 1)
    let outcomes = try await office.entries().sorted { $0.id < $1.id }.map { $0.attempts.map(\.outcome) }
    #expect(outcomes == [["rescued"], ["rescued"], ["crashed"]])
    rescuing.cancel()
    _ = await rescuing.result
  }

  @Test("looks that fail now and then keep nobody's lease for ever")
  func failingNowAndThen() {
    var watch = LeaseWatch(lease: .seconds(60), interval: interval)
    let until = start.addingTimeInterval(-9)
    var taken: Int?
    for number in 0..<40 where taken == nil {
      if number % 5 == 4 {
        watch.missed()
      } else if !watch.look(at: [lease("1", until: until)], now: start).isEmpty {
        taken = number
      }
    }
    // Looks 0 to 3, a failed one, and three more.
    #expect(taken == 7)
  }

  @Test("what cannot be done besides does not keep a lease that is over from being taken away")
  func failingBesides() async throws {
    let office = Office()
    try await office.announce(.firing)
    let line = BrokenLine(office.storage)
    _ = try #require(
      try await office.storage.claim(owner: "w", now: office.now.addingTimeInterval(-90), lease: .seconds(60)))
    let rescuer = Rescuer(
      storage: line, doorbell: office.doorbell, clock: office.clock, now: office.context.now,
      logger: office.context.logger)
    let rescuing = Task { try await rescuer.run() }
    try await office.clock.sleepers(atLeast: 1)
    await line.turn(failsRescues: true)
    for _ in 0..<8 {
      office.clock.advance(by: Rescuer.interval)
      try await office.clock.sleepers(atLeast: 1)
    }
    #expect(try await office.entries().first?.state == .leased)
    await line.turn(failsRescues: false)
    office.clock.advance(by: Rescuer.interval)
    try await office.clock.sleepers(atLeast: 1)
    #expect(try await office.entries().first?.state == .pending)
    rescuing.cancel()
    _ = await rescuing.result
  }

  @Test("after looks that failed the living have the time of two looks")
  func outage() async throws {
    let office = Office()
    try await office.announce(.firing)
    let line = BrokenLine(office.storage)
    _ = try #require(
      try await office.storage.claim(owner: "w", now: office.now.addingTimeInterval(-90), lease: .seconds(60)))
    let rescuer = Rescuer(
      storage: line, doorbell: office.doorbell, clock: office.clock, now: office.context.now,
      logger: office.context.logger)
    let rescuing = Task { try await rescuer.run() }
    func look() async throws {
      try await office.clock.sleepers(atLeast: 1)
      office.clock.advance(by: Rescuer.interval)
      try await office.clock.sleepers(atLeast: 1)
    }
    try await office.clock.sleepers(atLeast: 1)
    // Five looks; the sixth would take it.
    for _ in 0..<4 { try await look() }
    await line.turn(isAway: true)
    for _ in 0..<3 { try await look() }
    await line.turn(isAway: false)
    for _ in 0..<2 {
      try await look()
      #expect(try await office.entries().first?.state == .leased)
    }
    try await look()
    #expect(try await office.entries().first?.state == .pending)
    rescuing.cancel()
    _ = await rescuing.result
  }

  @Test(
    "a delivery under way survives a step of the clock by an hour or a day, and is told once",
    arguments: [3600, 86_400, -3600, -86_400])
  func underWay(_ step: Int) async throws {
    let release = Doorbell()
    let office = Office { _, _ in
      await release.wait(after: 0)
      return .delivered(receipt: "ok")
    }
    let offset = Offset()
    var context = office.context
    let clock = office.clock
    context.now = { Office.opening.addingTimeInterval(Double(clock.now.offset.components.seconds) + offset.value) }
    let rescuer = Rescuer(
      storage: office.storage, doorbell: office.doorbell, clock: clock, now: context.now,
      logger: Logger(label: "test"))
    try await office.announce(.firing)
    let worker = QueueWorker(context, owner: "w")
    let delivery = Task { try await worker.deliverNext() }
    let rescuing = Task { try await rescuer.run() }
    _ = try await office.notifier.deliveries.first()
    for second in 0..<18 {
      // The watchers of the try and the rescuer.
      try await clock.sleepers(atLeast: 3)
      if second == 2 { offset.value = Double(step) }
      clock.advance(by: .seconds(5))
      try await clock.sleepers(atLeast: 3)
      #expect(try await QueueWorker(context, owner: "other").deliverNext() == false)
    }
    release.ring()
    #expect(try await delivery.value)
    rescuing.cancel()
    _ = await rescuing.result
    let entry = try #require(try await office.entries().first)
    #expect(entry.state == .delivered && entry.epoch == 1)
    #expect(entry.attempts.map(\.outcome) == ["delivered"])
    #expect(office.notifier.deliveries.all.count == 1)
  }
}

/// By how much the time of day was set. Sendable is true: the number is only touched while `lock` is held.
private final class Offset: @unchecked Sendable {
  private let lock = NSLock()
  private var seconds = 0.0
  var value: Double {
    get { lock.withLock { seconds } }
    set { lock.withLock { seconds = newValue } }
  }
}
