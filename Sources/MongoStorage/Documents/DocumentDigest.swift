internal import Model

/// What people wrote in the four collections, as one number: it is the same as long as nothing of it changes.
enum DocumentDigest {
  /// Within one process only.
  static func read(_ connection: MongoConnection) throws -> Int {
    var hasher = Hasher()
    for collection in Schema.documentCollections {
      hasher.combine(collection)
      let command = BSON {
        $0.string("find", collection)
        $0.document("sort") { $0.int32("_id", 1) }
        $0.document("projection") { for field in Document.serviceFields.sorted() { $0.int32(field, 0) } }
        $0.int32("batchSize", MongoConnection.batch)
      }
      try connection.forEach(command) { document in
        document.bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
        return true
      }
    }
    return hasher.finalize()
  }
}
