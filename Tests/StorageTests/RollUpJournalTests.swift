import Foundation
import Logging
import Model
import SQLiteStorage
import TestKit
import Testing

@testable import Storage

/// One of several instances on one store: its way to the store, its journal, its recorder.
private final class Instance {
  let front: AbortingStore
  private let store: any WholeStorage
  private let path: String
  private let role = EventLog<Bool>()
  private let clock: ManualClock
  private(set) var journaled: JournaledStorage
  private(set) var keeper: RollUpKeeper
  private(set) var recorder: Recorder

  init(_ store: any WholeStorage, journal path: String, _ clock: ManualClock) async throws {
    (self.store, self.path, self.clock) = (store, path, clock)
    front = AbortingStore(store, staysOpen: true)
    (journaled, keeper, recorder) = try await Self.make(front, path, clock, role)
  }

  private static func make(
    _ front: AbortingStore, _ path: String, _ clock: ManualClock, _ role: EventLog<Bool>
  ) async throws -> (JournaledStorage, RollUpKeeper, Recorder) {
    var settings = JournaledStorage.Configuration()
    settings.isRolledUp = true
    (settings.shortestPause, settings.longestPause) = (.milliseconds(1), .milliseconds(4))
    settings.batch = 40
    settings.triesOfOne = 1000
    let journal = try await SQLiteJournal.open(path: path, logger: Logger(label: "test"))
    let journaled = try await JournaledStorage.open(
      journal: journal, configuration: settings, logger: Logger(label: "test"),
      opening: { () async throws(StorageError) -> any WholeStorage in
        if await front.isDead { throw StorageError(.unavailable, "cut") }
        return front
      })
    var limits = HistoryLimits()
    limits.realTime = 1_000_000
    (limits.variable, limits.hour, limits.day) = (.seconds(1 << 30), .seconds(1 << 30), .seconds(1 << 30))
    let plan = RollUpPlan(limits: limits)
    let wall: @Sendable () -> Date = { Date(timeIntervalSince1970: Double(RollUpWorld.start)) }
    let keeper = RollUpKeeper(store: journaled, clock: clock, now: wall, plan: { _ in plan })
    let recorder = Recorder(
      store: journaled, clock: clock, now: wall, limits: { _ in plan.limits }, rollUps: keeper,
      mayGather: { role.all.last ?? false })
    await recorder.attach()
    return (journaled, keeper, recorder)
  }

  /// As after a kill. Reaches the store or not as before.
  func restart() async throws {
    await journaled.close()
    (journaled, keeper, recorder) = try await Self.make(front, path, clock, role)
  }

  func lead(_ epoch: Int64) async throws {
    try await store.raiseFence(to: epoch)
    await keeper.reset()
    role.append(true)
  }
  func standBy() { role.append(false) }

  func gather(_ samples: [Sample]) async -> Bool {
    await recorder.record(samples)
    return await recorder.flush(rollUps: false)
  }

  /// Reaches the store again, and has brought all to it.
  func comeBack() async {
    await front.cut(false)
    await journaled.whenPresent(within: .seconds(60))
    #expect(await journaled.status.condition == .present)
  }
}

@Suite("Roll-ups hold what comes out of a journal exactly once")
struct RollUpJournalTests {
  enum Kind: CaseIterable { case memory, sqlite }

  private let cpu = Series(target: "web-1", metric: "Vitals.CPU")
  private let ssh = Series(target: "web-1", metric: "POL.Port", name: "ssh")

  private func sample(_ second: Int64, n: Int = 0, _ series: Series? = nil) -> Sample {
    Sample(
      series: series ?? cpu, at: Date(timeIntervalSince1970: Double(RollUpWorld.start + second)), n: n,
      value: .object(["percent": .double(Double(second % 97) / 4), "n": .int(Int64(n))]))
  }

