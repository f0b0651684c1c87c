package import Logging
package import Storage
internal import Threads

/// The store in MongoDB, for several instances and for people who edit documents there with their own tools.
///
/// Every promise (documents, episodes, the queue, leases) is written with `{w: "majority", j: true}`; all reading is done
/// on the primary. Nothing relies on transactions, so a standalone server does as well. Commands are bytes of BSON that go
/// through ``MongoPool``; each is bounded in time by the address's time-outs and `maxTimeMS`.
///
/// A call is not ended by the cancellation of its task: whoever is told to stop can still say that a message went out.
package final class MongoStorage: Storage {
  package struct Configuration: Sendable {
    /// `mongodb://host[,host…]/database?…`; no password in it.
    package var uri: String
    package var username: String?
    /// Asked once, when the store is opened.
    package var password: (@Sendable () async throws -> String)?
    /// False: a store whose servers cannot be reached opens all the same; schema and indexes are then brought in order
    /// by the first call that reaches them, before anything else.
    package var requireReachable = true
    /// Calls that are under way at the same time, 1 to 64.
    package var threads = 6

    package init(
      uri: String, username: String? = nil, password: (@Sendable () async throws -> String)? = nil,
      requireReachable: Bool = true
    ) {
      self.uri = uri
      self.username = username
      self.password = password
      self.requireReachable = requireReachable
    }
  }

  let pool: MongoPool
  let database: String
  let logger: Logger
  /// What the servers told of themselves; nil until they were reached.
  let deployment: Locked<Deployment?>
  let changes: DocumentChanges
  /// The epoch in whose name this handle writes episodes and roll-up states; 0 before one was raised.
  let fenceValue = Locked<Int64>(0)
  let queueMemory: QueueMemory
  let claims: GroupedCalls<ClaimRequest, QueueLease?>
  let settlements: GroupedCalls<SettleRequest, Bool>
  /// The store's address for messages.
  package var place: String { pool.address.place }
  var fence: Int64 { fenceValue.withLock { $0 } }

  /// Opens the store: checks the address and the servers, and brings schema and indexes in order.
  /// - Throws: `corrupt` when the address, the servers' version or the schema cannot be used; `unavailable` when no server
  ///   answers (see ``Configuration/requireReachable``) or they refuse the user.
  package static func open(
    _ configuration: Configuration, logger: Logger
  ) async throws(StorageError) -> MongoStorage {
    var password: String?
    if let ask = configuration.password {
      do {
        password = try await ask()
      } catch {
        throw StorageError(.unavailable, "opening the store: its password cannot be had: \(error)")
      }
    }
    MongoLibrary.start(logger: logger)
    let address = try MongoAddress(configuration.uri, username: configuration.username, password: password)
    try address.checkFiles()
    let storage = try MongoStorage(address, threads: configuration.threads, logger: logger)
    do {
      try await storage.pool.run("opening the store") { _ in }
      logger.debug("store opened", metadata: ["store.place": "\(address.place)"])
    } catch {
      guard !configuration.requireReachable, error.code == .unavailable, !MongoFailure.isRefusal(error) else {
        await storage.close()
        throw error
      }
      logger.warning(
        "the store cannot be reached; it is asked again with every call",
        metadata: ["store.place": "\(address.place)", "error": "\(error.message)"])
    }
    return storage
  }

  private init(_ address: MongoAddress, threads: Int, logger: Logger) throws(StorageError) {
    let deployment = Locked<Deployment?>(nil)
    self.deployment = deployment
    self.logger = logger
    database = address.database
    let pool = try MongoPool(address, threads: threads, logger: logger) { connection in
      let found = try Deployment.read(connection)
      try Schema.prepare(connection, address: address, logger: logger)
      deployment.withLock { $0 = found }
    }
    self.pool = pool
    let memory = QueueMemory()
    queueMemory = memory
    claims = GroupedCalls { requests in
      await pool.group("claiming a notification", requests) { connection, doing in
        try QueueGroupClaim(
          session: QueueSession(connection: connection, memory: memory, logger: logger), requests: requests
        ).run(address, doing: doing)
      }
    }
    settlements = GroupedCalls { requests in
      await pool.group("settling a notification", requests) { connection, doing in
        QueueGroupSettlement(
          session: QueueSession(connection: connection, memory: memory, logger: logger), requests: requests
        ).run(address, doing: doing)
      }
    }
    changes = DocumentChanges(pool: pool, logger: logger)
  }

  /// Waits for the calls that are under way. Everything after it throws `closed`.
  package func close() async {
    await changes.close()
    await pool.close()
  }
}
