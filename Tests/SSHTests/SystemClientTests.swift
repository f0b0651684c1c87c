import Foundation
import Glibc
import Logging
import Remote
import TestKit
import Testing

@testable import SSH

/// The system's ssh as a transport, against real servers.
@Suite("The system's ssh", .serialized, .enabled(if: SSHServer.isAvailable, "openssh-server is missing"))
struct SystemClientTests {
  private let directory: TemporaryDirectory
  private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  init() throws { directory = try TemporaryDirectory("client") }

  /// Folders of this suite's connections; each must be gone in the end.
  private var client: SystemClient {
    var client = SystemClient.standard
    client.places = [directory.path]
    return client
  }

  private func system(
    _ harness: Harness, channels: Int = 4, credentials: [Credential]? = nil, certificate: String? = nil,
    file: String? = nil, policy: HostKeyPolicy? = nil, port: Int? = nil,
    configuration: SSHConfiguration = SSHConfiguration()
  ) -> SystemSSHConnector {
    SystemSSHConnector(
      host: "127.0.0.1", port: port ?? Int(harness.server.port), user: harness.server.user,
      credentials: credentials ?? [.keyFile(harness.server.clientKey())], certificateFile: certificate,
      configurationFile: file,
      hostKeys: policy ?? HostKeyPolicy(mode: .strict, knownHosts: [harness.knownHosts], pin: nil), channels: channels,
      configuration: configuration, client: client, group: harness.group, metrics: harness.metrics, logger: logger)
  }

  private func automatic(
    _ harness: Harness, credentials: [Credential]? = nil, policy: HostKeyPolicy? = nil
  ) -> AutomaticConnector {
    var first = harness.connector(credentials: credentials)
    if let policy { first.hostKeys = policy }
    return AutomaticConnector(
      first: first, second: system(harness, credentials: credentials, policy: policy), logger: logger)
  }

  /// Runs `body` with an open connection and closes it; afterwards neither process nor folder is left.
  private func connected<Result: Sendable>(
    _ connector: SystemSSHConnector, _ body: @Sendable (SystemConnection) async throws -> Result
  ) async throws -> Result {
    let connection = try await connector.connection()
    do {
      let result = try await body(connection)
      await connection.close()
      expectNothingLeft()
      return result
    } catch {
      await connection.close()
      throw error
    }
  }

  private func expectNothingLeft(sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(clients() == [], sourceLocation: sourceLocation)
    let left = (try? FileManager.default.contentsOfDirectory(atPath: directory.path)) ?? []
    #expect(left.filter { $0.hasPrefix("syscrap-ssh-") } == [], sourceLocation: sourceLocation)
  }

