package import Storage
internal import Threads

extension MongoStorage: FencedStorage {
  /// The highest fence that was raised stands in `meta` as `{_id: "fence", value}`.
  package func raiseFence(to fence: Int64) async throws(StorageError) {
    let known = try await pool.run("raising the fence") { connection -> Int64 in
      do {
        try connection.write(
          BSON {
            $0.string("update", Schema.meta)
            $0.array("updates") {
              $0.document {
                $0.document("q") {
                  $0.string("_id", "fence")
                  // Not $max alone: a lower one must not count as done.
                  $0.document("value") { $0.int("$lte", fence) }
                }
                $0.document("u") { $0.document("$set") { $0.int("value", fence) } }
                $0.bool("upsert", true)
              }
            }
          })
      } catch let failure as MongoFailure where failure.isDuplicateKey {
        // There is one that is not lower or equal, or another inserted the first at this moment.
        let known = try connection.knownFence()
        if known > fence { return known }
        // Another put in the first one at this moment: once more, as it is there now.
        try connection.write(
          BSON {
            $0.string("update", Schema.meta)
            $0.array("updates") {
              $0.document {
                $0.document("q") { $0.string("_id", "fence") }
                $0.document("u") { $0.document("$max") { $0.int("value", fence) } }
              }
            }
          })
      }
      let known = try connection.knownFence()
      guard known <= fence else { return known }
      // Whoever writes one of these in the name of a lower fence is refused from now on.
      try connection.write(
        BSON {
          $0.string("update", "episodes")
          $0.array("updates") {
            $0.document {
              $0.document("q") {
                $0.bool("open", true)
                $0.document("fence") { $0.document("$not") { $0.int("$gte", fence) } }
              }
              $0.document("u") { $0.document("$set") { $0.int("fence", fence) } }
              $0.bool("multi", true)
            }
          }
        })
      return known
    }
    if known > fence { throw StorageRefusal.lowerFence(fence, than: known) }
    fenceValue.withLock { $0 = max($0, fence) }
  }
}

extension MongoConnection {
  /// The highest that any handle has raised.
  func knownFence() throws -> Int64 {
    let command = BSON {
      $0.string("find", Schema.meta)
      $0.document("filter") { $0.string("_id", "fence") }
      $0.int32("limit", 1)
    }
    return try find(command, limit: 1).first?["value"]?.int64Value ?? 0
  }
}
