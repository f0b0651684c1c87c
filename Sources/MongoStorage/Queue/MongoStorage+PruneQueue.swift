package import FoundationEssentials
internal import Model
package import Storage

extension MongoStorage {
  /// Most batches of entries that one call forgets; the rest goes with the next.
  private static let pruningBound = 1000

  /// Entries go by batches in three steps, each of which may be the last before a crash: they are marked as going (from
  /// then on nobody changes them), the tally counts them as forgotten, they are deleted. See ``QueueTally``.
  package func pruneQueue(settledBefore date: Date) async throws(StorageError) -> Int {
    var count = 0
    for _ in 0..<Self.pruningBound {
      let gone = try await queue("pruning the queue") { try $0.pruneBatch(settledBefore: date) }
      guard let gone else { break }
      count += gone
    }
    _ = try await queue("pruning the queue") { session in
      try session.count(delete: QueueNames.episodes) { w in
        w.bool("open", false)
        w.document("listed") { $0.date("$lt", date) }
        w.document("unfinished") { $0.bool("$ne", true) }
      }
    }
    try await tally()
    return count
  }
}

extension QueueSession {
  /// - Returns: how many entries were forgotten; nil: there are no more.
  func pruneBatch(settledBefore date: Date) throws -> Int? {
    try markGoing(settledBefore: date)
    let tally = try readTally()
    let command = BSON { w in
      w.string("find", QueueNames.notifications)
      w.document("filter") { $0.bool("pruning", true) }
      w.document("projection") { w in for field in ["state", "uncounted"] { w.int32(field, 1) } }
      w.int("limit", QueueTally.batchBound)
    }
    let going = try connection.find(command, limit: QueueTally.batchBound)
    if going.isEmpty { return nil }
    var new = tally
    for document in going {
      if document["uncounted"]?.boolValue == true { new.counts.accepted += 1 }
      switch document["state"]?.stringValue {
      case "delivered": new.counts.delivered += 1
      case "merged": new.counts.merged += 1
      default: new.counts.dead += 1
      }
    }
    new.batch = (.forgetting, going.compactMap { $0["_id"] })
    // Another handle was quicker: look again.
    guard try write(new, over: tally) else { return 0 }
    new.version = tally.version &+ 1
    try finishBatch(of: new)
    return going.count
  }

  private func markGoing(settledBefore date: Date) throws {
    func isOld(_ w: inout BSONWriter) {
      w.document("state") { w in
        w.strings("$in", [QueueEntry.State.delivered, .merged, .dead].map(\.rawValue))
      }
      w.document("updated") { $0.date("$lt", date) }
      w.document("unfinished") { $0.bool("$ne", true) }
      w.document("pruning") { $0.bool("$ne", true) }
    }
    let command = BSON { w in
      w.string("find", QueueNames.notifications)
      w.document("filter", isOld)
      w.document("projection") { $0.int32("_id", 1) }
      w.int("limit", QueueTally.batchBound)
    }
    let ids = try connection.find(command, limit: QueueTally.batchBound).compactMap { $0["_id"] }
    if ids.isEmpty { return }
    _ = try count(
      update: QueueNames.notifications, many: true,
      where: { w in
        w.document("_id") { w in w.array("$in") { w in for id in ids { w.value("", id) } } }
        // Once more: a hand may have retried one meanwhile.
        isOld(&w)
      },
      { w in
        w.document("$set") { w in
          w.bool("pruning", true)
          w.int("token", memory.newToken())
        }
      })
    try memory.reached(.goingMarked)
  }
}
