import Foundation
import Model
import TestKit
import Testing

@testable import MongoStorage
@testable import Storage

/// What the retention rules promise about the disk: the size of a history is a matter of its caps alone.
@Suite("Caps")
struct CapTests {
  private static let cap = 100
  private static let perBatch = 50

  @Test(
    "A hundred times the cap leaves the cap, the newest, and a hundred times more takes no further room",
    arguments: StoreKind.allCases.filter(\.isOnDisk))
  func hundredfold(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    try await keepNoPast(fixture)
    var planner = RetentionPlanner()
    var bytes: [Int64] = []
    for round in 0..<2 {
      try await fill(fixture, &planner, round: round)
      bytes.append(try await fixture.bytes())
    }
    let (first, second) = (try #require(bytes.first), try #require(bytes.last))
    #expect(first > 0)
    // A part of the first round's room may have been too small for a part of the second's.
    print("caps: \(kind.rawValue) takes \(first) bytes after 100 times the cap, \(second) after 200 times")
    #expect(second <= first + first / 4)
  }

  private func keepNoPast(_ fixture: StoreFixture) async throws {
    try await fixture.mongo?.pool.run("keeping no past") { connection in
      // A replica set keeps what was deleted for five minutes more, for reads of the past; that room is not the caps'.
      _ = try connection.read(
        BSON { writer in
          writer.int32("setParameter", 1)
          writer.int32("minSnapshotHistoryWindowInSeconds", 0)
        }, database: "admin")
    }
  }

  /// Days that a simulated recorder gathers: a hundred times what is kept of the longest roll-ups.
  private static let days = 200
  private static let interval: Int64 = 3600

  @Test(
    "A hundred times the age of roll-ups leaves that age, the newest, and takes no more room than fifty times",
    arguments: StoreKind.allCases)
  func rollUps(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    try await keepNoPast(fixture)
    let clock = ManualClock()
    let now: @Sendable () -> Date = { time(Double(clock.now.offset.components.seconds)) }
    var limits = HistoryLimits()
    limits.realTime = Self.cap
    (limits.variable, limits.hour, limits.day) = (.seconds(86_400), .seconds(2 * 86_400), .seconds(2 * 86_400))
    let plan = RollUpPlan(limits: limits, variable: .seconds(Self.interval))
    let keeper = RollUpKeeper(store: fixture.store, clock: clock, now: now, plan: { _ in plan })
    let recorder = Recorder(
      store: fixture.store, clock: clock, now: now, limits: { _ in plan.limits }, rollUps: keeper)
    let both = ["Vitals.CPU", "Vitals.RAM"].map { Series(target: "web-1", metric: $0) }
    var number = 0
    var bytes: [Int64] = []
    for day in 1...Self.days {
      for _ in 0..<(86_400 / Self.interval) {
        number += 1
        let noise = Double((number &* 2_654_435_761) % 10_000) / 100
        let at = time(Double(number) * Double(Self.interval))
        await recorder.record(
          both.map { Sample(series: $0, at: at, value: ["percent": .double(noise), "idle": .double(100 - noise)]) })
      }
      clock.advance(by: .seconds(86_400))
      #expect(await recorder.flush())
      guard day % (Self.days / 10) == 0 else { continue }
      for series in both { try await checkAges(fixture.store, series, plan, now()) }
      if kind.isOnDisk { bytes.append(try await fixture.bytes()) }
    }
    #expect(await recorder.statistics.rollUps.folded == 2 * number)
    guard kind.isOnDisk else { return }
    print("caps: \(kind.rawValue) takes \(bytes) bytes after 10, 20 … 100 times the age of roll-ups")
    let (half, whole) = (try #require(bytes.dropFirst(4).first), try #require(bytes.last))
    #expect(half > 0 && whole <= half + half / 4)
  }

  /// What is kept reaches back as far as the plan says and not farther, without a gap: what went was the oldest.
  private func checkAges(_ store: any Storage, _ series: Series, _ plan: RollUpPlan, _ now: Date) async throws {
    let last = StoredTime.parts(now).second
    for (type, length) in [(SampleType.variable, Self.interval), (.hour, 3600), (.day, 86_400)] {
      let kept = try await store.samples(SampleQuery(series, type: type, limit: 10_000)).map { SampleKey($0).second }
      let oldest = last - plan.age(type).components.seconds
      let expected = stride(
        from: (oldest + length - 1) / length * length, through: last / length * length, by: Int(length))
      #expect(kept == Array(expected), "\(type) of \(series.metric)")
    }
  }

  /// Writes the cap a hundred times over to each of two histories of each type, and looks on the way.
  private func fill(_ fixture: StoreFixture, _ planner: inout RetentionPlanner, round: Int) async throws {
    var limits = HistoryLimits()
    limits.realTime = Self.cap
    limits.event = Self.cap
    let histories = ["Vitals.CPU", "Vitals.RAM"].flatMap { metric in
      [SampleType.realTime, .event].map { (Series(target: "web-1", metric: metric), $0) }
    }
    let batches = 100 * Self.cap / Self.perBatch
    for batch in 0..<batches {
      let first = (round * batches + batch) * Self.perBatch
      let samples = histories.flatMap { series, type in
        (first..<(first + Self.perBatch)).map { number in
          // Digits that do not repeat: as figures are.
          let noise = Double((number &* 2_654_435_761) % 10_000) / 100
          return Sample(
            series: series, type: type, at: time(Double(number)),
            value: ["number": .int(Int64(number)), "percent": .double(noise), "idle": .double(100 - noise)])
        }
      }
      try await fixture.store.append(samples)
      let rules = planner.rules(after: samples, limits: { _ in limits }, now: time(Double(first)))
      _ = try await fixture.store.prune(rules)
      guard batch % (batches / 10) == batches / 10 - 1 else { continue }
      try await fixture.checkpoint()
      let last = first + Self.perBatch - 1
      for (series, type) in histories {
        let kept = try await fixture.store.samples(SampleQuery(series, type: type))
        let numbers = kept.map { $0.value?["number"]?.integer }
        // The newest, without a gap: what went was the oldest.
        #expect(numbers == (0..<kept.count).map { Int64(last - kept.count + 1 + $0) })
        #expect((Self.cap...(Self.cap + Self.cap / 10 + Self.perBatch)).contains(kept.count))
      }
    }
  }
}
