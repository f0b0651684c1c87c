internal import Foundation
internal import Glibc

/// A real mongod, or a replica set of them, on free ports of 127.0.0.1, with data in a folder of its own.
///
/// The program is named by `SYSCRAP_TEST_MONGOD`, or found in PATH. It ends with its owner, see ``Caretaker``.
package final class MongoServer: @unchecked Sendable {
  // Sendable is true: `processes` is only touched under `lock`; everything else is constant.
  package enum Kind: Sendable, Hashable {
    case standalone
    /// Members of one replica set, 1 or 3.
    case replicaSet(Int)
  }

  package struct User: Sendable {
    package var name: String
    package var password: String
    package init(name: String, password: String) {
      self.name = name
      self.password = password
    }
  }

  package let kind: Kind
  package let ports: [UInt16]
  private let folder: TemporaryDirectory
  /// A shared server lives to the process's end, when no object goes away; its process and data must not outlive it.
  private let caretaker: Caretaker
  private let arguments: [String]
  private let user: User?
  private let certificates: Certificates?
  private let lock = NSLock()
  private var processes: [Int: ManagedProcess] = [:]

  // MARK: Finding it

  /// The program, or nil.
  package static let program: String? = {
    if let named = ProcessInfo.processInfo.environment["SYSCRAP_TEST_MONGOD"], !named.isEmpty {
      return access(named, X_OK) == 0 ? named : nil
    }
    let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
    return path.split(separator: ":").map { "\($0)/mongod" }.first { access($0, X_OK) == 0 }
  }()

  /// Whether tests that need it should run: it is there, or this is CI, where its absence is a failure.
  package static var isExpected: Bool {
    program != nil || ProcessInfo.processInfo.environment["CI"] == "true"
  }

  package static let absence =
    "no mongod; name one in SYSCRAP_TEST_MONGOD or start the tests with Tests/run, which installs one"

  // MARK: Starting it

  /// Starts it and returns when it takes writes.
  ///
  /// - Parameters:
  ///   - user: with one, nobody else gets in; it may do everything.
  ///   - certificates: with them, it speaks TLS only.
  ///   - options: further arguments.
  package static func start(
    _ kind: Kind = .replicaSet(1), user: User? = nil, certificates: Certificates? = nil, options: [String] = []
  ) async throws -> MongoServer {
    guard program != nil else { throw ManagedProcessError(absence) }
    // Found before any child is started: a child that comes to life meanwhile would inherit what tells the search that
    // the Python it tries has ended, and keep it waiting for ever.
    _ = try PythonEnvironment.required()
    let server = try MongoServer(kind, user: user, certificates: certificates, options: options)
    for index in server.ports.indices { try await server.startMember(index) }
    if case .replicaSet = server.kind {
      let members = server.ports.enumerated().map { "{'_id': \($0), 'host': '127.0.0.1:\($1)'}" }
      let configuration = "{'_id': 'test', 'members': [\(members.joined(separator: ", "))]}"
      try await server.python(
        """
        for attempt in range(200):
            try:
                direct().admin.command("replSetInitiate", \(configuration))
                break
            except pymongo.errors.OperationFailure as error:
                if error.code == 23: break
                if attempt == 199: raise
            except pymongo.errors.PyMongoError:
                if attempt == 199: raise
            time.sleep(0.1)
        """, isDirect: true, hasUser: false)
      try await server.awaitPrimary(hasUser: false)
    }
    if let user {
      // By the exception that lets the first user be made from this machine.
      try await server.python(
        """
        client(direct=True if kind == "standalone" else False).admin.command(
            "createUser", \(quoted(user.name)), pwd=\(quoted(user.password)), roles=["root"])
        """, isDirect: true, hasUser: false)
    }
    return server
  }

  private init(_ kind: Kind, user: User?, certificates: Certificates?, options: [String]) throws {
    self.kind = kind
    self.user = user
    self.certificates = certificates
    folder = try TemporaryDirectory("mongo")
    caretaker = try Caretaker(folder: folder.path)
    let count = if case .replicaSet(let count) = kind { count } else { 1 }
    var ports: [UInt16] = []
    while ports.count < count {
      let port = try ManagedProcess.freePort()
      if !ports.contains(port) { ports.append(port) }
    }
    self.ports = ports
    var arguments = [
      "--bind_ip", "127.0.0.1", "--wiredTigerCacheSizeGB", "0.25", "--quiet", "--setParameter",
      "diagnosticDataCollectionEnabled=false", "--setParameter", "enableTestCommands=1",
    ]
    if case .replicaSet = kind { arguments += ["--replSet", "test", "--oplogSize", "64"] }
    if user != nil {
      if case .replicaSet = kind {
        arguments += [
          "--keyFile", try folder.write("key", String(repeating: "syscrapTest", count: 8), permissions: 0o400),
        ]
      } else {
        arguments.append("--auth")
      }
    }
    if let certificates {
      let pair = certificates.server
      let both =
        try String(contentsOfFile: pair.certificate, encoding: .utf8)
        + String(contentsOfFile: pair.key, encoding: .utf8)
      arguments += [
        "--tlsMode", "requireTLS", "--tlsCertificateKeyFile", try folder.write("server.pem", both), "--tlsCAFile",
        certificates.authority, "--tlsAllowConnectionsWithoutCertificates",
      ]
    }
    self.arguments = arguments + options
  }

  private func startMember(_ index: Int) async throws {
    guard let program = Self.program else { throw ManagedProcessError(Self.absence) }
    let data = folder.file("data-\(index)")
    try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: true)
    let process = try ManagedProcess(
      [program, "--dbpath", data, "--port", String(ports[index]), "--logpath", folder.file("log-\(index)")] + arguments
    )
    lock.withLock { processes[index] = process }
    try await process.port(ports[index], within: .seconds(60))
  }

  /// Returns when there is a primary.
  package func awaitPrimary() async throws { try await awaitPrimary(hasUser: user != nil) }

  private func awaitPrimary(hasUser: Bool) async throws {
    try await python(
      """
      deadline = time.monotonic() + 60
      while True:
          hello = None
          for port in ports:
              try:
                  hello = client(direct=True, port=port).admin.command("hello")
              except pymongo.errors.PyMongoError:
                  continue
              if hello.get("isWritablePrimary"): break
          if hello and hello.get("isWritablePrimary"): break
          if time.monotonic() > deadline: raise SystemExit("no primary")
          time.sleep(0.05)
      """, isDirect: true, hasUser: hasUser)
  }

  // MARK: Using it

  /// The address of a database, with `options` such as `serverSelectionTimeoutMS=500`.
  package func uri(database: String, options: [String] = []) -> String {
    let hosts = ports.map { "127.0.0.1:\($0)" }.joined(separator: ",")
    var all = options
    if case .replicaSet = kind { all.append("replicaSet=test") }
    if user != nil { all.append("authSource=admin") }
    if let certificates { all += ["tls=true", "tlsCAFile=\(certificates.authority)"] }
    return "mongodb://\(hosts)/\(database)" + (all.isEmpty ? "" : "?" + all.joined(separator: "&"))
  }

  /// Runs a script in Python and returns what it prints. In it: `client()` (a MongoClient), `direct()` (of the first
  /// member alone), `db` after `database` was given, `pymongo`, `bson`, `datetime`, `json`, `time`.
  @discardableResult
  package func python(
    _ script: String, database: String? = nil, within limit: Duration = .seconds(90)
  ) async throws -> [String] {
    try await python(script, database: database, isDirect: false, hasUser: user != nil, within: limit)
  }

  @discardableResult
  private func python(
    _ script: String, database: String? = nil, isDirect: Bool, hasUser: Bool, within limit: Duration = .seconds(90)
  ) async throws -> [String] {
    let kindName = if case .standalone = kind { "standalone" } else { "set" }
    var options = "serverSelectionTimeoutMS=10000, connectTimeoutMS=5000, socketTimeoutMS=30000"
    if let certificates { options += ", tls=True, tlsCAFile=\(Self.quoted(certificates.authority))" }
    if hasUser, let user {
      options += ", username=\(Self.quoted(user.name)), password=\(Self.quoted(user.password))"
    }
    let prelude = """
      import pymongo, bson, datetime, json, time, sys
      from bson import ObjectId, Int64
      kind = "\(kindName)"
      ports = \(ports)
      def client(direct=False, port=None, **more):
          if direct: return pymongo.MongoClient("127.0.0.1", port or ports[0], directConnection=True, \(options), **more)
          if kind == "standalone": return pymongo.MongoClient("127.0.0.1", ports[0], \(options), **more)
          return pymongo.MongoClient([f"127.0.0.1:{p}" for p in ports], replicaSet="test", \(options), **more)
      def direct(port=None): return client(direct=True, port=port)
      \(database.map { "db = client()[\(Self.quoted($0))]" } ?? "")

      """
    let file = try TemporaryDirectory("script")
    // Through a file: a password or a long script does not belong into the arguments.
    let path = try file.write("script.py", prelude + script + "\n")
    return try await ManagedProcess.run([PythonEnvironment.required(), path], within: limit)
  }

  package static func quoted(_ text: String) -> String {
    "'" + text.replacingOccurrences(of: "\\", with: "\\\\").replacingOccurrences(of: "'", with: "\\'") + "'"
  }

  /// A name for a database of its own.
  package static func freshDatabase(_ purpose: String = "t") -> String {
    "\(purpose)_" + UUID().uuidString.lowercased().prefix(18).replacingOccurrences(of: "-", with: "")
  }

  // MARK: Disturbing it

  private func member(_ index: Int) -> ManagedProcess? { lock.withLock { processes[index] } }

  /// Ends a member as the system does at shutdown.
  package func stop(member index: Int = 0) async {
    member(index)?.signal(SIGCONT)
    await member(index)?.stop(grace: .seconds(20))
  }

  /// kill -9.
  package func kill(member index: Int = 0) async {
    let process = member(index)
    process?.signal(SIGKILL)
    _ = try? await process?.exit(within: .seconds(10))
  }

  /// Starts a member that ended, on the same port and data.
  package func restart(member index: Int = 0) async throws {
    try await startMember(index)
  }

  package func pause(member index: Int = 0) { member(index)?.signal(SIGSTOP) }
  package func resume(member index: Int = 0) { member(index)?.signal(SIGCONT) }

  /// Ends all of it.
  package func end() async {
    for index in ports.indices {
      member(index)?.signal(SIGCONT)
      await kill(member: index)
    }
  }

  /// Which member is the primary.
  package func primary() async throws -> Int {
    let lines = try await python(
      """
      for index, port in enumerate(ports):
          try:
              if direct(port).admin.command("hello").get("isWritablePrimary"): print(index)
          except pymongo.errors.PyMongoError: pass
      """)
    guard let line = lines.first, let index = Int(line) else { throw ManagedProcessError("there is no primary") }
    return index
  }

  // MARK: One for all tests of a process

  private static let shared = SharedServers()

  /// A server that all tests of this process share, each with a database of its own.
  package static func shared(_ kind: Kind = .replicaSet(1)) async throws -> MongoServer {
    try await shared.server(kind)
  }
}

private actor SharedServers {
  private var starting: [MongoServer.Kind: Task<MongoServer, any Error>] = [:]

  func server(_ kind: MongoServer.Kind) async throws -> MongoServer {
    // Owned by this actor to the process's end: whoever asks waits for the one that starts.
    let task =
      starting[kind]
      ?? Task { try await MongoServer.start(kind) }
    starting[kind] = task
    return try await task.value
  }
}
