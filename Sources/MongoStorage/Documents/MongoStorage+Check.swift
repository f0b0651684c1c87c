internal import FoundationEssentials
package import Model
package import Storage
internal import Threads

extension MongoStorage {
  package func check() async throws(StorageError) -> [String: Value] {
    let isWatching = changes.isWatching
    return try await pool.run("checking the store") { [deployment, place] connection in
      try connection.write(
        BSON {
          $0.string("update", Schema.meta)
          $0.array("updates") {
            $0.document {
              $0.document("q") { $0.string("_id", "checks") }
              $0.document("u") { $0.document("$inc") { $0.int("count", 1) } }
              $0.bool("upsert", true)
            }
          }
        })
      let found = try Deployment.read(connection)
      deployment.withLock { $0 = found }
      let statistics = try connection.read(BSON { $0.int32("dbStats", 1) })
      let schema = try Schema.storedVersion(connection) ?? 0
      var facts: [String: Value] = [
        "store": "mongodb", "durable": true, "place": .string(place), "version": .string(found.version),
        "deployment": .string(found.kind.rawValue), "change_streams": .bool(found.hasChangeStreams),
        // Whether this very handle follows one now: it begins with the first question for a revision.
        "watching": .bool(isWatching), "schema": .int(schema),
      ]
      // Compressed, as it lies on the disk, indexes included.
      let data = statistics["storageSize"]?.int64Value ?? 0
      let indexes = statistics["indexSize"]?.int64Value ?? 0
      facts["size_bytes"] = .int(data.addingReportingOverflow(indexes).partialValue)
      if found.kind == .replicaSet, let lag = Self.lag(connection) { facts["replication_lag_seconds"] = .double(lag) }
      return facts
    }
  }

  /// How far the last of the others is behind the primary. nil where we may not know.
  private static func lag(_ connection: MongoConnection) -> Double? {
    guard let status = try? connection.read(BSON { $0.int32("replSetGetStatus", 1) }, database: "admin"),
      let members = try? status["members"]?.arrayValue?.values()
    else { return nil }
    var primary: Int64?
    var others: [Int64] = []
    for member in members.compactMap(\.documentValue) {
      guard let at = member["optimeDate"]?.millisecondsValue else { continue }
      switch member["state"]?.int64Value {
      case 1: primary = at
      case 2: others.append(at)
      default: break
      }
    }
    guard let primary, let oldest = others.min() else { return nil }
    return Double(max(0, primary - oldest)) / 1000
  }
}
