internal import FoundationEssentials
internal import GRDB
internal import Model
internal import Storage

/// A queue entry as a row of `notifications`: columns for what is searched or changes often, JSON for the rest.
enum QueueRow {
  /// What is set once, when the entry is taken in (alternates are handed on once).
  private struct Body: Codable {
    var reaction: String
    var target: String
    var type: String
    var kind: String
    var option: String?
    var recipient: String?
    var alternates: [String]
    var severity: Severity?
  }

  static let columns = """
    sequence, id, key, after_key, episode, state, next_at, created, updated, owner, epoch, lease_until, delivered_at, \
    receipt, payload, body, attempts
    """

  static let due = """
    SELECT \(columns) FROM notifications WHERE state = 0 AND next_at <= ? ORDER BY next_at, created, sequence
    """

  /// What only a clock that was set back makes due. Takes the bound on `updated`, and now.
  static let ahead = """
    SELECT \(columns) FROM notifications INDEXED BY notifications_ahead
    WHERE state = 0 AND updated > ? AND next_at > ? ORDER BY updated, sequence
    """

  /// The arguments of ``ahead``.
  static func aheadArguments(_ now: Date) -> StatementArguments {
    [StoredTime.milliseconds(now.addingTimeInterval(QueueEntry.aheadBound)), StoredTime.milliseconds(now)]
  }

  static func entry(_ row: Row) throws -> QueueEntry {
    guard case .object(let payload) = try ValueCodec.decode(try row.bytes(14)[...]) else {
      throw ValueCodec.Malformed()
    }
    let body = try json(Body.self, row.text(15))
    var entry = QueueEntry(
      id: try row.text(1), key: try row.optionalText(2), reaction: body.reaction, target: body.target,
      type: body.type, payload: payload, episode: try row.optionalText(4), kind: body.kind, option: body.option,
      recipient: body.recipient, alternates: body.alternates, after: try row.optionalText(3), severity: body.severity,
      created: try date(row.integer(7)), next_at: try date(row.integer(6)))
    entry.state = try StoredNames.state(row.integer(5))
    entry.updated = try date(row.integer(8))
    entry.owner = try row.optionalText(9)
    entry.epoch = Int(try row.integer(10))
    entry.lease_until = try row.optionalInteger(11).map(date)
    entry.delivered_at = try row.optionalInteger(12).map(date)
    entry.receipt = try row.optionalText(13)
    entry.attempts = try json([QueueEntry.Attempt].self, row.text(16))
    return entry
  }

  static func find(id: String, _ db: Database) throws -> QueueEntry? {
    try db.row("SELECT \(columns) FROM notifications WHERE id = ?", [id.storable], entry)
  }

  static func find(key: String, _ db: Database) throws -> QueueEntry? {
    try db.row("SELECT \(columns) FROM notifications WHERE key = ?", [key.storable], entry)
  }

  /// Takes entries in; an id or key that is known already is passed over.
  /// - Returns: how many were new; they are counted as accepted.
  static func insert(_ entries: [QueueEntry], _ db: Database) throws -> Int {
    var count = 0
    for entry in entries.map(\.accepted) {
      count += try db.run(
        """
        INSERT INTO notifications (id, key, after_key, episode, state, next_at, created, updated, epoch, payload, body,
          attempts)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
        """,
        [
          entry.id.storable, entry.key?.storable, entry.after?.storable, entry.episode?.storable,
          StoredNames.number(entry.state), StoredTime.milliseconds(entry.next_at),
          StoredTime.milliseconds(entry.created), StoredTime.milliseconds(entry.updated), entry.epoch,
          Data(try ValueCodec.encode(.object(entry.payload))), try body(of: entry), try json(entry.attempts),
        ])
    }
    if count > 0 { try db.run("UPDATE tally SET accepted = accepted + ?", [count]) }
    return count
  }

  /// Writes everything that a step of its life can change.
  static func update(_ entry: QueueEntry, _ db: Database) throws {
    try db.run(
      """
      UPDATE notifications SET state = ?, next_at = ?, updated = ?, owner = ?, epoch = ?, lease_until = ?,
        delivered_at = ?, receipt = ?, body = ?, attempts = ?
      WHERE id = ?
      """,
      [
        StoredNames.number(entry.state), StoredTime.milliseconds(entry.next_at),
        StoredTime.milliseconds(entry.updated), entry.owner?.storable, entry.epoch,
        entry.lease_until.map(StoredTime.milliseconds), entry.delivered_at.map(StoredTime.milliseconds),
        entry.receipt?.storable, try body(of: entry), try json(entry.attempts), entry.id.storable,
      ])
  }

  private static func body(of entry: QueueEntry) throws -> String {
    try json(
      Body(
        reaction: entry.reaction, target: entry.target, type: entry.type, kind: entry.kind, option: entry.option,
        recipient: entry.recipient, alternates: entry.alternates, severity: entry.severity))
  }

  private static func date(_ milliseconds: Int64) -> Date { StoredTime.date(milliseconds: milliseconds) }

  /// Dates as seconds since 2001, exactly as `Date` holds them.
  static func json(_ value: some Encodable) throws -> String {
    String(decoding: try JSONEncoder().encode(value), as: UTF8.self)
  }

  static func json<Result: Decodable>(_: Result.Type, _ text: String) throws -> Result {
    do {
      return try JSONDecoder().decode(Result.self, from: Data(text.utf8))
    } catch {
      throw ValueCodec.Malformed()
    }
  }
}
