internal import FoundationEssentials
internal import GRDB
internal import Model
package import Storage

extension SQLiteStorage {
  package func restore(_ items: [StoreItem]) async throws(StorageError) -> Int {
    if items.isEmpty { return 0 }
    var states: [(Series, RollUpState)] = []
    var others: [StoreItem] = []
    for item in items {
      if case .rollUpState(let series, let state) = item { states.append((series, state)) } else { others.append(item) }
    }
    var count = try await write("restoring the store", isDurable: true) { [fence, others] db in
      var count = 0
      var hasNewDocument = false
      for item in others where try Self.restore(item, fence: fence.value, db) {
        count += 1
        if case .document = item { hasNewDocument = true }
      }
      if hasNewDocument { try Self.moveRevision(db) }
      return count
    }
    // After the buckets that come with them, as always.
    let known = states.isEmpty ? [:] : try await rollUpStates(states.map(\.0))
    var updates: [RollUpUpdate] = []
    for (series, state) in states where known[series] == nil {
      updates.append(RollUpUpdate(series: series, closed: [], state: state))
    }
    if !updates.isEmpty { try await store(updates) }
    count += updates.count
    return count
  }

  /// - Returns: whether it was new.
  private static func restore(_ item: StoreItem, fence: Int64, _ db: Database) throws -> Bool {
    switch item {
    case .document(let document):
      guard try self.document(document.kind, id: document.id, db) == nil else { return false }
      try store(document.stored(over: nil).document, db)
      return true
    case .sample(let sample):
      return try insert(sample, series: try makeID(of: sample.series, db), db)
    case .rollUp(let series, let rollUp):
      return try db.run(
        "INSERT INTO roll_ups (series, type, start, length, data) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [
          try makeID(of: series, db), StoredNames.number(rollUp.type), rollUp.start, rollUp.length,
          Data(rollUp.encoded),
        ]) > 0
    case .rollUpState: return false
    case .episode(let episode):
      guard try db.row("SELECT 1 FROM episodes WHERE id = ?", [episode.id.storable], { _ in true }) == nil else {
        return false
      }
      let other = try db.row(
        "SELECT 1 FROM episodes WHERE condition = ? AND is_open = 1", [episode.key.text.storable]
      ) { _ in true }
      let isDouble = episode.isOpen && other != nil
      try EpisodeRow.store(isDouble ? episode.stored.superseded : episode.stored, fence: fence, db)
      return true
    case .entry(let entry):
      return try QueueRow.restore(entry.moved, db)
    case .forgotten(let counts):
      guard try forgotten(db).accepted == 0, counts.accepted > 0 else { return false }
      try db.run(
        """
        UPDATE tally SET accepted = accepted + ?1 + ?2 + ?3, delivered = delivered + ?1, merged = merged + ?2,
          dead = dead + ?3
        """, [counts.delivered, counts.merged, counts.dead])
      return true
    }
  }
}

extension QueueRow {
  /// Takes an entry in as it is, unless its id or key is known. - Returns: whether it was new.
  fileprivate static func restore(_ entry: QueueEntry, _ db: Database) throws -> Bool {
    var pending = entry
    pending.state = .pending
    guard try insert([pending], db) == 1 else { return false }
    try update(entry, db)
    switch entry.state {
    case .pending, .leased: break
    case .delivered: try db.run("UPDATE tally SET delivered = delivered + 1")
    case .merged: try db.run("UPDATE tally SET merged = merged + 1")
    case .dead: try db.run("UPDATE tally SET dead = dead + 1")
    }
    return true
  }
}
