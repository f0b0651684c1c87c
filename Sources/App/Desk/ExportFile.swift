internal import Foundation
internal import Glibc
package import Model
internal import Threads

/// A file that an export is written to: it stands under its name only when it is whole, mode 0600. Without a path it is
/// standard output.
package final class ExportFile: Sendable {
  private let path: String?
  private let temporary: String
  private let descriptor: Int32
  /// Writing waits for the disk: not in the cooperative pool.
  private let pool = BlockingPool(named: "export", threads: 1, queueLimit: 4)

  package init(_ path: String?) throws(OperationError) {
    self.path = path
    guard let path else {
      temporary = ""
      descriptor = STDOUT_FILENO
      return
    }
    temporary = "\(path).\(getpid()).new"
    unlink(temporary)
    descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else {
      throw OperationError(.failed, "\(path) cannot be written: \(String(cString: strerror(errno)))")
    }
  }

  package func write(_ bytes: [UInt8]) async throws {
    let (descriptor, name) = (descriptor, path ?? "the output")
    try await pool.run { try Self.write(bytes, to: descriptor, name) }
  }

  /// Makes the file durable and gives it its name.
  package func finish() async throws {
    defer { pool.stop() }
    guard let path else { return }
    let (descriptor, temporary) = (descriptor, temporary)
    try await pool.run {
      guard fsync(descriptor) == 0, close(descriptor) == 0, rename(temporary, path) == 0 else {
        let reason = String(cString: strerror(errno))
        unlink(temporary)
        throw OperationError(.failed, "\(path) cannot be written: \(reason)")
      }
      let folder = (path as NSString).deletingLastPathComponent
      let handle = open(folder.isEmpty ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
      if handle >= 0 {
        fsync(handle)
        close(handle)
      }
    }
  }

  /// Leaves nothing behind.
  package func abandon() {
    pool.stop()
    guard path != nil else { return }
    close(descriptor)
    unlink(temporary)
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
