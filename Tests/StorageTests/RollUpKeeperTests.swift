import Foundation
import Logging
import Model
import SQLiteStorage
import TestKit
import Testing

@testable import Storage

@Suite("Roll-ups hold every appended sample exactly once")
struct RollUpKeeperTests {
  private struct Keyed: Hashable {
    var series: Series
    var key: SampleKey
    init(_ sample: Sample) { (series, key) = (sample.series, SampleKey(sample)) }
  }

  private let cpu = Series(target: "web-1", metric: "Vitals.CPU")

  private func sample(_ second: Int64, n: Int = 0, _ value: Value = 1, _ series: Series? = nil) -> Sample {
    Sample(
      series: series ?? cpu, at: Date(timeIntervalSince1970: Double(RollUpWorld.start + second)), n: n, value: value)
  }

  /// Random days of gathering: gaps, late and doubled samples, a clock that is set, edits of the bucket length, store
  /// calls that fail before or after they took effect, and kills at any of them.
  private func live(
    _ world: RollUpWorld, steps: Int, dice: inout Dice, kills: Bool, edits: Bool, note: String
  ) async throws {
    let series = [cpu, Series(target: "web-1", metric: "POL.Port", name: "ssh"), Series(target: "db", metric: "M")]
    var sent: [Sample] = []
    var number = 0
    for _ in 0..<steps {
      switch dice.roll(0..<30) {
      case 0: world.advance(dice.roll(300..<9000))
      // The wall clock is set.
      case 1: world.wall.set(world.wall.now.addingTimeInterval(Double(dice.roll(-4000..<4000))))
      case 2: world.wall.set(world.wall.now.addingTimeInterval(-90_000))
      default: world.advance(dice.roll(1..<60))
      }
      if edits, dice.oneIn(25) {
        var plan = world.plans.plan
        plan.variable = .seconds([60, 300, 420, 600, 3600].randomElement(using: &dice) ?? 300)
        world.plans.set(plan)
      }
      var batch: [Sample] = []
      for _ in 0..<dice.roll(0..<6) {
        // What RT has forgotten cannot be told from what is late.
        if world.plans.plan.limits.realTime > 1000, dice.oneIn(8), let old = sent.randomElement(using: &dice) {
          batch.append(old)
          continue
        }
        let at = world.wall.now.addingTimeInterval(dice.oneIn(6) ? Double(-dice.roll(0..<8000)) : 0)
        let one = series[dice.roll(0..<series.count)]
        number += 1
        if let value = RollUpOracle.randomValue(&dice) {
          batch.append(Sample(series: one, at: at, n: number, value: value))
        } else {
          batch.append(Sample(series: one, at: at, n: number, error: "gone"))
        }
      }
      sent.append(contentsOf: batch)
      if dice.oneIn(6) {
        await world.store.fail(in: dice.roll(1..<9), dice.oneIn(2) ? .before : .after)
      } else if kills, dice.oneIn(8) {
        await world.store.fail(in: dice.roll(1..<9), dice.oneIn(2) ? .killBefore : .killAfter)
      }
      await world.recorder.record(batch)
      for _ in 0..<20 where await !world.recorder.flush(rollUps: dice.oneIn(5)) {
        if await world.store.isDead { break }
        // Beyond every pause after a failure.
        world.clock.advance(by: .seconds(40))
        world.wall.set(world.wall.now.addingTimeInterval(40))
      }
      if await world.store.isDead {
        await world.restart()
        try await world.acceptGhosts(sent)
      }
    }
    await world.store.revive()
    world.clock.advance(by: .seconds(60))
    world.wall.set(world.wall.now.addingTimeInterval(60))
    for series in series { await world.recorder.record([sample(10_000_000, 5, series)]) }
    _ = await world.recorder.flush()
    #expect(await world.recorder.flush())
    try await world.check(note)
    let statistics = await world.recorder.statistics
    #expect(statistics.rollUps.unsaved == 0 && statistics.waiting == 0 && statistics.dropped == 0)
    if kills { return }
    let ledger = await world.store.ledger
    #expect(Set(sent.map { Keyed($0) }).allSatisfy { ledger[$0.series]?[$0.key] != nil }, "\(note)")
  }

  @Test("through late data, set clocks, edits, failing calls and restarts", arguments: [false, true])
  func random(_ kills: Bool) async throws {
    var dice = Dice.seeded("roll-up life")
    for round in 0..<25 {
      let world = RollUpWorld(MemoryStorage(), realTime: dice.oneIn(2) ? dice.roll(1..<30) : 100_000)
      world.configuration.page = dice.oneIn(2) ? 3 : 2000
      world.configuration.batch = dice.oneIn(2) ? 1 : 200
      await world.restart()
      try await live(world, steps: 60, dice: &dice, kills: kills, edits: true, note: "round \(round)")
    }
  }

