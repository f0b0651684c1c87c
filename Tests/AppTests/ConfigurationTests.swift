internal import App
internal import Foundation
internal import Model
internal import TestKit
internal import Testing

@Suite struct ConfigurationTests {
  private let folder: TemporaryDirectory
  init() throws { folder = try TemporaryDirectory("configuration") }

  private func load(
    _ yaml: String?, environment: [String: String] = [:], permissions: Int = 0o640
  ) throws -> Reading<Configuration> {
    var sources = Configuration.Sources(environment: environment, currentDirectory: folder.path, home: "/home/me")
    sources.systemPath = folder.file("etc.yaml")
    if let yaml { try folder.write("syscrap.yaml", yaml, permissions: permissions) }
    return Configuration.load(sources)
  }

  private func lines(_ problems: [Problem]) -> [String] {
    problems.map { $0.description.replacing(folder.path + "/", with: "") }
  }

  @Test("Without a file, and with an empty one, everything has its default")
  func defaults() throws {
    var expected = Configuration(base: PathBase(folder: folder.path, home: "/home/me"))
    #expect(try load(nil) == Reading(expected))
    expected.file = folder.file("syscrap.yaml")
    for text in ["", "# nothing\n", "---\n", "ssh:\nhttp:\n"] { #expect(try load(text) == Reading(expected)) }
    #expect(expected.store == .sqlite(path: folder.file("state/syscrap.db")))
    #expect(expected.ssh.user == "root")
    #expect(expected.ssh.identityFiles == ["/home/me/.ssh/id_ed25519"])
    #expect(expected.ssh.knownHosts == ["/home/me/.ssh/known_hosts", folder.file("state/known_hosts")])
    #expect(expected.ssh.hostKeyPolicy == .strict)
    #expect(!expected.ssh.allowsExec)
    #expect(expected.http.listen == .tcp(host: "127.0.0.1", port: 7070))
    #expect(expected.population.step == .seconds(3))
    #expect(expected.notificator.workers == 1)
    #expect(expected.notificator.maxWorkers == 8)
    #expect(expected.alive.file == folder.file("state/alive"))
    #expect(expected.alive.interval == .seconds(5))
    #expect(expected.restart.file == folder.file("state/restart"))
    #expect(expected.log.level == .info)
    #expect(expected.notices.notify == nil)
  }

  @Test("Every key is read, and relative paths start from the file's folder")
  func everything() throws {
    let reading = try load(
      """
      store: sqlite:data/x.db
      state_dir: var
      ssh: {user: monitor, identity_files: [~/k, keys/b], known_hosts: kh, host_key_policy: accept-new, allow_exec: true,
            connect: {handshakes: 2, per_second: 5}}
      self: {notify: [ops, [pager, ops]]}
      http: {listen: '0.0.0.0:80', token_file: token}
      population: {step: 500ms}
      notificator: {workers: 2, max_workers: 4}
      alive: {file: /run/alive, interval: 1m}
      restart: {file: r}
      documents: [documents/, /srv/d.yaml]
      log: {level: debug, format: json}
      """)
    var expected = Configuration(
      base: PathBase(folder: folder.path, home: "/home/me"), stateDirectory: folder.file("var"))
    expected.file = folder.file("syscrap.yaml")
    expected.store = .sqlite(path: folder.file("data/x.db"))
    expected.ssh.identityFiles = ["/home/me/k", folder.file("keys/b")]
    expected.ssh.knownHosts = [folder.file("kh")]
    expected.ssh.user = "monitor"
    expected.ssh.hostKeyPolicy = .acceptNew
    expected.ssh.allowsExec = true
    expected.ssh.connect.handshakes = 2
    expected.ssh.connect.perSecond = 5
    expected.notices.notify = [["ops"], ["pager", "ops"]]
    expected.http.listen = .tcp(host: "0.0.0.0", port: 80)
    expected.http.tokenFile = folder.file("token")
    expected.population.step = .milliseconds(500)
    expected.notificator.workers = 2
    expected.notificator.maxWorkers = 4
    expected.alive.file = "/run/alive"
    expected.alive.interval = .seconds(60)
    expected.restart.file = folder.file("r")
    expected.documents = [folder.file("documents"), "/srv/d.yaml"]
    expected.log.level = .debug
    expected.log.format = .json
    #expect(reading == Reading(expected))
  }

  @Test("What follows state_dir follows it")
  func stateDirectory() throws {
    let value = try #require(try load("state_dir: /var/lib/syscrap\n").value)
    #expect(value.store == .sqlite(path: "/var/lib/syscrap/syscrap.db"))
    #expect(value.ssh.knownHosts == ["/home/me/.ssh/known_hosts", "/var/lib/syscrap/known_hosts"])
    #expect(
      [value.alive.file, value.restart.file, value.tokenPath] == [
        "/var/lib/syscrap/alive", "/var/lib/syscrap/restart", "/var/lib/syscrap/token",
      ])
  }

