package import FoundationEssentials
internal import GRDB
package import Model
package import Storage

extension SQLiteStorage {
  package func record(_ episode: Episode?, queueing entries: [QueueEntry]) async throws(StorageError) -> Int {
    try await write("queueing notifications", isDurable: true) { [fence] db in
      if let episode {
        // Also for an episode that nobody has seen yet: its own row carries no fence that could refuse it.
        guard try Self.knownFence(db) <= fence.value else { throw StorageRefusal.fenced("the episode \(episode.id)") }
        try EpisodeRow.store(episode.stored, fence: fence.value, db)
      }
      return try QueueRow.insert(entries, db)
    }
  }

  package func episodes(
    reaction: String?, openOnly: Bool, limit: Int
  ) async throws(StorageError) -> [Episode] {
    let limit = max(0, limit)
    let order = "ORDER BY is_open DESC, listed_at DESC, id LIMIT ?"
    return try await read("reading episodes") { db in
      func episode(_ row: Row) throws -> Episode { try QueueRow.json(Episode.self, row.text(0)) }
      let least = openOnly ? 1 : 0
      if let reaction {
        return try db.rows(
          "SELECT body FROM episodes WHERE reaction = ? AND is_open >= ? \(order)",
          [reaction.storable, least, limit], episode)
      }
      return try db.rows("SELECT body FROM episodes WHERE is_open >= ? \(order)", [least, limit], episode)
    }
  }

  package func claim(owner: String, now: Date, lease: Duration) async throws(StorageError) -> QueueLease? {
    try await write("claiming a notification", isDurable: false) { db in
      func free(_ row: Row) throws -> (QueueEntry, QueueLease.Predecessor, [QueueEntry])? {
        let entry = try QueueRow.entry(row)
        let verdict = try PredecessorRules.verdict(for: entry) { key throws(any Error) in
          try QueueRow.find(key: key, db)
        }
        switch verdict {
        case .waits: return nil
        case .free(let predecessor, let takesIn): return (entry, predecessor, takesIn)
        }
      }
      let found =
        try db.firstRow(QueueRow.due, [StoredTime.milliseconds(now)], where: free)
        ?? db.firstRow(QueueRow.ahead, QueueRow.aheadArguments(now), where: free)
      guard case (var entry, let predecessor, let takesIn)? = found else { return nil }
      for var taken in takesIn {
        taken.merged(into: entry.id, now: now)
        try QueueRow.update(taken, db)
      }
      if !takesIn.isEmpty { try db.run("UPDATE tally SET merged = merged + ?", [takesIn.count]) }
      entry.leased(by: owner.storable, now: now, until: now + lease.timeInterval)
      try QueueRow.update(entry, db)
      return QueueLease(entry: entry, predecessor: predecessor)
    }
  }

  package func extend(_ lease: QueueLease, until: Date) async throws(StorageError) -> Bool {
    try await write("extending a lease", isDurable: false) { db in
      guard var entry = try QueueRow.find(id: lease.entry.id, db), entry.isHeld(by: lease) else { return false }
      entry.lease_until = StoredTime.stored(until)
      try QueueRow.update(entry, db)
      return true
    }
  }

  package func settle(
    _ lease: QueueLease, as settlement: Settlement, now: Date, adding: [QueueEntry]
  ) async throws(StorageError) -> Bool {
    try await write("settling a notification", isDurable: true) { db in
      guard var entry = try QueueRow.find(id: lease.entry.id, db), entry.isHeld(by: lease) else { return false }
      entry.settled(settlement, now: now, handsOn: !adding.isEmpty)
      try QueueRow.update(entry, db)
      switch settlement {
      case .delivered: try db.run("UPDATE tally SET delivered = delivered + 1")
      case .dead: try db.run("UPDATE tally SET dead = dead + 1")
      case .again: break
      }
      _ = try QueueRow.insert(adding, db)
      return true
    }
  }

  package func heldLeases(limit: Int) async throws(StorageError) -> [QueueLease] {
    try await read("reading the leases") { db in
      try db.rows(
        "SELECT \(QueueRow.columns) FROM notifications WHERE state = 1 ORDER BY lease_until, sequence LIMIT ?",
        [max(0, limit)]
      ) { QueueLease(entry: try QueueRow.entry($0)) }
    }
  }

  package func rescue(_ leases: [QueueLease], now: Date) async throws(StorageError) -> Int {
    if leases.isEmpty { return 0 }
    return try await write("rescuing notifications", isDurable: false) { db in
      var count = 0
      for lease in leases {
        guard var entry = try QueueRow.find(id: lease.entry.id, db), entry.isUnchanged(since: lease) else { continue }
        entry.rescued(now: now, hasOwnerEnded: lease.hasOwnerEnded)
        try QueueRow.update(entry, db)
        count += 1
      }
      return count
    }
  }

