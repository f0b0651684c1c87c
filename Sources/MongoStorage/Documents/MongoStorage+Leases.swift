package import Storage

/// Leases are documents of `leases`: `{_id: name, owner, epoch, beat, ttl}`.
extension MongoStorage: LeaseStorage {
  static let leases = "leases"

  package func lease(_ name: String) async throws(StorageError) -> Lease? {
    try await pool.run("reading a lease") { try $0.lease(name) }
  }

  package func replace(_ lease: Lease, expecting expected: Lease?) async throws(StorageError) -> Lease? {
    try await pool.run("taking a lease") { connection in
      do {
        // One command on one document: the server compares and sets.
        let command = BSON {
          $0.string("findAndModify", Self.leases)
          $0.document("query") { query in
            query.string("_id", lease.name)
            query.string("owner", expected?.owner ?? "")
            query.int("epoch", expected?.epoch ?? -1)
            query.int("beat", expected?.beat ?? -1)
          }
          $0.document("update") { LeaseDocument.write(lease, &$0) }
          $0.bool("new", true)
        }
        if expected != nil {
          if let value = try connection.write(command)["value"]?.documentValue {
            return try LeaseDocument.read(value)
          }
        } else {
          try connection.write(
            BSON {
              $0.string("insert", Self.leases)
              $0.array("documents") { $0.document { LeaseDocument.write(lease, &$0) } }
            })
          return lease
        }
      } catch let failure as MongoFailure where failure.isDuplicateKey {
        // Somebody has it; or our own first try, of which we did not hear.
      }
      return try connection.lease(lease.name)
    }
  }
}

extension MongoConnection {
  fileprivate func lease(_ name: String) throws -> Lease? {
    let command = BSON {
      $0.string("find", MongoStorage.leases)
      $0.document("filter") { $0.string("_id", name) }
      $0.int32("limit", 1)
    }
    return try find(command, limit: 1).first.map(LeaseDocument.read)
  }
}

private enum LeaseDocument {
  static func write(_ lease: Lease, _ writer: inout BSONWriter) {
    writer.string("_id", lease.name)
    writer.string("owner", lease.owner)
    writer.int("epoch", lease.epoch)
    writer.int("beat", lease.beat)
    writer.int("ttl", lease.ttl)
  }

  static func read(_ document: BSON) throws -> Lease {
    guard let name = document["_id"]?.stringValue, let owner = document["owner"]?.stringValue,
      let epoch = document["epoch"]?.int64Value, let beat = document["beat"]?.int64Value,
      let ttl = document["ttl"]?.intValue
    else { throw BSONError.malformed }
    return Lease(name: name, owner: owner, epoch: epoch, beat: beat, ttl: ttl)
  }
}
