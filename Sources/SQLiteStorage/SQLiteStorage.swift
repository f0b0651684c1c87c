internal import Dispatch
internal import Foundation
internal import GRDB
internal import Glibc
package import Logging
package import Model
package import Storage

/// The embedded store: one SQLite file, shared with other processes of the same user.
///
/// Write-ahead log, one writer and at most four readers, each on a thread of GRDB's own; page caches of 8 MiB together.
/// What the house promises (documents, episodes, the queue's entries and how deliveries ended) is committed with
/// `synchronous = FULL`: it survives the loss of power. Samples, detected specs and leases are committed with `NORMAL`:
/// they survive a crash of the process, and after a loss of power at worst the last of them are missing, which costs a
/// few samples or a second try of a delivery, never a message. The level is set on the writer before each transaction.
///
/// Calls are not ended by the cancellation of their task: whoever is told to stop can still say that a message went out.
/// Waiting for another process is bounded by ``Configuration/busyTimeout``; a disk that does not answer at all is not.
package final class SQLiteStorage: Storage {
  package struct Configuration: Sendable, Hashable {
    /// The database file; made with mode 0600, its folder with 0700 where it is missing.
    package var path: String
    /// How long another process's transaction is waited for; at most a minute.
    package var busyTimeout: Duration = .seconds(5)
    /// Most bytes the database file may take, `nil`: as many as the disk has. At least 256 KiB.
    package var maximumBytes: Int64?
    /// Room on the disk that is kept for documents and notifications, in a file `PATH.reserve`; at most a sixteenth of
    /// the disk. 0: none. While the disk is full history is refused and ``SQLiteStorage/check()`` throws.
    package var reserveBytes: Int64
    /// How often it is looked whether a full disk has room again.
    package var reservePause: Duration = .seconds(5)

    package init(path: String, maximumBytes: Int64? = nil, reserveBytes: Int64 = 0) {
      self.path = path
      self.maximumBytes = maximumBytes
      self.reserveBytes = reserveBytes
    }
  }

  /// The reserve of a service.
  package static let usualReserveBytes: Int64 = 64 << 20
  /// Pages of SQLite's default size.
  static let pageBytes: Int64 = 4096
  /// The log is brought into the file after this many pages, 4 MiB, and cut down to twice that.
  static let checkpointPages: Int64 = 1000
  private static let readerCount = 4

  package let configuration: Configuration
  private let pool: DatabasePool
  private let reserve: Reserve
  private let gate = Gate()
  /// In whose name episodes and roll-up states are written (see ``FencedStorage``).
  let fence = Fence()
  private let logger: Logger

  /// Opens the file, or makes it.
  /// - Throws: `corrupt` when it is no database, another program's, or of a newer schema; `unavailable` when it cannot
  ///   be opened; `full` when there is no room to make it.
  package static func open(
    _ configuration: Configuration, logger: Logger
  ) async throws(StorageError) -> SQLiteStorage {
    let result: Result<SQLiteStorage, StorageError> = await withCheckedContinuation { continuation in
      // Opening blocks on the disk: not in the cooperative pool.
      DispatchQueue.global().async {
        continuation.resume(
          returning: Result { try SQLiteStorage(opening: configuration, logger: logger) }.mapError {
            SQLiteError.storageError($0, doing: "opening the store", path: configuration.path)
          })
      }
    }
    return try result.get()
  }

  private init(opening configuration: Configuration, logger: Logger) throws {
    self.configuration = configuration
    self.logger = logger
    try Self.prepareFile(configuration.path)
    reserve = Reserve(
      store: configuration.path, bytes: configuration.reserveBytes, pause: configuration.reservePause)
    do {
      pool = try Self.openPrepared(configuration, logger)
    } catch let error where SQLiteError.isFull(error) && reserve.giveUp() {
      // A full disk must not keep the service from starting.
      pool = try Self.openPrepared(configuration, logger)
    }
    reserve.prepare()
    logger.debug("store opened", metadata: ["store.path": "\(configuration.path)"])
  }

  private static func openPrepared(_ configuration: Configuration, _ logger: Logger) throws -> DatabasePool {
    let pool = try openPool(configuration)
    try pool.writeWithoutTransaction { db in try prepareTables(db, path: configuration.path, logger: logger) }
    return pool
  }

  /// Makes the tables, or brings those of an older version up to date; of these a copy is made before.
  private static func prepareTables(_ db: Database, path: String, logger: Logger) throws {
    try db.execute(sql: "PRAGMA synchronous = FULL")
    // Again only when another process wrote between the copy and the migration.
    for _ in 0..<5 {
      let seen = try Int64.fetchOne(db, sql: "PRAGMA data_version")
      let old = try Schema.found(db, path: path)
      let isMigration = (1..<Schema.version).contains(old)
      if isMigration {
        logger.notice(
          "the store is brought to a newer schema; a copy is made first",
          metadata: [
            "store.path": "\(path)", "store.copy": "\(SchemaBackup.path(of: path, version: old))",
            "store.from": "\(old)",
            "store.to": "\(Schema.version)",
          ])
        try SchemaBackup.make(db, of: path, version: old)
      }
      var isDone = false
      try db.inTransaction(.immediate) {
        let found = try Schema.found(db, path: path)
        if isMigration, found == old, try Int64.fetchOne(db, sql: "PRAGMA data_version") != seen { return .rollback }
        // An older version that came while an empty file was looked at needs its copy first.
        if found != old, found != Schema.version { return .rollback }
        try Schema.bringUp(db, from: found)
        isDone = true
        return .commit
      }
      if isDone {
        if isMigration { SchemaBackup.removeOlder(of: path, than: old) }
        return
      }
    }
    throw StorageError(
      .unavailable, "opening the store \(path): another process writes to it while its schema is old; stop that first")
  }

  /// The file has its mode before SQLite sees it: log and index files take theirs from it.
  static func prepareFile(_ path: String) throws {
    let files = FileManager.default
    let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
    if !files.fileExists(atPath: folder) {
      try files.createDirectory(
        atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }
    // Never opened here when it exists: closing it would let go of the locks that this process has on it.
    let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    if descriptor >= 0 {
      Glibc.close(descriptor)
    } else if errno != EEXIST {
      throw StorageError(
        errno == ENOSPC || errno == EDQUOT ? .full : .unavailable,
        "making the store \(path): \(String(cString: strerror(errno))); its folder must be writable by this user")
    }
    try files.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
  }

  private static func openPool(_ configuration: Configuration) throws -> DatabasePool {
    var settings = GRDB.Configuration()
    let timeout = min(max(configuration.busyTimeout.timeInterval, 0), 60)
    settings.busyMode = .timeout(timeout)
    settings.maximumReaderCount = readerCount
    settings.label = "syscrap.store"
    settings.foreignKeysEnabled = false
    settings.persistentReadOnlyConnections = true
    let maximumPages = configuration.maximumBytes.map { max($0 / pageBytes, 64) }
    settings.prepareDatabase { db in
      try db.execute(sql: "PRAGMA busy_timeout = \(Int(timeout * 1000))")
      try db.execute(sql: "PRAGMA trusted_schema = OFF")
      // KiB: 4 MiB for the writer, 1 MiB for each reader.
      try db.execute(sql: "PRAGMA cache_size = -\(db.configuration.readonly ? 1024 : 4096)")
      if db.configuration.readonly { return }
      try db.execute(sql: "PRAGMA wal_autocheckpoint = \(checkpointPages)")
      try db.execute(sql: "PRAGMA journal_size_limit = \(2 * checkpointPages * pageBytes)")
      if let maximumPages { try db.execute(sql: "PRAGMA max_page_count = \(maximumPages)") }
    }
    // Two processes that make the log at the same moment can meet in a way that the busy timeout does not cover.
    var triesLeft = 3
    while true {
      do {
        return try DatabasePool(path: configuration.path, configuration: settings)
      } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY && triesLeft > 0 {
        triesLeft -= 1
      }
    }
  }

  // MARK: Access

  /// What a write may use when the disk is full.
  enum Room {
    /// What is kept for documents, episodes and the queue.
    case reserve
    /// Nothing: it is refused. History can wait.
    case spare
  }

  /// Runs `body` in one IMMEDIATE transaction: it sees and changes everything at once, or nothing. It may run twice.
  /// - Parameter isDurable: whether it must survive the loss of power.
  func write<Result: Sendable>(
    _ doing: String, isDurable: Bool, room: Room = .reserve, _ body: @escaping @Sendable (Database) throws -> Result
  ) async throws(StorageError) -> Result {
    let isLimited = configuration.maximumBytes != nil
    return try await access(doing) { [reserve] pool, answer in
      pool.asyncWriteWithoutTransaction { db in
        answer(
          Swift.Result {
            if reserve.isTight, reserve.look(), room == .spare { throw SQLiteError.tight(doing) }
            if let limit = reserve.newLogLimit(usual: Self.checkpointPages) {
              try db.execute(sql: "PRAGMA wal_autocheckpoint = \(limit)")
              try db.execute(sql: "PRAGMA journal_size_limit = \(2 * limit * Self.pageBytes)")
            }
            if room == .spare, reserve.isLogLong(usual: Self.checkpointPages), try !Self.bringLogIn(db, reserve) {
              reserve.becomeTight()
              throw SQLiteError.tight(doing)
            }
            do {
              return try Self.transaction(db, isDurable, body)
            } catch let error where SQLiteError.isFull(error) && !isLimited {
              reserve.becomeTight()
              guard room == .reserve else { throw error }
              // With none left: what is in the log already may fit into the file, and the log begin anew.
              if !reserve.giveUp() { _ = try? db.checkpoint(.passive) }
              return try Self.transaction(db, isDurable, body)
            }
          })
      }
    }
  }

  /// Writes what is in the log into the file, as far as nobody reads what was before.
  /// - Returns: false when there is no room for it in the file: then nothing may be added that could wait.
  private static func bringLogIn(_ db: Database, _ reserve: Reserve) throws -> Bool {
    do {
      let log = try db.checkpoint(.passive)
      return reserve.hasRoom(forPages: log.walFrameCount - log.checkpointedFrameCount)
    } catch let error where SQLiteError.isFull(error) {
      return false
    } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY {
      // Another process is at it.
      return true
    }
  }

  private static func transaction<Result>(
    _ db: Database, _ isDurable: Bool, _ body: (Database) throws -> Result
  ) throws -> Result {
    // Compiled and run at once, outside of any transaction: SQLite wants it so.
    try db.execute(sql: isDurable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL")
    var result: Result?
    try db.inTransaction(.immediate) {
      result = try body(db)
      return .commit
    }
    guard let result else { throw StorageError(.internalError, "a transaction left no result") }
    return result
  }

  /// Runs `body` on one consistent state of the database.
  func read<Result: Sendable>(
    _ doing: String, _ body: @escaping @Sendable (Database) throws -> Result
  ) async throws(StorageError) -> Result {
    try await access(doing) { pool, answer in
      pool.asyncRead { db in answer(Swift.Result { try body(try db.get()) }) }
    }
  }

  private func access<Result: Sendable>(
    _ doing: String, _ start: (DatabasePool, @escaping @Sendable (Swift.Result<Result, any Error>) -> Void) -> Void
  ) async throws(StorageError) -> Result {
    guard gate.enter() else { throw StorageError(.closed, "\(doing): the store \(configuration.path) is closed") }
    defer { gate.leave() }
    let result: Swift.Result<Result, any Error> = await withCheckedContinuation { continuation in
      start(pool) { continuation.resume(returning: $0) }
    }
    switch result {
    case .success(let value): return value
    case .failure(let error): throw SQLiteError.storageError(error, doing: doing, path: configuration.path)
    }
  }

  // MARK: Itself

  package func check() async throws(StorageError) -> [String: Value] {
    let counted = try await write("checking the store", isDurable: true) { db in
      try db.run("UPDATE meta SET value = value + 1 WHERE name = 'checks'")
    }
    guard !reserve.isTight else {
      throw StorageError(
        .full,
        """
        the disk of \(configuration.path) is full: no history is recorded; notifications go on by what was kept for them \
        (\(reserve.isHeld ? "untouched" : "in use")); make room there, the rest goes on by itself within seconds
        """)
    }
    guard counted == 1 else {
      throw StorageError(.corrupt, "checking the store \(configuration.path): its own table is damaged")
    }
    return try await read("checking the store") { [path = configuration.path, reserve] db in
      func pragma(_ name: String) throws -> Int64 { try Int64.fetchOne(db, sql: "PRAGMA \(name)") ?? 0 }
      let pageBytes = try pragma("page_size")
      let attributes = try? FileManager.default.attributesOfItem(atPath: path + "-wal")
      return [
        "store": "sqlite",
        "durable": true,
        "path": .string(path),
        "version": .string(try String.fetchOne(db, sql: "SELECT sqlite_version()") ?? ""),
        "schema": .int(Schema.version),
        "journal_mode": .string(try String.fetchOne(db, sql: "PRAGMA journal_mode") ?? ""),
        "size_bytes": .int(try pragma("page_count") * pageBytes),
        "free_bytes": .int(try pragma("freelist_count") * pageBytes),
        "reserve_bytes": .int(reserve.isHeld ? reserve.bytes : 0),
        "log_bytes": .int((attributes?[.size] as? NSNumber)?.int64Value ?? 0),
      ]
    }
  }

  /// Waits for the calls that are under way. Everything after it throws `closed`.
  package func close() async {
    guard await gate.close() else { return }
    let failure: String? = await withCheckedContinuation { continuation in
      DispatchQueue.global().async { [pool] in
        do {
          // The file alone then holds everything: a copy of it is a backup. When another process reads, the log stays.
          _ = try? pool.writeWithoutTransaction { db in try db.checkpoint(.truncate) }
          try pool.close()
          continuation.resume(returning: nil)
        } catch {
          continuation.resume(returning: "\(error)")
        }
      }
    }
    if let failure {
      logger.warning(
        "store not closed cleanly", metadata: ["store.path": "\(configuration.path)", "error": "\(failure)"])
    }
  }
}
