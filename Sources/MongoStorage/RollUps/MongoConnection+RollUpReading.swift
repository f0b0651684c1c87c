internal import Model
internal import Storage

extension MongoConnection {
  /// The newest buckets that start in a range, newest first; the open one, as last stored, included.
  func newestRollUps(
    _ limit: Int, of series: Series, type: SampleType, in starts: Range<Int64>
  ) throws -> [RollUp] {
    if limit <= 0 || starts.isEmpty { return [] }
    var found: [Int64: RollUp] = [:]
    if let open = try openBuckets(of: series).last(where: { $0.type == type }), starts.contains(open.start) {
      found[open.start] = open
    }
    var last: Int64? = nil
    var count = 0
    while count < limit {
      // A block holds a dozen buckets and more, but may hold a single one.
      let blocks = min(limit, 100)
      let documents = try find(
        BSON { writer in
          writer.string("find", SampleNames.rollUps)
          writer.document("filter") { $0.blocks(of: series, type, in: starts, before: last) }
          writer.document("sort") { $0.int32("_id", -1) }
          writer.limit(blocks)
        }, limit: blocks)
      for document in documents {
        let (block, rollUps) = try RollUpBlock.rollUps(document)
        // A bucket that is closed is complete; the state may be from before.
        for rollUp in rollUps where starts.contains(rollUp.start) { found[rollUp.start] = rollUp }
        count += rollUps.lazy.filter { starts.contains($0.start) }.count
        last = block.start
        if count >= limit { break }
      }
      if documents.count < blocks { break }
    }
    return Array(found.values.sorted { $0.start > $1.start }.prefix(limit))
  }

  func openBuckets(of series: Series) throws -> [RollUp] {
    let documents = try find(
      BSON { writer in
        writer.string("find", SampleNames.rollUpStates)
        writer.document("filter") { RollUpStateDocument.writeID(series, into: &$0) }
        writer.document("projection") { $0.int32("open", 1) }
        writer.int32("limit", 1)
      }, limit: 1)
    return try documents.first.map(RollUpStateDocument.open) ?? []
  }

  /// Series whose only bucket of this type may be an open one.
  func seriesWithOpenBuckets(type: SampleType, target: String?) throws -> [Series] {
    try find(
      BSON { writer in
        writer.string("find", SampleNames.rollUpStates)
        writer.document("filter") { writer in
          if let target {
            writer.document("_id") { writer in
              writer.document("$gte") { $0.string("target", target) }
              writer.document("$lt") { writer in
                writer.string("target", target)
                writer.value("metric", BSONValue.other(type: 0x7F, []))
              }
            }
          }
          writer.string("open.type", type.rawValue)
        }
        writer.document("projection") { $0.int32("_id", 1) }
      }, limit: Self.statesBound
    ).map(RollUpStateDocument.series)
  }

  /// As many series as are remembered elsewhere; see ``RetentionPlanner/historiesBound``.
  private static let statesBound = RetentionPlanner.historiesBound
}

extension BSONWriter {
  /// The blocks of a series in which buckets with these starts can lie, up to but not including the block at `before`.
  mutating func blocks(of series: Series, _ type: SampleType, in starts: Range<Int64>, before: Int64? = nil) {
    document("_id") { writer in
      writer.rollUpID("$gte", series, type, block: RollUpBlock.start(of: starts.lowerBound, type))
      if let before {
        writer.rollUpID("$lt", series, type, block: before)
      } else {
        writer.rollUpID("$lte", series, type, block: RollUpBlock.start(of: starts.upperBound, type))
      }
    }
  }
}