  /// How many pending ones a worker may have now.
  private static func dueCount(_ now: Date, _ db: Database) throws -> Int {
    let due = try db.row(
      "SELECT count(*) FROM notifications WHERE state = 0 AND next_at <= ?", [StoredTime.milliseconds(now)]
    ) { try $0.integer(0) }
    let ahead = try db.row(
      """
      SELECT count(*) FROM notifications INDEXED BY notifications_ahead
      WHERE state = 0 AND updated > ? AND next_at > ?
      """, QueueRow.aheadArguments(now)
    ) { try $0.integer(0) }
    return Int((due ?? 0) + (ahead ?? 0))
  }

  package func queueCounts(now: Date) async throws(StorageError) -> QueueCounts {
    try await read("counting notifications") { db in
      var counts = QueueCounts()
      let tally = try db.row("SELECT accepted, delivered, merged, dead FROM tally") { row in
        try (0..<4).map { Int(try row.integer($0)) }
      }
      if let tally {
        (counts.accepted, counts.delivered, counts.merged, counts.dead) = (tally[0], tally[1], tally[2], tally[3])
      }
      func count(_ sql: String) throws -> Int {
        Int(try db.row(sql) { try $0.integer(0) } ?? 0)
      }
      counts.leased = try count("SELECT count(*) FROM notifications WHERE state = 1")
      counts.pending = try count("SELECT count(*) FROM notifications WHERE state = 0")
      counts.due = try Self.dueCount(now, db)
      counts.oldestPending = try db.row("SELECT min(created) FROM notifications WHERE state = 0") { row in
        try row.optionalInteger(0).map(StoredTime.date(milliseconds:))
      }.flatMap { $0 }
      return counts
    }
  }

  package func queueLoad(now: Date) async throws(StorageError) -> QueueLoad {
    try await read("counting notifications") { db in
      let leased = try db.row("SELECT count(*) FROM notifications WHERE state = 1") { try $0.integer(0) }
      return QueueLoad(due: try Self.dueCount(now, db), leased: Int(leased ?? 0))
    }
  }

  package func nextDue() async throws(StorageError) -> Date? {
    try await read("reading the queue") { db in
      try db.row("SELECT next_at FROM notifications WHERE state = 0 ORDER BY next_at LIMIT 1") { row in
        StoredTime.date(milliseconds: try row.integer(0))
      }
    }
  }

  package func queue(_ query: QueueQuery) async throws(StorageError) -> [QueueEntry] {
    // A set of states as bits: one statement for all sets.
    let states = query.states.reduce(Int64(0)) { $0 | 1 << StoredNames.number($1) }
    let limit = max(0, query.limit)
    let order = "AND (1 << state) & ? != 0 ORDER BY created DESC, sequence DESC LIMIT ?"
    return try await read("reading the queue") { db in
      if let episode = query.episode {
        return try db.rows(
          "SELECT \(QueueRow.columns) FROM notifications WHERE episode = ? \(order)",
          [episode.storable, states, limit], QueueRow.entry)
      }
      return try db.rows(
        "SELECT \(QueueRow.columns) FROM notifications WHERE true \(order)", [states, limit], QueueRow.entry)
    }
  }

  package func queueEntry(id: String) async throws(StorageError) -> QueueEntry? {
    try await read("reading a notification") { db in try QueueRow.find(id: id, db) }
  }

  package func retry(id: String, now: Date) async throws(StorageError) -> Bool {
    try await write("retrying a notification", isDurable: true) { db in
      guard var entry = try QueueRow.find(id: id, db) else { return false }
      let wasDead = entry.state == .dead
      guard entry.retried(now: now) else { return false }
      try QueueRow.update(entry, db)
      if wasDead { try db.run("UPDATE tally SET dead = dead - 1") }
      return true
    }
  }

  package func drop(id: String, reason: String, now: Date) async throws(StorageError) -> Bool {
    try await write("dropping a notification", isDurable: true) { db in
      guard var entry = try QueueRow.find(id: id, db), entry.dropped(reason: reason, now: now) else { return false }
      try QueueRow.update(entry, db)
      try db.run("UPDATE tally SET dead = dead + 1")
      return true
    }
  }

  package func pruneQueue(settledBefore date: Date) async throws(StorageError) -> Int {
    let bound = StoredTime.milliseconds(date)
    return try await write("pruning the queue", isDurable: true) { db in
      try db.run("DELETE FROM episodes WHERE is_open = 0 AND listed_at < ?", [bound])
      return try db.run("DELETE FROM notifications WHERE state >= 2 AND updated < ?", [bound])
    }
  }
}