  /// Processes of this suite's connections: their command lines name its folder.
  private func clients() -> [Int32] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return names.compactMap { Int32($0) }.filter {
      guard let line = FileManager.default.contents(atPath: "/proc/\($0)/cmdline") else { return false }
      return String(decoding: line, as: UTF8.self).contains(directory.path + "/syscrap-ssh-")
    }
  }

  /// Asks and runs something, and checks the answers.
  private func use(_ remote: any Remote) async throws {
    let result = try await remote.run(Command(["sh", "-c", "echo \"$1\"; echo no >&2; exit 3", "sh", "it's"]))
    #expect(result == CommandResult(status: 3, output: Array("it's\n".utf8), errors: Array("no\n".utf8)))
    let answers = try await remote.ask([
      .read(path: "/proc/sys/kernel/ostype"), .run(Command(["true"])), .read(path: "/nowhere"),
    ])
    #expect(answers.first == .content(Array("Linux\n".utf8), isTruncated: false))
    #expect(answers.dropFirst().first == .result(CommandResult(status: 0)))
    guard case .failed(let error) = answers.last else {
      Issue.record("a file that is not there was read")
      return
    }
    #expect(error.message.contains("no such file"))
  }

  // MARK: what libssh2 cannot do

  @Test(
    "Servers hardened beyond libssh2 1.10 are reached by themselves, and again at once the next time",
    arguments: [
      ["Ciphers chacha20-poly1305@openssh.com,aes256-gcm@openssh.com"],
      ["Ciphers aes256-ctr", "MACs hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com"],
      ["KexAlgorithms sntrup761x25519-sha512@openssh.com"],
    ])
  func hardened(options: [String]) async throws {
    try await Harness.with(options: options) { harness in
      let first = await failure { try await harness.connector().connect() }
      if !SSHLibrary.hasModernAlgorithms || options[0].contains("sntrup") { #expect(first?.code == .noCommonAlgorithm) }
      let connector = automatic(harness)
      for _ in 0..<2 {
        let remote = try await connector.connect()
        try await use(remote)
        let facts = await remote.facts
        if first != nil { #expect(facts.transport == "ssh") }
        #expect(facts.address == "127.0.0.1")
        #expect(facts.serverBanner.hasPrefix("SSH-2.0-OpenSSH"))
        #expect(facts.hostKeyType == "ssh-ed25519")
        #expect(facts.hostKeyFingerprint.hasPrefix("SHA256:"))
        #expect(!facts.keyExchange.isEmpty && !facts.cipher.isEmpty && !facts.mac.isEmpty)
        #expect(facts.authentication.hasPrefix("publickey (SHA256:"))
        await remote.close()
      }
      expectNothingLeft()
      #expect(harness.server.acceptedCount == 2)
      #expect(harness.server.failedCount == 0)
      // The library met the server twice: in the first check, and in the connector's first attempt only.
      let refused = harness.server.log.all.count { $0.contains("Unable to negotiate") }
      #expect(refused == (first == nil ? 0 : 2))
    }
  }

  @Test("A user key of RSA is refused to libssh2 1.10 and taken from the system's ssh")
  func rsaUser() async throws {
    try await Harness.with { harness in
      let key = try await harness.server.makeKey("rsa", kind: "rsa")
      try harness.server.authorize([key + ".pub"])
      #expect(KeyKind(file: key) == .rsa)
      let remote = try await automatic(harness, credentials: [.keyFile(key)]).connect()
      try await use(remote)
      let transport = await remote.facts.transport
      #expect(transport == (SSHLibrary.hasModernAlgorithms ? "libssh2" : "ssh"))
      await remote.close()
      expectNothingLeft()
    }
  }

  @Test("An Ed25519 key that the server refuses is not offered a second time by another program")
  func refusedOnce() async throws {
    try await Harness.with { harness in
      let key = try await harness.server.makeKey("stranger")
      #expect(KeyKind(file: key) == .plain)
      let error = await failure { try await automatic(harness, credentials: [.keyFile(key)]).connect() }
      #expect(error?.code == .authenticationFailed)
      #expect(harness.server.failedCount == 1)
    }
  }

  @Test("A server with an RSA host key only is reached")
  func rsaHost() async throws {
    let path = directory.file("host_rsa")
    _ = try await ManagedProcess.run(["/usr/bin/ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", path])
    try await Harness.with(options: ["HostKey \(path)", "HostKeyAlgorithms rsa-sha2-512,rsa-sha2-256"]) { harness in
      let known = try knownHosts(harness, key: path)
      let policy = HostKeyPolicy(mode: .strict, knownHosts: [known], pin: nil)
      let remote = try await automatic(harness, policy: policy).connect()
      try await use(remote)
      let facts = await remote.facts
      if !SSHLibrary.hasModernAlgorithms { #expect(facts.transport == "ssh") }
      #expect(facts.hostKeyType == "rsa-sha2-512")
      await remote.close()
    }
  }

  @Test("A user certificate logs in where the key alone is unknown")
  func certificate() async throws {
    let authority = directory.file("ca")
    _ = try await ManagedProcess.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", authority])
    try await Harness.with(options: ["TrustedUserCAKeys \(authority).pub"]) { harness in
      let key = try await harness.server.makeKey("certified")
      _ = try await ManagedProcess.run([
        "/usr/bin/ssh-keygen", "-q", "-s", authority, "-I", "test", "-n", harness.server.user, key + ".pub",
      ])
      // Elsewhere, so that only the option leads to it.
      let certificate = directory.file("a certificate 100%.pub")
      try FileManager.default.moveItem(atPath: key + "-cert.pub", toPath: certificate)
      let without = await failure { try await system(harness, credentials: [.keyFile(key)]).connect() }
      #expect(without?.code == .authenticationFailed)
      #expect(without?.phase == .authenticate)
      expectNothingLeft()
      try await connected(system(harness, credentials: [.keyFile(key)], certificate: certificate)) { connection in
        try await use(connection)
        let facts = await connection.facts
        #expect(facts.authentication.hasSuffix(", certificate)"))
      }
    }
  }

  @Test("A ProxyCommand of the target's own ssh_config is used, and ends with the connection")
  func proxyCommand() async throws {
    try await Harness.with { harness in
      let relay = """
        import os, select, socket, sys
        s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        while True:
            for r in select.select([0, s], [], [])[0]:
                data = os.read(0, 65536) if r == 0 else s.recv(65536)
                if not data: sys.exit()
                (s.sendall if r == 0 else lambda d: os.write(1, d))(data)
        """
      let program = try directory.write("syscrap-ssh-relay.py", relay)
      let file = try directory.write(
        "config", "Host 127.0.0.1\n  ProxyCommand /usr/bin/python3 \(program) \(harness.server.port)\n")
      defer { try? FileManager.default.removeItem(atPath: program) }
      // Port 9 leads nowhere: only the proxy knows the way. The key is known by the document's own host and port.
      let known = try directory.write(
        "known", harness.server.knownHostsLine.replacingOccurrences(of: ":\(harness.server.port) ", with: ":9 ") + "\n")
      let policy = HostKeyPolicy(mode: .strict, knownHosts: [known], pin: nil)
      let connection = try await system(harness, file: file, policy: policy, port: 9).connection()
      try await use(connection)
      await connection.close()
      #expect(clients() == [])
    }
  }

  // MARK: host keys

  @Test("An unknown host key is refused under strict, with its fingerprint, and nothing is sent to log in")
  func unknownKey() async throws {
    try await Harness.with { harness in
      let policy = HostKeyPolicy(mode: .strict, knownHosts: [directory.file("none")], pin: nil, target: "box")
      let error = await failure { try await system(harness, policy: policy).connect() }
      #expect(error?.code == .hostKeyUnknown)
      #expect(error?.phase == .host_key)
      let shown = try fingerprint(harness)
      #expect(error?.message.contains(shown) == true)
      #expect(error?.message.contains("syscrap trust accept box") == true)
      expectNoLogin(harness)
      expectNothingLeft()
    }
  }

  @Test("A changed host key is refused before anything is sent to log in, also under accept-new")
  func changedKey() async throws {
    try await Harness.with { harness in
      let other = try await harness.server.makeKey("other_host")
      for mode in [HostKeyPolicy.Mode.strict, .accept_new] {
        let known = try knownHosts(harness, key: other)
        let error = await failure {
          try await system(harness, policy: HostKeyPolicy(mode: mode, knownHosts: [known], pin: nil)).connect()
        }
        #expect(error?.code == .hostKeyChanged)
        #expect(error?.phase == .host_key)
        let lines = try String(contentsOfFile: known, encoding: .utf8).split(separator: "\n")
        #expect(lines.count == 1)
      }
      expectNoLogin(harness)
      expectNothingLeft()
    }
  }

  @Test("A revoked host key is refused although another line trusts it")
  func revokedKey() async throws {
    try await Harness.with { harness in
      let line = harness.server.knownHostsLine
      let known = try directory.write(
        "known", "\(line)\n@revoked * \(line.split(separator: " ").dropFirst().joined(separator: " "))\n")
      let error = await failure {
        try await system(harness, policy: HostKeyPolicy(mode: .accept_new, knownHosts: [known], pin: nil)).connect()
      }
      #expect(error?.code == .hostKeyRevoked)
      expectNoLogin(harness)
    }
  }

  @Test("Under accept-new the first key is stored in our own file, and a second connection finds it there")
  func acceptNew() async throws {
    try await Harness.with { harness in
      let own = directory.file("own")
      let policy = HostKeyPolicy(mode: .accept_new, knownHosts: [directory.file("none"), own], pin: nil)
      for _ in 0..<2 {
        try await connected(system(harness, policy: policy)) { try await use($0) }
        let lines = try String(contentsOfFile: own, encoding: .utf8).split(separator: "\n")
        #expect(lines.count == 1)
        #expect(lines.first?.hasPrefix(harness.server.knownHostsLine) == true)
      }
      #expect(!FileManager.default.fileExists(atPath: directory.file("none")))
    }
  }

  @Test("Only the pinned key is trusted, whatever known_hosts says")
  func pin() async throws {
    try await Harness.with { harness in
      let right = try fingerprint(harness)
      let policy = HostKeyPolicy(mode: .strict, knownHosts: [directory.file("none")], pin: right)
      try await connected(system(harness, policy: policy)) { try await use($0) }
      #expect(!FileManager.default.fileExists(atPath: directory.file("none")))
      let before = harness.server.acceptedCount
      let wrong = HostKeyPolicy(
        mode: .accept_new, knownHosts: [harness.knownHosts], pin: SampleKeys.ed25519(9).fingerprint)
      let error = await failure { try await system(harness, policy: wrong).connect() }
      #expect(error?.code == .hostKeyChanged)
      #expect(harness.server.acceptedCount == before)
      #expect(harness.server.failedCount == 0)
      expectNothingLeft()
    }
  }

  @Test("The key of a host that libssh2 cannot speak to can be looked at, and nothing is sent to log in")
  func look() async throws {
    try await Harness.with(options: ["Ciphers chacha20-poly1305@openssh.com"]) { harness in
      let (group, metrics, client, logger) = (harness.group, harness.metrics, client, logger)
      let store = TrustStore(
        knownHosts: [harness.knownHosts],
        scan: TrustStore.scan(knownHosts: [harness.knownHosts]) { policy, host, port in
          AutomaticConnector(
            first: SSHConnector(
              host: host, port: port, user: "nobody", credentials: [], hostKeys: policy, group: group,
              metrics: metrics, logger: logger),
            second: SystemSSHConnector(
              host: host, port: port, user: "nobody", credentials: [], hostKeys: policy, client: client, group: group,
              metrics: metrics, logger: logger), logger: logger)
        })
      let (key, verdict) = try await store.scan(host: "127.0.0.1", port: Int(harness.server.port))
      let shown = try fingerprint(harness)
      #expect(key.fingerprint == shown)
      guard case .trusted = verdict else {
        Issue.record("\(verdict)")
        return
      }
      expectNoLogin(harness)
      expectNothingLeft()
    }
  }

  // MARK: ends

  @Test("A master that is killed ends the connection with its reason, and what is in flight fails")
  func masterKilled() async throws {
    try await Harness.with { harness in
      let connection = try await system(harness).connection()
      async let running = failure { try await connection.run(Command(["sleep", "60"])) }
      async let end = connection.ended()
      _ = try await connection.run(Command(["true"]))
      let master = try #require(await connection.masterIdentifier)
      #expect(clients() == [master])
      kill(master, SIGKILL)
      #expect(await end?.code == .lost)
      #expect(await running?.phase == .connection)
      let late = await failure { try await connection.run(Command(["true"])) }
      #expect(late?.code == .lost)
      #expect(late?.phase == .connection)
      let asked = await failure { try await connection.ask([.read(path: "/proc/uptime")]) }
      #expect(asked?.phase == .connection)
      await connection.close()
      expectNothingLeft()
      #expect(harness.metrics.openConnections == 0)
    }
  }

  @Test("A session that the server ends ends the connection")
  func sessionKilled() async throws {
    try await Harness.with { harness in
      let connection = try await system(harness).connection()
      async let end = connection.ended()
      #expect(await harness.server.killSessions() > 0)
      let reason = await end
      #expect(reason?.code == .lost)
      #expect(reason?.phase == .connection)
      await connection.close()
      expectNothingLeft()
    }
  }

  @Test("An attempt that is given up leaves no process, whatever stage it is in")
  func cancelled() async throws {
    let stall = try await StallServer(.silent)
    try await Harness.with { harness in
      let connector = system(harness, port: stall.port)
      let task = Task { await failure { try await connector.connect() } }
      while clients().isEmpty { try await Task.sleep(for: .milliseconds(5)) }
      task.cancel()
      #expect(await task.value?.code == .closed)
      expectNothingLeft()
      for delay in [0, 20, 60, 100, 150] {
        let task = Task { try? await system(harness).connection() }
        try await Task.sleep(for: .milliseconds(delay))
        task.cancel()
        await task.value?.close()
        expectNothingLeft()
      }
    }
    await stall.process.stop()
  }

  @Test("Our loops' end ends the process")
  func groupStops() async throws {
    try await Harness.with { harness in
      let connection = try await system(harness).connection()
      async let running = failure { try await connection.run(Command(["sleep", "60"])) }
      _ = try await connection.run(Command(["true"]))
      await harness.group.stop()
      #expect(await running != nil)
      expectNothingLeft()
    }
  }

  @Test(
    "Servers that stall or turn us away end in the phase's own error",
    arguments: [
      (StallServer.Mode.silent, RemoteError.Phase.banner, RemoteError.Code.timedOut),
      (.banner, .key_exchange, .timedOut), (.maxstartups, .banner, .refusedByPolicy),
      (.penalty, .banner, .refusedByPolicy), (.closes, .banner, .refusedByPolicy),
    ])
  func stalls(mode: StallServer.Mode, phase: RemoteError.Phase, code: RemoteError.Code) async throws {
    var configuration = SSHConfiguration()
    configuration.handshake = .milliseconds(900)
    let stall = try await StallServer(mode)
    try await Harness.with { [configuration] harness in
      let error = await failure { try await system(harness, port: stall.port, configuration: configuration).connect() }
      #expect(error?.phase == phase)
      #expect(error?.code == code, "\(String(describing: error))")
      expectNothingLeft()
    }
    await stall.process.stop()
  }

  @Test(
    "A closed port, a missing key, a refused key, a password and a server without a common algorithm are told apart")
  func reasons() async throws {
    try await Harness.with(options: ["Ciphers aes256-cbc"]) { harness in
      let error = await failure { try await system(harness).connect() }
      #expect(error?.code == .noCommonAlgorithm, "\(String(describing: error))")
      #expect(error?.phase == .key_exchange)
    }
    try await Harness.with { harness in
      let stranger = try await harness.server.makeKey("stranger")
      let refused = await failure { try await system(harness, credentials: [.keyFile(stranger)]).connect() }
      #expect(refused?.code == .authenticationFailed)
      #expect(refused?.phase == .authenticate)
      let missing = await failure { try await system(harness, credentials: [.keyFile("/nowhere/key")]).connect() }
      #expect(missing?.code == .noCredential, "\(String(describing: missing))")
      let password = await failure { try await system(harness, credentials: [.password { [1] }]).connect() }
      #expect(password?.code == .noCredential)
      #expect(password?.message.contains("cannot be given a password") == true)
      await harness.server.stop()
      let closed = await failure { try await system(harness).connect() }
      #expect(closed?.code == .unreachable)
      #expect(closed?.phase == .connect)
      expectNothingLeft()
    }
  }

  // MARK: commands

  @Test("A command that does not end in time fails alone")
  func deadline() async throws {
    try await Harness.with { harness in
      try await connected(system(harness)) { connection in
        let slow = Command(["sleep", "60"], deadline: .milliseconds(300))
        async let late = failure { try await connection.run(slow) }
        let quick = try await connection.run(Command(["echo", "yes"]))
        #expect(quick.output == Array("yes\n".utf8))
        #expect(await late?.code == .timedOut)
        #expect(await late?.phase == .command)
        #expect(try await connection.run(Command(["true"])).status == 0)
      }
    }
  }

  @Test("Output is kept up to its limit and the command is given up")
  func limits() async throws {
    try await Harness.with { harness in
      try await connected(system(harness)) { connection in
        let endless = try await connection.run(Command(["yes"]))
        #expect(endless.isTruncated)
        #expect(endless.status == nil)
        #expect(endless.output.count == RemoteLimits.output)
        let exact = try await connection.run(Command(["head", "-c", "1048576", "/dev/zero"]))
        #expect(!exact.isTruncated)
        #expect(exact.output.count == RemoteLimits.output)
        let noisy = try await connection.run(Command(["sh", "-c", "yes >&2"]))
        #expect(noisy.isTruncated)
        #expect(noisy.errors.count == RemoteLimits.errors)
        let input = pattern(700_000)
        let echoed = try await connection.run(Command(["cat"], input: input))
        #expect(echoed.output == input)
        // More than a socket takes at once, and nobody reads it.
        let unread = try await connection.run(Command(["true"], input: pattern(2_000_000)))
        #expect(unread.status == 0)
        let killed = try await connection.run(Command(["sh", "-c", "echo out; kill -9 $$"]))
        #expect(killed.status == nil)
        #expect(killed.output == Array("out\n".utf8))
        #expect(try await connection.run(Command(["sh", "-c", "exit 255"])).status == 255)
        let long = try await connection.run(Command(["printf", "%s", String(repeating: "x", count: 100_000)]))
        #expect(long.output.count == 100_000)
      }
    }
  }

  @Test("A server that allows one or two sessions serves everything that is asked at once", arguments: [1, 2])
  func fewSessions(count: Int) async throws {
    try await Harness.with(options: ["MaxSessions \(count)"]) { harness in
      try await connected(system(harness, channels: 4)) { connection in
        let outputs = try await withThrowingTaskGroup(of: [UInt8].self) { group in
          for index in 0..<12 {
            group.addTask { try await connection.run(Command(["sh", "-c", "sleep 0.05; echo \(index)"])).output }
          }
          return try await group.reduce(into: Set<[UInt8]>()) { $0.insert($1) }
        }
        #expect(outputs == Set((0..<12).map { Array("\($0)\n".utf8) }))
        try await use(connection)
      }
      #expect(harness.server.acceptedCount == 1)
    }
  }

  @Test("A command that is cancelled frees its place, and one whose place the server keeps ends the connection")
  func cancelledCommand() async throws {
    var configuration = SSHConfiguration()
    configuration.channelClose = .milliseconds(400)
    try await Harness.with(options: ["MaxSessions 1"]) { [configuration] harness in
      try await connected(system(harness, channels: 1, configuration: configuration)) { connection in
        let task = Task {
          await failure { try await connection.run(Command(["sh", "-c", "while echo x; do sleep 0.01; done"])) }
        }
        while harness.metrics.openChannels == 0 { try await Task.sleep(for: .milliseconds(5)) }
        task.cancel()
        #expect(await task.value?.code == .closed)
        #expect(try await connection.run(Command(["true"])).status == 0)
        async let end = connection.ended()
        let deaf = await failure { try await connection.run(Command(["sleep", "60"], deadline: .milliseconds(200))) }
        #expect(deaf?.code == .timedOut)
        #expect(await end?.code == .lost)
      }
    }
  }

  @Test("Nothing of ours is inherited: neither environment nor descriptors")
  func environment() async throws {
    try await Harness.with { harness in
      try await connected(system(harness)) { connection in
        let master = try #require(await connection.masterIdentifier)
        let bytes = try #require(FileManager.default.contents(atPath: "/proc/\(master)/environ"))
        let names = bytes.split(separator: 0).map { String(decoding: $0.prefix { $0 != 61 }, as: UTF8.self) }
        #expect(names.sorted() == ["HOME", "LANG", "LC_ALL", "PATH"])
        let group = getpgid(master)
        #expect(group == master)
        let descriptors = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(master)/fd")
        // stdin, stdout, stderr and copies of them, the connection, the master's socket.
        #expect(descriptors.count <= 9, "\(descriptors)")
      }
    }
  }

  // MARK: helpers

  private func expectNoLogin(_ harness: Harness) {
    #expect(harness.server.acceptedCount == 0)
    #expect(harness.server.failedCount == 0)
    #expect(!harness.server.log.all.contains { $0.contains("Accepted key") || $0.contains("Postponed") })
  }

  private func knownHosts(_ harness: Harness, key: String) throws -> String {
    let text = try String(contentsOfFile: key + ".pub", encoding: .utf8).split(separator: " ").prefix(2)
    return try directory.write("known", "[127.0.0.1]:\(harness.server.port) \(text.joined(separator: " "))\n")
  }

  private func fingerprint(_ harness: Harness) throws -> String {
    let words = harness.server.knownHostsLine.split(separator: " ")
    let blob = try #require(Base64.decode(words[2].utf8))
    return try #require(HostKey(blob: blob)).fingerprint
  }
}

/// What needs no server.
@Suite("The system's ssh, its parts")
struct SystemClientPartsTests {
  private let endpoint = Connection.Endpoint(host: "web", port: 22, user: "monitor")

  private func log(_ text: String, nonce: String = "key-n") -> (log: MasterLog, events: [MasterLog.Event]) {
    var log = MasterLog(nonce: nonce)
    let events = Array(text.utf8).withUnsafeBytes { log.add($0) }
    return (log, events)
  }

  @Test("Paths are quoted, and those that the client would expand or cannot be given are refused")
  func paths() {
    #expect(MasterCall.quoted("/a b/100%") == "\"/a b/100%%\"")
    for path in ["relative", "/a\"b", "/a\\b", "/${HOME}/x", "/a\nb"] { #expect(MasterCall.quoted(path) == nil) }
  }

  @Test(
    "Names that are options, users or paths are no hosts", arguments: ["-oProxyCommand=x", "a@b", "ssh://a", "", "a b"])
  func hosts(name: String) { #expect(!MasterCall.checked(name)) }

  @Test("The command line is strict, whatever a file says, and never holds a password or an inherited agent")
  func arguments() throws {
    let directory = try TemporaryDirectory("call")
    let folder = try ControlFolder(in: [directory.path], lines: ["web ssh-ed25519 AAAA"])
    #expect(try String(contentsOfFile: folder.knownHosts, encoding: .utf8) == "web ssh-ed25519 AAAA\n")
    let attributes = try FileManager.default.attributesOfItem(atPath: folder.path)
    #expect(attributes[.posixPermissions] as? Int == 0o700)
    for file in [nil, "/etc/ssh/ssh_config"] {
      let call = MasterCall(
        client: SystemClient(program: "/usr/bin/ssh"), program: "/usr/bin/ssh", endpoint: endpoint, keys: ["\"/k\""],
        agent: nil, certificate: nil, file: file, folder: folder, nonce: "key-n", connect: 10, alive: 15, keyTypes: [])
      #expect(call.arguments.first == "/usr/bin/ssh")
      #expect(call.arguments.suffix(2) == ["--", "web"])
      #expect(call.environment["SSH_AUTH_SOCK"] == nil)
      for option in [
        "StrictHostKeyChecking=yes", "GlobalKnownHostsFile=/dev/null", "UserKnownHostsFile=\(folder.knownHosts)",
        "NoHostAuthenticationForLocalhost=no", "BatchMode=yes", "ForwardAgent=no", "PermitLocalCommand=no",
      ] { #expect(call.arguments.contains(option)) }
      let at = try #require(call.arguments.firstIndex(of: "-F"))
      #expect(call.arguments[at + 1] == file ?? "none")
    }
    folder.remove()
    #expect(!FileManager.default.fileExists(atPath: folder.path))
    let deep = "/tmp/" + String(repeating: "x", count: 100)
    #expect(throws: RemoteError.self) { try ControlFolder(in: [deep, "relative"], lines: []) }
  }

  @Test("The host's key is taken only from a line that begins with this connection's own mark")
  func keyLine() throws {
    let key = SampleKeys.ed25519(3)
    let line = "HOSTNAME \(key.type) \(key.base64)\n"
    #expect(log("key-n \(line)").events == [.hostKey(key)])
    #expect(log("key-m \(line)").events == [])
    #expect(log("key-n ORDER NONE NONE\nkey-n HOSTNAME x !!\n").events == [])
    var (parsed, _) = log(String(repeating: "x", count: 40_000) + "\n" + String(repeating: "line\n", count: 5000))
    #expect(parsed.tail.utf8.count <= MasterLog.tailLimit)
    #expect(Array("key-n \(line)".utf8).withUnsafeBytes { parsed.add($0) } == [.hostKey(key)])
  }

  static let ends: [(String, RemoteError.Code, RemoteError.Phase)] = [
    ("ssh: connect to host web port 22: Connection refused\n", .unreachable, .connect),
    ("ssh: connect to host web port 22: No route to host\n", .unreachable, .connect),
    ("ssh: connect to host web port 22: Connection timed out\n", .timedOut, .connect),
    ("ssh: Could not resolve hostname web: Name or service not known\n", .unreachable, .resolve),
    (
      "Unable to negotiate with 1.2.3.4 port 22: no matching cipher found. Their offer: aes256-cbc\n",
      .noCommonAlgorithm, .key_exchange
    ),
    ("debug1: kex_exchange_identification: banner line 0: Not allowed at this time\n", .refusedByPolicy, .banner),
    ("debug1: kex_exchange_identification: banner line 0: Exceeded MaxStartups\n", .refusedByPolicy, .banner),
    ("kex_exchange_identification: Connection closed by remote host\n", .refusedByPolicy, .banner),
    ("debug1: Offering public key: /k\nu@web: Permission denied (publickey).\n", .authenticationFailed, .authenticate),
    ("Load key \"/k\": invalid format\nu@web: Permission denied (publickey).\n", .noCredential, .authenticate),
    ("Host key verification failed.\n", .hostKeyUnknown, .host_key),
    ("command-line: line 0: Bad configuration option: knownhostscommand\n", .protocolError, .connect),
    ("Connection closed by 1.2.3.4 port 22\n", .lost, .connect),
    ("", .protocolError, .connect),
  ]

  @Test("The client's last words become the error's code and phase", arguments: ends)
  func reasons(text: String, code: RemoteError.Code, phase: RemoteError.Phase) {
    let error = log(text).log.failure(.connect, endpoint: endpoint, status: 255 << 8)
    #expect(error.code == code)
    #expect(error.phase == phase)
  }

  @Test("Packets of the master are read, and what is none is nonsense")
  func packets() {
    func packet(_ numbers: [UInt32], _ rest: [UInt8] = []) -> ArraySlice<UInt8> {
      (numbers.flatMap { number in [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: number >> UInt32($0)) } } + rest)[...]
    }
    #expect(MuxSession.read(packet([1, 4])) == .hello)
    #expect(MuxSession.read(packet([1, 3])) == .nonsense)
    #expect(MuxSession.read(packet([0x8000_0006, 1, 2])) == .opened)
    #expect(MuxSession.read(packet([0x8000_0004, 2, 255])) == .exited(255))
    #expect(MuxSession.read(packet([0x8000_0004, 2])) == .nonsense)
    #expect(MuxSession.read(packet([0x8000_0003, 1], WireWriter.string(Array("no".utf8)))) == .refused("no"))
    #expect(MuxSession.read(packet([0x8000_0003, 1, 99])) == .refused("no reason given"))
    #expect(MuxSession.read(packet([7])) == .nonsense)
  }

  @Test("The kind of a private key is seen in its file")
  func kinds() async throws {
    let directory = try TemporaryDirectory("kinds")
    for (kind, expected) in [("rsa", KeyKind.rsa), ("ed25519", .plain), ("ecdsa", .plain)] {
      for format in ["RFC4716", "PEM"] where kind != "ed25519" || format != "PEM" {
        let path = directory.file("\(kind)-\(format)")
        _ = try await ManagedProcess.run([
          "/usr/bin/ssh-keygen", "-q", "-t", kind, "-m", format, "-N", "secret", "-f", path,
        ])
        #expect(KeyKind(file: path) == expected, "\(kind) \(format)")
      }
    }
    #expect(KeyKind(file: "/nowhere") == .missing)
    #expect(KeyKind(text: "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n") == .plain)
    let token =
      Array("openssh-key-v1\0".utf8) + WireWriter.string([]) + WireWriter.string([]) + WireWriter.string([]) + [
        0, 0, 0, 1,
      ]
      + WireWriter.string(WireWriter.string(Array("sk-ssh-ed25519@openssh.com".utf8)))
    let text = "-----BEGIN OPENSSH PRIVATE KEY-----\n\(Data(token).base64EncodedString())\n-----END"
    #expect(KeyKind(text: text) == .hardware)
  }
}
