internal import FoundationEssentials
internal import GRDB
internal import Storage

/// One place that says what SQLite's result codes mean to us. Codes: https://www.sqlite.org/rescode.html
enum SQLiteError {
  /// Whether there was no room for it.
  static func isFull(_ error: any Error) -> Bool {
    storageError(error, doing: "", path: "").code == .full
  }

  /// Whether SQLite itself says that the file is damaged or none of its own.
  static func isDamage(_ error: any Error) -> Bool {
    guard let code = (error as? DatabaseError)?.resultCode else { return false }
    return code == .SQLITE_CORRUPT || code == .SQLITE_NOTADB
  }

  /// What history hears while the disk is full.
  static func tight(_ doing: String) -> StorageError {
    StorageError(.full, "\(doing): the disk is full, what is left is kept for notifications; make room on that disk")
  }

  /// - Parameters:
  ///   - doing: what was tried, in a person's words.
  ///   - path: the database file.
  static func storageError(_ error: any Error, doing: String, path: String) -> StorageError {
    if let error = error as? StorageError { return error }
    if error is ValueCodec.Malformed {
      return StorageError(
        .corrupt, "\(doing) in \(path): a value cannot be read or is nested too deeply; see `PRAGMA integrity_check`")
    }
    guard let error = error as? DatabaseError else {
      return StorageError(.unavailable, "\(doing) in \(path): \(error)")
    }
    let (code, advice) = meaning(of: error)
    return StorageError(
      code, "\(doing) in \(path): \(error.message ?? "error \(error.extendedResultCode.rawValue)")\(advice)",
      rawCode: Int(error.extendedResultCode.rawValue))
  }

  private static func meaning(of error: DatabaseError) -> (StorageError.Code, String) {
    switch error.extendedResultCode {
    // The shared memory file could not grow: there is no room for it.
    case .SQLITE_IOERR_SHMSIZE: return (.full, "; make room on that disk")
    default: break
    }
    switch error.resultCode {
    case .SQLITE_FULL: return (.full, "; make room on that disk or raise the store's limit")
    case .SQLITE_BUSY, .SQLITE_LOCKED, .SQLITE_PROTOCOL:
      return (.unavailable, "; another process holds the database")
    case .SQLITE_CANTOPEN, .SQLITE_PERM, .SQLITE_AUTH, .SQLITE_READONLY:
      return (.unavailable, "; the file and its folder must belong to this user and be writable")
    case .SQLITE_IOERR, .SQLITE_NOLFS, .SQLITE_INTERRUPT, .SQLITE_ABORT, .SQLITE_NOMEM:
      return (.unavailable, "")
    case .SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_FORMAT, .SQLITE_MISMATCH:
      return (.corrupt, "; move the file out of the way or restore it from a backup")
    case .SQLITE_CONSTRAINT: return (.conflict, "")
    default: return (.internalError, "")
    }
  }
}
