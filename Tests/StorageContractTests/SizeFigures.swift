import Foundation
import Model
import TestKit
import Testing

@testable import MongoStorage
@testable import Storage

/// Bytes on disk per stored sample, beside the same samples as JSON. Figures, not assertions: run with SYSCRAP_FIGURES=1.
@Suite(
  "Figures: bytes on disk", .enabled(if: ProcessInfo.processInfo.environment["SYSCRAP_FIGURES"] == "1"), .serialized)
struct SizeFigures {
  private static let targets = 20
  private static let perSeries = 200

  /// What a fleet of small servers gives: the metrics that every target has, a sample every five seconds.
  private func samples(targets: Int, perSeries: Int) -> [Sample] {
    var generator = SeededGenerator(state: 1)
    func figure(_ bound: Double, _ places: Double = 100) -> Value {
      .double((Double.random(in: 0..<bound, using: &generator) * places).rounded() / places)
    }
    func bytes(_ gigabytes: Double) -> Value {
      .int(Int64(Double.random(in: 0.5..<1, using: &generator) * gigabytes * 262_144) * 4096)
    }
    var all: [Sample] = []
    for number in 0..<perSeries {
      for target in 0..<targets {
        let name = "web-\(target).example.org"
        func add(_ metric: String, _ value: Value) {
          all.append(
            Sample(
              series: Series(target: name, metric: metric),
              at: time(Double(number) * 5 + Double(target) / 64), value: value))
        }
        add(
          "Vitals.CPU",
          [
            "percent": figure(100), "user": figure(60), "nice": 0.0, "system": figure(20), "idle": figure(100),
            "iowait": figure(5), "irq": 0.0, "softirq": figure(1), "steal": figure(1), "load1": figure(4),
            "load5": figure(4), "load15": figure(4), "cores": 4,
          ])
        add(
          "Vitals.RAM",
          [
            "total": 8_324_587_520, "used": bytes(6), "free": bytes(1), "available": bytes(3), "buffers": bytes(0.1),
            "cached": bytes(2), "slab": bytes(0.3), "percent": figure(100),
          ])
        add(
          "Vitals.Swap",
          [
            "total": 2_147_479_552, "used": bytes(1), "free": bytes(1), "percent": figure(10), "in_per_second": 0.0,
            "out_per_second": 0.0,
          ])
        add(
          "Vitals.Disk",
          .array(
            [("/", "/dev/vda1"), ("/var", "/dev/vda2"), ("/home", "/dev/vdb1")].map { mount, device in
              [
                "mount": .string(mount), "device": .string(device), "fstype": "ext4", "size": 42_140_479_488,
                "used": bytes(30), "available": bytes(10), "percent": figure(100), "inodes": 2_621_440,
                "inodes_used": .int(Int64.random(in: 100_000..<200_000, using: &generator)),
                "inodes_percent": figure(10),
              ]
            }))
        add(
          "Host",
          [
            "boot_id": "0f7d7f4e-6d51-4a0e-9b37-0d7b1c6f2f3a", "uptime_seconds": .int(Int64(100_000 + number * 5)),
            "clock_skew_ms": figure(50, 1),
          ])
      }
    }
    return all
  }

  private func json(_ sample: Sample) throws -> Int { try JSONEncoder().encode(sample.document).count }

  private func report(_ what: String, count: Int, bytes: Int64, indexes: Int64 = 0) {
    let each = Double(bytes + indexes) / Double(max(1, count))
    print(
      "FIGURE \(what): \(count) items, \(bytes) bytes + indexes \(indexes) = \((each * 10).rounded() / 10) bytes each")
  }

  private func sizes(_ store: MongoStorage, _ collection: String) async throws -> (Int64, Int64) {
    try await store.pool.run("measuring") { connection in
      let stats = try connection.read(BSON { $0.string("collStats", collection) })
      return (stats["storageSize"]?.int64Value ?? 0, stats["totalIndexSize"]?.int64Value ?? 0)
    }
  }

