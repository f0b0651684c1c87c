package import Foundation
internal import GRDB
package import Model
package import Storage

/// Committed with `NORMAL`, as samples are: after a loss of power the state is older, and the same is computed once more
/// from the samples that are left.
extension SQLiteStorage: RollUpStorage {
  package func rollUpStates(_ series: [Series]) async throws(StorageError) -> [Series: RollUpState] {
    if series.isEmpty { return [:] }
    return try await read("reading where roll-ups stand") { db in
      var states: [Series: RollUpState] = [:]
      for one in series {
        guard let id = try Self.id(of: one, db) else { continue }
        states[one] = try db.row(
          "SELECT second, n, late, open FROM roll_up_states WHERE series = ?", [id]
        ) { row in
          guard let n = Int(exactly: try row.integer(1)) else {
            throw StorageError(.corrupt, "a roll-up state has a key that is no number of ours")
          }
          return try RollUpState(
            through: SampleKey(second: try row.integer(0), n: n), lateBytes: try row.bytes(2),
            openBytes: try row.bytes(3))
        }
      }
      return states
    }
  }

  package func rollUps(
    _ series: Series, type: SampleType, starts: [Int64]
  ) async throws(StorageError) -> [RollUp] {
    if starts.isEmpty { return [] }
    return try await read("reading roll-ups") { db in
      guard let id = try Self.id(of: series, db) else { return [] }
      return try Set(starts).sorted().compactMap { start in
        try db.row(
          "SELECT start, length, data FROM roll_ups WHERE series = ? AND type = ? AND start = ?",
          [id, StoredNames.number(type), start]
        ) { try Self.rollUp($0, type) }
      }
    }
  }

  package func store(_ updates: [RollUpUpdate]) async throws(StorageError) {
    if updates.isEmpty { return }
    try await write("storing roll-ups", isDurable: false, room: .spare) { [fence] db in
      let fence = fence.value
      for update in updates {
        let id = try Self.makeID(of: update.series, db)
        let state = update.state
        let changed = try db.run(
          """
          INSERT INTO roll_up_states (series, fence, second, n, late, open) VALUES (?, ?, ?, ?, ?, ?)
          ON CONFLICT (series) DO UPDATE SET fence = excluded.fence, second = excluded.second, n = excluded.n,
            late = excluded.late, open = excluded.open WHERE fence <= excluded.fence
          """,
          [id, fence, state.through.second, state.through.n, Data(state.lateBytes), Data(state.openBytes)])
        // Ends the transaction: nothing of this call stays.
        guard changed == 1 else { throw StorageRefusal.fenced("a roll-up state") }
        for bucket in update.closed {
          try db.run(
            """
            INSERT INTO roll_ups (series, type, start, length, data) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT (series, type, start) DO UPDATE SET length = excluded.length, data = excluded.data
            """,
            [id, StoredNames.number(bucket.type), bucket.start, bucket.length, Data(bucket.encoded)])
        }
      }
    }
  }

  package func newestRolledUp(until second: Int64) async throws(StorageError) -> Int64? {
    try await read("reading how far roll-ups go") { db in
      try db.row(
        "SELECT second FROM roll_up_states WHERE second <= ? ORDER BY second DESC LIMIT 1", [second]
      ) { try $0.integer(0) }
    }
  }

  package func remove(_ series: [Series], quietSince date: Date) async throws(StorageError) -> Int {
    if series.isEmpty { return 0 }
    let bound = StoredTime.milliseconds(date)
    return try await write("removing series", isDurable: false) { [fence] db in
      let fence = fence.value
      var count = 0
      for one in series {
        guard let id = try Self.id(of: one, db) else { continue }
        let isNeeded = try db.row(
          """
          SELECT EXISTS (SELECT 1 FROM roll_up_states WHERE series = ?1 AND (second * 1000 >= ?2 OR fence > ?3))
            OR EXISTS (
              SELECT 1 FROM samples
              WHERE series = ?1 AND type IN (?4, ?5) AND second >= ?6 AND second * 1000 + millisecond >= ?2)
          """,
          [
            id, bound, fence, StoredNames.number(.realTime), StoredNames.number(.event),
            // Rounded outwards, for the index.
            Self.secondUp(bound) - 1,
          ]
        ) { try $0.integer(0) != 0 }
        if isNeeded ?? true { continue }
        try db.run("DELETE FROM roll_up_states WHERE series = ?", [id])
        count += try db.run("DELETE FROM samples WHERE series = ?", [id])
        try Self.forget(unused: id, db)
      }
      return count
    }
  }

