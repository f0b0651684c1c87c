internal import FoundationEssentials
internal import Logging
internal import Model
internal import Storage

/// The queue's commands on one connection, and what they have in common. Lives within one call of the pool.
///
/// How all of it stands together without transactions, so that it also works on a standalone mongod:
/// - Every step is one change of one document, acknowledged by a majority and journaled, and says by its filter in which
///   state it expects the document: by `token` (any change gives a new one), or by owner and epoch for who holds a lease.
/// - What takes more than one document is promised first in one of them (``Outbox``, the tally's batch), done next, and
///   struck out last. Whoever finds a promise fulfils it; doing so twice changes nothing.
/// - An answer that was lost (a step-down, a time-out) is no failure: the command is sent once more, and where it then
///   finds nothing to change the document is read: our own token in it says that the first one had arrived.
struct QueueSession {
  let connection: MongoConnection
  let memory: QueueMemory
  let logger: Logger

  // MARK: Reading

  func find(id: String) throws -> StoredEntry? {
    if id.isEmpty { return nil }
    return try first { QueueID.identify(id, &$0) }
  }

  func find(key: String) throws -> StoredEntry? {
    try first { $0.string("key", key) }
  }

  func first(where filter: (inout BSONWriter) -> Void) throws -> StoredEntry? {
    try document(where: filter).map(QueueDocument.stored)
  }

  func document(where filter: (inout BSONWriter) -> Void) throws -> BSON? {
    let command = BSON { w in
      w.string("find", QueueNames.notifications)
      w.document("filter", filter)
      w.int32("limit", 1)
      w.bool("singleBatch", true)
    }
    return try connection.find(command, limit: 1).first
  }

  func find(
    limit: Int, where filter: (inout BSONWriter) -> Void, sort: (inout BSONWriter) -> Void = { _ in }
  ) throws -> [StoredEntry] {
    if limit <= 0 { return [] }
    let command = BSON { w in
      w.string("find", QueueNames.notifications)
      w.document("filter", filter)
      w.document("sort", sort)
      w.int("limit", limit)
    }
    return try connection.find(command, limit: limit).map(QueueDocument.stored)
  }

  // MARK: Changing one entry

  /// Writes what `entry` says over `old`, unless `old` was changed meanwhile.
  /// - Returns: false when it was.
  func replace(_ old: StoredEntry, with entry: QueueEntry, also: (inout BSONWriter) -> Void = { _ in }) throws -> Bool {
    let token = memory.newToken()
    return try update(
      old.id, token: token,
      where: { w in
        if let token = old.token { w.int("token", token) } else { w.null("token") }
      },
      set: { w in
        QueueDocument.changing(entry, &w)
        if old.sequence == nil { takeIn(&w) }
        also(&w)
      })
  }

  /// Marks what others have queued as ours, to be counted.
  func takeIn(_ w: inout BSONWriter) {
    w.bool("uncounted", true)
    w.int("sequence", memory.nextSequence())
  }

  /// One update of one entry, that knows its own work again by `token`.
  /// - Returns: whether the entry was as `filter` demands.
  func update(
    _ id: BSONValue, token: Int64, where filter: (inout BSONWriter) -> Void, set: (inout BSONWriter) -> Void
  ) throws -> Bool {
    let changed = try count(
      update: QueueNames.notifications,
      where: { w in
        w.value("_id", id)
        filter(&w)
      },
      { w in
        w.document("$set") { w in
          set(&w)
          w.int("token", token)
        }
      })
    if changed > 0 { return true }
    // Not there as expected. Or it was we who changed it, and the answer was lost.
    return try first { $0.value("_id", id) }?.token == token
  }

  /// One update command. - Returns: how many documents matched.
  func count(
    update collection: String, many: Bool = false, where filter: (inout BSONWriter) -> Void,
    _ change: (inout BSONWriter) -> Void
  ) throws -> Int {
    let reply = try connection.write { w in
      w.string("update", collection)
      w.array("updates") { w in
        w.document { w in
          w.document("q", filter)
          w.document("u", change)
          if many { w.bool("multi", true) }
        }
      }
    }
    return reply["n"]?.intValue ?? 0
  }

  func count(delete collection: String, where filter: (inout BSONWriter) -> Void) throws -> Int {
    let command = BSON { w in
      w.string("delete", collection)
      w.array("deletes") { w in
        w.document { w in
          w.document("q", filter)
          w.int32("limit", 0)
        }
      }
    }
    return try connection.write(command)["n"]?.intValue ?? 0
  }

  // MARK: Taking in

  /// Most documents in one insert.
  private static let insertBound = 500

  /// Puts entries into the queue; an id or key that is known already is passed over.
  ///
  /// One that is there already by the very document counts as new too: an earlier try whose answer was lost, or somebody
  /// who found the promise, has put it there.
  /// - Returns: how many were new.
  func insert(_ documents: [BSON]) throws -> Int {
    var count = 0
    var rest = documents[...]
    while !rest.isEmpty {
      let part = rest.prefix(Self.insertBound)
      rest = rest.dropFirst(part.count)
      let command = BSON { w in
        w.string("insert", QueueNames.notifications)
        w.documents("documents", part)
        w.bool("ordered", false)
      }
      let new = try connection.write(command, ignoring: [MongoCodes.duplicateKey])["n"]?.intValue ?? 0
      count += new == part.count ? new : try countOurs(part)
    }
    return count
  }

  private func countOurs(_ documents: ArraySlice<BSON>) throws -> Int {
    let command = BSON { w in
      w.string("find", QueueNames.notifications)
      w.document("filter") { w in
        w.document("_id") { w in
          w.array("$in") { w in for document in documents { if let id = document["_id"] { w.value("", id) } } }
        }
      }
      w.document("projection") { $0.int32("sequence", 1) }
    }
    var sequences: [BSONValue: Int64] = [:]
    for found in try connection.find(command, limit: documents.count) {
      if let id = found["_id"], let sequence = found["sequence"]?.int64Value { sequences[id] = sequence }
    }
    return documents.count { document in
      guard let id = document["_id"], let sequence = document["sequence"]?.int64Value else { return false }
      return sequences[id] == sequence
    }
  }

  /// New entries as documents, those left out that have an id or key of one before them.
  func documents(_ entries: [QueueEntry]) -> [BSON] {
    var ids: Set<String> = []
    var keys: Set<String> = []
    return entries.compactMap { entry in
      if ids.contains(entry.id) || entry.key.map(keys.contains) == true { return nil }
      ids.insert(entry.id)
      if let key = entry.key { keys.insert(key) }
      return QueueDocument.document(entry.accepted, sequence: memory.nextSequence(), token: memory.newToken())
    }
  }
}

extension MongoStorage {
  /// Runs `body` with the queue's commands on a thread of the pool.
  func queue<Result: Sendable>(
    _ doing: String, _ body: @escaping @Sendable (QueueSession) throws -> Result
  ) async throws(StorageError) -> Result {
    let memory = queueMemory
    let logger = logger
    return try await pool.run(doing) { connection in
      try body(QueueSession(connection: connection, memory: memory, logger: logger))
    }
  }
}
