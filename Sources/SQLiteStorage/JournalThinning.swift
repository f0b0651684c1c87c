internal import Foundation
internal import GRDB
internal import Model
internal import Storage

/// Where the thinning of the journal stands: one pass over the older half of what holds samples of a kind, in slices.
struct JournalThinning: Sendable {
  /// Operations looked at in one transaction.
  static let slice = 64
  /// Beyond so many series their turns are forgotten: a few samples more or less.
  static let seriesBound = 100_000

  private(set) var kind = JournalLoss.values
  private var end: Int64?
  private var position: Int64 = 0
  /// Whether the first of each series goes (when passes that keep it find nothing more).
  private var dropsFirst = false
  private var hasDropped = false
  private var isNext: [Series: Bool] = [:]

  /// Columns that count samples by kind.
  static func column(_ kind: JournalLoss) -> String {
    switch kind {
    case .values: "value_count"
    case .errors: "error_count"
    case .events: "event_count"
    }
  }

  static func kind(of sample: Sample) -> JournalLoss {
    if sample.type == .event { return .events }
    return sample.error == nil ? .values : .errors
  }

  /// Thins the next slice. - Returns: false when there is nothing left to give up.
  mutating func step(_ db: Database, note: (_ kind: JournalLoss, _ count: Int, _ bytes: Int64) -> Void) throws -> Bool {
    guard let end = try end ?? begin(db) else { return false }
    let column = Self.column(kind)
    let rows = try db.rows(
      """
      SELECT sequence, data, bytes FROM operations WHERE sequence > ? AND sequence <= ? AND \(column) > 0
      ORDER BY sequence LIMIT \(Self.slice)
      """, [position, end]
    ) { (try $0.integer(0), try $0.bytes(1), try $0.integer(2)) }
    for (sequence, data, bytes) in rows {
      position = sequence
      guard let operation = try? JournalCodec.decode(data), case .append(let samples) = operation else {
        // What cannot be read is left to the replay, which sets it aside; here it counts no more.
        try db.run(
          "UPDATE operations SET value_count = 0, error_count = 0, event_count = 0 WHERE sequence = ?", [sequence])
        continue
      }
      var kept: [Sample] = []
      kept.reserveCapacity(samples.count)
      for sample in samples where !drops(sample) { kept.append(sample) }
      let count = samples.count - kept.count
      if count == 0 { continue }
      hasDropped = true
      let size = try JournalRow.replace(sequence, with: kept, db)
      note(kind, count, bytes - size)
    }
    if rows.count < Self.slice { finish() }
    return true
  }

  private mutating func drops(_ sample: Sample) -> Bool {
    guard Self.kind(of: sample) == kind else { return false }
    if isNext.count > Self.seriesBound { isNext = [:] }
    let drops = isNext[sample.series] ?? dropsFirst
    isNext[sample.series] = !drops
    return drops
  }

  /// Half of what there is of a kind, from the oldest on; the next kind when there is nothing of this one.
  private mutating func begin(_ db: Database) throws -> Int64? {
    for kind in JournalLoss.allCases {
      let column = Self.column(kind)
      let total = try db.row("SELECT coalesce(sum(\(column)), 0) FROM operations") { try $0.integer(0) } ?? 0
      if total == 0 { continue }
      if self.kind != kind { (dropsFirst, hasDropped) = (false, false) }
      self.kind = kind
      var sum: Int64 = 0
      end = try db.firstRow("SELECT sequence, \(column) FROM operations WHERE \(column) > 0 ORDER BY sequence") { row in
        sum += try row.integer(1)
        return sum * 2 >= total ? try row.integer(0) : nil
      }
      position = 0
      isNext = [:]
      hasDropped = false
      return end
    }
    return nil
  }

  private mutating func finish() {
    end = nil
    // Nothing but single samples of their series: the next pass takes these, too.
    dropsFirst = !hasDropped && !dropsFirst
  }
}

/// One operation as a row of the journal.
enum JournalRow {
  /// What a row takes besides its data.
  static let overhead: Int64 = 64

  static func insert(_ operation: JournalOperation, at accepted: Int64, _ db: Database) throws -> Int64 {
    let data = try JournalCodec.encode(operation)
    let size = Int64(data.count) + overhead
    var counts: [JournalLoss: Int] = [:]
    var entryCount = 0
    var episode: String?
    switch operation {
    case .append(let samples):
      for sample in samples { counts[JournalThinning.kind(of: sample), default: 0] += 1 }
    case .record(let of, let entries, _):
      entryCount = entries.count
      episode = of?.id ?? entries.lazy.compactMap(\.episode).first
    }
    try db.run(
      """
      INSERT INTO operations (accepted, bytes, value_count, error_count, event_count, entry_count, episode, data)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?)
      """,
      [
        accepted, size, counts[.values] ?? 0, counts[.errors] ?? 0, counts[.events] ?? 0, entryCount,
        episode?.storable, data,
      ])
    return size
  }

  /// Puts what is left of an operation in its place. - Returns: how many bytes it takes then; 0: it is gone.
  static func replace(_ sequence: Int64, with samples: [Sample], _ db: Database) throws -> Int64 {
    if samples.isEmpty {
      try db.run("DELETE FROM operations WHERE sequence = ?", [sequence])
      return 0
    }
    let data = try JournalCodec.encode(.append(samples))
    let size = Int64(data.count) + overhead
    var counts: [JournalLoss: Int] = [:]
    for sample in samples { counts[JournalThinning.kind(of: sample), default: 0] += 1 }
    try db.run(
      "UPDATE operations SET data = ?, bytes = ?, value_count = ?, error_count = ?, event_count = ? WHERE sequence = ?",
      [data, size, counts[.values] ?? 0, counts[.errors] ?? 0, counts[.events] ?? 0, sequence])
    return size
  }
}
