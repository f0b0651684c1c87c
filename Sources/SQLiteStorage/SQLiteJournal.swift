internal import Dispatch
package import Foundation
internal import GRDB
package import Logging
package import Model
package import Storage
internal import Synchronization

/// The journal as a SQLite file of its own: write-ahead log, one connection on a thread of GRDB's own, 2 MiB of cache.
///
/// Episodes and messages are committed with `synchronous = FULL`, samples with `NORMAL`. Its bounds are the caller's
/// (see ``Storage/JournaledStorage``); what is set aside is bounded by ``refusedBound``.
package final class SQLiteJournal: Journal {
  /// `SysJ`: no other program's database is taken for an empty one.
  static let applicationID: Int64 = 0x5379_734A
  /// Operations kept that the store refused; beyond it the oldest go.
  static let refusedBound = 1_000
  private static let schemaVersion: Int64 = 1

  package let path: String
  private let queue: DatabaseQueue
  private let gate = Gate()
  private let logger: Logger
  private let counted: Mutex<JournalSize>
  private let thinning = Mutex(JournalThinning())

  /// Opens the file, or makes it with mode 0600. A file that is damaged is moved aside under a name that says so, and a
  /// new one is made: the service must start.
  /// - Throws: `corrupt` for what is whole but not ours: another version's journal, which may hold messages that wait, or
  ///   another program's database. It is left as it is.
  package static func open(path: String, logger: Logger) async throws(StorageError) -> SQLiteJournal {
    let result: Result<SQLiteJournal, StorageError> = await withCheckedContinuation { continuation in
      // Opening blocks on the disk: not in the cooperative pool.
      DispatchQueue.global().async {
        continuation.resume(
          returning: Result {
            do {
              return try SQLiteJournal(opening: path, logger: logger)
            } catch let error where SQLiteError.isDamage(error) {
              let aside = "\(path).damaged-\(Instant.tag(Date()))"
              logger.critical(
                "the journal cannot be read; it is moved aside and a new one begun",
                metadata: ["journal.path": "\(path)", "journal.aside": "\(aside)", "error": "\(error)"])
              for suffix in ["", "-wal", "-shm"] where FileManager.default.fileExists(atPath: path + suffix) {
                try FileManager.default.moveItem(atPath: path + suffix, toPath: aside + suffix)
              }
              return try SQLiteJournal(opening: path, logger: logger)
            }
          }.mapError { storageError($0, "opening the journal", path) })
      }
    }
    return try result.get()
  }

  private static func storageError(_ error: any Error, _ doing: String, _ path: String) -> StorageError {
    SQLiteError.storageError(error, doing: doing, path: path)
  }

  private init(opening path: String, logger: Logger) throws {
    self.path = path
    self.logger = logger
    try SQLiteStorage.prepareFile(path)
    var settings = GRDB.Configuration()
    settings.busyMode = .timeout(5)
    settings.label = "syscrap.journal"
    settings.foreignKeysEnabled = false
    settings.prepareDatabase { db in
      // First of all: nothing is set in a file that is not ours.
      _ = try Self.isNew(db, path: path)
      try db.execute(sql: "PRAGMA trusted_schema = OFF")
      try db.execute(sql: "PRAGMA auto_vacuum = INCREMENTAL")
      try db.execute(sql: "PRAGMA journal_mode = WAL")
      try db.execute(sql: "PRAGMA cache_size = -2048")
      try db.execute(sql: "PRAGMA journal_size_limit = 8388608")
    }
    queue = try DatabaseQueue(path: path, configuration: settings)
    let size = try queue.inDatabase { db in
      try db.execute(sql: "PRAGMA synchronous = FULL")
      try db.inTransaction(.immediate) {
        try Self.prepareTables(db, path: path)
        return .commit
      }
      return try Self.measure(db)
    }
    counted = Mutex(size)
  }

  /// Whether the file is empty still.
  private static func isNew(_ db: Database, path: String) throws -> Bool {
    let application = try Int64.fetchOne(db, sql: "PRAGMA application_id") ?? 0
    if application == applicationID {
      let version = try Int64.fetchOne(db, sql: "PRAGMA user_version") ?? 0
      guard version == schemaVersion else {
        throw StorageError(
          .corrupt,
          """
          \(path) is the journal of another version of Syscrap (form \(version), this one's is \(schemaVersion)): what \
          waits in it is brought to the store by that version; without it, move the file away
          """)
      }
      return false
    }
    let tableCount = try Int64.fetchOne(db, sql: "SELECT count(*) FROM sqlite_master") ?? 0
    guard application == 0, tableCount == 0 else {
      throw StorageError(.corrupt, "\(path) is a database of another program; move it away or name another state_dir")
    }
    return true
  }

  private static func prepareTables(_ db: Database, path: String) throws {
    guard try isNew(db, path: path) else { return }
    try db.execute(
      sql: """
        CREATE TABLE operations (
          sequence INTEGER PRIMARY KEY AUTOINCREMENT, accepted INTEGER NOT NULL, bytes INTEGER NOT NULL,
          value_count INTEGER NOT NULL, error_count INTEGER NOT NULL, event_count INTEGER NOT NULL,
          entry_count INTEGER NOT NULL, episode TEXT, data BLOB NOT NULL);
        CREATE INDEX operations_episode ON operations (episode) WHERE episode IS NOT NULL;
        CREATE TABLE refused (
          id INTEGER PRIMARY KEY AUTOINCREMENT, sequence INTEGER NOT NULL, reason TEXT NOT NULL, data BLOB NOT NULL);
        CREATE TABLE counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
        PRAGMA user_version = \(schemaVersion);
        PRAGMA application_id = \(applicationID);
        """)
  }

  private static func measure(_ db: Database) throws -> JournalSize {
    var size = JournalSize()
    let sums = """
      SELECT count(*), coalesce(sum(bytes), 0), coalesce(sum(value_count + error_count + event_count), 0),
        coalesce(sum(entry_count), 0), min(accepted) FROM operations
      """
    try db.row(sums) { row in
      size.operations = Int(try row.integer(0))
      size.bytes = try row.integer(1)
      size.samples = Int(try row.integer(2))
      size.entries = Int(try row.integer(3))
      size.oldest = try row.optionalInteger(4).map { StoredTime.date(milliseconds: $0) }
    }
    for (name, value) in try db.rows("SELECT name, value FROM counts", [], { (try $0.text(0), try $0.integer(1)) }) {
      if name == "refused" { size.refused = Int(value) }
      if let kind = JournalLoss(rawValue: name) { size.dropped[kind] = Int(value) }
    }
    return size
  }

  // MARK: The line

  package func append(_ operation: JournalOperation, at accepted: Date) async throws(StorageError) {
    let isDurable = if case .record = operation { true } else { false }
    try await write("journaling", isDurable: isDurable) { [self] db in
      let bytes = try JournalRow.insert(operation, at: StoredTime.milliseconds(accepted), db)
      return {
        self.counted.withLock { size in
          if size.operations == 0 { size.oldest = StoredTime.stored(accepted) }
          size.operations += 1
          size.bytes += bytes
          switch operation {
          case .append(let samples): size.samples += samples.count
          case .record(_, let entries, _): size.entries += entries.count
          }
        }
      }
    }
  }

  package func oldest(samples limit: Int) async throws(StorageError) -> [JournalItem] {
    try await access("reading the journal") { db in
      var left = max(1, limit)
      let cursor = try Row.fetchCursor(
        try db.cachedStatement(
          sql: """
            SELECT sequence, accepted, data, value_count + error_count + event_count + entry_count FROM operations
            ORDER BY sequence
            """))
      var items: [JournalItem] = []
      while left > 0, let row = try cursor.next() {
        left -= max(1, Int(try row.integer(3)))
        items.append(
          JournalItem(
            sequence: try row.integer(0), accepted: StoredTime.date(milliseconds: try row.integer(1)),
            operation: try? JournalCodec.decode(try row.bytes(2))))
      }
      return items
    }
  }

  package func remove(through sequence: Int64) async throws(StorageError) {
    try await write("removing from the journal", isDurable: false) { [self] db in
      var gone = JournalSize()
      try db.row(
        """
        SELECT count(*), coalesce(sum(bytes), 0), coalesce(sum(value_count + error_count + event_count), 0),
          coalesce(sum(entry_count), 0) FROM operations WHERE sequence <= ?
        """, [sequence]
      ) { row in
        gone.operations = Int(try row.integer(0))
        gone.bytes = try row.integer(1)
        gone.samples = Int(try row.integer(2))
        gone.entries = Int(try row.integer(3))
      }
      try db.run("DELETE FROM operations WHERE sequence <= ?", [sequence])
      let oldest = try db.row("SELECT accepted FROM operations ORDER BY sequence LIMIT 1") {
        StoredTime.date(milliseconds: try $0.integer(0))
      }
      let removed = gone
      return {
        let isEmpty = self.counted.withLock { size in
          size.operations -= removed.operations
          size.bytes -= removed.bytes
          size.samples -= removed.samples
          size.entries -= removed.entries
          size.oldest = oldest
          return size.operations == 0
        }
        // The room goes back to the disk.
        if isEmpty { try? db.execute(sql: "PRAGMA incremental_vacuum") }
      }
    }
  }

  package func setAside(
    _ sequence: Int64, _ operation: JournalOperation?, reason: String
  ) async throws(StorageError) {
    try await write("setting an operation aside", isDurable: false) { [self] db in
      if let operation {
        try db.run(
          "INSERT INTO refused (sequence, reason, data) VALUES (?, ?, ?)",
          [sequence, reason.storable, try JournalCodec.encode(operation)])
      } else {
        try db.run(
          "INSERT INTO refused (sequence, reason, data) SELECT sequence, ?, data FROM operations WHERE sequence = ?",
          [reason.storable, sequence])
      }
      try db.run("DELETE FROM refused WHERE id <= ?", [db.lastInsertedRowID - Int64(Self.refusedBound)])
      try Self.count("refused", 1, db)
      return { self.counted.withLock { $0.refused += 1 } }
    }
  }

  package func thin(to bytes: Int64) async throws(StorageError) {
    while await size.bytes > bytes {
      let goesOn = try await access("thinning the journal") { [self] db in
        try db.execute(sql: "PRAGMA synchronous = NORMAL")
        var state = thinning.withLock { $0 }
        var goesOn = false
        var dropped: [JournalLoss: Int] = [:]
        var freed: Int64 = 0
        try db.inTransaction(.immediate) {
          goesOn = try state.step(db) { kind, count, bytes in
            dropped[kind, default: 0] += count
            freed += bytes
          }
          for (kind, count) in dropped { try Self.count(kind.rawValue, count, db) }
          return .commit
        }
        thinning.withLock { $0 = state }
        let operations = try db.row("SELECT count(*) FROM operations") { try $0.integer(0) } ?? 0
        counted.withLock { size in
          size.operations = Int(operations)
          size.bytes -= freed
          for (kind, count) in dropped {
            size.samples -= count
            size.dropped[kind, default: 0] += count
          }
        }
        return goesOn
      }
      if !goesOn { return }
    }
  }

  package func entries(episode: String) async throws(StorageError) -> [QueueEntry] {
    try await access("reading the journal") { db in
      try db.rows("SELECT data FROM operations WHERE episode = ? ORDER BY sequence", [episode.storable]) {
        try $0.bytes(0)
      }.flatMap { data -> [QueueEntry] in
        guard case .record(_, let entries, _)? = try? JournalCodec.decode(data) else { return [] }
        return entries.filter { $0.episode == episode }
      }
    }
  }

  package var size: JournalSize { get async { counted.withLock { $0 } } }

  /// What was set aside, with the reason, oldest first.
  package func refused() async throws(StorageError) -> [(operation: JournalOperation?, reason: String)] {
    try await access("reading the journal") { db in
      try db.rows("SELECT data, reason FROM refused ORDER BY id") {
        (try? JournalCodec.decode(try $0.bytes(0)), try $0.text(1))
      }
    }
  }

  package func close() async {
    guard await gate.close() else { return }
    await withCheckedContinuation { continuation in
      DispatchQueue.global().async { [queue, logger, path] in
        do {
          try queue.close()
        } catch {
          logger.warning("journal not closed cleanly", metadata: ["journal.path": "\(path)", "error": "\(error)"])
        }
        continuation.resume()
      }
    }
  }

  // MARK: Access

  private static func count(_ name: String, _ more: Int, _ db: Database) throws {
    try db.run(
      "INSERT INTO counts (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = value + ?2",
      [name, more])
  }

  /// One transaction; what `body` returns is done after its commit, before anybody else's turn.
  private func write(
    _ doing: String, isDurable: Bool, _ body: @escaping @Sendable (Database) throws -> () -> Void
  ) async throws(StorageError) {
    try await access(doing) { db in
      try db.execute(sql: isDurable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL")
      var then: (() -> Void)?
      try db.inTransaction(.immediate) {
        then = try body(db)
        return .commit
      }
      then?()
    }
  }

  private func access<Result: Sendable>(
    _ doing: String, _ body: @escaping @Sendable (Database) throws -> Result
  ) async throws(StorageError) -> Result {
    guard gate.enter() else { throw StorageError(.closed, "\(doing): the journal \(path) is closed") }
    defer { gate.leave() }
    let result: Swift.Result<Result, any Error> = await withCheckedContinuation { continuation in
      queue.asyncWriteWithoutTransaction { db in
        continuation.resume(returning: Swift.Result { try body(db) })
      }
    }
    switch result {
    case .success(let value): return value
    case .failure(let error): throw Self.storageError(error, doing, path)
    }
  }
}
