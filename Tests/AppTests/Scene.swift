internal import Foundation
internal import Glibc
internal import Model
internal import Synchronization
internal import TestKit
internal import Testing

/// What the tests of the whole program have in common: they run one after another, because each of them measures a
/// service, an sshd and a mail server at work.
@Suite(.serialized) struct EndToEnd {}

/// A target (a real sshd), a mail server (STARTTLS and AUTH required), and the program with a configuration for both.
struct Scene: Sendable {
  let ssh: SSHServer
  let mail: SMTPServer
  let service: SyscrapProcess
  let authority: String

  static let account = "monitor"
  static let password = "correct horse battery staple"

  /// Whether all servers are there; on CI a missing one is a failure.
  static let isPossible = SSHServer.isAvailable && PythonEnvironment.isExpected
  static let absence: Comment = "needs sshd, and python3 with aiosmtpd and cryptography"

  /// Makes everything, hands it to `body`, and stops it, whatever happens. The service is not started yet.
  ///
  /// - Parameters:
  ///   - ssh: further lines of the configuration's `ssh`.
  ///   - configuration: further lines of the configuration.
  ///   - sshd: further lines of the server's own configuration.
  static func with<Result: Sendable>(
    ssh: String = "", configuration: String = "", sshd: [String] = [], mail: SMTPServer.Configuration? = nil,
    _ body: @Sendable (Scene) async throws -> Result
  ) async throws -> Result {
    let authority = try await certificates.value.authority
    let server = try await SSHServer.start(options: sshd)
    let usual = try await Self.relay()
    let relay = try await SMTPServer.start(mail ?? usual)
    let service = try SyscrapProcess(try await SyscrapProcess.ssh(to: server, more: ssh) + "\n" + configuration)
    try service.directory.write("password", password + "\n")
    let scene = Scene(ssh: server, mail: relay, service: service, authority: authority)
    func end() async {
      await service.stop()
      await relay.stop()
      await server.stop()
    }
    do {
      let result = try await body(scene)
      await end()
      return result
    } catch {
      print("the service's last lines:\n" + service.log.all.suffix(40).joined(separator: "\n"))
      await end()
      throw error
    }
  }

  /// Made once for all tests, and taken away at the end of the process: nothing else outlives them.
  static let certificates = Task {
    let made = try await Certificates.make()
    folder.withLock { $0 = (made.authority as NSString).deletingLastPathComponent }
    atexit { Scene.folder.withLock { try? FileManager.default.removeItem(atPath: $0) } }
    return made
  }
  private static let folder = Mutex("")

  /// A mail server's behaviour, with an account and what `change` makes of it.
  static func relay(
    _ change: (inout SMTPServer.Configuration) -> Void = { _ in }
  ) async throws -> SMTPServer.Configuration {
    var relay = SMTPServer.Configuration(certificates: try await certificates.value.server)
    relay.accounts = [account: password]
    change(&relay)
    return relay
  }

  // MARK: Documents

  /// However busy the machine of the tests is, it does not count as loaded unless `more` has a budget of its own.
  func target(_ name: String = "box", port: UInt16? = nil, more: String = "") -> String {
    let more =
      more.contains("touch:") ? more : [more, "touch: {load: 100000}"].filter { !$0.isEmpty }.joined(separator: ", ")
    return "{kind: target, target: \(name), host: 127.0.0.1, port: \(port ?? ssh.port), \(more)}"
  }

  func email(_ id: String = "ops", to: String = "ops@example.org", port: UInt16? = nil, more: String = "") -> String {
    """
    {kind: notification_options, _id: \(id), target: box, type: email, to: [\(to)], from: syscrap@example.org,
     relay: 'smtp://127.0.0.1:\(port ?? mail.port)', ca_file: \(authority), username: \(Self.account),
     password_file: \(service.directory.file("password"))\(more.isEmpty ? "" : ", \(more)")}
    """
  }

  static func disk(max: Int, more: String = "notify: [ops]") -> String {
    """
    {kind: reaction_target, _id: disk-full, reaction: Range, target: box, severity: critical, \(more),
     runbook: 'https://example.org/runbooks/disk', metrics: {Vitals.Disk: {max: \(max), where: {mount: /}}}}
    """
  }

  static let vitals =
    "{kind: aggregation_options, _id: generic, target: generic, metrics: {Vitals.RAM: {interval: 1s}, Vitals.Disk: {interval: 5s}}}"