  @Test("The file is --config's, else $SYSCRAP_CONFIG's, else the folder's, else the system's")
  func lookup() throws {
    for name in ["option", "variable", "syscrap", "etc"] { try folder.write("\(name).yaml", "ssh: {user: \(name)}\n") }
    var sources = Configuration.Sources(
      path: "option.yaml", environment: ["SYSCRAP_CONFIG": "variable.yaml"], currentDirectory: folder.path, home: nil)
    sources.systemPath = folder.file("etc.yaml")
    #expect(Configuration.load(sources).value?.ssh.user == "option")
    sources.path = nil
    #expect(Configuration.load(sources).value?.ssh.user == "variable")
    sources.environment = ["SYSCRAP_CONFIG": ""]
    #expect(Configuration.load(sources).value?.ssh.user == "syscrap")
    try FileManager.default.removeItem(atPath: folder.file("syscrap.yaml"))
    #expect(Configuration.load(sources).value?.ssh.user == "etc")
    sources.path = "nowhere.yaml"
    #expect(lines(Configuration.load(sources).problems) == ["nowhere.yaml: configuration: there is no such file"])
    #expect(Configuration.load(sources).value == nil)
  }

  @Test("Every key can be overridden by the environment; its relative paths start from the current directory")
  func environment() throws {
    let elsewhere = try TemporaryDirectory("elsewhere")
    try elsewhere.write("c.yaml", "store: sqlite:a.db\nssh: {user: file, allow_exec: false}\nlog: {level: error}\n")
    let sources = Configuration.Sources(
      path: elsewhere.file("c.yaml"),
      environment: [
        "SYSCRAP_STATE_DIR": "s", "SYSCRAP_SSH_USER": "env", "SYSCRAP_SSH_IDENTITY_FILES": "~/k, k2",
        "SYSCRAP_SSH_KNOWN_HOSTS": "kh",
        "SYSCRAP_SSH_HOST_KEY_POLICY": "accept-new", "SYSCRAP_SSH_ALLOW_EXEC": "true",
        "SYSCRAP_SSH_CONNECT_TOTAL_PER_SECOND": "7",
        "SYSCRAP_SELF_NOTIFY": "ops,pager",
        "SYSCRAP_HTTP_LISTEN": "[::1]:0", "SYSCRAP_HTTP_TOKEN_FILE": "t", "SYSCRAP_POPULATION_STEP": "1",
        "SYSCRAP_NOTIFICATOR_WORKERS": "3", "SYSCRAP_NOTIFICATOR_MAX_WORKERS": "5", "SYSCRAP_ALIVE_FILE": "al",
        "SYSCRAP_ALIVE_INTERVAL": "2m", "SYSCRAP_RESTART_FILE": "re", "SYSCRAP_DOCUMENTS": "d1,d2",
        "SYSCRAP_LOG_LEVEL": "trace",
        "SYSCRAP_LOG_FORMAT": "json", "SYSCRAP_STORE": "sqlite:b.db", "PATH": "/bin",
      ], currentDirectory: folder.path, home: "/home/me")
    let reading = Configuration.load(sources)
    var expected = Configuration(
      base: PathBase(folder: folder.path, home: "/home/me"), stateDirectory: folder.file("s"))
    expected.file = elsewhere.file("c.yaml")
    expected.store = .sqlite(path: folder.file("b.db"))
    expected.ssh.identityFiles = ["/home/me/k", folder.file("k2")]
    expected.ssh.knownHosts = [folder.file("kh")]
    expected.ssh.user = "env"
    expected.ssh.hostKeyPolicy = .acceptNew
    expected.ssh.allowsExec = true
    expected.ssh.connect.totalPerSecond = 7
    expected.notices.notify = [["ops"], ["pager"]]
    expected.http.listen = .tcp(host: "::1", port: 0)
    expected.http.tokenFile = folder.file("t")
    expected.population.step = .seconds(1)
    expected.notificator.workers = 3
    expected.notificator.maxWorkers = 5
    expected.alive.file = folder.file("al")
    expected.alive.interval = .seconds(120)
    expected.restart.file = folder.file("re")
    expected.documents = [folder.file("d1"), folder.file("d2")]
    expected.log.level = .trace
    expected.log.format = .json
    #expect(reading == Reading(expected))
  }

