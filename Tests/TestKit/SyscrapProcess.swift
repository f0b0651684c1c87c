internal import Foundation
internal import Glibc

/// The real `syscrap` program with a folder of its own: a configuration, a state folder, and the service while it runs.
///
/// The program is the one that was built together with the tests. The service listens on a port that the system
/// chooses; commands find it through the configuration, as a person's would. Everything ends with its owner.
package actor SyscrapProcess {
  /// What a command left behind.
  package struct Output: Sendable {
    package var status: Int32
    package var output: [UInt8]
    package var errors: [UInt8]

    package var text: String { String(decoding: output, as: UTF8.self) }
    package var errorText: String { String(decoding: errors, as: UTF8.self) }
    /// Standard output's lines, without their ends.
    package var lines: [String] { text.split(separator: "\n", omittingEmptySubsequences: true).map(String.init) }
  }

  package nonisolated let directory: TemporaryDirectory
  package nonisolated var configurationPath: String { directory.file("syscrap.yaml") }
  package nonisolated var stateDirectory: String { directory.file("state") }
  /// Every line that the service has logged, over all its lives.
  package nonisolated let log = EventLog<String>()

  private var process: ManagedProcess?
  private var copying: Task<Void, Never>?

  /// The program that was built beside the tests; `SYSCRAP_TEST_PROGRAM` names another one.
  package static let program: String = {
    if let named = ProcessInfo.processInfo.environment["SYSCRAP_TEST_PROGRAM"], !named.isEmpty { return named }
    let tests = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    return (tests as NSString).deletingLastPathComponent + "/syscrap"
  }()

  /// - Parameter configuration: further lines of `syscrap.yaml`; the state folder and a free port are given.
  package init(_ configuration: String = "") throws {
    directory = try TemporaryDirectory("app")
    try directory.write("syscrap.yaml", Self.text(configuration))
    try FileManager.default.createDirectory(
      atPath: directory.file("home"), withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
  }

  /// Replaces the configuration file. The running service reads it when it is told to.
  package nonisolated func configure(_ configuration: String) throws {
    try directory.write("syscrap.yaml", Self.text(configuration))
  }

  private static func text(_ configuration: String) -> String {
    (configuration.contains("http:") ? "" : "http: {listen: '127.0.0.1:0'}\n") + "state_dir: state\n" + configuration
      + "\n"
  }

  /// Lines of the configuration for connecting to a test's server.
  package static func ssh(to server: SSHServer, more: String = "") async throws -> String {
    """
    ssh:
      user: \(server.user)
      identity_files: [\(server.clientKey())]
      known_hosts: [\(try await server.knownHostsFile()), state/known_hosts]
      \(more)
    """
  }

  // MARK: The service

  /// The service's process; nil while there is none.
  package var processIdentifier: Int32? { process?.processIdentifier }
  package var isRunning: Bool { process?.isRunning ?? false }

  /// Starts the service and returns when it listens.
  ///
  /// - Parameters:
  ///   - usesConfiguration: whether `--config` is added.
  ///   - environment: added to its own.
  ///   - ready: what stands in the line that says so.
  package func start(
    _ arguments: [String] = ["run"], usesConfiguration: Bool = true, environment more: [String: String] = [:],
    ready: String = SyscrapProcess.listening, within deadline: Duration = .seconds(60)
  ) async throws {
    guard process == nil else { return }
    let position = log.all.count
    let started = try ManagedProcess(
      [Self.program] + arguments + (usesConfiguration ? ["--config", configurationPath] : []),
      environment: environment(more), logFile: directory.file("service.log"))
    process = started
    copying = Task { [log] in
      var index = 0
      while let next = try? await started.lines.first(from: index, within: .seconds(3600)) {
        log.append(next.element)
        index += 1
      }
    }
    try await listens(after: position, ready: ready, within: deadline)
  }

  /// What stands in the line of the log that says that the service listens.
  package static let listening = " info Listening "

  /// Waits until the service says that it listens, in a line after that many.
  package func listens(
    after position: Int, ready: String = SyscrapProcess.listening, within deadline: Duration = .seconds(60)
  ) async throws {
    guard let process else { throw ManagedProcessError("the service was not started") }
    do {
      _ = try await log.first(from: position, within: deadline) { $0.contains(ready) }
    } catch {
      throw ManagedProcessError(
        "the service does not listen (\(error), running: \(process.isRunning)):\n\(tail)")
    }
  }

  /// Sends a signal to the service.
  package func signal(_ number: Int32) { process?.signal(number) }

  /// Waits until the service has ended by itself and returns its status.
  package func exit(within deadline: Duration = .seconds(30)) async throws -> Int32 {
    guard let process else { throw ManagedProcessError("the service was not started") }
    let status = try await process.exit(within: deadline)
    self.process = nil
    return status
  }

  /// Ends the service at once, as a crash would.
  package func kill() async throws {
    signal(SIGKILL)
    _ = try await exit(within: .seconds(10))
  }

  /// Ends the service, gently first. Idempotent.
  package func stop() async {
    await process?.stop(grace: .seconds(20))
    process = nil
    copying?.cancel()
    copying = nil
  }

  private var tail: String { log.all.suffix(20).joined(separator: "\n") }

  // MARK: Its HTTP API

  /// Asks the running service, with its token.
  ///
  /// - Parameter path: from the root, percent-encoded.
  package nonisolated func request(
    _ method: String = "GET", _ path: String, body: [UInt8] = [], within deadline: Duration = .seconds(30)
  ) async throws -> SmallHTTP.Reply {
    let place = try place()
    return try await SmallHTTP.perform(
      method, path, port: place.port, token: place.token, body: body, within: deadline)
  }

  /// Where the service listens now, and the token it asks for.
  private nonisolated func place() throws -> (port: UInt16, token: String?) {
    func file(_ path: String) throws -> String {
      try String(contentsOfFile: path, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
    }
    let address = try file(stateDirectory + "/address")
    guard let port = address.split(separator: ":").last.flatMap({ UInt16($0) }) else {
      throw ManagedProcessError("no port in the address \(address)")
    }
    // A configuration's own `http: {token_file: token}` wins.
    return (port, (try? file(directory.file("token"))) ?? (try? file(stateDirectory + "/token")))
  }

  /// Looks again and again, 20 times a second, until there is something, for things that nothing announces.
  ///
  /// An error counts as "not yet": the service may just be starting.
  package nonisolated func eventually<Result: Sendable>(
    _ what: String, within deadline: Duration = .seconds(60), _ look: @Sendable () async throws -> Result?
  ) async throws -> Result {
    let clock = ContinuousClock()
    let end = clock.now + deadline
    var trouble = ""
    while true {
      do {
        if let found = try await look() { return found }
      } catch {
        trouble = " (\(error))"
      }
      guard clock.now < end else {
        throw ManagedProcessError(
          "within \(deadline) this did not come: \(what)\(trouble); last lines:\n\(log.all.suffix(20).joined(separator: "\n"))"
        )
      }
      try await Task.sleep(for: .milliseconds(50))
    }
  }

  /// When the service first gave an answer that `matches`, looked for 20 times a second on a thread of its own: the
  /// time does not depend on how busy this process is otherwise. May be called before the service is started.
  package nonisolated func moment(
    of path: String, within deadline: Duration = .seconds(60), _ matches: @escaping @Sendable ([UInt8]) -> Bool
  ) async throws -> ContinuousClock.Instant {
    let clock = ContinuousClock()
    let end = clock.now + deadline
    let found: ContinuousClock.Instant? = await withCheckedContinuation { continuation in
      Thread.detachNewThread { [self] in
        while clock.now < end {
          if let place = try? place(),
            let reply = try? SmallHTTP.performBlocking("GET", path, port: place.port, token: place.token),
            reply.status == 200, matches(reply.body)
          {
            return continuation.resume(returning: clock.now)
          }
          Thread.sleep(forTimeInterval: 0.05)
        }
        continuation.resume(returning: nil)
      }
    }
    guard let found else { throw ManagedProcessError("within \(deadline) \(path) did not answer as awaited") }
    return found
  }

  // MARK: Commands

  /// Runs a command of the program to its end, with this configuration.
  ///
  /// - Parameters:
  ///   - input: its standard input; empty when not given, and never a terminal.
  ///   - environment: added to a small one of its own (HOME, PATH).
  ///   - usesConfiguration: whether `--config` is added (before a `--`).
  ///   - isOnTerminal: its output goes to a pseudo-terminal of 120 columns; standard error then comes with it.
  package nonisolated func run(
    _ arguments: [String], input: String = "", environment: [String: String] = [:], usesConfiguration: Bool = true,
    isOnTerminal: Bool = false, within deadline: Duration = .seconds(60)
  ) async throws -> Output {
    var all = arguments
    if usesConfiguration {
      let end = all.firstIndex(of: "--") ?? all.endIndex
      all.insert(contentsOf: ["--config", configurationPath], at: end)
    }
    let name = UUID().uuidString
    let (inFile, outFile, errorFile) = (
      try directory.write("\(name).in", input), directory.file("\(name).out"), directory.file("\(name).err")
    )
    defer { for file in [inFile, outFile, errorFile] { unlink(file) } }
    var command = [Self.program] + all
    if isOnTerminal {
      let quoted = command.map { "'" + $0.replacingOccurrences(of: "'", with: "'\\''") + "'" }
      command = ["script", "-qec", "stty cols 120; exec " + quoted.joined(separator: " "), "/dev/null"]
    }
    let process = try ManagedProcess(
      ["/bin/sh", "-c", "in=$1 out=$2 err=$3; shift 3; exec \"$@\" <\"$in\" >\"$out\" 2>\"$err\"", "sh"]
        + [inFile, outFile, errorFile] + command, environment: self.environment(environment))
    let status: Int32
    do {
      status = try await process.exit(within: deadline)
    } catch {
      await process.stop()
      throw ManagedProcessError("syscrap \(arguments.joined(separator: " ")): \(error)")
    }
    func bytes(_ path: String) -> [UInt8] { FileManager.default.contents(atPath: path).map(Array.init) ?? [] }
    return Output(status: status, output: bytes(outFile), errors: bytes(errorFile))
  }

  private nonisolated func environment(_ more: [String: String]) -> [String: String] {
    let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/sbin:/usr/bin:/sbin:/bin"
    // libmongoc's counters in shared memory outlive a process that is killed, and a later one of its number says so.
    let own = ["HOME": directory.file("home"), "PATH": path, "TERM": "xterm", "MONGOC_DISABLE_SHM": "1"]
    return own.merging(more) { _, new in new }
  }
}
