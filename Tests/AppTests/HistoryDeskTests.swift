internal import App
internal import Foundation
internal import Model
internal import Testing

@testable import Storage

/// Which history is taken where nobody names a type.
@Suite struct HistoryDeskTests {
  /// 2026-11-21, 08:00 UTC, in seconds since 1970.
  private static let eight: Int64 = 1_795_248_000
  private static let midnight = eight - 8 * 3600
  private static let series = Series(target: "web", metric: "Vitals.CPU")

  /// The seconds of a day's hours and minutes, counted from 2026-11-21.
  private static func clock(_ hour: Int64, _ minute: Int64 = 0) -> Int64 { midnight + hour * 3600 + minute * 60 }

  /// The type and the number of samples that are taken at `now` of what reaches back to `since`.
  private func taken(
    at now: Int64, since: Int64, limit: Int = 1000, realTime: [Int64] = [], variable: [Int64] = [], hour: [Int64] = [],
    day: [Int64] = []
  ) async throws -> String {
    let store = MemoryStorage()
    try await store.append(
      realTime.map {
        Sample(series: Self.series, at: StoredTime.date(second: $0, millisecond: 0), value: ["percent": 1])
      })
    var closed: [RollUp] = []
    for (type, length, starts) in [
      (SampleType.variable, Int64(300), variable), (.hour, 3600, hour), (.day, 86_400, day),
    ] {
      for start in starts {
        var content = RollUpContent()
        content.fold(["percent": 1], key: SampleKey(second: start, n: 0))
        closed.append(
          RollUp(type: type, start: start, length: length, leaves: content.leaves, layout: content.layout))
      }
    }
    try await store.store([
      RollUpUpdate(
        series: Self.series, closed: closed,
        state: RollUpState(through: SampleKey(second: now, n: 0), open: [], late: []))
    ])
    let now = StoredTime.date(second: now, millisecond: 0)
    let found = try await HistoryDesk(storage: store, now: { now }).history(
      HistoryRequest(
        target: "web", metric: "Vitals.CPU", since: .at(StoredTime.date(second: since, millisecond: 0)), limit: limit))
    return "\(found.first?["type"]?.text ?? "none") \(found.count)"
  }

  @Test("A series of six minutes is shown as it came, however far back is asked, whatever the buckets' starts")
  func young() async throws {
    let begin = Self.clock(8, 57)
    let samples = (0..<36).map { begin + $0 * 10 }
    for since in [
      Self.clock(8, 54), Self.clock(8, 3), Self.clock(8), Self.clock(2), Self.midnight, Self.midnight - 86_400,
    ] {
      let found = try await taken(
        at: Self.clock(9, 3), since: since, realTime: samples, variable: [Self.clock(8, 55), Self.clock(9)],
        hour: [Self.clock(8), Self.clock(9)], day: [Self.midnight])
      #expect(found == "RT 36", "since \(since - Self.midnight)")
    }
    // One bucket of each.
    #expect(
      try await taken(
        at: Self.clock(8, 59), since: Self.clock(8, 54), realTime: Array(samples.prefix(12)),
        variable: [Self.clock(8, 55)], hour: [Self.clock(8)], day: [Self.midnight]) == "RT 12")
  }

  @Test("What came in first is gone: the finest that has it is taken")
  func pruned() async throws {
    // Since two; of what came only the last hour is there.
    let samples = (0..<60).map { Self.clock(11) + $0 * 60 }
    let variable = stride(from: Self.clock(2), to: Self.clock(12), by: 300).map { $0 }
    let hour = (2..<12).map { Self.clock($0) }
    let day = [Self.midnight]
    for (since, expected) in [
      (Self.clock(11), "RT 60"), (Self.clock(11, 30), "RT 30"), (Self.clock(10), "variable 24"),
      (Self.clock(2), "variable 120"), (Self.clock(1), "variable 120"), (Self.midnight, "variable 120"),
    ] {
      let found = try await taken(
        at: Self.clock(12), since: since, realTime: samples, variable: variable, hour: hour, day: day)
      #expect(found == expected, "since \(since - Self.midnight)")
    }
  }

  @Test("Of an old series a finer one that begins later is not taken for the beginning")
  func old() async throws {
    // Ten days, of which hours are there for the last one only.
    let day = (0...10).map { Self.midnight - $0 * 86_400 }
    let hour = (0..<24).map { Self.clock(12) - 86_400 + $0 * 3600 }
    let samples = (0..<60).map { Self.clock(11) + $0 * 60 }
    for (since, expected) in [
      (Self.clock(11), "RT 60"), (Self.clock(3), "hour 9"), (Self.clock(6) - 86_400, "day 2"),
      (Self.midnight - 20 * 86_400, "day 11"),
    ] {
      let found = try await taken(at: Self.clock(12), since: since, realTime: samples, hour: hour, day: day)
      #expect(found == expected, "since \(since - Self.midnight)")
    }
  }

  @Test("What does not fit into the limit is left for what does")
  func cut() async throws {
    let samples = (0..<60).map { Self.clock(11) + $0 * 60 }
    let variable = stride(from: Self.clock(11), to: Self.clock(12), by: 300).map { $0 }
    #expect(
      try await taken(
        at: Self.clock(12), since: Self.clock(11), limit: 50, realTime: samples, variable: variable,
        hour: [Self.clock(11)], day: [Self.midnight]) == "variable 12")
  }
}
