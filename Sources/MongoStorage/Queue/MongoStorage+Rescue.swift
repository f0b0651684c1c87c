package import FoundationEssentials
internal import Model
package import Storage

extension MongoStorage {
  package func heldLeases(limit: Int) async throws(StorageError) -> [QueueLease] {
    try await queue("reading the leases") { session in
      try session.find(
        limit: limit, where: { $0.string("state", QueueEntry.State.leased.rawValue) },
        sort: { w in
          w.int32("lease_until", 1)
          w.int32("sequence", 1)
        }
      ).map { QueueLease(entry: $0.entry) }
    }
  }

  /// One update for each lease, by owner, epoch and `lease_until`: who extended or settled it first keeps it. Finishes
  /// outboxes, takes in other programs' messages and brings the tally up to date, too.
  package func rescue(_ leases: [QueueLease], now: Date) async throws(StorageError) -> Int {
    let count = try await queue("rescuing notifications") { session in
      session.memory.saw(now)
      var count = 0
      for lease in leases {
        guard let owner = lease.entry.owner else { continue }
        var entry = lease.entry
        entry.rescued(now: now, hasOwnerEnded: lease.hasOwnerEnded)
        let token = session.memory.newToken()
        let changed = try session.count(
          update: QueueNames.notifications,
          where: { w in
            QueueSession.holds(lease, by: owner, &w)
            if let until = lease.entry.lease_until { w.date("lease_until", until) } else { w.null("lease_until") }
          },
          { w in
            w.document("$set") { w in
              QueueDocument.changing(entry, &w)
              w.int("token", token)
            }
          })
        if changed > 0 {
          count += 1
        } else if try session.first(where: { QueueID.identify(lease.entry.id, &$0) })?.token == token {
          count += 1
        }
      }
      session.memory.looked(now)
      _ = try session.tidy(now: now)
      return count
    }
    if count > 0 { queueMemory.forgetWaiting() }
    try await tally()
    return count
  }
}
