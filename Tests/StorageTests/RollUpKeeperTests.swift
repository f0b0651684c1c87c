import Foundation
import Logging
import Model
import SQLiteStorage
import TestKit
import Testing

@testable import Storage

@Suite("Roll-ups hold every appended sample exactly once")
struct RollUpKeeperTests {
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
      var isRepeated = false
      for _ in 0..<dice.roll(0..<6) {
        // What RT has forgotten cannot be told from what is late.
        if world.plans.plan.limits.realTime > 1000, dice.oneIn(8), let old = sent.randomElement(using: &dice) {
          batch.append(old)
          isRepeated = true
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
      if isRepeated {
        // A store that cannot be asked cannot tell what is sent again from what is late.
        await world.store.revive()
      } else if dice.oneIn(6) {
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
        try await world.acceptGhosts(batch)
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
    #expect(statistics.rollUps.lost == 0 && statistics.rollUps.unsaved == 0)
  }

  @Test("through late data, set clocks, edits, failing calls and restarts", arguments: [false, true])
  func random(_ kills: Bool) async throws {
    var dice = Dice.seeded("roll-up life")
    for round in 0..<25 {
      let world = RollUpWorld(MemoryStorage(), realTime: dice.oneIn(2) ? dice.roll(1..<30) : 100_000)
      world.configuration.page = dice.oneIn(2) ? 3 : 2000
      world.configuration.batch = dice.oneIn(2) ? 1 : 200
      await world.restart()
      try await live(world, steps: 60, dice: &dice, kills: kills, edits: false, note: "round \(round)")
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
      try await live(world, steps: 60, dice: &dice, kills: true, edits: false, note: "file \(round)")
      await store.close()
      let again = try await SQLiteStorage.open(
        .init(path: folder.file("syscrap.db")), logger: Logger(label: "test"))
      let states = try await again.rollUpStates([cpu])
      #expect(states[cpu]?.through.second == RollUpWorld.start + 10_000_000)
      await again.close()
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
