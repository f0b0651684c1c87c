package import Model
package import Storage
internal import Threads

extension MongoStorage {
  package func documents(_ kind: DocumentKind) async throws(StorageError) -> [Document] {
    try await pool.run("reading documents") { connection in
      let command = BSON {
        $0.string("find", kind.rawValue)
        $0.int32("batchSize", MongoConnection.batch)
      }
      return try connection.find(command).compactMap { StoredDocument.read(kind, $0) }
        .sorted { $0.id.precedesInBytes($1.id) }
    }
  }

  package func document(_ kind: DocumentKind, id: String) async throws(StorageError) -> Document? {
    try await pool.run("reading a document") { connection in
      try connection.stored(kind, id: id).flatMap { StoredDocument.read(kind, $0) }
    }
  }

  /// All or none where the deployment has transactions (replica sets and sharded clusters); on a standalone server one
  /// by one in their order, so that a failure leaves those before it done.
  ///
  /// A document keeps the `_id` it has there, also an ObjectId.
  package func put(_ documents: [Document]) async throws(StorageError) -> [PutOutcome] {
    guard !documents.isEmpty else { return [] }
    let isJoint = documents.count > 1
    let outcomes = try await pool.run("storing documents") { [deployment] connection in
      let hasTransactions = deployment.withLock { $0?.hasTransactions ?? false }
      guard isJoint && hasTransactions else { return try connection.put(documents) }
      return try connection.transaction { try connection.put(documents) }
    }
    if outcomes.contains(where: { $0 != .unchanged }) { changes.markDirty() }
    return outcomes
  }

  package func delete(_ kind: DocumentKind, id: String) async throws(StorageError) -> Bool {
    let isDeleted = try await pool.run("deleting a document") { connection in
      guard let old = try connection.stored(kind, id: id), let key = old["_id"] else { return false }
      let command = BSON {
        $0.string("delete", kind.rawValue)
        $0.array("deletes") {
          $0.document {
            $0.document("q") { $0.value("_id", key) }
            $0.int32("limit", 1)
          }
        }
      }
      return try connection.write(command)["n"]?.intValue != 0
    }
    if isDeleted { changes.markDirty() }
    return isDeleted
  }

  package func mergeDetectedSpecs(_ specs: [String: Value], targetID: String) async throws(StorageError) {
    try await pool.run("storing detected specs") { connection in
      guard let old = try connection.stored(.targets, id: targetID), let key = old["_id"],
        let document = StoredDocument.read(.targets, old)
      else { return }
      var new = document
      new.merge(detectedSpecs: specs)
      guard new != document, let merged = new.fields["detected_specs"] else { return }
      // This one field: what people write beside it at the same moment stays.
      let command = BSON {
        $0.string("update", DocumentKind.targets.rawValue)
        $0.array("updates") {
          $0.document {
            $0.document("q") { $0.value("_id", key) }
            $0.document("u") { $0.document("$set") { $0.value("detected_specs", merged) } }
          }
        }
      }
      try connection.write(command)
    }
  }

  package func documentRevision() async throws(StorageError) -> Int64 { try await changes.revision() }
}

extension MongoConnection {
  /// The document that is called so; the one with that very text as `_id` before all others.
  fileprivate func stored(_ kind: DocumentKind, id: String) throws -> BSON? {
    let command = BSON {
      $0.string("find", kind.rawValue)
      $0.document("filter") { StoredDocument.filter(kind, id: id, &$0) }
      $0.int32("limit", 8)
    }
    let found = try find(command, limit: 8)
    return found.first { $0["_id"] == .string(id) } ?? found.first { StoredDocument.id($0["_id"]) == id } ?? found.first
  }

  fileprivate func put(_ documents: [Document]) throws -> [PutOutcome] {
    try documents.map { document in
      let there = try stored(document.kind, id: document.id)
      let old = there.flatMap { StoredDocument.read(document.kind, $0) }
      let (stored, outcome) = document.stored(over: old)
      if let old, stored.fields == old.fields { return outcome }
      let key = there?["_id"] ?? .string(document.id)
      let command = BSON {
        $0.string("update", document.kind.rawValue)
        $0.array("updates") {
          $0.document {
            $0.document("q") { $0.value("_id", key) }
            $0.document("u") { StoredDocument.write(stored.fields, id: key, &$0) }
            $0.bool("upsert", true)
          }
        }
      }
      try write(command)
      return outcome
    }
  }
}
