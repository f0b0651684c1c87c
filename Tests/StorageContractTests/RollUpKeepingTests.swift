import Foundation
import Model
import TestKit
import Testing

@testable import Storage

@Suite("Roll-ups that are kept while samples come, in every store")
struct RollUpKeepingTests {
  private let all = [
    Series(target: "web-1", metric: "Vitals.CPU"), Series(target: "web-1", metric: "POL.Port", name: "ssh"),
    Series(target: "db", metric: "Vitals.CPU"),
  ]

  /// A recorder that rolls up as a new process does: it knows what is in the store.
  private func recorder(_ store: any Storage & RollUpStorage, _ clock: ManualClock) -> Recorder {
    // Nothing leaves: all is compared.
    var limits = HistoryLimits()
    (limits.realTime, limits.variable) = (1000, .seconds(1e6))
    (limits.hour, limits.day) = (.seconds(1e6), .seconds(1e6))
    let plan = RollUpPlan(limits: limits, variable: .seconds(300))
    let keeper = RollUpKeeper(store: store, clock: clock, now: { time(8000) }, plan: { _ in plan })
    return Recorder(
      store: store, clock: clock, now: { time(8000) }, limits: { _ in plan.limits }, rollUps: keeper)
  }

  /// Every eleventh came late, every fifteenth is an error.
  private func samples() -> [Sample] {
    (0..<600).map { number in
      let at = time(Double(number * 10 - (number % 11 == 5 ? 900 : 0)) + 0.25)
      let series = all[number % 7 % 3]
      if number % 15 == 3 { return Sample(series: series, at: at, n: number, error: "no answer") }
      return Sample(series: series, at: at, n: number, value: ["percent": .int(Int64(number * 37 % 101))])
    }
  }

  /// All buckets of a type and series, made from the raw samples in one go.
  private func recomputed(_ samples: [Sample], _ series: Series, _ type: SampleType) -> [Sample] {
    let length: Int64 = type == .variable ? 300 : type == .hour ? 3600 : 86_400
    let raw = samples.filter { $0.series == series && $0.value != nil }.sorted { SampleKey($0) < SampleKey($1) }
    let buckets = Dictionary(grouping: raw) { SampleKey($0).second / length * length }
    return buckets.sorted { $0.key < $1.key }.map { start, samples in
      let numbers = samples.compactMap { $0.value?["percent"]?.integer }
      let figures: Value = [
        "min": .int(numbers.min() ?? 0), "max": .int(numbers.max() ?? 0),
        "mean": .double(Double(numbers.reduce(0, +)) / Double(numbers.count)), "last": .int(numbers.last ?? 0),
        "count": .int(Int64(numbers.count)),
      ]
      return Sample(
        series: series, type: type, at: Date(timeIntervalSince1970: Double(start)), value: ["percent": figures])
    }
  }

  @Test("are what the raw samples make, through late ones and a restart", arguments: StoreKind.allCases)
  func restart(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let clock = ManualClock()
    var recorder = recorder(fixture.store, clock)
    let samples = samples()
    var second: (any WholeStorage)?
    for start in stride(from: 0, to: samples.count, by: 6) {
      if start == 300 {
        // As after a kill: what the first one had in memory is gone.
        second = try await fixture.another?()
        let store = second ?? fixture.store
        recorder = self.recorder(store, clock)
      }
      clock.advance(by: .seconds(7))
      await recorder.record(Array(samples[start..<min(start + 6, samples.count)]))
      #expect(await recorder.flush(rollUps: false))
    }
    #expect(await recorder.flush())
    for series in all {
      #expect(try await fixture.store.samples(SampleQuery(series, limit: 1000)).count > 100)
      for type in [SampleType.variable, .hour, .day] {
        let kept = try await fixture.store.samples(SampleQuery(series, type: type, limit: 1000))
        #expect(kept == recomputed(samples, series, type))
      }
    }
    let rollUps = await recorder.statistics.rollUps
    #expect(rollUps.late > 20 && rollUps.unsaved == 0 && rollUps.failures == 0 && rollUps.duplicates == 0)
    await second?.close()
  }

  @Test(
    "of targets that come and go leave nothing behind in the end, and take nothing along", arguments: StoreKind.allCases
  )
  func strays(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    let clock = ManualClock()
    let now: @Sendable () -> Date = { time(Double(clock.now.offset.components.seconds)) }
    var limits = HistoryLimits()
    (limits.variable, limits.hour, limits.day) = (.seconds(3600), .seconds(2 * 86_400), .seconds(86_400))
    let plan = RollUpPlan(limits: limits)
    let keeper = RollUpKeeper(store: store, clock: clock, now: now, plan: { _ in plan })
    var configuration = Recorder.Configuration()
    // Hours pass between two looks of this recorder.
    configuration.interval = .seconds(6 * 3600)
    let recorder = Recorder(
      store: store, configuration: configuration, clock: clock, now: now, limits: { _ in plan.limits },
      isStray: { $0 != "stays" }, rollUps: keeper)
    let run = Task { await recorder.run() }
    func targets() async throws -> [SampleType: Set<String>] {
      var found: [SampleType: Set<String>] = [:]
      for type in SampleType.allCases {
        found[type] = Set(try await store.series(type: type, target: nil).map(\.target))
      }
      return found
    }
    func pass(days: Int) async throws {
      for _ in 0..<(4 * days) {
        try await clock.sleepers(atLeast: 1)
        clock.advance(by: configuration.interval)
      }
      try await clock.sleepers(atLeast: 1)
    }
    // A parcel of samples that wait is no target's.
    let parcel = Series(target: ReturnedSamples.target, metric: "Other", name: "waiting")
    try await store.append([Sample(series: parcel, type: .event, at: now(), value: 1)])
    for round in 0..<3 {
      let name = "box-\(round)"
      for second in stride(from: 0.0, to: 8000, by: 400) {
        for target in [name, "stays"] {
          let at = now() - 8000 + second
          await recorder.record([
            Sample(series: Series(target: target, metric: "Vitals.CPU"), at: at, value: ["percent": 1]),
            Sample(series: Series(target: target, metric: "Connection"), type: .event, at: at, value: 1),
          ])
        }
      }
      #expect(await recorder.flush())
      #expect(try await targets()[.realTime] == [name, "stays"])
      try await pass(days: 1)
      #expect(try await targets()[.event] == [name, "stays", ReturnedSamples.target])
      try await pass(days: 2)
    }
    #expect(
      try await targets() == [
        .realTime: ["stays"], .event: ["stays", ReturnedSamples.target], .variable: [], .hour: [], .day: [],
      ])
    let all = (0..<3).map { Series(target: "box-\($0)", metric: "Vitals.CPU") }
    #expect(try await store.rollUpStates(all) == [:])
    #expect(await recorder.statistics.lastError == nil)
    if kind == .sqlite, let folder = fixture.folder {
      let rows = try await sql(folder.file("syscrap.db"), "SELECT DISTINCT target FROM series ORDER BY target")
      #expect(rows == ["stays", ReturnedSamples.target])
    }
    run.cancel()
    await run.value
  }
}