  @Test("A wrong variable is named, and a slip in one is seen")
  func wrongVariables() throws {
    let reading = try load(
      "ssh: {user: a}\n",
      environment: [
        "SYSCRAP_SSH_ALLOW_EXEC": "yes", "SYSCRAP_SSH_USERR": "x", "SYSCRAP_TEST_ROOT": "/x",
        "SYSCRAP_LOG_LEVEL": "loud",
      ])
    #expect(
      lines(reading.problems) == [
        "syscrap.yaml:1: configuration: nothing reads the environment variable \"SYSCRAP_SSH_USERR\" (did you mean SYSCRAP_SSH_USER?)",
        "$SYSCRAP_SSH_ALLOW_EXEC: configuration: ssh.allow_exec: expected true or false, found the text \"yes\" (write true)",
        "$SYSCRAP_LOG_LEVEL: configuration: log.level: expected one of trace, debug, info, notice, warning, error, critical, found the text \"loud\"",
      ])
    #expect(reading.value == nil)
  }

  @Test("All mistakes are named at once, each with line, key and hint")
  func golden() throws {
    let reading = try load(
      """
      store: mongodb://u:hunter2@db/syscrap
      stat_dir: x
      ssh:
        usr: monitor
        host_key_policy: no
        allow_exec: on
        password: hunter2
      http:
        listen: 0.0.0.0:7070
      population: {step: fast}
      notificator:
        workers: 9
        max_workers: 8
      self:
        notify: [[]]
      log: {level: inf}
      alive: 5
      """)
    #expect(
      lines(reading.problems) == [
        "syscrap.yaml:2: configuration: stat_dir: unknown field \"stat_dir\" (did you mean state_dir?)",
        "syscrap.yaml:1: configuration: store: the URI carries a password (write store_username and store_password_file beside it)",
        "syscrap.yaml:7: configuration: ssh.password: a secret must not stand in a document (write password_file: the secret stays in a file or comes from a command)",
        "syscrap.yaml:4: configuration: ssh.usr: unknown field \"usr\" (did you mean user?)",
        "syscrap.yaml:5: configuration: ssh.host_key_policy: host keys are always checked (write strict or accept-new; a changed key is never accepted)",
        "syscrap.yaml:6: configuration: ssh.allow_exec: expected true or false, found the text \"on\" (write true)",
        "syscrap.yaml:9: configuration: http.listen: 0.0.0.0:7070 can be reached from other machines, and there is no token_file (write http: {token_file: …}, or listen on 127.0.0.1:7070)",
        "syscrap.yaml:15: configuration: self.notify[0]: the list is empty (for example [ops, [pager, pager-backup]])",
        "syscrap.yaml:10: configuration: population.step: expected a duration, found the text \"fast\" (write 500ms, 10s, 5m, 2h or 7d; a plain number is seconds)",
        "syscrap.yaml:13: configuration: notificator.max_workers: 8 is less than workers: 9 (write at least 9)",
        "syscrap.yaml:17: configuration: alive: expected a map, found the number 5",
        "syscrap.yaml:16: configuration: log.level: expected one of trace, debug, info, notice, warning, error, critical, found the text \"inf\" (did you mean info?)",
      ])
    #expect(reading.value == nil)
    #expect(!lines(reading.problems).joined().contains("hunter2"))
  }

  @Test(
    "Addresses to listen on",
    arguments: [
      ("127.0.0.1:7070", .tcp(host: "127.0.0.1", port: 7070)), ("127.1.2.3:1", .tcp(host: "127.1.2.3", port: 1)),
      ("localhost:0", .tcp(host: "localhost", port: 0)), ("'[::1]:80'", .tcp(host: "::1", port: 80)),
      ("/run/s.sock", .unix(path: "/run/s.sock")), ("~/s", .unix(path: "/home/me/s")),
    ] as [(String, Configuration.Listen)])
  func listens(text: String, listen: Configuration.Listen) throws {
    #expect(try load("http: {listen: \(text)}\n").value?.http.listen == listen)
    #expect(listen.isLoopback)
  }

  @Test(
    "Addresses that cannot be listened on, or may not",
    arguments: [
      ("7070", "the address is missing"), ("':7070'", "the address is missing"),
      ("127.0.0.1", "expected an address and a port, found the text \"127.0.0.1\""),
      ("127.0.0.1:70700", "expected an address and a port, found the text \"127.0.0.1:70700\""),
      ("'::1:7070'", "\"::1\" is neither a name nor an IP address"),
      ("http://localhost:7070", "expected an address and a port, found a URI"),
      ("0.0.0.0:7070", "0.0.0.0:7070 can be reached from other machines, and there is no token_file"),
      ("'[::]:7070'", "[::]:7070 can be reached from other machines, and there is no token_file"),
      ("127.evil.example:80", "127.evil.example:80 can be reached from other machines, and there is no token_file"),
      ("/" + String(repeating: "x", count: 110), "a unix socket's path has at most 107 bytes"),
      ("[]", "expected text, found a list"),
    ])
  func refusesListen(text: String, reason: String) throws {
    let reading = try load("http:\n  listen: \(text)\n")
    #expect(reading.problems.map(\.reason) == [reason])
    #expect(reading.problems.map(\.line) == [2])
    #expect(reading.problems.allSatisfy { $0.path == "http.listen" })
    #expect(reading.value == nil)
  }

  @Test(
    "Stores that are none",
    arguments: [
      ("state/x.db", "the store's kind is missing"), ("'sqlite:'", "the store names no file"),
      ("sqlit:x", "unknown kind of store \"sqlit\""),
      ("mongodb://db", "the URI names no database"), ("5", "expected text, found a number"),
    ])
  func stores(text: String, reason: String) throws {
    let reading = try load("store: \(text)\n")
    #expect(reading.problems.map(\.reason) == [reason])
    #expect(reading.value == nil)
  }

  @Test("A file that is no map, holds several documents or is not YAML is refused with its line")
  func shapes() throws {
    #expect(lines(try load("- a\n").problems).count == 1)
    #expect(
      lines(try load("text\n").problems) == [
        "syscrap.yaml:1: configuration: expected a map of keys, found text (write for example ssh: {user: monitor})"
      ])
    #expect(try load("log: {level: info}\n---\nlog: {level: info}\n").value == nil)
    #expect(
      lines(try load("log:\n\tlevel: info\n").problems) == [
        "syscrap.yaml:2: configuration: not valid YAML: found character that cannot start any token while scanning for the next token (indent with spaces, not with tabs)"
      ])
    #expect(try load("log:\n\tlevel: info\n").value == nil)
    #expect(
      lines(try load("log: {level: info}\nlog: {level: info}\n").problems) == [
        "syscrap.yaml:1: configuration: log: the field \"log\" stands twice (keep one of them)"
      ])
    #expect(
      lines(try load("kind: target\ntarget: a\n").problems).first
        == "syscrap.yaml:1: configuration: kind: unknown field \"kind\" (this is a document, not a configuration: apply it with syscrap apply -f)"
    )
  }

  @Test("A configuration that everyone may write is refused; one that its group may write is warned of")
  func permissions() throws {
    #expect(try load("", permissions: 0o646).value == nil)
    #expect(
      lines(try load("", permissions: 0o666).problems)
        == ["syscrap.yaml: configuration: everyone may write the configuration (chmod 640 syscrap.yaml)"])
    let group = try load("", permissions: 0o660)
    #expect(group.problems.map(\.level) == [.warning])
    #expect(group.value != nil)
    #expect(try load("", permissions: 0o600).problems == [])
  }

  @Test("Keys, tokens and the state directory are looked at: writable by others is refused, readable is warned of")
  func secrets() throws {
    try folder.write("good", "x", permissions: 0o600)
    try folder.write("open", "x", permissions: 0o644)
    try folder.write("worse", "x", permissions: 0o666)
    try FileManager.default.createDirectory(atPath: folder.file("state"), withIntermediateDirectories: false)
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: folder.file("state"))
    let refused = try load("ssh:\n  identity_files: [good, open, worse, nowhere]\nhttp: {token_file: nowhere}\n")
    #expect(
      lines(refused.problems) == [
        "syscrap.yaml:2: configuration: ssh.identity_files[2]: others may write \(folder.path)/worse (chmod 600 \(folder.path)/worse)"
          .replacing(folder.path + "/", with: "")
      ])
    #expect(refused.value == nil)
    let yaml = "ssh: {identity_files: [good, open, nowhere]}\nhttp:\n  token_file: nowhere\n"
    #expect(try load(yaml).problems == [])
    let sources = Configuration.Sources(environment: [:], currentDirectory: folder.path, home: nil)
    #expect(
      lines(Configuration.load(sources, warnsOfPermissions: true).problems) == [
        "syscrap.yaml:1: configuration: ssh.identity_files[1]: others may read open (chmod 600 open)",
        "syscrap.yaml:3: configuration: http.token_file: there is no file nowhere, or it cannot be reached (create it with chmod 600)",
        "syscrap.yaml:1: configuration: state_dir: others may look into the state directory (chmod 700 state)",
      ])
    let document = Document(
      kind: .notification_options, id: "ops",
      fields: ["password_file": .string(folder.file("open")), "ca_file": .string(folder.file("open"))])
    #expect(
      FilePermissions.of([document]).map { "\($0.level) \($0.kind) \($0.id) \($0.path)" } == [
        "warning notification_options ops password_file"
      ])
  }

  @Test("Torn and mutated configurations never end the process")
  func mutated() throws {
    let whole = Array(
      "store: sqlite:x\nssh: {user: a, identity_files: [b]}\nhttp: {listen: '127.0.0.1:1'}\nself: {notify: [a, [b]]}\n"
        .utf8)
    var random = SeededNumbers(seed: 7)
    for _ in 0..<150 {
      var bytes = whole
      for _ in 0..<3 {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: .min ... .max, using: &random)
      }
      try Data(bytes).write(to: URL(fileURLWithPath: folder.file("syscrap.yaml")))
      let reading = Configuration.load(.init(environment: [:], currentDirectory: folder.path, home: nil))
      if reading.value == nil { #expect(!reading.problems.isEmpty) }
      #expect(reading.problems.allSatisfy { $0.kind == "configuration" && $0.file != nil })
    }
  }
}
