internal import FoundationEssentials
internal import Logging
internal import Model
internal import Storage

/// One claim.
struct QueueClaim {
  /// Most entries that are looked at behind those that wait; who stands farther back has to wait for a later claim.
  private static let searchBound = 1000
  /// How often a chain is looked at anew because somebody else changed it.
  private static let chainTries = 16

  let session: QueueSession
  let owner: String
  let now: Date
  let until: Date

  private enum Attempt {
    case lease(QueueLease)
    /// Leased predecessors keep some back.
    case waits
    case none
  }

  func run() throws -> QueueLease? {
    session.memory.saw(now)
    if session.memory.isTimeToLook(now) { _ = try session.tidy(now: now) }
    for isLast in [false, true] {
      switch try front() {
      case .lease(let lease): return lease
      case .waits: if let lease = try search() { return lease }
      case .none: break
      }
      // Before the answer is that there is nothing: what others left half done, or queued without our words.
      session.memory.looked(now)
      let left = try session.tidy(now: now)
      if left.hasAhead, let lease = try ahead() { return lease }
      if isLast || !left.hasNew { return nil }
    }
    return nil
  }

  /// The first that is due, without those that were seen waiting just now.
  private func front() throws -> Attempt {
    let waiting = session.memory.waiting(now)
    let found = try lease(sort: ["next_at", "created", "sequence"], index: QueueNames.claimIndex) { w in
      w.string("state", QueueEntry.State.pending.rawValue)
      w.document("next_at") { $0.date("$lte", now) }
      if !waiting.isEmpty { w.document("_id") { $0.strings("$nin", waiting) } }
    }
    guard let found else { return waiting.isEmpty ? .none : .waits }
    if let lease = try resolve(found) { return .lease(lease) }
    session.memory.remember(waiting: [found.entry.id], now: now)
    return .waits
  }

  /// Goes through all that is due by reading only, and leases the first that need not wait.
  private func search() throws -> QueueLease? {
    let due = try candidates()
    let held = try leasedKeys(among: due.compactMap(\.entry.after))
    var waiting: [String] = []
    defer { session.memory.remember(waiting: waiting, now: now) }
    var known: [String: StoredEntry?] = [:]
    for candidate in due {
      var waits = candidate.entry.after.map(held.contains) ?? false
      if !waits, candidate.entry.after != nil {
        let verdict = try PredecessorRules.verdict(for: candidate.entry) { key in
          if let entry = known[key] { return entry?.entry }
          let entry = try session.find(key: key)
          known[key] = .some(entry)
          return entry?.entry
        }
        if case .waits = verdict { waits = true }
      }
      if !waits {
        let found = try lease(sort: [], index: nil) { w in
          w.value("_id", candidate.id)
          w.string("state", QueueEntry.State.pending.rawValue)
          w.document("next_at") { $0.date("$lte", now) }
        }
        guard let found else { continue }
        if let lease = try resolve(found) { return lease }
      }
      waiting.append(candidate.entry.id)
    }
    return nil
  }

  /// What only a clock that was set back makes due: last changed in the future.
  private func ahead() throws -> QueueLease? {
    let ahead = try session.ahead(of: now)
    let found = try lease(sort: ["updated", "sequence"], index: QueueNames.touchedIndex) { w in
      w.string("state", QueueEntry.State.pending.rawValue)
      ahead.filter(&w)
      w.document("next_at") { $0.date("$gt", now) }
    }
    return try found.flatMap(resolve)
  }

  // MARK: One entry

  /// Leases the first entry that matches. - Returns: it as it was before.
  private func lease(
    sort: [String], index: String?, where filter: (inout BSONWriter) -> Void
  ) throws -> Found? {
    let token = session.memory.newToken()
    func command(_ w: inout BSONWriter) {
      w.string("findAndModify", QueueNames.notifications)
      w.document("query", filter)
      if !sort.isEmpty { w.document("sort") { w in for field in sort { w.int32(field, 1) } } }
      w.document("update") { w in
        w.document("$set") { w in
          w.string("state", QueueEntry.State.leased.rawValue)
          w.string("owner", owner)
          w.date("lease_until", until)
          w.date("updated", now)
          w.int("token", token)
        }
        w.document("$inc") { $0.int("epoch", 1) }
      }
      w.bool("new", false)
      if let index { w.string("hint", index) }
    }
    let reply: BSON
    do {
      reply = try session.connection.write(writing: command)
    } catch let error as MongoFailure where error.isFinal {
      // An epoch that somebody wrote as text cannot be counted up, and must not keep all others back.
      guard try session.repairEpochs() > 0 else { throw error }
      reply = try session.connection.write(writing: command)
    }
    guard let document = try reply.reader(of: "value") else { return nil }
    let before = QueueDocument.stored(document)
    var after = before
    after.entry.leased(by: owner, now: now, until: until)
    after.token = token
    return Found(before: before, after: after)
  }

