package import FoundationEssentials
package import Model
package import Storage

extension MongoStorage {
  package func extend(_ lease: QueueLease, until: Date) async throws(StorageError) -> Bool {
    guard let owner = lease.entry.owner else { return false }
    return try await queue("extending a lease") { session in
      try session.count(
        update: QueueNames.notifications,
        where: { QueueSession.holds(lease, by: owner, &$0) },
        { w in
          w.document("$set") { w in
            w.date("lease_until", until)
            w.int("token", session.memory.newToken())
          }
        }) > 0
    }
  }

  /// One update whose filter names owner and epoch: what the entry becomes follows from the lease alone, because nobody
  /// else writes to what is leased (a hand that drops it ends the lease). Entries to add are promised in the same
  /// document (see ``Outbox``).
  package func settle(
    _ lease: QueueLease, as settlement: Settlement, now: Date, adding: [QueueEntry]
  ) async throws(StorageError) -> Bool {
    guard let owner = lease.entry.owner else { return false }
    let settled = try await queue("settling a notification") { session in
      session.memory.saw(now)
      let documents = session.documents(adding)
      var entry = lease.entry
      entry.settled(settlement, now: now, handsOn: !adding.isEmpty)
      let token = session.memory.newToken()
      let changed = try session.count(
        update: QueueNames.notifications,
        where: { QueueSession.holds(lease, by: owner, &$0) },
        { w in
          w.document("$set") { w in
            QueueDocument.changing(entry, &w)
            if !adding.isEmpty {
              w.strings("alternates", entry.alternates)
              Outbox.set(token, &w)
            }
            w.int("token", token)
          }
          if !adding.isEmpty { Outbox.push(documents, &w) }
        })
      if changed == 0 || !documents.isEmpty {
        // Not ours any more. Or it was settled by this very call, and the answer was lost. Where there is an outbox, it
        // may hold what an earlier settlement left.
        let found = try session.document { QueueID.identify(lease.entry.id, &$0) }
        if changed == 0 && found?["token"]?.int64Value != token { return false }
        if let found, let outbox = try Outbox(found, in: QueueNames.notifications) {
          _ = session.fulfil(outbox, at: .settled)
        }
      }
      return true
    }
    if settled { queueMemory.forgetWaiting() }
    return settled
  }
}

extension QueueSession {
  /// The filter that only the holder's own lease passes.
  static func holds(_ lease: QueueLease, by owner: String, _ w: inout BSONWriter) {
    QueueID.identify(lease.entry.id, &w)
    w.string("state", QueueEntry.State.leased.rawValue)
    w.string("owner", owner)
    w.int("epoch", lease.entry.epoch)
  }
}