  @Test("in a real file that is opened again after each kill, with lengths edited meanwhile")
  func realFile() async throws {
    var dice = Dice.seeded("roll-up file")
    for round in 0..<3 {
      let folder = try TemporaryDirectory("rollups")
      defer { withExtendedLifetime(folder) {} }
      let store = try await SQLiteStorage.open(
        .init(path: folder.file("syscrap.db")), logger: Logger(label: "test"))
      let world = RollUpWorld(store, realTime: 20)
      try await live(world, steps: 60, dice: &dice, kills: true, edits: true, note: "file \(round)")
      await store.close()
      let again = try await SQLiteStorage.open(
        .init(path: folder.file("syscrap.db")), logger: Logger(label: "test"))
      let states = try await again.rollUpStates([cpu])
      #expect(states[cpu]?.through.second == RollUpWorld.start + 10_000_000)
      await again.close()
    }
  }

  @Test("whose late ones wait while the store cannot be asked, also through a kill; all others go on")
  func heldBack() async throws {
    let world = RollUpWorld(MemoryStorage())
    let ssh = Series(target: "web-1", metric: "POL.Port", name: "ssh")
    await world.recorder.record([sample(1000), sample(1000, 3, ssh)])
    #expect(await world.recorder.flush())
    await world.store.mute(true)
    for round: Int64 in 0..<4 {
      // Late; new; of a series that was not seen yet.
      await world.recorder.record([
        sample(100 + round), sample(2000 + round, 2, ssh), sample(round, 1, Series(target: "new", metric: "M")),
      ])
      #expect(await !world.recorder.flush())
      world.clock.advance(by: .seconds(40))
    }
    func counts() async -> [Int] {
      let ledger = await world.store.ledger
      return [cpu, ssh, Series(target: "new", metric: "M")].map { ledger[$0]?.count ?? 0 }
    }
    #expect(await counts() == [1, 5, 0])
    #expect(await world.recorder.statistics.held == 8)
    await world.store.mute(false)
    #expect(await world.recorder.flush())
    #expect(await counts() == [5, 5, 4])
    #expect(await world.recorder.statistics.held == 0)
    try await world.check("asked again")
    await world.store.mute(true)
    await world.recorder.record([sample(50), sample(3000)])
    #expect(await !world.recorder.flush())
    await world.restart()
    await world.recorder.record([sample(4000), sample(60)])
    #expect(await !world.recorder.flush())
    await world.store.mute(false)
    #expect(await world.recorder.flush())
    // Only what waited in memory is gone, from both.
    #expect(await counts() == [8, 5, 4])
    try await world.check("killed")
  }

  @Test("that a failed append left in RT are found there, though nobody sends them again")
  func leftBehind() async throws {
    let world = RollUpWorld(MemoryStorage())
    await world.recorder.record([sample(0)])
    #expect(await world.recorder.flush())
    await world.store.fail(in: 1, .after)
    await world.recorder.record([sample(10)])
    #expect(await !world.recorder.flush())
    // The buffer is full of others: the one that is in RT already goes.
    await world.recorder.record((0..<10_000).map { sample(20, n: $0) })
    #expect(await world.recorder.flush())
    #expect(await world.recorder.statistics.dropped == 1)
    #expect(await world.store.ledger[cpu]?.count == 10_002)
    try await world.check("left behind")
  }

  @Test("are found from where the stored state ends, in pages of any size, however many one second has")
  func pages() async throws {
    for page in [1, 2, 3, 5, 50] {
      let world = RollUpWorld(MemoryStorage())
      world.configuration.page = page
      await world.restart()
      await world.recorder.record([sample(0), sample(7, n: 1)])
      #expect(await world.recorder.flush())
      await world.recorder.record(
        (0..<40).map { sample(7 + Int64($0 / 9) * ($0 < 20 ? 0 : 301), n: 2 + $0, .int(Int64($0))) })
      #expect(await world.recorder.flush(rollUps: false))
      await world.restart()
      await world.recorder.record([sample(5000)])
      #expect(await world.recorder.flush())
      try await world.check("pages of \(page)")
    }
  }