  @Test("of RT samples: JSON, SQLite, MongoDB's documents, MongoDB's time-series collection")
  func raw() async throws {
    let all = samples(targets: Self.targets, perSeries: Self.perSeries)
    report("RT as JSON", count: all.count, bytes: Int64(try all.reduce(0) { $0 + (try json($1)) }))

    let sqlite = try await StoreKind.sqlite.make()
    defer { sqlite.end() }
    try await append(all, to: sqlite.store)
    await sqlite.store.close()
    report("RT in SQLite", count: all.count, bytes: try await sqlite.bytes())

    let mongo = try await StoreKind.mongo.make()
    defer { mongo.end() }
    let store = try #require((mongo.store as Any) as? MongoStorage)
    try await append(all, to: store)
    try await mongo.checkpoint()
    let documents = try await sizes(store, SampleNames.aggregations)
    report("RT in MongoDB", count: all.count, bytes: documents.0, indexes: documents.1)

    try await store.pool.run("making a time-series collection") { connection in
      try connection.administer(
        BSON { writer in
          writer.string("create", "series")
          writer.document("timeseries") { writer in
            writer.string("timeField", "updated")
            writer.string("metaField", "series")
            writer.string("granularity", "seconds")
          }
        })
      for start in stride(from: 0, to: all.count, by: 1000) {
        let part = all[start..<min(start + 1000, all.count)].map { sample in
          BSON { writer in
            writer.document("series") { writer in
              writer.string("target", sample.series.target)
              writer.string("metric", sample.series.metric)
              writer.string("type", sample.type.rawValue)
            }
            writer.int("tag", sample.tag)
            writer.int("n", Int64(sample.n))
            writer.value("value", sample.value ?? .null)
            writer.date("updated", sample.at)
          }
        }
        _ = try connection.write(SampleBatch.insert(part, into: "series"))
      }
    }
    try await mongo.checkpoint()
    let series = try await sizes(store, "series")
    report("RT in a time-series collection of MongoDB", count: all.count, bytes: series.0, indexes: series.1)
  }

  /// In the order and portions in which a service stores them: what came within a second.
  private func append(_ samples: [Sample], to store: any Storage) async throws {
    for start in stride(from: 0, to: samples.count, by: 100) {
      try await store.append(Array(samples[start..<min(start + 100, samples.count)]))
    }
  }

  @Test("of roll-ups: JSON, SQLite, MongoDB's blocks, and one document each")
  func rolledUp() async throws {
    let counts: [(SampleType, Int, Int64)] = [(.variable, 12, 300), (.hour, 72, 3600), (.day, 30, 86_400)]
    // Each bucket has figures of its own, as many as show what they compress to.
    let perBucket = 12
    let bySeries = Dictionary(
      grouping: samples(targets: 8, perSeries: perBucket * counts.reduce(0) { $0 + $1.1 }), by: \.series)
    let midnight: Int64 = 1_795_248_000 / 86_400 * 86_400
    var updates: [RollUpUpdate] = []
    for (series, samples) in bySeries {
      var rest = samples[...]
      let closed = counts.flatMap { type, count, length in
        (0..<count).map { number in
          let start = midnight + Int64(number) * length
          var content = RollUpContent()
          for sample in rest.prefix(perBucket) {
            guard let value = sample.value else { continue }
            // Within the bucket.
            content.fold(value, key: SampleKey(second: start + Int64.random(in: 0..<length), n: 0))
          }
          rest = rest.dropFirst(perBucket)
          return RollUp(type: type, start: start, length: length, leaves: content.leaves, layout: content.layout)
        }
      }
      updates.append(
        RollUpUpdate(
          series: series, closed: closed,
          state: RollUpState(through: SampleKey(second: midnight, n: 0), open: Array(closed.prefix(1)), late: [])))
    }
    let all = updates.flatMap { update in update.closed.map { (update.series, $0) } }
    report(
      "roll-ups as JSON", count: all.count, bytes: Int64(try all.reduce(0) { $0 + (try json($1.1.sample(of: $1.0))) }))
    report("roll-ups encoded", count: all.count, bytes: Int64(all.reduce(0) { $0 + $1.1.encoded.count }))

    let sqlite = try await StoreKind.sqlite.make()
    defer { sqlite.end() }
    try await ((sqlite.store as Any) as? any RollUpStorage)?.store(updates)
    await sqlite.store.close()
    report("roll-ups in SQLite", count: all.count, bytes: try await sqlite.bytes())

    let mongo = try await StoreKind.mongo.make()
    defer { mongo.end() }
    let store = try #require((mongo.store as Any) as? MongoStorage)
    try await store.store(updates)
    try await mongo.checkpoint()
    let blocks = try await sizes(store, SampleNames.rollUps)
    report("roll-ups in MongoDB", count: all.count, bytes: blocks.0, indexes: blocks.1)
    let states = try await sizes(store, SampleNames.rollUpStates)
    report("roll-up states in MongoDB", count: updates.count, bytes: states.0, indexes: states.1)
    let plain = try all.map { try $0.1.sample(of: $0.0) }
    try await store.pool.run("storing plain documents") { connection in
      for start in stride(from: 0, to: plain.count, by: 1000) {
        let part = plain[start..<min(start + 1000, plain.count)]
        try connection.write { writer in
          writer.string("insert", SampleNames.aggregations)
          writer.array("documents") { for sample in part { SampleDocument.write(sample, into: &$0) } }
        }
      }
    }
    try await mongo.checkpoint()
    let documents = try await sizes(store, SampleNames.aggregations)
    report("roll-ups as documents of MongoDB", count: plain.count, bytes: documents.0, indexes: documents.1)
  }
}
