internal import FoundationEssentials
internal import GRDB
package import Model
package import Storage

/// The numbers that stand for names in the tables. Never changed, only added to.
enum StoredNames {
  static func number(_ type: SampleType) -> Int64 {
    switch type {
    case .realTime: 0
    case .event: 1
    case .variable: 2
    case .hour: 3
    case .day: 4
    }
  }

  static func type(_ number: Int64) throws -> SampleType {
    guard let type = SampleType.allCases.first(where: { self.number($0) == number }) else {
      throw StorageError(.corrupt, "a sample has the unknown type \(number)")
    }
    return type
  }

  static func number(_ state: QueueEntry.State) -> Int64 {
    switch state {
    case .pending: 0
    case .leased: 1
    case .delivered: 2
    case .dead: 3
    case .merged: 4
    }
  }

  static func state(_ number: Int64) throws -> QueueEntry.State {
    guard let state = QueueEntry.State.allCases.first(where: { self.number($0) == number }) else {
      throw StorageError(.corrupt, "a notification has the unknown state \(number)")
    }
    return state
  }
}

extension SQLiteStorage {
  package func append(_ samples: [Sample]) async throws(StorageError) {
    if samples.isEmpty { return }
    try await write("storing samples", isDurable: false, room: .spare) { db in
      var known: [Series: Int64] = [:]
      for sample in samples where !sample.type.isRollUp {
        let series = try known[sample.series] ?? Self.makeID(of: sample.series, db)
        known[sample.series] = series
        _ = try Self.insert(sample, series: series, db)
      }
    }
  }

  package func latest(_ series: Series, type: SampleType) async throws(StorageError) -> Sample? {
    try await read("reading a sample") { db in
      guard let id = try Self.id(of: series, db) else { return nil }
      return try Self.found(1, of: series, id: id, type: type, since: nil, until: nil, db).first
    }
  }

  package func samples(_ query: SampleQuery) async throws(StorageError) -> [Sample] {
    let limit = max(0, query.limit)
    return try await read("reading samples") { db in
      var instances: [(id: Int64, series: Series)] = []
      if query.matchesName {
        if let id = try Self.id(of: query.series, db) { instances = [(id, query.series)] }
      } else {
        instances = try db.rows(
          "SELECT id, target, metric, name FROM series WHERE target = ? AND metric = ?",
          [query.series.target.storable, query.series.metric.storable], Self.series)
      }
      let found = try instances.flatMap { instance in
        try Self.found(
          limit, of: instance.series, id: instance.id, type: query.type, since: query.since, until: query.until, db)
      }
      return Array(found.sorted(by: SampleQuery.isListedBefore).suffix(limit))
    }
  }

  package func series(type: SampleType, target: String?) async throws(StorageError) -> [Series] {
    try await read("reading the list of series") { db in
      if type.isRollUp { return try Self.rollUpSeries(type: type, target: target, db) }
      return try db.rows(
        """
        SELECT id, target, metric, name FROM series AS s
        WHERE (?1 IS NULL OR target = ?1) AND EXISTS (SELECT 1 FROM samples WHERE series = s.id AND type = ?2)
        ORDER BY target, metric, name
        """,
        [target?.storable, StoredNames.number(type)], Self.series
      ).map(\.series)
    }
  }

  package func prune(_ rules: [RetentionRule]) async throws(StorageError) -> Int {
    if rules.isEmpty { return 0 }
    return try await write("pruning samples", isDurable: false) { db in
      var count = 0
      for rule in rules {
        guard let id = try Self.id(of: rule.series, db) else { continue }
        if rule.type.isRollUp {
          count += try Self.pruneRollUps(rule, id: id, db)
          try Self.forget(unused: id, db)
          continue
        }
        let type = StoredNames.number(rule.type)
        switch rule.keep {
        case .newest(let limit) where limit <= 0:
          count += try db.run("DELETE FROM samples WHERE series = ? AND type = ?", [id, type])
        case .newest(let limit):
          // The oldest that stays; none when there are not so many.
          let oldest = try db.row(
            """
            SELECT second, n FROM samples WHERE series = ? AND type = ?
            ORDER BY second DESC, n DESC LIMIT 1 OFFSET ?
            """, [id, type, limit - 1]
          ) { (try $0.integer(0), try $0.integer(1)) }
          guard let (second, n) = oldest else { continue }
          count += try db.run(
            "DELETE FROM samples WHERE series = ? AND type = ? AND (second, n) < (?, ?)", [id, type, second, n])
        case .since(let date):
          let bound = StoredTime.milliseconds(date)
          count += try db.run(
            "DELETE FROM samples WHERE series = ?1 AND type = ?2 AND second <= ?3 AND second * 1000 + millisecond < ?4",
            [id, type, Self.second(bound), bound])
        }
        try Self.forget(unused: id, db)
      }
      return count
    }
  }