  // MARK: Read as samples

  /// From the columns `start, length, data`.
  private static func rollUp(_ row: Row, _ type: SampleType) throws -> RollUp {
    RollUp(type: type, start: try row.integer(0), length: try row.integer(1), encoded: try row.bytes(2))
  }

  /// The newest buckets that start in a window, newest first, the open one included.
  static func newestRollUps(
    _ limit: Int, id: Int64, type: SampleType, since: Date?, until: Date?, _ db: Database
  ) throws -> [RollUp] {
    let since = since.map(StoredTime.milliseconds) ?? StoredTime.range.lowerBound
    let until = until.map(StoredTime.milliseconds) ?? StoredTime.range.upperBound + 1
    // Starts are whole seconds: the first at or after each bound.
    let (low, high) = (secondUp(since), secondUp(until))
    var found: [Int64: RollUp] = [:]
    let open = try db.row("SELECT open FROM roll_up_states WHERE series = ?", [id]) { try $0.bytes(0) }
    if let open {
      let none = RollUpState(through: SampleKey(second: 0, n: 0), open: [], late: [])
      let state = try RollUpState(through: none.through, lateBytes: none.lateBytes, openBytes: open)
      for bucket in state.open where bucket.type == type && bucket.start >= low && bucket.start < high {
        found[bucket.start] = bucket
      }
    }
    let closed = try db.rows(
      """
      SELECT start, length, data FROM roll_ups WHERE series = ? AND type = ? AND start >= ? AND start < ?
      ORDER BY start DESC LIMIT ?
      """, [id, StoredNames.number(type), low, high, limit]
    ) { try rollUp($0, type) }
    // A bucket that is closed is complete; the state may be from before.
    for bucket in closed { found[bucket.start] = bucket }
    return Array(found.values.sorted { $0.start > $1.start }.prefix(limit))
  }

  static func rollUpSeries(type: SampleType, target: String?, _ db: Database) throws -> [Series] {
    let candidates = try db.rows(
      """
      SELECT id, target, metric, name,
        EXISTS (SELECT 1 FROM roll_ups WHERE series = s.id AND type = ?2) AS is_closed,
        (SELECT open FROM roll_up_states WHERE series = s.id) AS open
      FROM series AS s WHERE ?1 IS NULL OR target = ?1 ORDER BY target, metric, name
      """, [target?.storable, StoredNames.number(type)]
    ) { row in
      if try row.integer(4) != 0 { return try Self.series(row).series as Series? }
      guard (row[5] as DatabaseValue) != .null else { return nil }
      let none = RollUpState(through: SampleKey(second: 0, n: 0), open: [], late: [])
      let state = try RollUpState(through: none.through, lateBytes: none.lateBytes, openBytes: try row.bytes(5))
      return state.open.contains { $0.type == type } ? try Self.series(row).series : nil
    }
    return candidates.compactMap { $0 }
  }

  /// Closed buckets only: the open one stays, it is not over.
  static func pruneRollUps(_ rule: RetentionRule, id: Int64, _ db: Database) throws -> Int {
    let bound: Int64
    switch rule.keep {
    case .newest(let limit) where limit <= 0: bound = .max
    case .newest(let limit):
      let newest = try newestRollUps(limit, id: id, type: rule.type, since: nil, until: nil, db)
      guard newest.count == limit, let oldest = newest.last else { return 0 }
      bound = oldest.start
    case .since(let date): bound = secondUp(StoredTime.milliseconds(date))
    }
    return try db.run(
      "DELETE FROM roll_ups WHERE series = ? AND type = ? AND start < ?", [id, StoredNames.number(rule.type), bound])
  }

  private static func secondUp(_ milliseconds: Int64) -> Int64 {
    let (quotient, remainder) = milliseconds.quotientAndRemainder(dividingBy: 1000)
    return remainder > 0 ? quotient + 1 : quotient
  }
}

extension SampleType {
  /// Whether samples of this type are made of others.
  var isRollUp: Bool { self != .realTime && self != .event }
}