  private struct Found {
    var before: StoredEntry
    var after: StoredEntry
    var entry: QueueEntry { after.entry }
  }

  /// Looks at what stands before a leased entry, and merges it. What cannot be delivered is handed out with the reason,
  /// to be given up.
  /// - Returns: nil when it has to wait; it was given back then.
  private func resolve(_ found: Found) throws -> QueueLease? {
    if let problem = found.before.problem {
      // Written down once more as it was read: an epoch that was no whole number would let nobody end the lease.
      guard try session.replace(found.after, with: found.entry) else { return nil }
      return QueueLease(entry: found.entry, problem: problem)
    }
    // A person's copy of an entry comes with a state and without our marks: from here on it is counted.
    if found.before.sequence == nil {
      _ = try session.count(update: QueueNames.notifications, where: { $0.value("_id", found.before.id) }) { w in
        w.document("$set") { session.takeIn(&$0) }
      }
    }
    guard found.entry.after != nil else { return QueueLease(entry: found.entry) }
    try session.memory.reached(.leased)
    tries: for _ in 0..<Self.chainTries {
      var seen: [String: StoredEntry] = [:]
      let verdict = try PredecessorRules.verdict(for: found.entry) { key in
        let before = try session.find(key: key)
        if let before { seen[before.entry.id] = before }
        return before?.entry
      }
      guard case .free(let predecessor, let takesIn) = verdict else { break }
      for taken in takesIn.reversed() {
        guard let old = seen[taken.id] else { continue tries }
        var entry = taken
        entry.merged(into: found.entry.id, now: now)
        guard try session.replace(old, with: entry) else { continue tries }
        try session.memory.reached(.merged)
      }
      return QueueLease(entry: found.entry, predecessor: predecessor)
    }
    try giveBack(found)
    return nil
  }

  /// Puts the entry back as it was, its epoch too: nobody has seen the new one.
  private func giveBack(_ found: Found) throws {
    guard let token = found.after.token else { return }
    _ = try session.update(
      found.before.id, token: session.memory.newToken(),
      where: { w in
        w.string("state", QueueEntry.State.leased.rawValue)
        w.string("owner", owner)
        w.int("epoch", found.entry.epoch)
        w.int("token", token)
      },
      set: { w in QueueDocument.changing(found.before.entry, &w) })
  }

  // MARK: Many

  /// What is due, in its order, with as much as the walk along `after` needs.
  private func candidates() throws -> [StoredEntry] {
    let command = BSON { w in
      w.string("find", QueueNames.notifications)
      w.document("filter") { w in
        w.string("state", QueueEntry.State.pending.rawValue)
        w.document("next_at") { $0.date("$lte", now) }
      }
      w.document("sort") { w in for field in ["next_at", "created", "sequence"] { w.int32(field, 1) } }
      w.document("projection") { w in for field in ["state", "key", "after", "token"] { w.int32(field, 1) } }
      w.int("limit", Self.searchBound)
      w.string("hint", QueueNames.claimIndex)
    }
    return try session.connection.find(command, limit: Self.searchBound).map(QueueDocument.stored)
  }

  private func leasedKeys(among keys: [String]) throws -> Set<String> {
    if keys.isEmpty { return [] }
    let command = BSON { w in
      w.string("find", QueueNames.notifications)
      w.document("filter") { w in
        w.document("key") { $0.strings("$in", Set(keys)) }
        w.string("state", QueueEntry.State.leased.rawValue)
      }
      w.document("projection") { $0.int32("key", 1) }
    }
    return Set(try session.connection.find(command, limit: keys.count).compactMap { $0["key"]?.stringValue })
  }
}
