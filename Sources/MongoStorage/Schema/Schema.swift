internal import Logging
internal import Storage

/// The collections' indexes, and which version of them this program knows.
///
/// The version stands in `meta` as `{_id: "schema", version}`. Each step from one version to the next can be done again
/// from its beginning, by several processes at once: whatever was done is found done.
enum Schema {
  static let version: Int64 = 1
  static let meta = "meta"

  static let documentCollections = ["targets", "aggregation_options", "reaction_targets", "notification_options"]

  /// Every index that has to be there; each part of the store names its own.
  static var indexes: [IndexSpec] { SampleIndexes.all + QueueIndexes.all }

  /// Brings schema and indexes in order before anything else is done.
  /// - Throws: `corrupt` when the schema is newer than this program, or an index of ours is there with other keys.
  static func prepare(_ connection: MongoConnection, address: MongoAddress, logger: Logger) throws {
    let found = try storedVersion(connection)
    if let found, found > version {
      throw StorageError(
        .corrupt,
        """
        \(address.place) was written by a newer Syscrap (schema \(found), this one knows up to \(version)); \
        run that version, or name another database as the store
        """)
    }
    if let found, found < 0 {
      throw StorageError(
        .corrupt, "\(address.place) has the unknown schema \(found); name another database or restore a backup")
    }
    let missing = try missingIndexes(connection, place: address.place)
    if found == version, missing.isEmpty { return }
    // What follows may take long on a big database: on a client of its own, whose time-outs allow for it.
    try LongConnection.with(address) { connection in
      if found != version {
        if try needsNumbers(connection) {
          logger.notice("old samples are being numbered", metadata: ["store.place": "\(address.place)"])
          try mark(connection)
          let count = try SampleNumbering.run(connection)
          logger.notice("old samples were numbered", metadata: ["samples": "\(count)"])
        }
      }
      try build(missing, connection, place: address.place)
      // The last of it: until here the next start does it all again.
      try setVersion(connection)
    }
  }

  static func storedVersion(_ connection: MongoConnection) throws -> Int64? {
    let command = BSON {
      $0.string("find", meta)
      $0.document("filter") { $0.string("_id", "schema") }
      $0.int32("limit", 1)
    }
    guard let document = try connection.find(command, limit: 1).first else { return nil }
    return document["version"]?.int64Value ?? -1
  }

  /// Says in the database that a step is under way.
  private static func mark(_ connection: MongoConnection) throws {
    try connection.write(
      update(set: { $0.int("migrating_to", version) }, insert: { $0.int("version", 0) }),
      ignoring: [MongoCodes.duplicateKey])
  }

  private static func setVersion(_ connection: MongoConnection) throws {
    let command = update(set: { $0.int("version", version) }, unset: "migrating_to", below: version)
    // Two processes that insert it at once: it is there.
    try connection.write(command, ignoring: [MongoCodes.duplicateKey])
  }

  private static func update(
    set: (inout BSONWriter) -> Void, insert: ((inout BSONWriter) -> Void)? = nil, unset: String? = nil,
    below: Int64? = nil
  ) -> BSON {
    BSON { writer in
      writer.string("update", meta)
      writer.array("updates") {
        $0.document { update in
          update.document("q") { query in
            query.string("_id", "schema")
            // A newer program's number is never lowered.
            if let below { query.document("version") { $0.document("$not") { $0.int("$gt", below) } } }
          }
          update.document("u") { change in
            change.document("$set", set)
            if let insert { change.document("$setOnInsert", insert) }
            if let unset { change.document("$unset") { $0.string(unset, "") } }
          }
          update.bool("upsert", true)
        }
      }
    }
  }

  private static func needsNumbers(_ connection: MongoConnection) throws -> Bool {
    let command = BSON {
      $0.string("find", SampleNumbering.collection)
      $0.document("filter") { $0.document("n") { $0.bool("$exists", false) } }
      $0.int32("limit", 1)
      $0.document("projection") { $0.int32("_id", 1) }
    }
    return try !connection.find(command, limit: 1).isEmpty
  }

  // MARK: Indexes

  /// - Throws: `corrupt` when an index of that name is there and is another one.
  private static func missingIndexes(_ connection: MongoConnection, place: String) throws -> [IndexSpec] {
    var missing: [IndexSpec] = []
    for (collection, specs) in Dictionary(grouping: indexes, by: \.collection).sorted(by: { $0.key < $1.key }) {
      let there = try existing(collection, connection)
      for spec in specs {
        guard let found = there[spec.name] else {
          missing.append(spec)
          continue
        }
        guard spec.isSame(as: found) else {
          throw StorageError(
            .corrupt,
            """
            the index \(spec.name) of \(collection) in \(place) is not the one that Syscrap needs; \
            drop it (db.\(collection).dropIndex("\(spec.name)")), it is then made anew at the next start
            """)
        }
      }
    }
    return missing
  }

  private static func existing(_ collection: String, _ connection: MongoConnection) throws -> [String: BSON] {
    do {
      let list = try connection.find(BSON { $0.string("listIndexes", collection) }, limit: 1000)
      return Dictionary(list.map { ($0["name"]?.stringValue ?? "", $0) }, uniquingKeysWith: { first, _ in first })
    } catch let failure as MongoFailure where failure.isNoSuchCollection {
      return [:]
    }
  }

  private static func build(_ specs: [IndexSpec], _ connection: MongoConnection, place: String) throws {
    for (collection, specs) in Dictionary(grouping: specs, by: \.collection).sorted(by: { $0.key < $1.key }) {
      let command = BSON {
        $0.string("createIndexes", collection)
        $0.array("indexes") { list in for spec in specs { list.document { spec.write(&$0) } } }
      }
      do {
        try connection.administer(command)
      } catch let failure as MongoFailure where failure.isDuplicateKey {
        throw StorageError(
          .corrupt,
          """
          \(collection) in \(place) holds documents that may be there only once: \(failure.message); \
          remove all but one of them, then start again
          """, rawCode: Int(failure.code))
      }
    }
  }
}

extension IndexSpec {
  func write(_ writer: inout BSONWriter) {
    writer.document("key") { for key in keys { $0.int32(key.field, key.order) } }
    writer.string("name", name)
    if isUnique { writer.bool("unique", true) }
    if let partial { writer.raw("partialFilterExpression", partial) }
  }

  /// Whether an index that the server describes is this one.
  func isSame(as found: BSON) -> Bool {
    var there: [Key] = []
    try? found["key"]?.documentValue?.forEach { field, order in
      there.append(Key(field: field, order: Int32(clamping: order.int64Value ?? 0)))
    }
    let filter = try? found["partialFilterExpression"]?.documentValue?.fields()
    return there == keys && (found["unique"]?.boolValue ?? false) == isUnique && filter == (try? partial?.fields())
  }
}
