internal import Storage

/// What the servers are.
struct Deployment: Sendable, Hashable {
  enum Kind: String, Sendable, Hashable {
    case standalone = "standalone"
    case replicaSet = "replica set"
    case sharded = "sharded cluster"
  }
  var kind: Kind
  /// Such as `6.0.5`.
  var version: String

  /// Change streams and transactions need a replica set.
  var hasChangeStreams: Bool { kind != .standalone }
  var hasTransactions: Bool { kind != .standalone }

  /// MongoDB 4.4: what this store's commands were written for.
  private static let minimum = [4, 4]

  /// Asks the servers. - Throws: `corrupt` when they are too old.
  static func read(_ connection: MongoConnection) throws -> Deployment {
    let hello: BSON
    do {
      hello = try connection.read(BSON { $0.int32("hello", 1) }, database: "admin")
    } catch let failure as MongoFailure where failure.isUnsupported {
      // Before 4.4.2 it had another name.
      hello = try connection.read(BSON { $0.int32("isMaster", 1) }, database: "admin")
    }
    let info = try connection.read(BSON { $0.int32("buildInfo", 1) }, database: "admin")
    let version = info["version"]?.stringValue ?? "?"
    let parts = version.split(separator: ".").compactMap { Int($0) }
    guard !parts.lexicographicallyPrecedes(minimum) else {
      throw StorageError(
        .corrupt, "the database server is MongoDB \(version); Syscrap needs 4.4 or newer: upgrade it or use another")
    }
    let kind: Kind =
      hello["setName"] != nil ? .replicaSet : hello["msg"]?.stringValue == "isdbgrid" ? .sharded : .standalone
    return Deployment(kind: kind, version: version)
  }
}
