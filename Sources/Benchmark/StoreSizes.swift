internal import Foundation
internal import Logging
internal import Model
internal import MongoStorage
internal import SQLiteStorage
internal import Storage

/// Bytes on disk of what was stored: indexes included, everything brought into the files before.
struct StoreSizes {
  struct Row: Codable, Sendable {
    var what: String
    var store: String
    /// Samples or buckets.
    var count: Int
    var bytes: Int
    var bytes_each: Double
    /// Numbers in their values; of a bucket, the fields that it rolls up.
    var bytes_per_number: Double
  }

  private(set) var rows: [Row] = []

  private mutating func add(_ what: String, _ store: String, count: Int, numbers: Int, bytes: Int) {
    rows.append(
      Row(
        what: what, store: store, count: count, bytes: bytes, bytes_each: Double(bytes) / Double(max(count, 1)),
        bytes_per_number: Double(bytes) / Double(max(numbers, 1))))
  }

  /// Raw samples, then buckets of a few series over days, each in stores of their own.
  static func measure(
    _ mongo: LocalMongo, folder: String, plain: VitalsSamples, file: String, raw: Int, _ quiet: Logger
  ) async throws -> StoreSizes {
    var sizes = StoreSizes()
    let count = plain.samples.count
    sizes.add("RT", "raw JSON", count: count, numbers: plain.numbers, bytes: raw)
    let empty = try await fileSize(folder + "/empty.db", quiet) { _ in }
    let bytes = try await fileSize(folder + "/raw.db", quiet) { try await fill($0, plain.samples) }
    sizes.add("RT", "SQLiteStorage", count: count, numbers: plain.numbers, bytes: bytes - empty)
    let store = try await MongoStorage.open(.init(uri: mongo.address("raw")), logger: quiet)
    try await fill(store, plain.samples)
    await store.close()
    sizes.add(
      "RT", "MongoStorage", count: count, numbers: plain.numbers, bytes: try mongo.size("raw", ["aggregations"]))
    _ = try mongo.ask(["do": "series", "file": file])
    sizes.add(
      "RT", "time series", count: count, numbers: plain.numbers,
      bytes: try mongo.size("series", ["samples", "system.buckets.samples"]))

    // Two and a half days of two targets, a sample a minute.
    let days = VitalsSamples(targets: 2, count: 8 * 3600, every: 60)
    let rolled = days.numbers / max(days.samples.count, 1)
    let buckets = Counter()
    let rollUps = try await fileSize(folder + "/roll-ups.db", quiet) { store in
      await buckets.set(try await rollUp(store, days.samples))
    }
    let total = await buckets.count
    sizes.add("roll-ups", "SQLiteStorage", count: total, numbers: total * rolled, bytes: rollUps - empty)
    let rolledStore = try await MongoStorage.open(.init(uri: mongo.address("rolled")), logger: quiet)
    let mongoTotal = try await rollUp(rolledStore, days.samples)
    await rolledStore.close()
    sizes.add(
      "roll-ups", "MongoStorage", count: mongoTotal, numbers: mongoTotal * rolled,
      bytes: try mongo.size("rolled", ["roll_ups", "roll_up_states"]))
    return sizes
  }

  private actor Counter {
    var count = 0
    func set(_ value: Int) { count = value }
  }

  private static func fill(_ store: any Storage, _ samples: [Sample]) async throws {
    for start in stride(from: 0, to: samples.count, by: 500) {
      try await store.append(Array(samples[start..<min(start + 500, samples.count)]))
    }
  }

  /// - Returns: how many buckets there are.
  private static func rollUp(_ store: any Storage & RollUpStorage, _ samples: [Sample]) async throws -> Int {
    // Nothing is too old to be kept.
    var limits = HistoryLimits()
    (limits.variable, limits.hour, limits.day) = (.seconds(1e9), .seconds(1e9), .seconds(1e9))
    let plan = RollUpPlan(limits: limits)
    let keeper = RollUpKeeper(store: store) { _ in plan }
    for start in stride(from: 0, to: samples.count, by: 500) {
      let part = Array(samples[start..<min(start + 500, samples.count)])
      _ = await keeper.prepare(part)
      await keeper.fold(part)
      _ = await keeper.saveAll()
    }
    var count = 0
    for type in [SampleType.variable, .hour, .day] {
      for series in try await store.series(type: type, target: nil) {
        count += try await store.samples(SampleQuery(series, type: type, limit: 1_000_000)).count
      }
    }
    return count
  }

  private static func fileSize(
    _ path: String, _ quiet: Logger, _ work: (SQLiteStorage) async throws -> Void
  ) async throws -> Int {
    let store = try await SQLiteStorage.open(.init(path: path), logger: quiet)
    try await work(store)
    await store.close()
    return try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? 0
  }

  var text: String {
    let lines = rows.map { row in
      row.what.padding(toLength: 9, withPad: " ", startingAt: 0)
        + row.store.padding(toLength: 15, withPad: " ", startingAt: 0)
        + String(format: "%8d  %11.1f  %16.2f", row.count, row.bytes_each, row.bytes_per_number)
    }
    return (["what     store             count   bytes each  bytes per number"] + lines).joined(separator: "\n")
  }
}

extension LocalMongo {
  /// Bytes of these collections on disk with their indexes.
  func size(_ database: String, _ collections: [String]) throws -> Int {
    let answer = try ask(["do": "sizes", "database": database, "collections": collections])
    return answer.values.reduce(0) { sum, stats in
      let stats = stats as? [String: Any] ?? [:]
      return sum + (stats["data"] as? Int ?? 0) + (stats["indexes"] as? Int ?? 0)
    }
  }
}
