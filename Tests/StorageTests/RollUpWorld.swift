import Foundation
import Logging
import Model
import SQLiteStorage
import TestKit
import Testing

@testable import Storage

/// A wall clock that a test sets.
final class WallClock: Sendable {
  private let log = EventLog<Date>()
  init(_ start: Date) { log.append(start) }
  var now: Date { log.all.last ?? Date(timeIntervalSince1970: 0) }
  func set(_ date: Date) { log.append(date) }
}

/// Edits that count at once.
final class PlanBoard: Sendable {
  private let log = EventLog<RollUpPlan>()
  init(_ plan: RollUpPlan) { log.append(plan) }
  var plan: RollUpPlan { log.all.last ?? RollUpPlan() }
  func set(_ plan: RollUpPlan) { log.append(plan) }
}

/// A recorder that rolls up, over a store that may fail; what it is made of is thrown away by ``restart()``.
final class RollUpWorld {
  let store: AbortingStore
  let wall: WallClock
  let clock = ManualClock()
  let plans: PlanBoard
  private(set) var keeper: RollUpKeeper
  private(set) var recorder: Recorder
  var configuration = RollUpKeeper.Configuration()

  /// 2026-11-21T08:00:00Z.
  static let start: Int64 = 1_795_248_000

  init(_ inner: any WholeStorage, realTime: Int = 1_000_000, variable: Duration = .seconds(300)) {
    store = AbortingStore(inner)
    wall = WallClock(Date(timeIntervalSince1970: Double(Self.start)))
    var limits = HistoryLimits()
    limits.realTime = realTime
    (limits.variable, limits.hour, limits.day) = (.seconds(1 << 30), .seconds(1 << 30), .seconds(1 << 30))
    plans = PlanBoard(RollUpPlan(limits: limits, variable: variable))
    (keeper, recorder) = Self.make(store, clock, wall, plans, .init())
  }

  private static func make(
    _ store: AbortingStore, _ clock: ManualClock, _ wall: WallClock, _ plans: PlanBoard,
    _ configuration: RollUpKeeper.Configuration
  ) -> (RollUpKeeper, Recorder) {
    let keeper = RollUpKeeper(
      store: store, configuration: configuration, clock: clock, now: { wall.now }, plan: { _ in plans.plan })
    return (
      keeper,
      Recorder(
        store: store, clock: clock, now: { wall.now }, limits: { _ in plans.plan.limits }, rollUps: keeper)
    )
  }

  /// As after a kill: nothing that was in memory is left.
  func restart() async {
    await store.revive()
    (keeper, recorder) = Self.make(store, clock, wall, plans, configuration)
  }

  func advance(_ seconds: Int) {
    clock.advance(by: .seconds(seconds))
    wall.set(wall.now.addingTimeInterval(Double(seconds)))
  }

  /// Every bucket of every type against a recomputation from all samples that were ever appended.
  func check(_ note: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
    try await Self.check(store, await store.ledger, note, sourceLocation: sourceLocation)
  }

  /// Every bucket of every type against a recomputation from `ledger`.
  static func check(
    _ store: any Storage & RollUpStorage, _ ledger: [Series: [SampleKey: Value]], _ note: String,
    sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    for (series, samples) in ledger {
      let values = samples.filter { !$0.value.isNull }.map { (key: $0.key, value: $0.value) }
      for type in RollUpStanding.types {
        let read = try await store.samples(SampleQuery(series, type: type, limit: 1_000_000))
        let starts = read.map { SampleKey($0).second }
        var buckets = try await store.rollUps(series, type: type, starts: starts)
        for open in try await store.rollUpStates([series])[series]?.open ?? [] where open.type == type {
          buckets.removeAll { $0.start == open.start }
          buckets.append(open)
        }
        buckets.sort { $0.start < $1.start }
        #expect(buckets.map(\.start) == starts, "\(note) \(type)", sourceLocation: sourceLocation)
        var covered = 0
        for (bucket, sample) in zip(buckets, read) {
          let inside = values.filter { bucket.contains($0.key.second) }
          covered += inside.count
          if sample.value != RollUpOracle.value(inside) {
            Issue.record(
              """
              \(note) \(series.metric) \(type) \(bucket.start) of \(inside.count): \((sample.value ?? 0).json()) \
              is not \(RollUpOracle.value(inside).json())
              """,
              sourceLocation: sourceLocation)
          }
        }
        // Each sample is in one bucket, and in no other.
        #expect(covered == values.count, "\(note) \(series) \(type)", sourceLocation: sourceLocation)
      }
    }
  }

  /// Samples that were told to be in by a state before they were appended, and whose append a kill prevented.
  func acceptGhosts(_ batch: [Sample]) async throws {
    for sample in batch {
      guard let value = sample.value, await store.ledger[sample.series]?[SampleKey(sample)] == nil,
        let state = try await store.rollUpStates([sample.series])[sample.series],
        state.late.contains(SampleKey(sample))
      else { continue }
      await store.note(value, SampleKey(sample), sample.series)
    }
  }
}
