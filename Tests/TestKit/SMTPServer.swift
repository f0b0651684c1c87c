internal import Foundation

/// A real SMTP server (aiosmtpd) on a free port of 127.0.0.1, in a process of its own, that records what it accepts
/// and misbehaves where it is told to.
package final class SMTPServer: Sendable {
  /// A step of an SMTP session, named after what the server answers in it.
  package enum Phase: String, Sendable, Codable, CaseIterable {
    case greeting, ehlo, starttls, auth, mail, rcpt, data
    /// While the message comes: to hang here is to read nothing for `pause` seconds.
    case message
    /// After the final dot.
    case dot
    case quit
  }

  package enum Security: String, Sendable, Codable {
    /// STARTTLS is offered and required.
    case startTLS = "starttls"
    /// TLS from the first byte.
    case implicit
    /// STARTTLS is not offered.
    case plain
  }

  /// How the server behaves. All of it can be changed while it runs, except `security`, `certificate` and the accounts.
  package struct Configuration: Sendable, Codable {
    package var security = Security.startTLS
    /// PEM files; needed unless `security` is plain.
    package var certificate: String?
    package var key: String?
    /// With accounts, AUTH is offered and required.
    package var accounts: [String: String] = [:]
    /// A line such as "550 5.1.1 No such user" by recipient.
    package var refusedRecipients: [String: String] = [:]
    /// A line to answer with in a phase, instead of what is due.
    package var answers: [String: String] = [:]
    /// So many RCPT are answered with 451 before the server relents.
    package var greylistCount = 0
    /// How long a hang in `message` lasts, in seconds.
    package var pause = 2.0
    /// No answer is given from here on. After the dot, the message is recorded all the same.
    package var hang: Phase?
    /// The connection is closed instead of an answer. After the dot, the message is recorded all the same.
    package var close: Phase?

    package init(security: Security = .startTLS, certificates: Certificates.Pair? = nil) {
      self.security = security
      certificate = certificates?.certificate
      key = certificates?.key
    }
  }

  /// A message that the server accepted.
  package struct Message: Sendable, Equatable {
    package var from: String
    package var recipients: [String]
    /// The bytes between DATA and the final dot, dots unstuffed.
    package var bytes: [UInt8]
    /// The account, where the client authenticated.
    package var user: String?
    package var isEncrypted: Bool
    /// Sessions are numbered from 1 in the order in which they were opened.
    package var session: Int

    package init(
      from: String, recipients: [String], bytes: [UInt8], user: String?, isEncrypted: Bool, session: Int
    ) {
      self.from = from
      self.recipients = recipients
      self.bytes = bytes
      self.user = user
      self.isEncrypted = isEncrypted
      self.session = session
    }

    package var text: String { String(decoding: bytes, as: UTF8.self) }

    /// The value of the first header field with this name, folded lines joined.
    package func header(_ name: String) -> String? {
      let head = text.components(separatedBy: "\r\n\r\n").first ?? ""
      let unfolded = head.replacingOccurrences(of: "\r\n ", with: " ").replacingOccurrences(of: "\r\n\t", with: " ")
      for line in unfolded.components(separatedBy: "\r\n") {
        let parts = line.split(separator: ":", maxSplits: 1)
        if parts.count == 2, parts[0].lowercased() == name.lowercased() {
          return parts[1].trimmingCharacters(in: .whitespaces)
        }
      }
      return nil
    }
  }

  /// Something that happened in the server, in order.
  package enum Event: Sendable, Equatable {
    case opened(session: Int)
    /// A command's name, as the client sent it.
    case command(session: Int, name: String)
    case message(Message)
    /// The server fell silent in this phase.
    case hung(session: Int, Phase)
    /// QUIT arrived, whether or not the connection lived long enough for an answer.
    case goodbye(session: Int)
    case closed(session: Int)
  }

  package let port: UInt16
  private let process: ManagedProcess
  /// How many lines of output `nextMessage` has gone past. Two callers at once share the messages between them.
  private let cursor = Cursor()

  private init(process: ManagedProcess, port: UInt16) {
    self.process = process
    self.port = port
  }

  /// Starts a server and returns when it listens. It ends with `stop()`, or with the last reference to it.
  package static func start(_ configuration: Configuration = .init()) async throws -> SMTPServer {
    // -u: lines are seen when they are printed. The configuration goes through standard input: it holds passwords.
    let process = try ManagedProcess([PythonEnvironment.required(), "-u", "-c", script])
    process.write(line: try encode(configuration))
    let ready = try await process.line(within: .seconds(30)) { $0.hasPrefix("{\"event\": \"ready\"") }
    guard let port = Record(ready)?.port else { throw ManagedProcessError("no port in \(ready)") }
    return SMTPServer(process: process, port: port)
  }

  /// Changes the behaviour for commands that come after this returns.
  package func configure(_ configuration: Configuration) async throws {
    let position = process.lines.all.count
    process.write(line: try Self.encode(configuration))
    _ = try await process.lines.first(from: position) { $0.hasPrefix("{\"event\": \"configured\"") }
  }

  package func stop() async {
    await process.stop()
  }

  /// Waits until at least `count` messages were accepted and returns all.
  package func messages(atLeast count: Int, within deadline: Duration = .seconds(10)) async throws -> [Message] {
    var position = 0
    for _ in 0..<count {
      position =
        try await process.lines.first(from: position, within: deadline) { line in
          if case .message? = Event(line: line) { true } else { false }
        }.position + 1
    }
    return messages()
  }

  /// All messages that were seen so far, in the order they were accepted. One whose acceptance the client has just
  /// heard of may still be on its way from the server's process: see `messages(atLeast:within:)`.
  package func messages() -> [Message] {
    events().compactMap { if case .message(let message) = $0 { message } else { nil } }
  }

  /// All that happened so far.
  package func events() -> [Event] {
    process.lines.all.compactMap(Event.init(line:))
  }

  /// The message after the one that the call before returned, waiting for it at most `deadline`.
  package func nextMessage(within deadline: Duration = .seconds(10)) async throws -> Message {
    let found = try await process.lines.first(from: cursor.position, within: deadline) { line in
      if case .message? = Event(line: line) { true } else { false }
    }
    cursor.advance(to: found.position + 1)
    guard case .message(let message)? = Event(line: found.element) else { throw EventLogError.finished }
    return message
  }

  /// Waits for an event, whether it happened already or not.
  @discardableResult
  package func event(
    within deadline: Duration = .seconds(10), where matches: @escaping @Sendable (Event) -> Bool
  ) async throws -> Event {
    let found = try await process.lines.first(within: deadline) { Event(line: $0).map(matches) ?? false }
    guard let event = Event(line: found.element) else { throw EventLogError.finished }
    return event
  }

  private static func encode(_ configuration: Configuration) throws -> String {
    String(decoding: try JSONEncoder().encode(configuration), as: UTF8.self)
  }

  private final class Cursor: @unchecked Sendable {
    // Sendable is true: the value is only touched under the lock.
    private let lock = NSLock()
    private var value = 0
    var position: Int { lock.withLock { value } }
    func advance(to position: Int) { lock.withLock { value = max(value, position) } }
  }
}

