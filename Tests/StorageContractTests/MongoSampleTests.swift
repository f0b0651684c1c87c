import Foundation
import Model
import Storage
import TestKit
import Testing

@testable import MongoStorage

/// What others may do with the collections: they are theirs, too.
@Suite("Samples in MongoDB", .enabled(if: StoreKind.isMongoExpected, "no mongod"))
struct MongoSampleTests {
  private let cpu = Series(target: "web-1", metric: "Vitals.CPU")

  private func open() async throws -> (StoreFixture, MongoStorage) {
    let fixture = try await StoreKind.mongo.make()
    return (fixture, try #require((fixture.store as Any) as? MongoStorage))
  }

  private func insert(_ store: MongoStorage, _ documents: [BSON]) async throws {
    try await store.pool.run("inserting") { connection in
      _ = try connection.write(SampleBatch.insert(documents, into: SampleNames.aggregations))
    }
  }

  /// 2026-11-21T08:00:00Z and so many seconds, as tag.
  private func tag(_ second: Int64) -> Int64 { 20_261_121_080_000 + second }

  @Test("stand in the contract's shape, in its types")
  func shape() async throws {
    let (fixture, store) = try await open()
    defer { fixture.end() }
    try await store.append([
      Sample(
        series: Series(target: "a", metric: "POL.Port", name: "ssh"), at: time(3.25), n: 2, value: ["x": 1, "y": 0.5]),
      Sample(series: cpu, type: .event, at: time(4), error: "no answer"),
    ])
    let documents = try await store.pool.run("reading") { connection in
      try connection.find(
        BSON { writer in
          writer.string("find", SampleNames.aggregations)
          writer.document("sort") { $0.int32("tag", 1) }
          writer.document("projection") { $0.int32("_id", 0) }
        })
    }
    #expect(
      documents == [
        BSON { writer in
          writer.string("target", "a")
          writer.string("metric", "POL.Port")
          writer.string("name", "ssh")
          writer.string("type", "RT")
          writer.int("tag", tag(3))
          writer.int("n", 2)
          writer.document("value") { writer in
            writer.int("x", 1)
            writer.double("y", 0.5)
          }
          writer.date("updated", milliseconds: 1_795_248_003_250)
        },
        BSON { writer in
          writer.string("target", "web-1")
          writer.string("metric", "Vitals.CPU")
          writer.string("type", "event")
          writer.int("tag", tag(4))
          writer.int("n", 0)
          writer.string("error", "no answer")
          writer.date("updated", milliseconds: 1_795_248_004_000)
        },
      ])
  }

  @Test("are read however other tools wrote them, and what is none does no harm")
  func foreign() async throws {
    let (fixture, store) = try await open()
    defer { fixture.end() }
    func document(_ body: (inout BSONWriter) -> Void) -> BSON {
      BSON { writer in
        writer.string("target", "web-1")
        writer.string("metric", "Vitals.CPU")
        writer.string("type", "RT")
        body(&writer)
      }
    }
    try await insert(
      store,
      [
        // Without `n` and `updated`; the tag as a double, as a shell writes it.
        document { writer in
          writer.double("tag", Double(tag(1)))
          writer.int32("value", 7)
        },
        // A null as name, `n` as int32, `updated` some other time.
        document { writer in
          writer.null("name")
          writer.int("tag", tag(2))
          writer.int32("n", 1)
          writer.document("value") { $0.double("percent", 3) }
          writer.date("updated", milliseconds: 1_795_250_000_000)
        },
        // Neither value nor error.
        document { $0.int("tag", tag(3)) },
        // No times, or none that there is.
        document { $0.string("tag", "20261121080004") },
        document { $0.int("tag", 20_261_399_000_000) },
        document { $0.double("tag", .nan) },
        document { $0.double("tag", 20_261_121_080_004.5) },
        document { _ in },
        // Not even series.
        BSON { writer in
          writer.int("target", 5)
          writer.int("tag", tag(5))
        },
        BSON { writer in
          writer.string("target", "web-1")
          writer.string("metric", "Vitals.CPU")
          writer.int("name", 5)
          writer.bool("type", true)
        },
        BSON { writer in
          writer.string("target", "web-1")
          writer.string("metric", "Z")
          writer.bool("type", true)
        },
        BSON(),
      ])
    let ours = Sample(series: cpu, at: time(1.5), value: 8)
    let other = Sample(series: Series(target: "web-1", metric: "Vitals.RAM", name: "x"), at: time(1), value: 1)
    try await store.append([ours, other])
    let expected = [
      Sample(series: cpu, at: time(1), value: 7), ours, Sample(series: cpu, at: time(2), n: 1, value: ["percent": 3.0]),
      Sample(series: cpu, at: time(3), value: .null),
    ]
    #expect(try await store.samples(SampleQuery(cpu, limit: 4)) == expected)
    #expect(try await store.samples(SampleQuery(cpu)) == expected)
    #expect(try await store.samples(SampleQuery(cpu, matchesName: false)) == expected)
    #expect(try await store.samples(SampleQuery(cpu, since: time(1.25), until: time(2.5))) == Array(expected[1...2]))
    #expect(try await store.latest(cpu, type: .realTime) == expected[3])
    #expect(try await store.series(type: .realTime, target: nil) == [cpu, other.series])
    #expect(try await store.series(type: .event, target: "web-1") == [])
    let page = try await store.export(.samples, after: nil, limit: 100)
    #expect(Set(page.items) == Set((expected + [other]).map { .sample($0) }) && page.next == nil)
    // Two whose tags are no times are newer than all. Of two in one second the one without `n` is the older.
    #expect(try await store.prune([RetentionRule(cpu, type: .realTime, keep: .newest(5))]) == 1)
    #expect(try await store.samples(SampleQuery(cpu)) == Array(expected.dropFirst()))
    #expect(try await store.prune([RetentionRule(cpu, type: .realTime, keep: .newest(4))]) == 1)
    #expect(try await store.samples(SampleQuery(cpu)) == Array(expected.dropFirst(2)))
  }

