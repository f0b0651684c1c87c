package import FoundationEssentials
package import Model

extension MemoryStorage {
  package func record(_ episode: Episode?, queueing entries: [QueueEntry]) throws(StorageError) -> Int {
    try open()
    if let episode { try store(episode.stored) }
    return enqueue(entries)
  }

  private func store(_ episode: Episode) throws(StorageError) {
    if let known = episodeFences[episode.id], known > fence {
      throw StorageRefusal.fenced("the episode \(episode.id)")
    }
    if episode.isOpen, hasOpenEpisode(episode.key, beside: episode.id) {
      throw StorageRefusal.secondOpenEpisode(episode.id)
    }
    keep(episode)
  }

  /// Puts it in the place of what was there under its id.
  func keep(_ episode: Episode) {
    if let old = episodes[episode.id], openEpisodes[old.key] == old.id { openEpisodes[old.key] = nil }
    episodes[episode.id] = episode
    episodeFences[episode.id] = fence
    if episode.isOpen { openEpisodes[episode.key] = episode.id }
  }

  func hasOpenEpisode(_ key: ConditionKey, beside id: String) -> Bool {
    openEpisodes[key].map { $0 != id } ?? false
  }

  private func enqueue(_ new: [QueueEntry]) -> Int {
    var count = 0
    for entry in new.map(\.accepted) {
      if entries[entry.id] != nil { continue }
      if let key = entry.key {
        if idsByKey[key] != nil { continue }
        idsByKey[key] = entry.id
      }
      entries[entry.id] = (nextSequence, entry)
      nextSequence += 1
      count += 1
    }
    tally.accepted += count
    return count
  }

  package func episodes(reaction: String?, openOnly: Bool, limit: Int) throws(StorageError) -> [Episode] {
    try open()
    let found = episodes.values.filter {
      (reaction == nil || $0.key.reaction == reaction) && (!openOnly || $0.isOpen)
    }
    return Array(found.sorted(by: Episode.isListedBefore).prefix(max(0, limit)))
  }

  package func claim(owner: String, now: Date, lease: Duration) throws(StorageError) -> QueueLease? {
    try open()
    let instant = StoredTime.stored(now)
    let pending = entries.values.filter { $0.entry.isDue(at: now) }
    let due = pending.filter { $0.entry.next_at <= instant }.sorted { a, b in
      (a.entry.next_at, a.entry.created, a.sequence) < (b.entry.next_at, b.entry.created, b.sequence)
    }
    let ahead = pending.filter { $0.entry.next_at > instant }.sorted { a, b in
      (a.entry.updated, a.sequence) < (b.entry.updated, b.sequence)
    }
    for (_, candidate) in due + ahead {
      let verdict = PredecessorRules.verdict(for: candidate) { key -> QueueEntry? in
        idsByKey[key].flatMap { entries[$0]?.entry }
      }
      guard case .free(let predecessor, let takesIn) = verdict else { continue }
      for taken in takesIn { change(taken.id) { $0.merged(into: candidate.id, now: now) } }
      tally.merged += takesIn.count
      change(candidate.id) { $0.leased(by: owner, now: now, until: now + lease.timeInterval) }
      return entries[candidate.id].map { QueueLease(entry: $0.entry, predecessor: predecessor) }
    }
    return nil
  }

  package func extend(_ lease: QueueLease, until: Date) throws(StorageError) -> Bool {
    try open()
    guard let entry = entries[lease.entry.id]?.entry, entry.isHeld(by: lease) else { return false }
    change(entry.id) { $0.lease_until = StoredTime.stored(until) }
    return true
  }

  package func settle(
    _ lease: QueueLease, as settlement: Settlement, now: Date, adding: [QueueEntry]
  ) throws(StorageError) -> Bool {
    try open()
    guard let entry = entries[lease.entry.id]?.entry, entry.isHeld(by: lease) else { return false }
    change(entry.id) { $0.settled(settlement, now: now, handsOn: !adding.isEmpty) }
    switch settlement {
    case .delivered: tally.delivered += 1
    case .dead: tally.dead += 1
    case .again: break
    }
    _ = enqueue(adding)
    return true
  }

  package func heldLeases(limit: Int) throws(StorageError) -> [QueueLease] {
    try open()
    return entries.values.filter { $0.entry.state == .leased }.sorted { a, b in
      (a.entry.lease_until ?? .distantPast, a.sequence) < (b.entry.lease_until ?? .distantPast, b.sequence)
    }.prefix(max(0, limit)).map { QueueLease(entry: $0.entry) }
  }

  package func rescue(_ leases: [QueueLease], now: Date) throws(StorageError) -> Int {
    try open()
    var count = 0
    for lease in leases where entries[lease.entry.id]?.entry.isUnchanged(since: lease) == true {
      change(lease.entry.id) { $0.rescued(now: now, hasOwnerEnded: lease.hasOwnerEnded) }
      count += 1
    }
    return count
  }

  package func queueCounts(now: Date) throws(StorageError) -> QueueCounts {
    try open()
    var counts = tally
    for (_, entry) in entries.values {
      if entry.state == .leased { counts.leased += 1 }
      guard entry.state == .pending else { continue }
      counts.pending += 1
      if entry.isDue(at: now) { counts.due += 1 }
      counts.oldestPending = min(counts.oldestPending ?? entry.created, entry.created)
    }
    return counts
  }

  package func queueLoad(now: Date) throws(StorageError) -> QueueLoad {
    let counts = try queueCounts(now: now)
    return QueueLoad(due: counts.due, leased: counts.leased)
  }

  package func nextDue() throws(StorageError) -> Date? {
    try open()
    return entries.values.filter { $0.entry.state == .pending }.map(\.entry.next_at).min()
  }

  package func queue(_ query: QueueQuery) throws(StorageError) -> [QueueEntry] {
    try open()
    let found = entries.values.filter {
      query.states.contains($0.entry.state) && (query.episode == nil || $0.entry.episode == query.episode)
    }
    return found.sorted { ($0.entry.created, $0.sequence) > ($1.entry.created, $1.sequence) }
      .prefix(max(0, query.limit)).map(\.entry)
  }

  package func queueEntry(id: String) throws(StorageError) -> QueueEntry? {
    try open()
    return entries[id]?.entry
  }

  package func retry(id: String, now: Date) throws(StorageError) -> Bool {
    try open()
    guard var entry = entries[id]?.entry else { return false }
    let wasDead = entry.state == .dead
    guard entry.retried(now: now) else { return false }
    if wasDead { tally.dead -= 1 }
    change(id) { $0 = entry }
    return true
  }

  package func drop(id: String, reason: String, now: Date) throws(StorageError) -> Bool {
    try open()
    guard var entry = entries[id]?.entry, entry.dropped(reason: reason, now: now) else { return false }
    tally.dead += 1
    change(id) { $0 = entry }
    return true
  }

  package func pruneQueue(settledBefore date: Date) throws(StorageError) -> Int {
    try open()
    let bound = StoredTime.stored(date)
    let old = entries.values.filter { $0.entry.isSettled && $0.entry.updated < bound }.map(\.entry)
    for entry in old {
      entries[entry.id] = nil
      if let key = entry.key { idsByKey[key] = nil }
    }
    episodes = episodes.filter { $0.value.isOpen || ($0.value.ended_at ?? $0.value.since) >= bound }
    episodeFences = episodeFences.filter { episodes[$0.key] != nil }
    return old.count
  }

  private func change(_ id: String, _ body: (inout QueueEntry) -> Void) {
    guard var row = entries[id] else { return }
    body(&row.entry)
    entries[id] = row
  }
}
