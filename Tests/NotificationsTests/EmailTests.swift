import Foundation
import Logging
import Model
import Notifications
import Storage
import TestKit
import Testing
import Transfer

/// A queue whose channels are real: libcurl to an SMTP server, time still moved by the test.
@Suite(.enabled(if: PythonEnvironment.isExpected, Comment(rawValue: PythonEnvironment.absence)), .serialized)
final class EmailTests: Sendable {
  private let engine: TransferEngine

  init() throws { engine = try TransferEngine(logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }) }

  private func office(_ channels: [NotificationOptions]) -> (office: Office, worker: QueueWorker) {
    let engine = engine
    let notifier = EmailNotifier(host: "watch-1") { mail throws(TransferError) in try await engine.send(mail) }
    let office = Office(channels, notifiers: Notifiers([notifier]))
    return (office, QueueWorker(office.context, owner: "w"))
  }

  private func channel(
    _ id: String, _ server: SMTPServer, to: Value, scheme: String = "smtp+plain", timeout: Duration? = nil,
    options: [String: Value] = [:]
  ) -> NotificationOptions {
    var channel = Office.channel(
      id, to: to, options: options.merging(["relay": .string("\(scheme)://localhost:\(server.port)")]) { a, _ in a })
    channel.timeout = timeout
    return channel
  }

  /// The first `count` messages of a server; there must not be more of them.
  private func messages(_ count: Int, of server: SMTPServer) async throws -> [SMTPServer.Message] {
    var found: [SMTPServer.Message] = []
    for _ in 0..<count { found.append(try await server.nextMessage()) }
    #expect(server.messages().count == count)
    return found
  }

  /// Delivers all that is due, then moves time to each next try, until `end` seconds after the opening.
  private func work(_ office: Office, _ worker: QueueWorker, until end: Int) async throws {
    while true {
      while try await worker.deliverNext() {}
      guard let next = try await office.storage.nextDue() else { return }
      let due = Duration.milliseconds(Int64((next.timeIntervalSince(Office.opening) * 1000).rounded(.up)))
      guard due <= .seconds(end) else { return }
      office.clock.advance(to: .init(offset: max(due, office.clock.now.offset + .milliseconds(1))))
    }
  }

  @Test("firing and resolved arrive over STARTTLS and AUTH, as one thread, with the headers that machines need")
  func thread() async throws {
    let certificates = try await Certificates.make()
    let folder = try TemporaryDirectory("mail")
    let password = try folder.write("password", "geheim\n")
    var configuration = SMTPServer.Configuration(security: .startTLS, certificates: certificates.server)
    configuration.accounts = ["syscrap": "geheim"]
    let server = try await SMTPServer.start(configuration)
    let ops = channel(
      "ops", server, to: "Operations <ops@example.org>", scheme: "smtp",
      options: ["username": "syscrap", "password_file": .string(password), "ca_file": .string(certificates.authority)])
    let (office, worker) = office([ops])
    try await office.announce(.firing)
    try await work(office, worker, until: 1)
    office.clock.advance(by: .seconds(725))
    try await office.announce(.resolved)
    try await work(office, worker, until: 730)

    let first = try await server.nextMessage()
    let second = try await server.nextMessage()
    #expect(first.from == "syscrap@example.org")
    #expect(first.recipients == ["ops@example.org"])
    #expect(first.user == "syscrap")
    #expect(first.isEncrypted && second.isEncrypted)
    #expect(first.header("Subject") == "[FIRING critical] Vitals.Disk /var on web-1: 93.1 % (limit: at most 90 %)")
    #expect(first.header("To") == "\"Operations\" <ops@example.org>")
    #expect(first.header("Auto-Submitted") == "auto-generated")
    #expect(first.header("Content-Type") == "text/plain; charset=utf-8")
    #expect(first.header("X-Syscrap-Severity") == "critical")
    #expect(first.header("X-Syscrap-Episode") == "e1")
    #expect(first.header("In-Reply-To") == nil)
    let entries = try await office.entries()
    let keys = entries.compactMap(\.key)
    #expect(first.header("Message-ID") == "<\(keys[0])@watch-1>")
    #expect(second.header("Subject") == "[RESOLVED] Vitals.Disk /var on web-1 after 12 min 5 s: back within its limits")
    #expect(second.header("Message-ID") == "<\(keys[1])@watch-1>")
    #expect(second.header("In-Reply-To") == "<\(keys[0])@watch-1>")
    #expect(second.header("References") == "<\(keys[0])@watch-1>")
    #expect(second.header("X-Syscrap-Kind") == "resolved")
    #expect(second.text.contains("RESOLVED: Vitals.Disk /var on web-1 is over after 12 min 5 s.\r\n"))
    #expect(entries.map(\.state) == [.delivered, .delivered])
    #expect(entries.allSatisfy { $0.receipt?.hasPrefix("250 ") == true })
    await server.stop()
  }

  @Test("F21: a relay that greylists is tried by the schedule, and its alternate is used after a minute")
  func greylisting() async throws {
    var configuration = SMTPServer.Configuration(security: .plain)
    configuration.greylistCount = 4
    let grey = try await SMTPServer.start(configuration)
    let open = try await SMTPServer.start(.init(security: .plain))
    let (office, worker) = office([
      channel("ops", grey, to: "a@example.org"), channel("pager", open, to: "p@example.org"),
    ])
    try await office.announce(.firing, notify: [["ops", "pager"]])
    try await work(office, worker, until: 3600)
    let entries = try await office.entries()
    #expect(entries.map(\.option) == ["ops", "pager"])
    #expect(entries.map(\.state) == [.delivered, .delivered])
    let seconds = entries.map { $0.attempts.map { Int($0.at.timeIntervalSince(Office.opening)) } }
    // The server relents before the try at 240 s.
    #expect(seconds == [[0, 5, 20, 60, 240], [60]])
    #expect(entries[0].attempts.map(\.outcome) == ["again", "again", "again", "again", "delivered"])
    #expect(entries[0].attempts[0].answer.contains("451"))
    #expect(try await messages(1, of: grey).map(\.recipients) == [["a@example.org"]])
    #expect(try await messages(1, of: open).map(\.recipients) == [["p@example.org"]])
    await grey.stop()
    await open.stop()
  }

  @Test("F21: two refusals with 451, then it is taken")
  func twoRefusals() async throws {
    var configuration = SMTPServer.Configuration(security: .plain)
    configuration.greylistCount = 2
    let server = try await SMTPServer.start(configuration)
    let (office, worker) = office([channel("ops", server, to: "a@example.org")])
    try await office.announce(.firing)
    try await work(office, worker, until: 3600)
    let entry = try #require(try await office.entries().first)
    #expect(entry.attempts.map { Int($0.at.timeIntervalSince(Office.opening)) } == [0, 5, 20])
    #expect(entry.state == .delivered)
    await server.stop()
  }

  @Test("F22: one recipient of two is refused for good: one dead letter, the other has its message")
  func refused() async throws {
    var configuration = SMTPServer.Configuration(security: .plain)
    configuration.refusedRecipients = ["bad@example.org": "550 5.1.1 No such user"]
    let server = try await SMTPServer.start(configuration)
    let (office, worker) = office([channel("ops", server, to: ["bad@example.org", "good@example.org"])])
    try await office.announce(.firing)
    try await work(office, worker, until: 3600)
    let entries = try await office.entries()
    #expect(
      entries.map { "\($0.recipient ?? "") \($0.state)" } == ["bad@example.org dead", "good@example.org delivered"])
    #expect(entries[0].attempts.count == 1)
    #expect(entries[0].attempts[0].answer.contains("550"))
    #expect(try await messages(1, of: server).map(\.recipients) == [["good@example.org"]])
    #expect(office.notices.all.count == 1)
    await server.stop()
  }

  @Test(
    "F23: wherever the relay falls silent, the try ends with its deadline and the message waits for the next",
    arguments: [
      SMTPServer.Phase.greeting, .ehlo, .mail, .rcpt, .data, .dot,
    ])
  func hang(phase: SMTPServer.Phase) async throws {
    var configuration = SMTPServer.Configuration(security: .plain)
    configuration.hang = phase
    let server = try await SMTPServer.start(configuration)
    let (office, worker) = office([channel("ops", server, to: "a@example.org", timeout: .seconds(1))])
    try await office.announce(.firing)
    #expect(try await worker.deliverNext())
    let entry = try #require(try await office.entries().first)
    #expect(entry.state == .pending)
    #expect(entry.attempts.map(\.outcome) == [phase == .dot ? "unknown" : "again"])
    #expect(entry.next_at == Office.opening.addingTimeInterval(5))
    configuration.hang = nil
    try await server.configure(configuration)
    try await work(office, worker, until: 10)
    #expect(try await office.entries().map(\.state) == [.delivered])
    // After the dot it may have been taken: the second has the same Message-ID, so that mailboxes fold them.
    let ids = try await messages(phase == .dot ? 2 : 1, of: server).map { $0.header("Message-ID") }
    #expect(Set(ids).count == 1)
    await server.stop()
  }

  @Test("a relay that closes after the final dot gets the same message again")
  func closesAfterDot() async throws {
    var configuration = SMTPServer.Configuration(security: .plain)
    configuration.close = .dot
    let server = try await SMTPServer.start(configuration)
    let (office, worker) = office([channel("ops", server, to: "a@example.org")])
    try await office.announce(.firing)
    #expect(try await worker.deliverNext())
    #expect(try await office.entries().first?.attempts.map(\.outcome) == ["unknown"])
    configuration.close = nil
    try await server.configure(configuration)
    try await work(office, worker, until: 10)
    let messages = try await messages(2, of: server)
    #expect(messages.first?.bytes == messages.last?.bytes)
    await server.stop()
  }

  @Test("hostile words from a target change neither the envelope nor the headers")
  func injection() async throws {
    let server = try await SMTPServer.start(.init(security: .plain))
    let (office, worker) = office([channel("ops", server, to: "a@example.org")])
    var episode = Office.episode()
    episode.value = "1\r\n.\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<victim@example.org>\r\nDATA\r\n"
    episode.key.element = "/x\r\nBcc: victim@example.org\r\n\r\n<html>"
    episode.key.target = "web-1\u{0}\u{1b}[31m\r\nTo: victim@example.org"
    try await office.announce(.firing, episode)
    try await work(office, worker, until: 1)
    let message = try await messages(1, of: server)[0]
    #expect(message.recipients == ["a@example.org"])
    #expect(message.from == "syscrap@example.org")
    #expect(message.header("Bcc") == nil)
    #expect(message.header("To") == "a@example.org")
    let mail = try #require(try ParsedMail.read([message.bytes]).first)
    #expect(mail.headers.map { $0[0] }.count == Set(mail.headers.map { $0[0] }).count)
    #expect(mail.defects == 0)
    await server.stop()
  }

  @Test("a message that another program queued is delivered to each of its recipients")
  func bare() async throws {
    let server = try await SMTPServer.start(.init(security: .plain))
    let (office, worker) = office([channel("ops", server, to: "unused@example.org")])
    let entry = QueueEntry(
      id: "by-hand", key: nil, reaction: "backup", target: "db-7", type: "email",
      payload: [
        "from": "Backup <backup@example.org>", "to": ["x@example.org", "y@example.org"], "subject": "Größe",
        "body": "fertig\r\n.\r\n",
      ], created: office.now)
    _ = try await office.storage.record(nil, queueing: [entry])
    try await work(office, worker, until: 1)
    let messages = try await messages(2, of: server)
    #expect(messages.map(\.recipients) == [["x@example.org"], ["y@example.org"]])
    #expect(messages.map(\.from) == ["backup@example.org", "backup@example.org"])
    let mails = try ParsedMail.read(messages.map(\.bytes))
    #expect(mails.map { $0.header("Subject") } == ["Größe", "Größe"])
    #expect(mails.first?.body.replacingOccurrences(of: "\r\n", with: "\n") == "fertig\n.\n")
    await server.stop()
  }

  struct Mistake: Sendable {
    var options: [String: Value]
    var reason: String
  }

  static let mistakes: [Mistake] = [
    Mistake(
      options: ["password_file": "/nowhere/secret", "username": "u"],
      reason: "the secret file /nowhere/secret: No such file"),
    Mistake(options: ["relay": "http://x"], reason: "relay"),
    Mistake(options: ["relay": "smtp://u:p@x"], reason: "relay"),
    Mistake(options: ["from": "nobody"], reason: "is no e-mail address"),
  ]

  @Test("what is missing on our side waits for a person, with a reason that names it", arguments: mistakes)
  func ownMistake(_ mistake: Mistake) async throws {
    let (office, worker) = office([Office.channel("ops", to: "a@example.org", options: mistake.options)])
    try await office.announce(.firing)
    #expect(try await worker.deliverNext())
    let entry = try #require(try await office.entries().first)
    #expect(entry.state == .pending)
    #expect(entry.attempts.first?.answer.contains(mistake.reason) == true)
  }

  @Test("a wrong password is final for the channel: the alternate is used at once")
  func wrongPassword() async throws {
    let certificates = try await Certificates.make()
    let folder = try TemporaryDirectory("mail")
    var configuration = SMTPServer.Configuration(security: .startTLS, certificates: certificates.server)
    configuration.accounts = ["syscrap": "geheim"]
    let server = try await SMTPServer.start(configuration)
    let open = try await SMTPServer.start(.init(security: .plain))
    let ops = channel(
      "ops", server, to: "a@example.org", scheme: "smtp",
      options: [
        "username": "syscrap", "password_file": .string(try folder.write("p", "falsch")),
        "ca_file": .string(certificates.authority),
      ])
    let (office, worker) = office([ops, channel("pager", open, to: "p@example.org")])
    try await office.announce(.firing, notify: [["ops", "pager"]])
    try await work(office, worker, until: 1)
    let entries = try await office.entries()
    #expect(entries.map { "\($0.option ?? "") \($0.state)" } == ["ops dead", "pager delivered"])
    #expect(entries[0].attempts.allSatisfy { !$0.answer.contains("falsch") })
    await server.stop()
    await open.stop()
  }
}