  @Test("that are too large leave an error in their place")
  func large() async throws {
    let (fixture, store) = try await open()
    defer { fixture.end() }
    let good = Sample(series: cpu, at: time(1), value: 1)
    let fits = Sample(
      series: cpu, at: time(2), value: .string(String(repeating: "x", count: SampleDocument.bytesBound - 200)))
    try await store.append([
      Sample(series: cpu, at: time(), value: .string(String(repeating: "x", count: 17 << 20))), good, fits,
    ])
    let stored = try await store.samples(SampleQuery(cpu))
    #expect(stored.count == 3 && stored.dropFirst() == [good, fits])
    #expect(stored.first?.error?.hasPrefix("the value takes 1782") == true)
  }

  @Test("whose roll-ups do not fit into a document hold up no others")
  func largeRollUps() async throws {
    let (fixture, store) = try await open()
    defer { fixture.end() }
    let start: Int64 = 1_795_248_000
    func bucket(_ number: Int64, _ count: Int) -> RollUp {
      RollUp(type: .variable, start: start + number, length: 1, encoded: Array(repeating: 7, count: count))
    }
    // 24 MiB in one hour, and one bucket that is too large by itself.
    let large = (0..<32).map { bucket($0, 3 << 18) } + [bucket(40, 2 << 20)]
    let other = Series(target: "web-2", metric: "Vitals.CPU")
    let state = RollUpState(through: SampleKey(second: start + 50, n: 0), open: [], late: [])
    try await store.store([
      RollUpUpdate(series: cpu, closed: large, state: state),
      RollUpUpdate(series: other, closed: [bucket(0, 5)], state: state),
    ])
    #expect(try await store.rollUpStates([cpu, other]) == [cpu: state, other: state])
    #expect(try await store.rollUps(other, type: .variable, starts: [start]) == [bucket(0, 5)])
    let stored = try await store.rollUps(cpu, type: .variable, starts: large.map(\.start))
    #expect(stored.count >= 10 && stored.count < 32)
    #expect(stored == Array(large.prefix(stored.count)))
  }

  @Test("are found and pruned by the index alone")
  func plans() async throws {
    let (fixture, store) = try await open()
    defer { fixture.end() }
    try await store.append(
      (0..<50).flatMap { second in
        ["a", "b", "c"].map { Sample(series: Series(target: $0, metric: "M"), at: time(Double(second)), value: 1) }
      })
    let command = BSON { writer in
      writer.string("find", SampleNames.aggregations)
      writer.document("filter") { writer in
        writer.sampleFields(Series(target: "b", metric: "M"), .realTime)
        writer.tags(SampleWindow().tags)
      }
      writer.document("sort") { writer in
        writer.int32("tag", -1)
        writer.int32("n", -1)
      }
      writer.limit(5)
    }
    let statistics = try await store.pool.run("explaining") { connection in
      try connection.read(
        BSON { writer in
          writer.raw("explain", command)
          writer.string("verbosity", "executionStats")
        })["executionStats"]?.documentValue
    }
    #expect(statistics?["totalKeysExamined"]?.intValue == 5)
    #expect(statistics?["totalDocsExamined"]?.intValue == 5)
  }
}
