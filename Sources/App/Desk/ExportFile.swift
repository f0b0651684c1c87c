internal import Foundation
internal import Glibc
package import Model
internal import Threads

/// A file that an export is written to: it stands under its name only when it is whole, mode 0600. Without a path it is
/// standard output; a device, a pipe or a socket is written to as it is, and never replaced.
package final class ExportFile: Sendable {
  /// Where a whole file is to stand; nil: it is written straight into ``descriptor``.
  private let destination: String?
  private let name: String
  private let temporary: String
  private let descriptor: Int32
  private let isOpen: Locked<Bool>
  /// Writing waits for the disk: not in the cooperative pool.
  private let pool = BlockingPool(named: "export", threads: 1, queueLimit: 4)

  /// Waits for a reader where `path` is a named pipe.
  package init(_ path: String?) async throws(OperationError) {
    name = path ?? "the output"
    guard let path else {
      (destination, temporary, descriptor, isOpen) = (nil, "", STDOUT_FILENO, Locked(false))
      return
    }
    do {
      let place = try await pool.run { try ExportFile.open(path) }
      (destination, temporary, descriptor) = (place.destination, place.temporary, place.descriptor)
      isOpen = Locked(true)
    } catch {
      pool.stop()
      throw (error as? OperationError) ?? OperationError(.failed, "\(path) cannot be written: \(error)")
    }
  }

  private struct Place: Sendable {
    var destination: String?
    var temporary = ""
    var descriptor: Int32
  }

  private static func open(_ path: String) throws(OperationError) -> Place {
    let place: Place
    if let destination = try replaceable(path) {
      let temporary = "\(destination).\(getpid()).new"
      unlink(temporary)
      let descriptor = Glibc.open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
      place = Place(destination: destination, temporary: temporary, descriptor: descriptor)
    } else {
      place = Place(destination: nil, descriptor: Glibc.open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY))
    }
    guard place.descriptor >= 0 else { throw failure(path, errno) }
    return place
  }

  /// The name that a whole file may be given, behind all symbolic links: an ordinary file's, or one that is free.
  /// nil: `path` is something else, such as a device, or a file that only a descriptor leads to.
  private static func replaceable(_ path: String) throws(OperationError) -> String? {
    var status = stat()
    if stat(path, &status) == 0 {
      guard status.st_mode & S_IFMT == S_IFREG else { return nil }
      guard let real = realpath(path, nil) else { return nil }
      defer { free(real) }
      var found = stat()
      // /dev/stdout and the like: their names may lead nowhere, or to another file by now.
      guard stat(real, &found) == 0, found.st_dev == status.st_dev, found.st_ino == status.st_ino else { return nil }
      return String(cString: real)
    }
    // Nothing is there, or a link to nothing: the file it names is made.
    var next = path
    for _ in 0..<linkBound {
      guard lstat(next, &status) == 0, status.st_mode & S_IFMT == S_IFLNK else { return next }
      guard let target = try? FileManager.default.destinationOfSymbolicLink(atPath: next) else { return next }
      let folder = (next as NSString).deletingLastPathComponent
      next = target.hasPrefix("/") || folder.isEmpty ? target : folder + "/" + target
    }
    throw OperationError(.failed, "\(path) cannot be written: its symbolic links lead to one another")
  }
  /// Links that are followed, as many as Linux follows.
  private static let linkBound = 40

  package func write(_ bytes: [UInt8]) async throws {
    let (descriptor, name) = (descriptor, name)
    try await pool.run { try Self.write(bytes, to: descriptor, name) }
  }

  /// Makes the file durable and gives it its name.
  package func finish() async throws {
    defer { pool.stop() }
    guard takeOpen() else { return }
    let (descriptor, temporary, destination, name) = (descriptor, temporary, destination, name)
    try await pool.run {
      do {
        // A device or a pipe cannot be synced, and that is no failure.
        let isSynced = fsync(descriptor) == 0 || destination == nil && [EINVAL, EROFS, ENOTSUP].contains(errno)
        let failure: Int32? = isSynced ? nil : errno
        guard close(descriptor) == 0, failure == nil else { throw Self.failure(name, failure ?? errno) }
        guard let destination else { return }
        guard rename(temporary, destination) == 0 else { throw Self.failure(name, errno) }
        let folder = (destination as NSString).deletingLastPathComponent
        let handle = Glibc.open(folder.isEmpty ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if handle >= 0 {
          fsync(handle)
          close(handle)
        }
      } catch {
        if destination != nil { unlink(temporary) }
        throw error
      }
    }
  }

  private static func failure(_ name: String, _ code: Int32) -> OperationError {
    OperationError(.failed, "\(name) cannot be written: \(String(cString: strerror(code)))")
  }

  /// Leaves nothing behind.
  package func abandon() {
    pool.stop()
    guard takeOpen() else { return }
    close(descriptor)
    if destination != nil { unlink(temporary) }
  }

  /// Whether the descriptor is still to be closed; whoever is told so closes it.
  private func takeOpen() -> Bool {
    isOpen.withLock { isOpen in
      defer { isOpen = false }
      return isOpen
    }
  }

  private static func write(_ bytes: [UInt8], to descriptor: Int32, _ name: String) throws {
    try bytes.withUnsafeBytes { buffer in
      var rest = buffer[...]
      while !rest.isEmpty {
        let count = Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
        if count < 0 {
          if errno == EINTR { continue }
          throw OperationError(.failed, "\(name) cannot be written: \(String(cString: strerror(errno)))")
        }
        rest = rest.dropFirst(count)
      }
    }
  }
}

