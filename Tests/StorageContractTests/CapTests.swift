import Foundation
import Model
import Storage
import Testing

@testable import MongoStorage

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
    try await fixture.mongo?.pool.run("keeping no past") { connection in
      // A replica set keeps what was deleted for five minutes more, for reads of the past; that room is not the caps'.
      _ = try connection.read(
        BSON { writer in
          writer.int32("setParameter", 1)
          writer.int32("minSnapshotHistoryWindowInSeconds", 0)
        }, database: "admin")
    }
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
