internal import Foundation
internal import Glibc

/// A real sshd on free loopback port with its own host key, client keys and log, in a temporary folder.
///
/// It lets in the account that runs the tests, by key. Everything it writes stays in its folder; `stop()` ends the
/// listener and every session it began. Needs Debian's openssh-server (and openssh-client for ssh-keygen); works as
/// root and as an ordinary user.
package actor SSHServer {
  /// Kinds of client keys that the server accepts from the start.
  package enum ClientKey: String, Sendable, CaseIterable {
    case ed25519, ecdsa
  }

  /// Where things lie; ends with the server.
  package nonisolated let directory: TemporaryDirectory
  package nonisolated let port: UInt16
  /// The account to log in as: the one that runs the tests.
  package nonisolated let user: String
  /// The server's lines (LogLevel VERBOSE): "Accepted publickey for …", "Failed publickey for …".
  package nonisolated let log = EventLog<String>()
  /// The host key's line in a known_hosts file for `127.0.0.1` at this port, without its newline.
  package nonisolated let knownHostsLine: String

  private let addresses: [String]
  private let options: [String]
  private var process: ManagedProcess?
  private var copying: Task<Void, Never>?

  /// Whether the programs it needs are installed. On CI (`CI=true`) always true, so that a missing server fails there.
  package static var isAvailable: Bool {
    if ProcessInfo.processInfo.environment["CI"] == "true" { return true }
    return ["/usr/sbin/sshd", "/usr/bin/ssh-keygen"].allSatisfy { FileManager.default.isExecutableFile(atPath: $0) }
  }

  /// Makes keys and starts a server; returns when it listens.
  ///
  /// - Parameters:
  ///   - options: further lines of sshd_config. They come first, and sshd takes the first line of each kind.
  ///   - addresses: loopback addresses to listen on.
  package static func start(options: [String] = [], addresses: [String] = ["127.0.0.1"]) async throws -> SSHServer {
    let directory = try TemporaryDirectory()
    // sshd looks here before it drops privileges; Debian makes it only when the service starts.
    if geteuid() == 0 { mkdir("/run/sshd", 0o755) }
    try await keygen(directory.file("host_ed25519"), kind: "ed25519")
    for key in ClientKey.allCases { try await keygen(directory.file("client_\(key.rawValue)"), kind: key.rawValue) }
    let home = directory.file("home")
    mkdir(home, 0o755)
    let server = try SSHServer(directory: directory, addresses: addresses, options: options)
    try server.authorize(ClientKey.allCases.map { directory.file("client_\($0.rawValue).pub") })
    try await server.start()
    return server
  }

  /// Starts a server, hands it to `body` and stops it, whatever happens.
  package static func with<Result: Sendable>(
    options: [String] = [], addresses: [String] = ["127.0.0.1"],
    _ body: @Sendable (SSHServer) async throws -> Result
  ) async throws -> Result {
    let server = try await start(options: options, addresses: addresses)
    do {
      let result = try await body(server)
      await server.stop()
      return result
    } catch {
      await server.stop()
      throw error
    }
  }

  private init(directory: TemporaryDirectory, addresses: [String], options: [String]) throws {
    self.directory = directory
    self.addresses = addresses
    self.options = options
    port = try ManagedProcess.freePort()
    user = getpwuid(geteuid()).flatMap { String(cString: $0.pointee.pw_name) } ?? "root"
    let key = try String(contentsOfFile: directory.file("host_ed25519.pub"), encoding: .utf8)
    knownHostsLine = "[127.0.0.1]:\(port) " + key.split(separator: " ").prefix(2).joined(separator: " ")
  }

  /// The private key file of a client that the server lets in.
  package nonisolated func clientKey(_ key: ClientKey = .ed25519) -> String {
    directory.file("client_\(key.rawValue)")
  }

  /// Makes a further key, which the server does not know.
  package nonisolated func makeKey(_ name: String, kind: String = "ed25519", passphrase: String = "") async throws
    -> String
  {
    try await Self.keygen(directory.file(name), kind: kind, passphrase: passphrase)
    return directory.file(name)
  }

  /// Replaces the keys that are let in by those in these .pub files.
  package nonisolated func authorize(_ publicKeyFiles: [String]) throws {
    let lines = try publicKeyFiles.map { try String(contentsOfFile: $0, encoding: .utf8) }
    try directory.write("authorized_keys", lines.joined())
  }

  /// A known_hosts file that holds this server's key for every address it listens on.
  package func knownHostsFile() throws -> String {
    let key = knownHostsLine.split(separator: " ").dropFirst().joined(separator: " ")
    let lines = addresses.map { "[\($0)]:\(port) \(key)\n" }
    return try directory.write("known_hosts", lines.joined())
  }

  /// Starts the server again after `stop()`, with the same port and keys.
  package func start() async throws {
    guard process == nil else { return }
    let configuration =
      options + ["Port \(port)"] + addresses.map { "ListenAddress \($0)" } + [
        "HostKey \(directory.file("host_ed25519"))", "AuthorizedKeysFile \(directory.file("authorized_keys"))",
        "PidFile none", "StrictModes no", "UsePAM no", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
        "PermitRootLogin yes", "MaxStartups 1000:30:2000", "PerSourceMaxStartups none", "LogLevel VERBOSE",
        "PrintMotd no", "PrintLastLog no", "UseDNS no", "SetEnv HOME=\(directory.file("home"))",
      ]
    try directory.write("sshd_config", configuration.joined(separator: "\n") + "\n")
    let started = try ManagedProcess(
      ["/usr/sbin/sshd", "-D", "-e", "-f", directory.file("sshd_config")], logFile: directory.file("sshd.log"))
    process = started
    copying = Task { [log] in
      var index = 0
      while let next = try? await started.lines.first(from: index, within: .seconds(3600)) {
        log.append(next.element)
        index += 1
      }
    }
    let deadline: Duration = .seconds(10)
    for address in addresses {
      _ = try await started.line(within: deadline) { $0.contains("Server listening on \(address) ") }
    }
  }

  /// Ends the listener and every session it began. Idempotent.
  package func stop() async {
    guard let process else { return }
    self.process = nil
    let sessions = Self.descendants(of: process.processIdentifier)
    await process.stop(grace: .seconds(2))
    for session in sessions { kill(session, SIGKILL) }
    copying?.cancel()
    copying = nil
  }

  /// Kills every session (not the listener) and returns how many processes that were.
  @discardableResult
  package func killSessions() -> Int {
    guard let process else { return 0 }
    let sessions = Self.descendants(of: process.processIdentifier)
    for session in sessions { kill(session, SIGKILL) }
    return sessions.count
  }

  /// Stops (SIGSTOP) or continues (SIGCONT) every session, so that it is there but says nothing.
  package func signalSessions(_ number: Int32) {
    guard let process else { return }
    for session in Self.descendants(of: process.processIdentifier) { kill(session, number) }
  }

  /// How many logins the log tells of so far.
  package nonisolated var acceptedCount: Int {
    log.all.count { $0.hasPrefix("Accepted ") && !$0.hasPrefix("Accepted key ") }
  }

  /// How many refused credentials the log tells of so far.
  package nonisolated var failedCount: Int { log.all.count { $0.hasPrefix("Failed ") } }

  /// All processes below one, by /proc: children, their children and so on.
  private static func descendants(of root: Int32) -> [Int32] {
    var children: [Int32: [Int32]] = [:]
    for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {
      guard let process = Int32(name), let text = try? String(contentsOfFile: "/proc/\(name)/stat", encoding: .utf8)
      else { continue }
      // "pid (name) state ppid …": the name may hold anything, the last ')' ends it.
      guard let end = text.lastIndex(of: ")") else { continue }
      let fields = text[text.index(after: end)...].split(separator: " ")
      guard fields.count > 1, let parent = Int32(fields[1]) else { continue }
      children[parent, default: []].append(process)
    }
    var found: [Int32] = []
    var next = [root]
    while let process = next.popLast() {
      let below = children[process] ?? []
      found += below
      next += below
    }
    return found
  }

  private static func keygen(_ path: String, kind: String, passphrase: String = "") async throws {
    _ = try await ManagedProcess.run(
      ["/usr/bin/ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", path])
  }
}