  /// Applies documents by the command, as a person does, and expects it to succeed.
  func apply(_ documents: String..., sourceLocation: SourceLocation = #_sourceLocation) async throws {
    let done = try await service.run(["apply", "-f", "-"], input: documents.joined(separator: "\n---\n") + "\n")
    #expect(done.status == 0, "\(done.text)\(done.errorText)", sourceLocation: sourceLocation)
  }
}

extension SyscrapProcess {
  /// A JSON answer of the API.
  nonisolated func value(_ path: String) async throws -> Value {
    let reply = try await request("GET", "/api/v1/" + path)
    guard reply.status == 200 else { throw ManagedProcessError("\(path): \(reply.status) \(reply.text)") }
    return try Value(json: reply.body)
  }

  nonisolated func values(_ path: String) async throws -> [Value] { try await value(path).elements ?? [] }

  /// Samples of one series that are kept, oldest first.
  nonisolated func history(_ target: String, _ metric: String, type: String = "RT") async throws -> [Value] {
    try await values("history/\(target)/\(metric)?type=\(type)&limit=10000")
  }

  /// One of the service's own figures.
  nonisolated func figure(_ name: String) async throws -> Double? {
    let text = try await request("GET", "/metrics").text
    let line = text.split(separator: "\n").first { $0.hasPrefix(name + " ") }
    return line?.split(separator: " ").last.flatMap { Double($0) }
  }

  /// How long after a document was last applied the newest notification of this kind was delivered, by the service's own
  /// times: how busy the tests are does not matter.
  nonisolated func span(from document: String, to kind: String) async throws -> Duration {
    let line = log.all.last { $0.contains("action=\"apply\"") && $0.contains(document) }
    guard let applied = line?.split(separator: " ").first.flatMap({ Instant.parse(String($0)) }) else {
      throw ManagedProcessError("the log does not tell when \(document) was applied")
    }
    let delivered = try await eventually("the delivery in the ledger") {
      try await values("objects/notifications").first { $0["kind"]?.text == kind }?["delivered_at"]?.instant
    }
    return .seconds(delivered.timeIntervalSince(applied))
  }

  nonisolated func tree() async throws -> Node { Node(try await value("tree")) }
}

/// One part of the supervision tree.
struct Node: Sendable {
  var name: String
  var state: String
  var age: Double
  var restarts: Int64
  var children: [Node]

  init(_ value: Value) {
    name = value["name"]?.text ?? ""
    state = value["state"]?.text ?? ""
    age = value["age_seconds"]?.number ?? -1
    restarts = value["restarts"]?.integer ?? -1
    children = (value["children"]?.elements ?? []).map(Node.init)
  }

  /// This part or one below it, by name.
  func find(_ name: String) -> Node? {
    if self.name == name { return self }
    for child in children { if let found = child.find(name) { return found } }
    return nil
  }

  /// The names right below the part with this name, in alphabetical order; nil when there is none.
  func names(below name: String) -> [String]? { find(name)?.children.map(\.name).sorted() }
}

extension SMTPServer.Message {
  var subject: String { header("Subject") ?? "" }

  /// The body as it was written, the encoding undone.
  var body: String {
    let parts = text.components(separatedBy: "\r\n\r\n")
    let written = parts.dropFirst().joined(separator: "\r\n\r\n").replacingOccurrences(of: "\r\n", with: "\n")
    guard header("Content-Transfer-Encoding")?.lowercased() == "quoted-printable" else { return written }
    var bytes: [UInt8] = []
    var rest = Array(written.replacingOccurrences(of: "=\n", with: "").utf8)[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "="), rest.count >= 2,
        let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
      {
        bytes.append(value)
        rest = rest.dropFirst(2)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The text after a heading such as `Value:` at the start of a line of the body.
  func row(_ name: String) -> String? {
    for line in body.split(separator: "\n") where line.hasPrefix(name + ":") {
      return line.dropFirst(name.count + 1).trimmingCharacters(in: .whitespaces)
    }
    return nil
  }
}

extension SMTPServer {
  /// Waits for the first message whose subject begins so.
  func message(_ prefix: String, within deadline: Duration) async throws -> Message {
    let found = try await event(within: deadline) {
      if case .message(let message) = $0 { message.subject.hasPrefix(prefix) } else { false }
    }
    guard case .message(let message) = found else { throw EventLogError.finished }
    return message
  }
}

/// Seconds with three digits, for figures that tests print.
func seconds(_ duration: Duration) -> String {
  String(format: "%.3f s", Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18)
}
