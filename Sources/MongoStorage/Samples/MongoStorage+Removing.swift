package import FoundationEssentials
package import Model
package import Storage

extension MongoStorage {
  package func remove(_ series: [Series], quietSince date: Date) async throws(StorageError) -> Int {
    let fence = self.fence
    var count = 0
    var rest = series[...]
    while !rest.isEmpty {
      // Up to two looks for each series: a thread is not held for long.
      let part = Array(rest.prefix(100))
      rest = rest.dropFirst(part.count)
      count += try await pool.run("removing series") { connection in
        let quiet = try connection.quiet(part, since: date, fence: fence)
        if quiet.isEmpty { return 0 }
        // States first: a series that has samples is found again after a crash, one that has a state alone is not.
        _ = try connection.write(
          Removal.delete(
            SampleNames.rollUpStates,
            quiet.map { one in
              BSON { writer in
                writer.document("q") { writer in
                  RollUpStateDocument.writeID(one, into: &writer)
                  writer.document("fence") { $0.int("$lte", fence) }
                }
                writer.int32("limit", 1)
              }
            }))
        var removal = Removal()
        for one in quiet {
          for type in [SampleType.realTime, .event] { removal.samples.append(Removal.statement(one, type) { _ in }) }
        }
        try removal.flush(connection)
        return removal.count
      }
    }
    return count
  }
}

extension MongoConnection {
  /// Those of the series of which nothing came from an instant on.
  fileprivate func quiet(_ series: [Series], since date: Date, fence: Int64) throws -> [Series] {
    let second = SampleTag.secondUp(StoredTime.milliseconds(date))
    let loud = try find(
      BSON { writer in
        writer.string("find", SampleNames.rollUpStates)
        writer.document("filter") { writer in
          writer.document("_id") { writer in
            writer.array("$in") { writer in
              for one in series { writer.document { $0.seriesFields(one) } }
            }
          }
          writer.array("$or") { writer in
            writer.document { $0.document("through.second") { $0.int("$gte", second) } }
            writer.document { $0.document("fence") { $0.int("$gt", fence) } }
          }
        }
        writer.document("projection") { $0.int32("_id", 1) }
      }, limit: series.count
    ).map(RollUpStateDocument.series)
    let known = Set(loud)
    let window = SampleWindow(since: date)
    return try series.filter { one in
      guard !known.contains(one) else { return false }
      return try [SampleType.realTime, .event].allSatisfy {
        try newestSamples(1, of: one, type: $0, in: window).isEmpty
      }
    }
  }
}