/// Reads an export line by line. What comes from standard input is kept in a file first, so that it can be looked at as a
/// whole before anything is put in.
package actor ExportReader {
  /// Longest line that is read.
  static let lineBound = 16 << 20
  private static let chunk = 256 << 10

  private let descriptor: Int32
  private let name: String
  private let pool = BlockingPool(named: "import", threads: 1, queueLimit: 4)
  private var buffer: [UInt8] = []
  private var start = 0
  /// Up to where no end of a line was found.
  private var searched = 0
  private var isAtEnd = false

  /// - Parameters:
  ///   - path: nil: standard input.
  ///   - folder: where what comes from standard input is kept for the time, in a file without a name.
  package init(_ path: String?, spoolingTo folder: String) async throws(OperationError) {
    name = path ?? "standard input"
    if let path {
      descriptor = open(path, O_RDONLY | O_CLOEXEC)
      guard descriptor >= 0 else {
        throw OperationError(.notFound, "\(path) cannot be read: \(String(cString: strerror(errno)))")
      }
      return
    }
    var template = Array((folder + "/import.XXXXXX").utf8CString)
    descriptor = mkstemp(&template)
    guard descriptor >= 0 else {
      throw OperationError(.failed, "there is no room in \(folder): \(String(cString: strerror(errno)))")
    }
    unlink(template)
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    do {
      try await spool()
      try await rewind()
    } catch {
      close(descriptor)
      throw (error as? OperationError) ?? OperationError(.failed, "\(error)")
    }
  }

  deinit {
    pool.stop()
    close(descriptor)
  }

  private func spool() async throws {
    let descriptor = descriptor
    try await pool.run {
      var bytes = [UInt8](repeating: 0, count: Self.chunk)
      while true {
        let count = Glibc.read(STDIN_FILENO, &bytes, bytes.count)
        if count == 0 { return }
        if count < 0 {
          if errno == EINTR { continue }
          throw OperationError(.failed, "standard input cannot be read: \(String(cString: strerror(errno)))")
        }
        var written = 0
        while written < count {
          let done = bytes[written..<count].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
          if done < 0, errno == EINTR { continue }
          guard done > 0 else {
            throw OperationError(.failed, "there is no room to keep the import: \(String(cString: strerror(errno)))")
          }
          written += done
        }
      }
    }
  }

  /// Begins once more.
  /// - Throws: when it is no file that can be read twice.
  package func rewind() async throws(OperationError) {
    guard lseek(descriptor, 0, SEEK_SET) == 0 else {
      throw OperationError(.usage, "\(name) is no ordinary file: name - and give it by standard input")
    }
    (buffer, start, searched, isAtEnd) = ([], 0, 0, false)
  }

  /// The next line without its end; nil at the end of the file.
  package func next() async throws -> ExportLine? {
    var isTooLong = false
    while true {
      if let end = buffer[searched...].firstIndex(of: 0x0A) {
        let line = buffer[start..<end]
        start = end + 1
        searched = start
        return isTooLong ? .tooLong : .bytes(Array(line))
      }
      searched = buffer.count
      if isAtEnd {
        guard start < buffer.count || isTooLong else { return nil }
        let line = Array(buffer[start...])
        start = buffer.count
        return isTooLong ? .tooLong : .bytes(line)
      }
      if buffer.count - start > Self.lineBound {
        isTooLong = true
        start = buffer.count
      }
      try await fill()
    }
  }

  private func fill() async throws {
    let (descriptor, name) = (descriptor, name)
    let more = try await pool.run { () throws -> [UInt8] in
      while true {
        var bytes = [UInt8](repeating: 0, count: Self.chunk)
        let count = Glibc.read(descriptor, &bytes, bytes.count)
        if count < 0 {
          if errno == EINTR { continue }
          throw OperationError(.failed, "\(name) cannot be read: \(String(cString: strerror(errno)))")
        }
        return Array(bytes.prefix(count))
      }
    }
    if more.isEmpty { isAtEnd = true }
    buffer.removeFirst(start)
    searched -= start
    start = 0
    buffer += more
  }
}

/// Keeps a service from starting on an embedded store while something is put into it, and refuses while one runs.
package struct StoreHold: Sendable {
  private let lock: InstanceLock?

  package init(_ configuration: Configuration) throws(OperationError) {
    guard case .sqlite(let path) = configuration.store else {
      lock = nil
      return
    }
    do {
      lock = try InstanceLock(path + ".lock", guarding: "the store \(path)")
    } catch {
      throw OperationError(
        .failed,
        "\(error); an import needs the store for itself: stop the service, import, and start it again")
    }
  }

  /// Gives it back; later is by the end of the process.
  package func end() { withExtendedLifetime(lock) {} }
}

extension Configuration {
  /// The store's kind, as an export names it.
  package var storeKind: String { if case .sqlite = store { "sqlite" } else { "mongodb" } }
}