  private func handles(_ kind: Kind, _ folder: TemporaryDirectory) async throws -> [any WholeStorage] {
    switch kind {
    case .memory:
      let store = MemoryStorage()
      return [store, store]
    case .sqlite:
      let path = folder.file("syscrap.db")
      return [
        try await SQLiteStorage.open(.init(path: path), logger: Logger(label: "test")),
        try await SQLiteStorage.open(.init(path: path), logger: Logger(label: "test")),
      ]
    }
  }

  /// Every bucket against the raw samples; all of `sent` are raw samples, and nothing waits.
  private func check(_ store: any WholeStorage, _ sent: [Sample], _ note: String) async throws {
    var ledger: [Series: [SampleKey: Value]] = [:]
    for series in Set(sent.map(\.series)) {
      for sample in try await store.samples(SampleQuery(series, limit: 1_000_000)) {
        ledger[series, default: [:]][SampleKey(sample)] = sample.value ?? .null
      }
    }
    for series in Set(sent.map(\.series)) {
      let keys = Set(sent.filter { $0.series == series }.map { SampleKey($0) })
      #expect(Set((ledger[series] ?? [:]).keys) == keys, "\(note) \(series)")
    }
    #expect(try await store.series(type: .event, target: ReturnedSamples.target) == [], "\(note)")
    try await RollUpWorld.check(store, ledger, note)
  }

  @Test(
    "A journals, B takes over and goes on, A brings its journal, and gathers again later",
    arguments: Kind.allCases, [false, true])
  func takeover(_ kind: Kind, restarts: Bool) async throws {
    let folder = try TemporaryDirectory("takeover")
    defer { withExtendedLifetime(folder) {} }
    let stores = try await handles(kind, folder)
    let clock = ManualClock()
    let a = try await Instance(stores[0], journal: folder.file("a.db"), clock)
    let b = try await Instance(stores[1], journal: folder.file("b.db"), clock)
    var sent: [Sample] = []
    func gather(_ one: Instance, _ seconds: Range<Int64>, n: Int = 0) async {
      for start in stride(from: seconds.lowerBound, to: seconds.upperBound, by: 100) {
        var batch = stride(from: start, to: start + 100, by: 10).flatMap { [sample($0, n: n), sample($0, n: n, ssh)] }
        // Late, and of a series that is seen now and then.
        batch.append(sample(max(0, start - 450), n: 50 + n))
        batch.append(sample(start / 2, n: n, Series(target: "seldom-\(start / 100 % 3)", metric: "M")))
        batch.append(Sample(series: cpu, at: batch[0].at, n: 90 + n, error: "gone"))
        sent += batch
        #expect(await one.gather(batch))
      }
    }
    try await a.lead(1)
    await gather(a, 0..<4000)
    #expect(await a.recorder.flush())
    await a.front.cut(true)
    await gather(a, 4000..<5000)
    if restarts { try await a.restart() }
    // A goes on observing for a while, whoever gathers.
    await gather(a, 5000..<5400)
    a.standBy()
    try await b.lead(2)
    await gather(b, 4500..<9000, n: 1)
    await a.comeBack()
    #expect(try await !stores[1].series(type: .event, target: ReturnedSamples.target).isEmpty)
    // What A still had in hand.
    await gather(a, 5400..<5600)
    await b.recorder.lookForReturns()
    await gather(b, 9000..<9300, n: 1)
    #expect(await b.recorder.flush())
    try await check(stores[1], sent, "B")
    b.standBy()
    try await a.lead(3)
    await gather(a, 9200..<9800, n: 2)
    #expect(await a.recorder.flush())
    try await check(stores[0], sent, "A again")
    for one in [a, b] { await one.journaled.close() }
  }

