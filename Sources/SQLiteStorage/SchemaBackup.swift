internal import Foundation
internal import GRDB
internal import Glibc
internal import Storage

/// The copy of the whole store that is made before its tables are changed: `FILE.v1-backup` beside it.
///
/// It is complete and on the disk before the migration begins, and stays until the next migration has succeeded.
enum SchemaBackup {
  static func path(of path: String, version: Int64) -> String { "\(path).v\(version)-backup" }

  /// Copies the store. Not inside a transaction.
  /// - Parameter version: the schema that it has.
  /// - Throws: `full` when the disk has no room for the copy and the migration.
  static func make(_ db: Database, of path: String, version: Int64) throws {
    try checkRoom(db, path: path, version: version)
    removeLeftovers(of: path, version: version)
    let target = self.path(of: path, version: version)
    let partial = "\(target).partial-\(getpid())"
    // Empty and with its mode before SQLite fills it.
    let descriptor = Glibc.open(partial, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw failure("making \(partial)") }
    Glibc.close(descriptor)
    var isKept = false
    defer { if !isKept { unlink(partial) } }
    try db.execute(sql: "VACUUM INTO ?", arguments: [partial])
    try sync(partial)
    // Another process may have migrated meanwhile: that would be no copy of the old version.
    var settings = GRDB.Configuration()
    settings.readonly = true
    let copy = try DatabaseQueue(path: partial, configuration: settings)
    let found = try copy.read { try Int64.fetchOne($0, sql: "SELECT value FROM meta WHERE name = 'schema_version'") }
    try copy.close()
    guard found == version else { return }
    guard rename(partial, target) == 0 else { throw failure("naming \(target)") }
    isKept = true
    try sync(URL(fileURLWithPath: target).deletingLastPathComponent().path)
  }

  /// Removes the copies of versions before `version`: the next migration is done.
  static func removeOlder(of path: String, than version: Int64) {
    for old in 1..<max(version, 1) { unlink(self.path(of: path, version: old)) }
  }

  private static func checkRoom(_ db: Database, path: String, version: Int64) throws {
    let pages = try Int64.fetchOne(db, sql: "PRAGMA page_count") ?? 0
    let pageBytes = try Int64.fetchOne(db, sql: "PRAGMA page_size") ?? 0
    // The copy, and what the migration writes: new tables are empty, changed rows are a small part.
    let bytes = pages * pageBytes
    let needed = bytes + bytes / 4 + 4 << 20
    guard let free = FreeSpace.bytes(at: path), free < needed else { return }
    throw StorageError(
      .full,
      """
      \(path) has to be brought from schema \(version) to \(Schema.version), for which a copy of it is made first: \
      \(needed >> 20) MiB are needed on that disk, \(free >> 20) MiB are free; make room and start again
      """)
  }

  /// What a process that died in the middle left.
  private static func removeLeftovers(of path: String, version: Int64) {
    let prefix = "\(self.path(of: path, version: version)).partial-"
    let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
    for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] {
      let file = "\(folder)/\(name)"
      guard file.hasPrefix(prefix) else { continue }
      let tail = file.dropFirst(prefix.count).prefix { $0.isNumber }
      guard let owner = pid_t(tail), owner == getpid() || (kill(owner, 0) != 0 && errno == ESRCH) else { continue }
      unlink(file)
    }
  }

  private static func sync(_ path: String) throws {
    let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure("opening \(path)") }
    defer { Glibc.close(descriptor) }
    guard fsync(descriptor) == 0 else { throw failure("writing \(path)") }
  }

  private static func failure(_ doing: String) -> StorageError {
    let code = errno
    return StorageError(
      code == ENOSPC || code == EDQUOT ? .full : .unavailable,
      "\(doing), the copy before a change of the schema: \(String(cString: strerror(code)))", rawCode: Int(code))
  }
}
