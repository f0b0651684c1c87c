internal import FoundationEssentials
internal import GRDB
internal import Model
package import Storage

extension SQLiteStorage: PortableStorage {
  package func export(_ part: StorePart, after cursor: String?, limit: Int) async throws(StorageError) -> StorePage {
    let limit = max(1, limit)
    switch part {
    case .documents: return try await documents(after: cursor, limit)
    case .samples: return try await samples(after: cursor, limit)
    case .roll_ups: return try await rollUps(after: cursor, limit)
    case .episodes:
      return try await page(limit) { db, more in
        try db.rows("SELECT id, body FROM episodes WHERE id > ? ORDER BY id LIMIT ?", [cursor ?? "", more]) { row in
          (try row.text(0), .episode(try QueueRow.json(Episode.self, row.text(1))))
        }
      }
    case .notifications:
      let after = try cursor.map { text throws(StorageError) in try PortableCursor.numbers(text, count: 1) }?.first
      return try await page(limit) { db, more in
        try db.rows(
          "SELECT \(QueueRow.columns) FROM notifications WHERE sequence > ? ORDER BY sequence LIMIT ?",
          [after ?? .min, more]
        ) { row in (PortableCursor.text(["\(try row.integer(0))"]), .entry(try QueueRow.entry(row))) }
      }
    case .counts:
      let forgotten = try await read("reading the tally") { db in try Self.forgotten(db) }
      return StorePage(items: [.forgotten(forgotten)], next: nil)
    }
  }

  private func documents(after cursor: String?, _ limit: Int) async throws(StorageError) -> StorePage {
    let after = try cursor.map { text throws(StorageError) in try PortableCursor.parts(text, count: 2) } ?? ["", ""]
    return try await page(limit) { db, more in
      try db.rows(
        "SELECT kind, id, fields FROM documents WHERE (kind, id) > (?, ?) ORDER BY kind, id LIMIT ?",
        [after[0], after[1], more]
      ) { row in
        let name = try row.text(0)
        let id = try row.text(1)
        guard let kind = DocumentKind(rawValue: name) else {
          throw StorageError(.corrupt, "a document is of the unknown kind \(name)")
        }
        return (
          PortableCursor.text([name, id]),
          .document(Document(kind: kind, id: id, fields: try Self.fields(row.bytes(2))))
        )
      }
    }
  }

  /// In the order of series (by number), type, time: as they lie in the table.
  private func samples(after cursor: String?, _ limit: Int) async throws(StorageError) -> StorePage {
    let after =
      try cursor.map { text throws(StorageError) in try PortableCursor.numbers(text, count: 4) }
      ?? [.min, .min, .min, .min]
    return try await page(limit) { db, more in
      try db.rows(
        """
        SELECT s.second, s.n, s.millisecond, s.data, s.type, s.series, r.target, r.metric, r.name
        FROM samples AS s CROSS JOIN series AS r ON r.id = s.series
        WHERE (s.series, s.type, s.second, s.n) > (?, ?, ?, ?) AND s.type <= 1
        ORDER BY s.series, s.type, s.second, s.n LIMIT ?
        """, [after[0], after[1], after[2], after[3], more]
      ) { row in
        let series = Series(target: try row.text(6), metric: try row.text(7), name: try row.optionalText(8))
        let type = try StoredNames.type(row.integer(4))
        let place = [try row.integer(5), try row.integer(4), try row.integer(0), try row.integer(1)]
        return (PortableCursor.text(place.map(String.init)), .sample(try Self.sample(row, series, type)))
      }
    }
  }

  /// First the states, then the closed buckets: what a state says to be closed was there before it, see ``StorePart``.
  private func rollUps(after cursor: String?, _ limit: Int) async throws(StorageError) -> StorePage {
    let after =
      try cursor.map { text throws(StorageError) in try PortableCursor.numbers(text, count: 4) } ?? [
        0, .min, .min, .min,
      ]
    var items: [StoreItem] = []
    if after[0] == 0 {
      let more = limit == .max ? limit : limit + 1
      let found = try await read("reading roll-ups") { db in
        try db.rows(
          """
          SELECT r.id, r.target, r.metric, r.name FROM roll_up_states AS s CROSS JOIN series AS r ON r.id = s.series
          WHERE s.series > ? ORDER BY s.series LIMIT ?
          """, [after[1], more], Self.series)
      }
      let here = Array(found.prefix(limit))
      let states = try await rollUpStates(here.map(\.series))
      for (_, series) in here {
        if let state = states[series] { items.append(.rollUpState(series, state)) }
      }
      if found.count > limit, let last = here.last {
        return StorePage(items: items, next: PortableCursor.text(["0", "\(last.id)", "0", "0"]))
      }
    }
    let room = limit - items.count
    let none = Int64.min
    if room < 1 { return StorePage(items: items, next: PortableCursor.text(["1", "\(none)", "\(none)", "\(none)"])) }
    let first = after[0] == 0 ? [none, none, none] : Array(after.dropFirst())
    let page = try await page(room) { db, more in
      try db.rows(
        """
        SELECT b.series, b.type, b.start, b.length, b.data, r.target, r.metric, r.name
        FROM roll_ups AS b CROSS JOIN series AS r ON r.id = b.series
        WHERE (b.series, b.type, b.start) > (?, ?, ?) ORDER BY b.series, b.type, b.start LIMIT ?
        """, [first[0], first[1], first[2], more]
      ) { row in
        let series = Series(target: try row.text(5), metric: try row.text(6), name: try row.optionalText(7))
        let place = [1, try row.integer(0), try row.integer(1), try row.integer(2)]
        let rollUp = RollUp(
          type: try StoredNames.type(place[2]), start: place[3], length: try row.integer(3),
          encoded: try row.bytes(4))
        return (PortableCursor.text(place.map(String.init)), .rollUp(series, rollUp))
      }
    }
    return StorePage(items: items + page.items, next: page.next)
  }

  /// Reads one more than fit, to know whether that was all.
  private func page(
    _ limit: Int, _ body: @escaping @Sendable (Database, Int) throws -> [(cursor: String, item: StoreItem)]
  ) async throws(StorageError) -> StorePage {
    let found = try await read("exporting the store") { db in try body(db, limit == .max ? .max : limit + 1) }
    let here = found.prefix(limit)
    return StorePage(items: here.map(\.item), next: found.count > limit ? here.last?.cursor : nil)
  }

  /// What was settled and is no longer there.
  static func forgotten(_ db: Database) throws -> QueueCounts {
    func present(_ state: QueueEntry.State) throws -> Int64 {
      try db.row("SELECT count(*) FROM notifications WHERE state = ?", [StoredNames.number(state)]) {
        try $0.integer(0)
      } ?? 0
    }
    let tally = try db.row("SELECT delivered, merged, dead FROM tally") { row in try (0..<3).map(row.integer) }
    guard let tally else { return QueueCounts() }
    return QueueCounts(
      forgottenDelivered: Int(tally[0] - (try present(.delivered))), merged: Int(tally[1] - (try present(.merged))),
      dead: Int(tally[2] - (try present(.dead))))
  }
}