  @Test("one instance, an outage in the middle, with and without a restart in it", arguments: [false, true])
  func alone(restarts: Bool) async throws {
    let folder = try TemporaryDirectory("outage")
    defer { withExtendedLifetime(folder) {} }
    let store = MemoryStorage()
    let a = try await Instance(store, journal: folder.file("a.db"), ManualClock())
    try await a.lead(1)
    var sent: [Sample] = []
    func gather(_ seconds: Range<Int64>) async {
      for second in stride(from: seconds.lowerBound, to: seconds.upperBound, by: 10) {
        let batch = [sample(second), sample(max(0, second - 700), n: 7, ssh), sample(second / 3, n: Int(second), ssh)]
        sent += batch
        #expect(await a.gather(batch))
      }
    }
    await gather(0..<2000)
    await a.front.cut(true)
    await gather(2000..<6000)
    if restarts {
      try await a.restart()
      await gather(6000..<6500)
    }
    await a.comeBack()
    // In the same process nothing had to wait in the store.
    #expect(try await store.series(type: .event, target: ReturnedSamples.target) == [])
    #expect(await a.recorder.statistics.returned > 1000)
    await gather(6500..<7500)
    #expect(await a.recorder.flush())
    try await check(store, sent, "alone")
    await a.journaled.close()
  }

  @Test("two instances, with cuts, failing calls, restarts and takeovers at random")
  func random() async throws {
    var dice = Dice.seeded("roll-up journal")
    for round in 0..<8 {
      let folder = try TemporaryDirectory("journals")
      defer { withExtendedLifetime(folder) {} }
      let stores = try await handles(round % 4 == 0 ? .sqlite : .memory, folder)
      let clock = ManualClock()
      let both = [
        try await Instance(stores[0], journal: folder.file("0.db"), clock),
        try await Instance(stores[1], journal: folder.file("1.db"), clock),
      ]
      var (leader, epoch, now, number): (Int, Int64, Int64, Int) = (0, 1, 1000, 0)
      var sent: [Sample] = []
      try await both[0].lead(1)
      for _ in 0..<80 {
        let one = both[dice.oneIn(6) ? 1 - leader : leader]
        switch dice.roll(0..<16) {
        case 0, 1: await one.front.cut(true)
        case 2, 3: await one.comeBack()
        case 4: try await one.restart()
        case 5, 6:
          let next = 1 - leader
          await both[next].comeBack()
          both[leader].standBy()
          (leader, epoch) = (next, epoch + 1)
          try await both[next].lead(epoch)
        case 7, 8: await one.recorder.lookForReturns()
        case 9: await one.front.fail(in: dice.roll(1..<8), dice.oneIn(2) ? .before : .after)
        case 10: now += Int64(dice.roll(0..<4000))
        default: now += Int64(dice.roll(0..<200))
        }
        var batch: [Sample] = []
        for _ in 0..<dice.roll(0..<7) {
          if dice.oneIn(9), let old = sent.randomElement(using: &dice) {
            batch.append(old)
            continue
          }
          number += 1
          let second = dice.oneIn(5) ? now - Int64(dice.roll(0..<min(Int(now), 6000))) : now
          batch.append(sample(second, n: number, dice.oneIn(2) ? cpu : ssh))
        }
        sent += batch
        await one.recorder.record(batch)
        // A restart forgets what waits in memory, so nothing does.
        for _ in 0..<5000 where await !one.recorder.flush(rollUps: false) {
          clock.advance(by: .seconds(40))
          // What is held back goes to the journal as soon as the store is known to be away.
          await Task.yield()
        }
        // The memory knows no handles, so its fence holds nobody off.
        if dice.oneIn(5) { _ = await both[leader].recorder.flush() }
        #expect(await one.recorder.statistics.waiting == 0)
      }
      for one in both {
        await one.front.revive()
        await one.comeBack()
      }
      clock.advance(by: .seconds(60))
      for _ in 0..<20 { await both[leader].recorder.lookForReturns() }
      now += 10
      let last = [sample(now, n: number + 1), sample(now, n: number + 2, ssh)]
      sent += last
      #expect(await both[leader].gather(last))
      #expect(await both[leader].recorder.flush())
      try await check(stores[leader], sent, "round \(round)")
      for one in both { await one.journaled.close() }
    }
  }
}
