internal import CSSH2
internal import Glibc
internal import Remote

/// A process that a connection owns, in a process group of its own. Confined to the connection's loop, which keeps it
/// alive until it has ended.
///
/// The end is told by the process's descriptor (pidfd) in the loop, so that no thread waits for it. What the process
/// itself has started and left in its group is killed with it.
final class ChildProcess: @unchecked Sendable {
  // Sendable is true: made and then only touched on one event loop.

  /// From SIGTERM to SIGKILL.
  static let grace: Duration = .milliseconds(500)
  /// How often the end of a killed process is looked for when the loop stops, a millisecond apart.
  private static let stopTries = 2000

  let identifier: pid_t
  private let loop: EventLoop
  private let onErrors: (UnsafeRawBufferPointer) -> Void
  private let onEnd: (Int32) -> Void
  private var end: DescriptorWatch?
  private var errors: DescriptorWatch?
  private var killer: TimerQueue.ID?
  private var isEnding = false
  private var tries = 0

  /// Starts a program whose stdin and stdout are /dev/null. Must be called on the loop's thread.
  ///
  /// - Parameters:
  ///   - arguments: the first is the program's absolute path.
  ///   - environment: all of it; nothing is inherited, and no descriptor but the three.
  ///   - onErrors: gets what it writes to stderr.
  ///   - onEnd: called once, with its wait status, when it has ended and was waited for.
  /// - Throws: `.unreachable` in phase `.connect` when it cannot be started.
  init(
    _ arguments: [String], environment: [String: String], on loop: EventLoop,
    onErrors: @escaping (UnsafeRawBufferPointer) -> Void, onEnd: @escaping (Int32) -> Void
  ) throws(RemoteError) {
    self.loop = loop
    self.onErrors = onErrors
    self.onEnd = onEnd
    let program = arguments.first ?? ""
    guard let pair = DescriptorWatch.pair() else { throw Self.failure(program, errno) }
    let (code, child) = Self.spawn(program, arguments, environment, errors: pair.theirs)
    close(pair.theirs)
    guard code == 0 else {
      close(pair.ours)
      throw Self.failure(program, code)
    }
    identifier = child
    let process = cssh2_open_process(child)
    guard process >= 0 else {
      let number = errno
      close(pair.ours)
      kill(child, SIGKILL)
      // It was started a moment ago and is killed: this wait is over at once.
      waitpid(child, nil, 0)
      throw Self.failure(program, number)
    }
    errors = DescriptorWatch(pair.ours, on: loop, onStop: { [self] in stopNow() }) { [self] _ in readErrors() }
    end = DescriptorWatch(process, on: loop, onStop: { [self] in stopNow() }) { [self] _ in reap() }
    if errors == nil || end == nil {
      let number = errno
      errors?.close()
      end?.close()
      kill(-child, SIGKILL)
      kill(child, SIGKILL)
      waitpid(child, nil, 0)
      throw Self.failure(program, number)
    }
  }

  /// Asks it to end, and kills it when it has not after ``grace``. Idempotent.
  func terminate() {
    guard !isEnding, end != nil else { return }
    isEnding = true
    kill(-identifier, SIGTERM)
    killer = loop.schedule(after: Self.grace) { [self] in
      if end != nil { kill(-identifier, SIGKILL) }
    }
  }

  private func readErrors() {
    let isOpen = errors?.drain {
      onErrors($0)
      return true
    }
    if isOpen == false { errors?.close() }
  }

  /// Takes note of the end, if it has come.
  private func reap() {
    guard end != nil else { return }
    var status: Int32 = 0
    // Its number cannot be anybody else's before it was waited for; what it left behind is of its group.
    var facts = siginfo_t()
    guard waitid(P_PID, id_t(identifier), &facts, WEXITED | WNOHANG | WNOWAIT) == 0, hasEnded(facts) else { return }
    kill(-identifier, SIGKILL)
    while waitpid(identifier, &status, 0) == -1 && errno == EINTR {}
    readErrors()
    loop.cancel(killer)
    errors?.close()
    end?.close()
    errors = nil
    end = nil
    onEnd(status)
  }

  private func hasEnded(_ facts: siginfo_t) -> Bool { facts.si_signo == SIGCHLD }

  /// The loop waits for nothing any more: it asks again and again until this has removed itself.
  private func stopNow() {
    guard end != nil else { return }
    kill(-identifier, SIGKILL)
    tries += 1
    reap()
    guard end != nil else { return }
    if tries >= Self.stopTries {
      errors?.close()
      end?.close()
      end = nil
      onEnd(SIGKILL)
    } else {
      usleep(1000)
    }
  }

  private static func spawn(
    _ program: String, _ arguments: [String], _ environment: [String: String], errors: Int32
  ) -> (code: Int32, child: pid_t) {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, errors, 2)
    cssh2_close_from(&actions, 3)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    var all = sigset_t()
    sigfillset(&all)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &all)
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP))
    var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
    var envp: [UnsafeMutablePointer<CChar>?] =
      environment.sorted { $0.key < $1.key }.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { (argv + envp).forEach { free($0) } }
    var child: pid_t = 0
    let code = posix_spawn(&child, program, &actions, &attributes, &argv, &envp)
    return (code, child)
  }

  private static func failure(_ program: String, _ code: Int32) -> RemoteError {
    RemoteError(
      .unreachable, phase: .connect, "\(program) cannot be started: \(String(cString: strerror(code))).", rawCode: code)
  }
}
