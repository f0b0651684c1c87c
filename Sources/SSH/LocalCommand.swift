internal import CSSH2
internal import Glibc
internal import Remote

/// Runs a local program for a secret it prints. Blocks for at most ten seconds.
enum LocalCommand {
  /// The first line of the program's output, without its newline; at most 4 KiB.
  static func firstLine(_ arguments: [String]) throws(RemoteError) -> [UInt8] {
    guard let program = arguments.first else { throw KeyStore.failure("The passphrase command is empty.") }
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw KeyStore.failure("no pipe for \(program): errno \(errno)") }
    defer { close(ends[0]) }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
    var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
    defer { argv.forEach { free($0) } }
    var child: pid_t = 0
    let code = posix_spawnp(&child, program, &actions, nil, &argv, environ)
    close(ends[1])
    guard code == 0 else {
      throw KeyStore.failure("The passphrase command \(program) cannot be started: \(String(cString: strerror(code))).")
    }
    let end = EventLoop.now() + 10_000_000_000
    var output: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while output.count < 4096 {
      let now = EventLoop.now()
      var entry = pollfd(fd: ends[0], events: Int16(POLLIN), revents: 0)
      guard now < end, poll(&entry, 1, Int32(clamping: (end - now) / 1_000_000 + 1)) > 0 else {
        kill(child, SIGKILL)
        break
      }
      let count = read(ends[0], &buffer, buffer.count)
      if count <= 0 { break }
      output += buffer.prefix(count)
    }
    if output.count >= 4096 || EventLoop.now() >= end { kill(child, SIGKILL) }
    var status: Int32 = 0
    while waitpid(child, &status, 0) == -1 && errno == EINTR {}
    guard status == 0 else { throw KeyStore.failure("The passphrase command \(program) failed (status \(status)).") }
    return Array(output.prefix { $0 != 10 })
  }
}
