internal import CMongoC

/// A client of its own, for work that may take longer than the pool's time-outs allow.
enum LongConnection {
  /// Building an index or numbering old samples of a database of many gigabytes.
  static let timeoutMilliseconds: Int32 = 3_600_000

  static func with<Result>(_ address: MongoAddress, _ body: (MongoConnection) throws -> Result) throws -> Result {
    guard let uri = mongoc_uri_copy(address.pointer) else { throw BSONError.malformed }
    defer { mongoc_uri_destroy(uri) }
    mongoc_uri_set_option_as_int32(uri, "sockettimeoutms", timeoutMilliseconds)
    // A client outside of a pool looks for a server only once, unless told otherwise.
    mongoc_uri_set_option_as_bool(uri, "serverselectiontryonce", false)
    var error = bson_error_t()
    guard let client = mongoc_client_new_from_uri_with_error(uri, &error) else {
      throw MongoFailure(&error, reply: nil)
    }
    defer { mongoc_client_destroy(client) }
    mongoc_client_set_error_api(client, MONGOC_ERROR_API_VERSION_2)
    return try body(
      MongoConnection(client: client, database: address.database, maxTime: timeoutMilliseconds - 10_000))
  }
}
