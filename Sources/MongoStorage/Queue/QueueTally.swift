internal import FoundationEssentials
internal import Model
internal import Storage

/// The queue's account: `{_id: "queue", version, accepted, delivered, merged, dead, batch: {kind, ids}}` in `meta`.
///
/// `accepted` counts entries apart from the entries themselves, so that one that vanishes is missed: as long as an entry
/// has `uncounted` it counts itself, afterwards the tally counts it. `delivered`, `merged` and `dead` count what was
/// forgotten; what is still there counts itself by its state. So
/// `accepted + uncounted = delivered + merged + dead + all that are there` whatever happens, and only an entry that went
/// any other way than by being forgotten breaks it.
///
/// Entries move from one side to the other in batches: (1) the tally takes in the numbers and the ids of the batch, in
/// one update that demands the `version` at which it was read; (2) the entries are marked or deleted; (3) the batch is
/// struck out. Whoever finds a batch in the tally does (2) and (3), which twice change nothing more than once. So there
/// is one batch at a time, and at every point between the commands the account is right for who finishes the batch
/// before counting.
struct QueueTally: Sendable {
  enum Kind: String, Sendable {
    /// `ids` are counted as accepted.
    case counting
    /// `ids` are counted as forgotten.
    case forgetting
  }

  static let id = "queue"
  /// Entries in one batch: their ids fit well into one document.
  static let batchBound = 1000

  var version: Int64 = 0
  /// What was counted; `pending` and `leased` are always 0.
  var counts = QueueCounts()
  var batch: (kind: Kind, ids: [BSONValue])?

  init() {}

  init(_ document: BSON) throws {
    version = document["version"]?.int64Value ?? 0
    counts.accepted = document["accepted"]?.intValue ?? 0
    counts.delivered = document["delivered"]?.intValue ?? 0
    counts.merged = document["merged"]?.intValue ?? 0
    counts.dead = document["dead"]?.intValue ?? 0
    if let open = document["batch"]?.documentValue, let ids = open["ids"]?.arrayValue {
      guard let kind = open["kind"]?.stringValue.flatMap(Kind.init(rawValue:)) else {
        throw StorageError(.corrupt, "the queue's account in `meta` has a batch of a kind this version does not know")
      }
      batch = (kind, try ids.values())
    }
  }
}

extension QueueSession {
  /// The tally, without a batch: one that is found is finished first.
  func readTally() throws -> QueueTally {
    // Each round finishes what another handle began; it cannot begin a new one for ever while this one looks.
    for _ in 0..<100 {
      let command = BSON { w in
        w.string("find", QueueNames.meta)
        w.document("filter") { $0.string("_id", QueueTally.id) }
        w.int32("limit", 1)
      }
      guard let document = try connection.find(command, limit: 1).first else { return QueueTally() }
      let tally = try QueueTally(document)
      guard tally.batch != nil else { return tally }
      try finishBatch(of: tally)
    }
    throw StorageError(.unavailable, "the queue's account is in other hands all the time; try again")
  }

  /// Writes the tally if it is still as it was read.
  /// - Returns: false when another handle was quicker.
  func write(_ new: QueueTally, over old: QueueTally) throws -> Bool {
    func fields(_ w: inout BSONWriter) {
      w.int("version", old.version &+ 1)
      w.int("accepted", new.counts.accepted)
      w.int("delivered", new.counts.delivered)
      w.int("merged", new.counts.merged)
      w.int("dead", new.counts.dead)
    }
    if old.version == 0 {
      // The first of all; who comes second is refused by `_id`, and sees the other's next time.
      let command = BSON { w in
        w.string("insert", QueueNames.meta)
        w.array("documents") { w in
          w.document { w in
            w.string("_id", QueueTally.id)
            fields(&w)
            if let batch = new.batch { Self.write(batch, &w) }
          }
        }
      }
      return try connection.write(command, ignoring: [MongoCodes.duplicateKey])["n"]?.intValue == 1
    }
    return try count(
      update: QueueNames.meta,
      where: { w in
        w.string("_id", QueueTally.id)
        w.int("version", old.version)
      },
      { w in
        w.document("$set") { w in
          fields(&w)
          if let batch = new.batch { Self.write(batch, &w) }
        }
        if new.batch == nil { w.document("$unset") { $0.string("batch", "") } }
      }) > 0
  }

  private static func write(_ batch: (kind: QueueTally.Kind, ids: [BSONValue]), _ w: inout BSONWriter) {
    w.document("batch") { w in
      w.string("kind", batch.kind.rawValue)
      w.array("ids") { w in for id in batch.ids { w.value("", id) } }
    }
  }

  /// Steps two and three of a batch.
  func finishBatch(of tally: QueueTally) throws {
    guard let batch = tally.batch else { return }
    try memory.reached(.tallied)
    func isOfBatch(_ w: inout BSONWriter) {
      w.document("_id") { w in w.array("$in") { w in for id in batch.ids { w.value("", id) } } }
    }
    switch batch.kind {
    case .counting:
      _ = try count(update: QueueNames.notifications, many: true, where: isOfBatch) { w in
        w.document("$unset") { $0.string("uncounted", "") }
      }
    case .forgetting:
      _ = try count(delete: QueueNames.notifications) { w in
        isOfBatch(&w)
        w.bool("pruning", true)
      }
    }
    try memory.reached(.marked)
    var done = tally
    done.batch = nil
    // False: another handle has struck it out.
    _ = try write(done, over: tally)
  }

  /// Counts one batch of new entries.
  /// - Returns: whether there may be more.
  func countBatch() throws -> Bool {
    let tally = try readTally()
    let command = BSON { w in
      w.string("find", QueueNames.notifications)
      w.document("filter") { $0.bool("uncounted", true) }
      w.document("projection") { $0.int32("_id", 1) }
      w.int("limit", QueueTally.batchBound)
    }
    let ids = try connection.find(command, limit: QueueTally.batchBound).compactMap { $0["_id"] }
    if ids.isEmpty { return false }
    var new = tally
    new.counts.accepted += ids.count
    new.batch = (.counting, ids)
    if try write(new, over: tally) {
      new.version = tally.version &+ 1
      try finishBatch(of: new)
    }
    return ids.count == QueueTally.batchBound
  }
}

extension MongoStorage {
  /// Most batches that one call counts.
  private static let countingBound = 50

  /// Brings the tally up to date.
  func tally() async throws(StorageError) {
    for _ in 0..<Self.countingBound {
      // A call of its own for each: others may have the thread in between.
      if try await !queue("counting notifications", { try $0.countBatch() }) { return }
    }
  }
}
