// The whole-module build counts `stat` among CSSH2's declarations, because libssh2.h includes <sys/stat.h>.
internal import CSSH2
internal import FoundationEssentials
internal import Glibc
internal import Remote

/// A known_hosts file on disk: read whole, appended to, rewritten. Every call blocks; see ``blocking(_:)``.
///
/// Writers of several processes take turns by flock(2). A writer that replaced the file by rename(2) is noticed by
/// comparing inodes after the lock is held, so no line is appended to a file that is already unlinked.
struct KnownHostsFile: Sendable {
  /// Why a file cannot be used, in words.
  struct Failure: Error {
    var reason: String
    /// The file does not exist.
    var isMissing = false
  }

  /// Larger files are refused: 64 MiB are some 500 000 lines.
  static let sizeLimit = 64 << 20
  /// How often a lock held by another process is tried, 50 ms apart: 5 s. After that the write is refused.
  private static let lockTries = 100

  let path: String

  /// The whole content.
  func read() throws(Failure) -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw Self.failure("cannot be opened") }
    defer { close(descriptor) }
    return try Self.read(descriptor)
  }

  /// Adds lines at the end, under the lock. The file is made with mode 0600, its folder with 0700.
  ///
  /// - Parameter decide: is given the content as it is once the lock is held and returns the lines to add; none: the
  ///   file is left alone.
  func append(_ decide: ([UInt8]) throws(RemoteError) -> [String]) throws(RemoteError) {
    try locked { (descriptor, content) throws(RemoteError) in
      let lines = try decide(content)
      guard !lines.isEmpty else { return }
      var text = content.isEmpty || content.last == UInt8(ascii: "\n") ? "" : "\n"
      for line in lines { text += line + "\n" }
      do throws(Failure) {
        try Self.write(Array(text.utf8), to: descriptor)
        try Self.synchronize(descriptor)
        if content.isEmpty { try synchronizeFolder() }
      } catch {
        // A line that was half written must not spoil the next one.
        _ = ftruncate(descriptor, off_t(content.count))
        throw refusal(error)
      }
    }
  }

  /// Replaces the content in one step, keeping the old one as `<path>.old`.
  ///
  /// - Parameter decide: is given the content under the lock and returns the new one; `nil`: the file is left alone.
  func replace(_ decide: ([UInt8]) throws(RemoteError) -> [UInt8]?) throws(RemoteError) {
    try locked { (descriptor, content) throws(RemoteError) in
      guard let new = try decide(content) else { return }
      do throws(Failure) {
        try Self.create(path + ".old", holding: content)
        try Self.create(path + ".new", holding: new)
        guard rename(path + ".new", path) == 0 else { throw Self.failure("cannot be replaced") }
        try synchronizeFolder()
      } catch {
        throw refusal(error)
      }
    }
  }

  /// Runs `body` with the file open and locked, and with its content.
  private func locked(_ body: (Int32, [UInt8]) throws(RemoteError) -> Void) throws(RemoteError) {
    let descriptor: Int32
    let content: [UInt8]
    do throws(Failure) {
      descriptor = try openLocked()
    } catch {
      throw refusal(error)
    }
    defer { close(descriptor) }
    do throws(Failure) {
      content = try Self.read(descriptor)
    } catch {
      throw refusal(error)
    }
    try body(descriptor, content)
  }

  private func openLocked() throws(Failure) -> Int32 {
    try makeFolder()
    for attempt in 1...Self.lockTries {
      let descriptor = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0o600)
      guard descriptor >= 0 else { throw Self.failure("cannot be opened for writing") }
      if flock(descriptor, LOCK_EX | LOCK_NB) == 0 {
        var opened = stat()
        var named = stat()
        if fstat(descriptor, &opened) == 0, stat(path, &named) == 0, opened.st_ino == named.st_ino,
          opened.st_dev == named.st_dev
        {
          return descriptor
        }
      } else if errno != EWOULDBLOCK && errno != EINTR {
        let failure = Self.failure("cannot be locked")
        close(descriptor)
        throw failure
      }
      close(descriptor)
      if attempt < Self.lockTries { usleep(50_000) }
    }
    throw Failure(reason: "is locked by another process")
  }

  private var folder: String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  private func makeFolder() throws(Failure) {
    guard access(folder, F_OK) != 0 else { return }
    do {
      try FileManager.default.createDirectory(
        atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    } catch {
      throw Failure(reason: "its folder cannot be made")
    }
  }

  private func synchronizeFolder() throws(Failure) {
    let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw Self.failure("its folder cannot be opened") }
    defer { close(descriptor) }
    try Self.synchronize(descriptor)
  }

  private func refusal(_ failure: Failure) -> RemoteError {
    RemoteError(.hostKeyUnknown, phase: .host_key, "The host's key cannot be stored: \(path) \(failure.reason).")
  }

  private static func create(_ path: String, holding content: [UInt8]) throws(Failure) {
    unlink(path)
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else { throw failure("cannot be replaced: \(path) cannot be made") }
    defer { close(descriptor) }
    try write(content, to: descriptor)
    try synchronize(descriptor)
  }

  private static func read(_ descriptor: Int32) throws(Failure) -> [UInt8] {
    var facts = stat()
    guard fstat(descriptor, &facts) == 0 else { throw failure("cannot be read") }
    guard facts.st_mode & S_IFMT == S_IFREG else {
      // /dev/null is how people say "no file"; anything else that is not a file must not be waited for.
      if facts.st_mode & S_IFMT == S_IFCHR { return [] }
      throw Failure(reason: "is not a regular file")
    }
    guard facts.st_size <= off_t(sizeLimit) else { throw Failure(reason: "is larger than 64 MiB") }
    var content: [UInt8] = []
    content.reserveCapacity(Int(facts.st_size))
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    var offset: off_t = 0
    while content.count <= sizeLimit {
      let count = pread(descriptor, &buffer, buffer.count, offset)
      if count < 0 {
        if errno == EINTR { continue }
        throw failure("cannot be read")
      }
      if count == 0 { return content }
      content.append(contentsOf: buffer[..<count])
      offset += off_t(count)
    }
    throw Failure(reason: "is larger than 64 MiB")
  }

  private static func write(_ bytes: [UInt8], to descriptor: Int32) throws(Failure) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if count < 0 {
        if errno == EINTR { continue }
        throw failure("cannot be written")
      }
      rest = rest.dropFirst(count)
    }
  }

  private static func synchronize(_ descriptor: Int32) throws(Failure) {
    guard fsync(descriptor) == 0 else { throw failure("cannot be written to the disk") }
  }

  private static func failure(_ what: String) -> Failure {
    let number = errno
    return Failure(reason: "\(what) (\(String(cString: strerror(number))))", isMissing: number == ENOENT)
  }
}