  /// Forgets the number of a series of which nothing is left.
  static func forget(unused id: Int64, _ db: Database) throws {
    try db.run(
      """
      DELETE FROM series WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM samples WHERE series = ?1)
        AND NOT EXISTS (SELECT 1 FROM roll_ups WHERE series = ?1)
        AND NOT EXISTS (SELECT 1 FROM roll_up_states WHERE series = ?1)
      """, [id])
  }

  // MARK: Rows

  /// The number of a series, a new one where it has none.
  static func makeID(of series: Series, _ db: Database) throws -> Int64 {
    if let id = try id(of: series, db) { return id }
    try db.run(
      "INSERT INTO series (target, metric, name) VALUES (?, ?, ?)",
      [series.target.storable, series.metric.storable, series.name?.storable])
    return db.lastInsertedRowID
  }

  /// - Returns: false when it was there already.
  static func insert(_ sample: Sample, series: Int64, _ db: Database) throws -> Bool {
    let at = StoredTime.parts(sample.at)
    return try db.run(
      """
      INSERT INTO samples (series, type, second, n, millisecond, data) VALUES (?, ?, ?, ?, ?, ?)
      ON CONFLICT DO NOTHING
      """,
      [series, StoredNames.number(sample.type), at.second, sample.n, at.millisecond, data(of: sample)]) > 0
  }

  static func id(of series: Series, _ db: Database) throws -> Int64? {
    try db.row(
      "SELECT id FROM series WHERE target = ? AND metric = ? AND name IS ?",
      [series.target.storable, series.metric.storable, series.name?.storable]
    ) { try $0.integer(0) }
  }

  static func series(_ row: Row) throws -> (id: Int64, series: Series) {
    (
      try row.integer(0),
      Series(target: try row.text(1), metric: try row.text(2), name: try row.optionalText(3))
    )
  }

  /// The newest that match, newest first, of whatever type.
  private static func found(
    _ limit: Int, of series: Series, id: Int64, type: SampleType, since: Date?, until: Date?, _ db: Database
  ) throws -> [Sample] {
    guard type.isRollUp else {
      return try newest(limit, of: series, id: id, type: type, since: since, until: until, db)
    }
    return try newestRollUps(limit, id: id, type: type, since: since, until: until, db).map { bucket in
      try bucket.sample(of: series)
    }
  }

  /// The newest raw samples or events that match, newest first.
  private static func newest(
    _ limit: Int, of series: Series, id: Int64, type: SampleType, since: Date?, until: Date?, _ db: Database
  ) throws -> [Sample] {
    let since = since.map(StoredTime.milliseconds) ?? StoredTime.range.lowerBound
    let until = until.map(StoredTime.milliseconds) ?? StoredTime.range.upperBound + 1
    return try db.rows(
      """
      SELECT second, n, millisecond, data FROM samples
      WHERE series = ?1 AND type = ?2 AND second >= ?3 AND second <= ?4
        AND second * 1000 + millisecond >= ?5 AND second * 1000 + millisecond < ?6
      ORDER BY second DESC, n DESC LIMIT ?7
      """,
      [id, StoredNames.number(type), second(since), second(until), since, until, limit]
    ) { row in try sample(row, series, type) }
  }

  /// From the columns `second, n, millisecond, data`.
  static func sample(_ row: Row, _ series: Series, _ type: SampleType) throws -> Sample {
    let at = StoredTime.date(second: try row.integer(0), millisecond: try row.integer(2))
    let n = Int(try row.integer(1))
    let data = try row.bytes(3)
    switch data.first {
    case valueMark:
      return Sample(series: series, type: type, at: at, n: n, value: try ValueCodec.decode(data.dropFirst()))
    case errorMark:
      return Sample(
        series: series, type: type, at: at, n: n, error: String(decoding: data.dropFirst(), as: UTF8.self))
    default: throw ValueCodec.Malformed()
    }
  }

  private static let valueMark: UInt8 = 1
  private static let errorMark: UInt8 = 2

  private static func data(of sample: Sample) -> Data {
    guard let error = sample.error else {
      var bytes = [valueMark]
      do throws(ValueCodec.Malformed) {
        try ValueCodec.write(sample.value ?? .null, into: &bytes, depth: 0)
        return Data(bytes)
      } catch {
        // One sample that cannot be stored must not hold up all that wait behind it.
        return Data([errorMark] + Array("the value is nested deeper than \(ValueCodec.depthBound) levels".utf8))
      }
    }
    return Data([errorMark] + Array(error.utf8))
  }

  /// Downwards, also before 1970.
  private static func second(_ milliseconds: Int64) -> Int64 {
    let (quotient, remainder) = milliseconds.quotientAndRemainder(dividingBy: 1000)
    return remainder < 0 ? quotient - 1 : quotient
  }
}
