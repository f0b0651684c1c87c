internal import FoundationEssentials
package import Model
package import Storage

extension MongoStorage {
  package func append(_ samples: [Sample]) async throws(StorageError) {
    var rest = samples[...]
    while !rest.isEmpty {
      let part = rest
      let covered = try await pool.run("storing samples") { connection in
        let (command, covered) = SampleBatch.next(part)
        if let command { _ = try connection.write(command, ignoring: [MongoCodes.duplicateKey]) }
        return covered
      }
      rest = rest.dropFirst(covered)
    }
  }

  package func latest(_ series: Series, type: SampleType) async throws(StorageError) -> Sample? {
    try await samples(SampleQuery(series, type: type, limit: 1)).last
  }

  package func samples(_ query: SampleQuery) async throws(StorageError) -> [Sample] {
    let limit = max(0, query.limit)
    let window = SampleWindow(query)
    if limit == 0 || window.isEmpty { return [] }
    return try await pool.run("reading samples") { connection in
      let instances = try query.matchesName ? [query.series] : connection.instances(of: query.series, type: query.type)
      let found = try instances.flatMap { series in
        try query.type.isRollUp
          ? connection.newestRollUps(limit, of: series, type: query.type, in: window.starts).map { rollUp in
            try rollUp.sample(of: series)
          }
          : connection.newestSamples(limit, of: series, type: query.type, in: window)
      }
      // Oldest first before sorting, which keeps the order of equals: of two in one place, one without `n` is the older.
      return Array(found.reversed().sorted(by: SampleQuery.isListedBefore).suffix(limit))
    }
  }

  package func series(type: SampleType, target: String?) async throws(StorageError) -> [Series] {
    var found: Set<Series> = []
    var scan = SeriesScan(type: type, target: target)
    while !scan.isDone {
      let before = scan
      // A round trip for each series: now and then another call may have the thread.
      let (step, series) = try await pool.run("reading the list of series") { connection in
        var scan = before
        let series = try scan.advance(hops: 256, connection)
        return (scan, series)
      }
      found.formUnion(series)
      scan = step
    }
    if type.isRollUp {
      found.formUnion(
        try await pool.run("reading the list of series") { connection in
          try connection.seriesWithOpenBuckets(type: type, target: target)
        })
    }
    return found.sorted(by: SampleQuery.isListedBefore)
  }
}

extension MongoConnection {
  /// The newest that match, newest first.
  func newestSamples(
    _ limit: Int, of series: Series, type: SampleType, in window: SampleWindow
  ) throws -> [Sample] {
    // Within the seconds at both ends of the window, and among what others wrote, some may not match.
    var (asked, overflow) = limit.addingReportingOverflow(window.until % 1000 == 0 ? 0 : 16)
    while true {
      if overflow || asked > Self.samplesBound { asked = Self.samplesBound }
      let documents = try find(Self.newest(asked, of: series, type: type, in: window), limit: asked)
      let readable = try documents.compactMap { try SampleDocument.sample($0, series: series, type: type) }
      let found = Array(readable.lazy.filter { window.contains($0.at) }.prefix(limit))
      if found.count >= limit || documents.count < asked || asked == Self.samplesBound { return found }
      (asked, overflow) = asked.multipliedReportingOverflow(by: 4)
    }
  }

  /// Samples that one answer can hold; what is beyond is left out.
  private static let samplesBound = 1_000_000

  private static func newest(_ limit: Int, of series: Series, type: SampleType, in window: SampleWindow) -> BSON {
    BSON { writer in
      writer.string("find", SampleNames.aggregations)
      writer.document("filter") { writer in
        writer.sampleFields(series, type)
        writer.tags(window.tags)
      }
      writer.document("sort") { writer in
        writer.int32("tag", -1)
        writer.int32("n", -1)
      }
      writer.document("projection") { writer in
        writer.int32("_id", 0)
        for field in ["tag", "n", "value", "error", "updated"] { writer.int32(field, 1) }
      }
      writer.limit(limit)
    }
  }

  /// The instances of a metric that have samples of this type.
  func instances(of series: Series, type: SampleType) throws -> [Series] {
    var scan = SeriesScan(type: type, target: series.target, metric: series.metric)
    var found: Set<Series> = []
    while !scan.isDone { found.formUnion(try scan.advance(hops: 1024, self)) }
    if type.isRollUp {
      found.formUnion(
        try seriesWithOpenBuckets(type: type, target: series.target).filter { $0.metric == series.metric })
    }
    return Array(found)
  }
}
