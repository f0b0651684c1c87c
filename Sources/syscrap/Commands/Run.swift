internal import App
internal import ArgumentParser
internal import Foundation
internal import Glibc
internal import Logging
internal import Metrics
internal import Model

struct Run: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "The service in the foreground. SIGTERM drains within 20 s, SIGHUP reloads.")
  @OptionGroup var common: CommonOptions
  @Flag(name: .long, help: "Under a tiny parent that starts it again when it ends badly, where there is no systemd.")
  var respawn = false

  func run() async throws {
    if respawn {
      let code = try await Respawn.run(arguments: CommandLine.arguments.filter { $0 != "--respawn" })
      if code != 0 { throw Ending(code) }
      return
    }
    try await Running.service(try common.load())
  }
}

/// Running the service in this process, to its end.
enum Running {
  /// - Parameters:
  ///   - documents: stored first, where they are not there yet.
  ///   - onReady: the page's address and a one-time token.
  static func service(
    _ configuration: Configuration, documents: [Document] = [],
    onReady: @escaping @Sendable (_ url: String, _ oneTimeToken: String) async -> Void = { _, _ in }
  ) async throws {
    let format = configuration.log.format
    let level = Logger.Level(rawValue: configuration.log.level.rawValue) ?? .info
    LoggingSystem.bootstrap { LogOutput(label: $0, level: level, isJSON: format == .json) }
    let registry = PrometheusRegistry()
    MetricsSystem.bootstrap(registry)
    let service = Service(
      configuration: configuration, registry: registry, logger: Logger(label: "syscrap"),
      signals: await Signals.stream(), onReady: onReady)
    let end: Service.End
    do {
      end = try await service.run(documents: documents)
    } catch let error as OperationError {
      throw Ending(error)
    } catch {
      throw Ending(Exit.failed, "the service cannot start: \(Terminal.safe("\(error)"))")
    }
    switch end {
    case .stopped: return
    case .exhausted(let why): throw Ending(Service.exhaustedCode, "the service ended: \(Terminal.safe(why))")
    case .restart:
      try SelfRestart.now()
    }
  }
}

/// The process starts itself anew in its place: same pid, same arguments.
enum SelfRestart {
  static func now() throws {
    var arguments: [UnsafeMutablePointer<CChar>?] = CommandLine.arguments.map { strdup($0) }
    arguments.append(nil)
    for number in [SIGTERM, SIGINT, SIGHUP] { signal(number, SIG_DFL) }
    // Connections that a client still holds must not live on in the new program.
    for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? [] {
      if let descriptor = Int32(name), descriptor > 2 { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
    }
    execv("/proc/self/exe", arguments)
    let reason = String(cString: strerror(errno))
    for argument in arguments { free(argument) }
    throw Ending(Exit.failed, "the service could not start itself anew: \(reason)")
  }
}

/// The tiny parent: starts the service, hands signals on, and starts it again when it ends badly.
enum Respawn {
  /// The pause before the next start: doubles from a second to a minute, and begins anew after a minute of health.
  private static let longestPause: Duration = .seconds(60)

  /// - Returns: the exit code of a service that ended well or can never start.
  static func run(arguments: [String]) async throws -> Int32 {
    var pause: Duration = .seconds(1)
    let signals = await Signals.stream()
    let child = Child()
    let forwarder = Task {
      for await signal in signals { child.tell(signal) }
    }
    defer { forwarder.cancel() }
    while true {
      let began = ContinuousClock.now
      let status = try await child.live(arguments)
      // 0: asked to. 1 and 2: it says itself why it cannot start, and would say it again.
      if child.isStopping || [0, Exit.failed, Exit.usage].contains(status) { return status }
      if ContinuousClock.now - began > .seconds(60) { pause = .seconds(1) }
      Print.message("syscrap: the service ended with \(status); it is started again in \(pause.components.seconds) s")
      try await Task.sleep(for: pause)
      pause = min(pause * 2, longestPause)
      if child.isStopping { return 0 }
    }
  }

  /// The service's process. State is behind a lock: signals come from another task than the one that waits.
  private final class Child: @unchecked Sendable {
    private let lock = NSLock()
    private var pid: pid_t = 0
    private var stopping = false

    var isStopping: Bool { lock.withLock { stopping } }

    func tell(_ signal: ServiceSignal) {
      lock.withLock {
        if case .stop = signal { stopping = true }
        guard pid > 0 else { return }
        kill(pid, signal == .stop ? SIGTERM : SIGHUP)
      }
    }

    func live(_ arguments: [String]) async throws -> Int32 {
      var list: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
      list.append(nil)
      defer { for argument in list { free(argument) } }
      var attributes = posix_spawnattr_t()
      posix_spawnattr_init(&attributes)
      defer { posix_spawnattr_destroy(&attributes) }
      // What this process ignores must reach the service.
      var defaults = sigset_t()
      sigemptyset(&defaults)
      for number in [SIGTERM, SIGINT, SIGHUP] { sigaddset(&defaults, number) }
      posix_spawnattr_setsigdefault(&attributes, &defaults)
      posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF))
      var started: pid_t = 0
      guard posix_spawn(&started, "/proc/self/exe", nil, &attributes, list, environ) == 0 else {
        throw Ending(Exit.failed, "the service could not be started: \(String(cString: strerror(errno)))")
      }
      let id = started
      lock.withLock { pid = id }
      let status: Int32 = await withCheckedContinuation { continuation in
        Thread.detachNewThread {
          var status: Int32 = 0
          while waitpid(id, &status, 0) < 0, errno == EINTR {}
          continuation.resume(returning: status)
        }
      }
      lock.withLock { pid = 0 }
      let signal = status & 0x7F
      return signal == 0 ? (status >> 8) & 0xFF : 128 + signal
    }
  }
}
