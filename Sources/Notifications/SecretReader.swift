internal import Dispatch
internal import FoundationEssentials
internal import Glibc
package import Transfer

/// Where a secret comes from; it is read anew at each delivery, so that a changed password counts at once.
package enum SecretSource: Sendable, Hashable {
  /// A file that nobody but its owner can read. One line end at its end is not part of the secret.
  case file(String)
  /// argv of a program whose output is the secret.
  case command([String])
}

/// Why a secret could not be had; the message names the file or program, never its content.
package struct SecretError: Error, Sendable, Hashable, CustomStringConvertible {
  package var message: String
  package var description: String { message }
}

/// Reads secrets on threads where blocking is allowed.
///
/// At most as many reads run at once as there are queue workers; each ends within ``deadline``.
package struct SecretReader: Sendable {
  /// How long a program may take; then it is killed.
  package var deadline: Duration = .seconds(10)
  /// The longest secret.
  static let longest = 16 * 1024
  private static let threads = DispatchQueue(label: "notifications.secrets", attributes: .concurrent)

  package init() {}

  package func read(_ source: SecretSource) async throws(SecretError) -> Secret {
    let deadline = deadline
    let result: Result<[UInt8], SecretError> = await withCheckedContinuation { continuation in
      Self.threads.async {
        let result: Result<[UInt8], SecretError> =
          switch source {
          case .file(let path): Self.file(path)
          case .command(let argv): Self.command(argv, deadline: deadline)
          }
        continuation.resume(returning: result)
      }
    }
    var bytes = try result.get()
    if bytes.last == 0x0A { bytes.removeLast() }
    if bytes.last == 0x0D { bytes.removeLast() }
    guard !bytes.isEmpty else { throw SecretError(message: "\(Self.name(source)) is empty") }
    return Secret(bytes)
  }

  private static func name(_ source: SecretSource) -> String {
    switch source {
    case .file(let path): "the secret file \(PlainText.line(path, limit: 300))"
    // The arguments may hold hints of a secret's name; the program is enough to find it.
    case .command(let argv): "the output of \(PlainText.line(argv.first ?? "", limit: 300))"
    }
  }

  private static func file(_ path: String) -> Result<[UInt8], SecretError> {
    let name = name(.file(path))
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard file >= 0 else { return .failure(SecretError(message: "\(name): \(reason(errno))")) }
    defer { close(file) }
    var facts = stat()
    guard fstat(file, &facts) == 0 else { return .failure(SecretError(message: "\(name): \(reason(errno))")) }
    guard facts.st_mode & S_IFMT == S_IFREG else { return .failure(SecretError(message: "\(name) is no regular file")) }
    guard facts.st_mode & 0o077 == 0 else {
      let mode = String(facts.st_mode & 0o777, radix: 8)
      return .failure(
        SecretError(message: "\(name) can be read by others (mode \(mode)); make it 0600: chmod 600 it"))
    }
    guard facts.st_uid == geteuid() || facts.st_uid == 0 else {
      return .failure(SecretError(message: "\(name) belongs to another user"))
    }
    guard facts.st_size <= longest else { return .failure(SecretError(message: "\(name) is longer than 16 KiB")) }
    return drain(file, name: name, until: nil)
  }

  /// Reads to the end. `until`: on the monotonic clock, for pipes.
  private static func drain(_ file: Int32, name: String, until: ContinuousClock.Instant?) -> Result<
    [UInt8], SecretError
  > {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
      if let until {
        let left = ContinuousClock.now.duration(to: until)
        guard left > .zero else { return .failure(SecretError(message: "\(name) did not come in time")) }
        var watched = pollfd(fd: file, events: Int16(POLLIN), revents: 0)
        let milliseconds =
          min(left.components.seconds, 3600) * 1000 + left.components.attoseconds / 1_000_000_000_000_000
        if poll(&watched, 1, Int32(milliseconds) + 1) <= 0 { continue }
      }
      let count = Glibc.read(file, &chunk, chunk.count)
      if count == 0 { return .success(bytes) }
      if count < 0 {
        if errno == EINTR || errno == EAGAIN { continue }
        return .failure(SecretError(message: "\(name): \(reason(errno))"))
      }
      bytes += chunk[..<count]
      guard bytes.count <= longest else { return .failure(SecretError(message: "\(name) is longer than 16 KiB")) }
    }
  }

  /// Runs argv without a shell, in a process group of its own so that it can be killed with all that it starts.
  private static func command(_ argv: [String], deadline: Duration) -> Result<[UInt8], SecretError> {
    let name = name(.command(argv))
    guard let program = argv.first, !program.isEmpty, !argv.contains(where: { $0.utf8.contains(0) }) else {
      return .failure(SecretError(message: "password_command is no list of words"))
    }
    var ends: [Int32] = [-1, -1]
    // Not a pipe: only this is made close-on-exec in one step, so that no other program inherits an end of it.
    guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
      return .failure(SecretError(message: "\(name): \(reason(errno))"))
    }
    defer { close(ends[0]) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
    var words: [UnsafeMutablePointer<CChar>?] = argv.map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var process = pid_t()
    let failure = posix_spawnp(&process, program, &actions, &attributes, &words, environ)
    close(ends[1])
    guard failure == 0 else { return .failure(SecretError(message: "\(name): \(reason(failure))")) }
    let output = drain(ends[0], name: name, until: .now + deadline)
    // Its output has ended or its time has: in both cases nothing more is wanted of it.
    let status = reap(process, within: .milliseconds(500))
    guard case .success(let bytes) = output else { return output }
    guard let status, status == 0 else { return .failure(SecretError(message: "\(name): the program failed")) }
    return .success(bytes)
  }

  /// Waits a moment for the end, then kills the whole group. Returns the wait status; nil: it had to be killed.
  private static func reap(_ process: pid_t, within grace: Duration) -> Int32? {
    let end = ContinuousClock.now + grace
    var status: Int32 = 0
    while ContinuousClock.now < end {
      let found = waitpid(process, &status, WNOHANG)
      if found == process { return status }
      if found < 0, errno != EINTR { return nil }
      usleep(2000)
    }
    kill(-process, SIGKILL)
    kill(process, SIGKILL)
    while waitpid(process, &status, 0) < 0, errno == EINTR {}
    return nil
  }

  private static func reason(_ code: Int32) -> String {
    var buffer = [CChar](repeating: 0, count: 256)
    guard strerror_r(code, &buffer, buffer.count) == 0 else { return "error \(code)" }
    return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