/// One line of the server's output.
private struct Record: Decodable {
  var event: String
  var port: UInt16?
  var session: Int?
  var name: String?
  var from: String?
  var recipients: [String]?
  var data: String?
  var user: String?
  var tls: Bool?

  init?(_ line: String) {
    guard line.hasPrefix("{"), let record = try? JSONDecoder().decode(Record.self, from: Data(line.utf8)) else {
      return nil
    }
    self = record
  }
}

extension SMTPServer.Event {
  /// Nil for a line that is no event, such as a warning of the interpreter.
  fileprivate init?(line: String) {
    guard let record = Record(line), let session = record.session else { return nil }
    switch record.event {
    case "opened": self = .opened(session: session)
    case "closed": self = .closed(session: session)
    case "goodbye": self = .goodbye(session: session)
    case "command": self = .command(session: session, name: record.name ?? "")
    case "hung":
      guard let phase = SMTPServer.Phase(rawValue: record.name ?? "") else { return nil }
      self = .hung(session: session, phase)
    case "message":
      guard let data = Data(base64Encoded: record.data ?? "") else { return nil }
      self = .message(
        .init(
          from: record.from ?? "", recipients: record.recipients ?? [], bytes: Array(data), user: record.user,
          isEncrypted: record.tls ?? false, session: session))
    default: return nil
    }
  }
}
