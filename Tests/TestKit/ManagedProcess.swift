internal import Foundation
internal import Glibc

/// A child process that a test owns: its output is kept, its lines can be awaited, and it ends with its owner.
///
/// Standard output and error go line by line into `lines` and, where a path is given, into a log file. Standard input
/// stays open until `stop()`: a child that reads it notices our death by its end. `stop()` (or the last reference
/// going away, or this process exiting) ends the child: SIGTERM, then SIGKILL.
package final class ManagedProcess: @unchecked Sendable {
  // Sendable is true: `state` is only touched under `lock`; everything else is constant.
  package let processIdentifier: Int32
  /// Lines of standard output and standard error in the order they came, without their ends.
  package let lines = EventLog<String>()
  /// Holds the wait status (`WEXITSTATUS` or 128 + signal) once the child is gone.
  package let exits = EventLog<Int32>()

  private let lock = NSLock()
  private var isReaped = false
  private var standardInput: Int32
  private let name: String

  /// Starts `arguments[0]` (an absolute path, or looked up in PATH) with exactly these arguments.
  ///
  /// - Parameters:
  ///   - environment: replaces the inherited environment when given.
  ///   - logFile: where output is copied to, for reading after a failure.
  /// - Throws: `ManagedProcessError` when the program cannot be started.
  package init(_ arguments: [String], environment: [String: String]? = nil, logFile: String? = nil) throws {
    guard let program = arguments.first else { throw ManagedProcessError("no program to start") }
    name = program
    // One start at a time: a pipe that is not yet close-on-exec must not be inherited by another child, which would
    // keep its end from being seen.
    Self.starting.lock()
    defer { Self.starting.unlock() }
    let input = try Self.pipe(for: program)
    let output: [Int32]
    do {
      output = try Self.pipe(for: program)
    } catch {
      input.forEach { _ = close($0) }
      throw error
    }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, input[0], 0)
    posix_spawn_file_actions_adddup2(&actions, output[1], 1)
    posix_spawn_file_actions_adddup2(&actions, output[1], 2)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // The child starts with no signal blocked or ignored, whatever the thread that starts it has.
    var none = sigset_t()
    sigemptyset(&none)
    var all = sigset_t()
    sigfillset(&all)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &all)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

    let variables = environment ?? ProcessInfo.processInfo.environment
    var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
    var envp: [UnsafeMutablePointer<CChar>?] = variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { (argv + envp).forEach { free($0) } }
    var child: pid_t = 0
    let code = posix_spawnp(&child, program, &actions, &attributes, &argv, &envp)
    close(input[0])
    close(output[1])
    guard code == 0 else {
      close(input[1])
      close(output[0])
      throw ManagedProcessError("cannot start \(program): \(String(cString: strerror(code)))")
    }
    processIdentifier = child
    standardInput = input[1]
    ChildRegistry.shared.add(child)
    Self.read(output[0], into: lines, logFile: logFile)
    Self.await(child, exits: exits, lock: lock) { [weak self] in self?.isReaped = true }
  }

  deinit {
    // The waiting thread reaps it; only a child that it has not reaped yet is signalled.
    lock.withLock {
      if !isReaped { kill(processIdentifier, SIGKILL) }
      if standardInput >= 0 { close(standardInput) }
    }
  }

  /// Whether the child has not been seen to end.
  package var isRunning: Bool { exits.all.isEmpty }

  /// Sends a signal, unless the child is gone already.
  package func signal(_ number: Int32) {
    lock.withLock {
      if !isReaped { _ = kill(processIdentifier, number) }
    }
  }

  /// Writes one line to the child's standard input.
  package func write(line: String) {
    lock.withLock {
      guard standardInput >= 0 else { return }
      var bytes = Array((line + "\n").utf8)[...]
      while !bytes.isEmpty {
        let count = bytes.withUnsafeBytes { Glibc.write(standardInput, $0.baseAddress, $0.count) }
        guard count > 0 else { return }
        bytes = bytes.dropFirst(count)
      }
    }
  }

  /// Ends the child: its input is closed, then SIGTERM, after `grace` SIGKILL. Returns when it is gone.
  @discardableResult
  package func stop(grace: Duration = .seconds(5)) async -> Int32? {
    lock.withLock {
      if standardInput >= 0 { close(standardInput) }
      standardInput = -1
    }
    signal(SIGTERM)
    if let status = try? await exits.first(within: grace).element { return status }
    signal(SIGKILL)
    return try? await exits.first(within: grace).element
  }

  /// Waits until the child has ended by itself and returns its status.
  package func exit(within deadline: Duration = .seconds(30)) async throws -> Int32 {
    do {
      return try await exits.first(within: deadline).element
    } catch {
      throw ManagedProcessError("\(name) did not end within \(deadline)")
    }
  }

  /// The same for who cannot suspend: its thread is blocked, and looks 100 times a second.
  package func waitUntilExit(within seconds: Double) -> Int32? {
    let end = Date().addingTimeInterval(seconds)
    while exits.all.isEmpty, Date() < end { usleep(10_000) }
    return exits.all.first
  }

  /// Waits for a line of output that matches.
  ///
  /// - Throws: `ManagedProcessError` with the last lines, when the deadline passes or the child ends before.
  package func line(
    within deadline: Duration = .seconds(10), where matches: @escaping @Sendable (String) -> Bool
  ) async throws -> String {
    do {
      return try await lines.first(within: deadline, where: matches).element
    } catch {
      let tail = lines.all.suffix(10).joined(separator: "\n")
      throw ManagedProcessError("\(name): the awaited line did not come (\(error)); last lines:\n\(tail)")
    }
  }

  /// Waits until something accepts connections on a loopback port. Prefer `line(within:where:)` where the program
  /// says that it is ready.
  package func port(_ port: UInt16, within deadline: Duration = .seconds(10)) async throws {
    let clock = ContinuousClock()
    let end = clock.now + deadline
    while true {
      if Self.accepts(port) { return }
      guard isRunning else { throw ManagedProcessError("\(name) ended before it listened on port \(port)") }
      guard clock.now < end else { throw ManagedProcessError("\(name) does not listen on port \(port)") }
      // Nothing tells another process that a port opened: ask again, at most 50 times a second.
      try await Task.sleep(for: .milliseconds(20))
    }
  }

  /// Runs a program to its end and returns its lines.
  ///
  /// - Throws: `ManagedProcessError` when it cannot start, takes longer than `deadline`, or its status is not 0.
  package static func run(_ arguments: [String], within deadline: Duration = .seconds(30)) async throws -> [String] {
    let process = try ManagedProcess(arguments)
    let status: Int32
    do {
      status = try await process.exit(within: deadline)
    } catch {
      await process.stop()
      throw error
    }
    // The output's end may be seen after the child's end.
    _ = try? await process.lines.first(from: Int.max, within: .seconds(2))
    guard status == 0 else {
      let tail = process.lines.all.suffix(10).joined(separator: "\n")
      throw ManagedProcessError("\(arguments.first ?? "") ended with status \(status):\n\(tail)")
    }
    return process.lines.all
  }

  /// A port of 127.0.0.1 that was free a moment ago, for programs that cannot choose one themselves.
  package static func freePort() throws -> UInt16 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
    guard descriptor >= 0 else { throw ManagedProcessError("no socket: errno \(errno)") }
    defer { close(descriptor) }
    var address = loopback(port: 0)
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let code = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, length) == 0 ? getsockname(descriptor, $0, &length) : -1
      }
    }
    guard code == 0 else { throw ManagedProcessError("no free port: errno \(errno)") }
    return UInt16(bigEndian: address.sin_port)
  }

  private static func loopback(port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    return address
  }

  private static func accepts(_ port: UInt16) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    var address = loopback(port: port)
    return withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
  }

  private static let starting = NSLock()

  private static func pipe(for program: String) throws -> [Int32] {
    var ends: [Int32] = [-1, -1]
    guard Glibc.pipe(&ends) == 0 else { throw ManagedProcessError("no pipe for \(program): errno \(errno)") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return ends
  }

  /// A thread that ends with the pipe: blocking reads have no place in the cooperative pool.
  private static func read(_ descriptor: Int32, into lines: EventLog<String>, logFile: String?) {
    Thread.detachNewThread {
      let log = logFile.map { open($0, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600) } ?? -1
      var partial: [UInt8] = []
      var buffer = [UInt8](repeating: 0, count: 65_536)
      while true {
        let count = Glibc.read(descriptor, &buffer, buffer.count)
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { break }
        if log >= 0 { _ = Glibc.write(log, buffer, count) }
        partial += buffer[..<count]
        while let end = partial.firstIndex(of: 10) {
          lines.append(String(decoding: partial[..<end], as: UTF8.self))
          partial.removeSubrange(...end)
        }
      }
      if !partial.isEmpty { lines.append(String(decoding: partial, as: UTF8.self)) }
      lines.finish()
      close(descriptor)
      if log >= 0 { close(log) }
    }
  }

  /// A thread that waits for the child's end. It looks first and reaps under the lock, so that no signal can go to a
  /// process that took over the number.
  private static func await(
    _ child: pid_t, exits: EventLog<Int32>, lock: NSLock, reaped: @escaping @Sendable () -> Void
  ) {
    Thread.detachNewThread {
      var information = siginfo_t()
      while waitid(P_PID, id_t(child), &information, WEXITED | WNOWAIT) == -1 && errno == EINTR {}
      var status: Int32 = 0
      lock.withLock {
        while waitpid(child, &status, 0) == -1 && errno == EINTR {}
        reaped()
        ChildRegistry.shared.remove(child)
      }
      let signal = status & 0x7f
      exits.append(signal == 0 ? (status >> 8) & 0xff : 128 + signal)
      exits.finish()
    }
  }
}

/// A child could not be started, or did not do what was awaited.
package struct ManagedProcessError: Error, CustomStringConvertible {
  package var description: String
  package init(_ description: String) { self.description = description }
}

/// Children to end when the test process exits without having stopped them.
private final class ChildRegistry: @unchecked Sendable {
  // Sendable is true: `children` is only touched under `lock`.
  static let shared = ChildRegistry()
  private let lock = NSLock()
  private var children: Set<pid_t> = []

  private init() {
    atexit { ChildRegistry.shared.endAll() }
  }

  func add(_ child: pid_t) { lock.withLock { _ = children.insert(child) } }
  func remove(_ child: pid_t) { lock.withLock { _ = children.remove(child) } }
  func endAll() { lock.withLock { children.forEach { _ = kill($0, SIGKILL) } } }
}