  @Test("with an edited bucket length from where the new one fits: no two buckets overlap")
  func edits() async throws {
    let world = RollUpWorld(MemoryStorage())
    for second in stride(from: Int64(0), to: 20_000, by: 20) {
      if second % 2000 == 0 {
        var plan = world.plans.plan
        plan.variable = .seconds([300, 3600, 420, 60, 600][Int(second / 2000) % 5])
        world.plans.set(plan)
      }
      world.advance(20)
      await world.recorder.record([sample(second, .int(second))])
      #expect(await world.recorder.flush(rollUps: false))
      if second % 1700 == 0 { await world.restart() }
    }
    #expect(await world.recorder.flush())
    try await world.check("edits")
    let read = try await world.store.samples(SampleQuery(cpu, type: .variable, limit: 10_000))
    let buckets = try await world.store.rollUps(cpu, type: .variable, starts: read.map { SampleKey($0).second })
    #expect(Set(buckets.map(\.length)).count >= 4)
    for (a, b) in zip(buckets, buckets.dropFirst()) { #expect(a.start + a.length <= b.start) }
  }

  @Test(
    "that come late beside buckets of another length replace none of them, whatever the length is now",
    arguments: [false, true])
  func lateEdits(_ restarts: Bool) async throws {
    var dice = Dice.seeded("late after edits")
    for round in 0..<20 {
      let world = RollUpWorld(MemoryStorage(), variable: .seconds(60))
      func edit(_ seconds: Int) {
        var plan = world.plans.plan
        plan.variable = .seconds(seconds)
        world.plans.set(plan)
      }
      // Buckets of a minute with gaps between them, then some of another length.
      for second in stride(from: Int64(0), to: 3600, by: 180) { await world.recorder.record([sample(second)]) }
      #expect(await world.recorder.flush())
      edit(600)
      for second in stride(from: Int64(3600), to: 9000, by: 1500) { await world.recorder.record([sample(second)]) }
      #expect(await world.recorder.flush())
      edit([60, 300, 420, 600, 3600].randomElement(using: &dice) ?? 300)
      await world.recorder.record([sample(12_000)])
      #expect(await world.recorder.flush())
      if restarts { await world.restart() }
      for number in 0..<60 {
        let batch = (0..<dice.roll(1..<4)).map { one in
          sample(Int64(dice.roll(0..<12_000)), n: 1 + number * 4 + one, .int(Int64(number)))
        }
        await world.recorder.record(batch)
        #expect(await world.recorder.flush(rollUps: dice.oneIn(2)))
      }
      // Overtaken in one batch, beside what a length from before an edit has left.
      edit(420)
      await world.recorder.record([20_000, 13_000, 12_100, 16_000].map { sample($0, n: 9) })
      #expect(await world.recorder.flush())
      try await world.check("round \(round)")
    }
  }

  @Test("of the series that is asked for are stored, no others")
  func asked() async throws {
    let world = RollUpWorld(MemoryStorage())
    let ssh = Series(target: "web-1", metric: "POL.Port", name: "ssh")
    await world.recorder.record([sample(0), sample(0, 1, ssh)])
    #expect(await world.recorder.flush { $0.metric == "POL.Port" })
    #expect(try await world.store.rollUpStates([cpu, ssh]).keys.map(\.metric) == ["POL.Port"])
    #expect(await world.recorder.statistics.rollUps.unsaved == 1)
    #expect(await world.recorder.flush())
    #expect(try await world.store.rollUpStates([cpu, ssh]).count == 2)
  }

  @Test("that no stored state has are not pruned: a kill after many failed saves loses none, with any cap")
  func withheld() async throws {
    let world = RollUpWorld(MemoryStorage(), realTime: 10)
    await world.recorder.record([sample(0)])
    #expect(await world.recorder.flush())
    await world.store.refuseRollUps(true)
    for second in stride(from: Int64(10), to: 2000, by: 10) {
      await world.recorder.record([sample(second, .int(second))])
      #expect(await world.recorder.flush(rollUps: false))
      world.advance(40)
    }
    #expect(try await world.store.samples(SampleQuery(cpu, limit: 1000)).count >= 199)
    await world.restart()
    await world.recorder.record([sample(3000)])
    #expect(await world.recorder.flush())
    try await world.check("killed")
    // Now they may go.
    for second: Int64 in 3001..<3100 {
      await world.recorder.record([sample(second)])
      #expect(await world.recorder.flush())
    }
    #expect(try await world.store.samples(SampleQuery(cpu, limit: 1000)).count < 60)
    try await world.check("pruned")
  }

  @Test("of 5,000 series whose buckets end at one instant, in batches")
  func manySeries() async throws {
    let world = RollUpWorld(MemoryStorage())
    let all = (0..<5000).map { Series(target: "t\($0)", metric: "M") }
    for second: Int64 in [0, 310] {
      for series in all { await world.recorder.record([sample(second, 1, series)]) }
      world.advance(310)
      #expect(await world.recorder.flush(rollUps: false))
    }
    // Three appends of 2,000 at most: each stores at most 1,000 states.
    #expect(await world.store.statesStored == 3000)
    #expect(await world.store.largestStore == 200)
    #expect(await world.recorder.flush())
    try await world.check("5,000")
  }
}
