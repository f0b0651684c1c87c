internal import Foundation
internal import Model
internal import TestKit
internal import Testing

@testable import App
@testable import Storage

/// By which limits history goes: those that the documents say now, also of what is not watched.
@Suite struct HistoryPlansTests {
  private static let now = Date(timeIntervalSince1970: 1_795_248_000)
  private let store = MemoryStorage()
  private let board = LimitsBoard()

  private static func series(_ target: String) -> Series { Series(target: target, metric: "Vitals.CPU") }

  private static func second(daysAgo days: Double) -> Int64 {
    let second = Int64(now.timeIntervalSince1970 - days * 86_400)
    return second - second % 3600
  }

  /// Closed hours, and a raw sample in the last of them.
  private func keep(_ target: String, daysAgo days: [Double]) async throws {
    func bucket(_ days: Double) -> RollUp {
      let start = Self.second(daysAgo: days)
      var content = RollUpContent()
      content.fold(["percent": 1], key: SampleKey(second: start, n: 0))
      return RollUp(type: .hour, start: start, length: 3600, leaves: content.leaves, layout: content.layout)
    }
    let through = SampleKey(second: Self.second(daysAgo: days.min() ?? 0), n: 0)
    try await store.append([
      Sample(series: Self.series(target), at: StoredTime.date(second: through.second, millisecond: 0), value: 1)
    ])
    try await store.store([
      RollUpUpdate(
        series: Self.series(target), closed: days.map(bucket), state: RollUpState(through: through, open: [], late: []))
    ])
  }

  /// How many days ago what is kept was.
  private func kept(_ target: String) async throws -> [Int] {
    try await store.samples(SampleQuery(Self.series(target), type: .hour)).map {
      Int((Self.now.timeIntervalSince($0.at) / 86_400).rounded(.down))
    }
  }

  /// Runs a recorder until it has swept.
  private func sweep() async throws {
    let clock = ManualClock()
    let now: @Sendable () -> Date = {
      let passed = clock.now.offset.components.seconds
      return Self.now.addingTimeInterval(Double(passed))
    }
    let board = board
    let keeper = RollUpKeeper(store: store, clock: clock, now: now, plan: { board.plan($0) })
    let recorder = Recorder(
      store: store, clock: clock, now: now, limits: { board.plan($0).limits }, isStray: { board.isStray($0) },
      rollUps: keeper)
    let run = Task { await recorder.run() }
    // Ages rest for an hour: the newest sample is old.
    for _ in 0..<3 {
      try await clock.sleepers(atLeast: 1)
      clock.advance(by: .seconds(3601))
    }
    try await clock.sleepers(atLeast: 1)
    run.cancel()
    await run.value
    #expect(await recorder.statistics.lastError == nil)
  }

  private func target(_ name: String, _ more: [String: Value] = [:]) -> Document {
    var fields: [String: Value] = ["target": .string(name), "host": "192.0.2.1"]
    fields.merge(more) { $1 }
    return Document(kind: .targets, id: name, fields: fields)
  }

  private func options(_ target: Value, hour: Value, id: String) -> Document {
    Document(
      kind: .aggregation_options, id: id, fields: ["target": target, "limits": ["hour": hour, "day": hour]])
  }

  @Test("What is switched off keeps its history as its documents say, what no document has as generic says")
  func documents() async throws {
    _ = try await store.put([
      options("generic", hour: "365d", id: "generic"), options("off", hour: "100d", id: "off"),
      options(["labels": ["role": "web"]], hour: "50d", id: "web"), options("left", hour: "500d", id: "left"),
      target("on"), target("off", ["enabled": false]), target("web", ["enabled": false, "labels": ["role": "web"]]),
      target("broken", ["port": "ssh"]), target("broken-off", ["port": "ssh", "enabled": false]),
    ])
    let names = ["on", "off", "web", "broken", "broken-off", "gone", "left"]
    for name in names { try await keep(name, daysAgo: [10, 75, 200, 400, 3000]) }
    let book = DocumentBook(storage: store, checks: .standard, now: { Self.now })
    let snapshot = try await book.refresh().snapshot
    #expect(snapshot.plans.keys.sorted() == ["on"])
    board.set(snapshot.histories)
    try await sweep()
    var found: [String: [Int]] = [:]
    for name in names { found[name] = try await kept(name) }
    #expect(
      found == [
        "on": [200, 75, 10], "off": [75, 10], "web": [10], "broken": [3000, 400, 200, 75, 10],
        "broken-off": [3000, 400, 200, 75, 10], "gone": [200, 75, 10], "left": [400, 200, 75, 10],
      ])
  }

  @Test("Nothing goes before the documents were read")
  func unread() async throws {
    try await keep("box", daysAgo: [10, 400, 3000])
    try await keep("gone", daysAgo: [3000])
    try await sweep()
    #expect(try await kept("box") == [3000, 400, 10])
    #expect(try await kept("gone") == [3000])
    #expect(try await store.samples(SampleQuery(Self.series("gone"))).count == 1)
    // Then it does.
    board.set(HistoryPlans(DocumentSet(), unread: []))
    try await sweep()
    #expect(try await kept("box") == [])
    #expect(try await store.samples(SampleQuery(Self.series("box"))).count == 1)
    #expect(try await store.samples(SampleQuery(Self.series("gone"))) == [])
    #expect(try await store.rollUpStates([Self.series("box"), Self.series("gone")]).keys.map(\.target) == ["box"])
  }
}
