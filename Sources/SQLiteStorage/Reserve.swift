internal import Foundation
internal import GRDB
internal import Glibc
internal import Storage

/// Room on the disk that is kept for what the house promises: a file of allocated bytes, `FILE.reserve`, beside the store.
///
/// When the disk is full the file is given up, so that the queue goes on; meanwhile history is refused. As soon as there
/// is room again the file is made anew, before anything else may have that room.
///
/// Sendable is true: every variable is only touched while `lock` is held.
final class Reserve: @unchecked Sendable {
  /// What the file is to hold; less on a small disk. 0: there is none, and a full disk is a full disk.
  let bytes: Int64
  private let path: String
  /// SQLite's write-ahead log.
  private let log: String
  /// How often it is looked whether there is room again.
  private let pause: Duration
  private let lock = NSLock()
  private var tight = false
  private var nextLook: ContinuousClock.Instant?
  private var toldLogLimit: Int64?

  /// - Parameters:
  ///   - store: the database file.
  ///   - bytes: as much as is wanted.
  init(store: String, bytes: Int64, pause: Duration) {
    path = "\(store).reserve"
    log = "\(store)-wal"
    self.pause = pause
    // A sixteenth of the disk at most.
    self.bytes = min(max(bytes, 0), (FreeSpace.total(at: store) ?? .max) / 16)
  }

  /// Free room that has to be there beside the reserve before history is taken in again, so that it does not go to and
  /// fro.
  private var margin: Int64 { max(bytes / 4, 256 << 10) }

  /// Whether the disk is full: only what is promised is written.
  var isTight: Bool { lock.withLock { tight } }

  /// Whether the file is there.
  var isHeld: Bool {
    var facts = stat()
    return stat(path, &facts) == 0 && Int64(facts.st_blocks) * 512 >= bytes - bytes / 8
  }

  /// The number of pages after which the log is brought into the file, where it is another than at the last call.
  ///
  /// What is in the log has to find room in the file: that much must be a small part of the reserve. On a full disk it
  /// is kept shorter still.
  func newLogLimit(usual: Int64) -> Int64? {
    guard bytes > 0 else { return nil }
    return lock.withLock {
      let limit = logLimit(usual: usual)
      defer { toldLogLimit = limit }
      return limit == toldLogLimit ?? usual ? nil : limit
    }
  }

  /// Whether the log is longer than it should be: it could not be brought into the file, or not yet.
  ///
  /// Its size says so, as it is cut to twice the limit each time it begins anew. On a full disk SQLite goes on to write
  /// where the log has room already, however much waits there that finds none in the file.
  func isLogLong(usual: Int64) -> Bool {
    guard bytes > 0 else { return false }
    let limit = lock.withLock { logLimit(usual: usual) }
    var facts = stat()
    // 24 bytes precede each page, 32 the first of them.
    return stat(log, &facts) == 0 && Int64(facts.st_size) > 2 * limit * (SQLiteStorage.pageBytes + 24) + 32
  }

  /// Whether so many pages of the log, which somebody who reads keeps from the file, will find room there: in half of
  /// the reserve, or because the disk has twice as much.
  func hasRoom(forPages count: Int) -> Bool {
    let (needed, isTooMuch) = Int64(clamping: count).multipliedReportingOverflow(by: SQLiteStorage.pageBytes)
    guard !isTooMuch else { return false }
    return needed <= bytes / 2 || needed <= (FreeSpace.bytes(at: path) ?? 0) / 2
  }

  /// Only while `lock` is held.
  private func logLimit(usual: Int64) -> Int64 {
    tight ? min(usual, 64) : min(usual, max(bytes / 4 / SQLiteStorage.pageBytes, 64))
  }

  /// Makes the file where it is not there yet. Where there is no room for it the disk is taken as full.
  func prepare() {
    guard bytes > 0, !isHeld else { return }
    if !make() { becomeTight() }
  }

  /// The disk is full: history is refused from now on.
  func becomeTight() {
    guard bytes > 0 else { return }
    lock.withLock {
      if !tight { nextLook = .now + pause }
      tight = true
    }
  }

  /// Gives the room away, for something that is promised. - Returns: false when there was none left.
  func giveUp() -> Bool {
    guard bytes > 0 else { return false }
    becomeTight()
    return unlink(path) == 0
  }

  /// Looks whether there is room again, at most every ``pause``. - Returns: whether the disk still counts as full.
  func look() -> Bool {
    let isTime = lock.withLock {
      guard tight, let next = nextLook, next <= .now else { return false }
      nextLook = .now + pause
      return true
    }
    guard isTime else { return isTight }
    let free = FreeSpace.bytes(at: path) ?? 0
    guard free >= margin + (isHeld ? 0 : bytes), isHeld || make() else { return true }
    lock.withLock { tight = false }
    return false
  }

  private func make() -> Bool {
    guard let free = FreeSpace.bytes(at: path), free >= bytes + margin else { return false }
    let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    // Really allocated: a hole would be no reserve.
    guard posix_fallocate(descriptor, 0, off_t(bytes)) == 0 else {
      unlink(path)
      return false
    }
    return true
  }
}

/// What a file system has.
enum FreeSpace {
  /// What is left of it for this user. - Returns: `nil` when it cannot be told.
  static func bytes(at path: String) -> Int64? { facts(at: path).map { scaled($0.f_bavail, $0.f_frsize) } }

  /// All of it.
  static func total(at path: String) -> Int64? { facts(at: path).map { scaled($0.f_blocks, $0.f_frsize) } }

  private static func facts(at path: String) -> statvfs? {
    let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
    var facts = statvfs()
    return statvfs(folder, &facts) == 0 ? facts : nil
  }

  private static func scaled(_ blocks: some BinaryInteger, _ size: some BinaryInteger) -> Int64 {
    let (bytes, isTooMuch) = UInt64(clamping: blocks).multipliedReportingOverflow(by: UInt64(clamping: size))
    return isTooMuch ? .max : Int64(clamping: bytes)
  }
}
