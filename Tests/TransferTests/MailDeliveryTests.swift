import TestKit
import Testing

@testable import Transfer

/// Deliveries to a real aiosmtpd.
@Suite(.enabled(if: PythonEnvironment.isExpected, "\(PythonEnvironment.absence)"))
struct MailDeliveryTests {
  static let accounts = ["syscrap": "hunter2-päss"]

  private func server(
    _ security: SMTPServer.Security, accounts: [String: String] = [:],
    certificate: KeyPath<Certificates, Certificates.Pair> = \.server
  ) async throws -> (SMTPServer, String) {
    let certificates = try await sharedCertificates.value
    var configuration = SMTPServer.Configuration(security: security, certificates: certificates[keyPath: certificate])
    configuration.accounts = accounts
    return (try await SMTPServer.start(configuration), certificates.authority)
  }

  @Test("With STARTTLS and AUTH a message arrives byte for byte: leading dots, 8-bit bytes, lines of 998 bytes")
  func byteExact() async throws {
    let (server, authority) = try await server(.startTLS, accounts: Self.accounts)
    let engine = try makeEngine()
    let bodies = [
      "plain\r\n", ".\r\n..\r\n.leading\r\n\r\n.\r\n", "no end of line", "ends with a dot\r\n.",
      String(repeating: "x", count: 998) + "\r\n", "Grüße 🐟 \u{0}\u{1}\r\n",
      String(repeating: ".dots and more\r\n", count: 20_000),
    ]
    for (index, body) in bodies.enumerated() {
      var mail = try mail("smtp", port: server.port, message: message("\(index)", body: body))
      mail.from = "Syscrap <syscrap@example.org>"
      mail.recipient = "<ops@example.org>"
      (mail.username, mail.password, mail.caFile) = ("syscrap", Secret("hunter2-päss"), authority)
      let reply = try await engine.send(mail)
      #expect(reply == MailReply(code: 250, text: "2.0.0 Queued as \(index + 1)"))
      let received = try await server.nextMessage()
      // The final dot stands on a line of its own, so a message without a last line end gets one.
      let expected = mail.message + (body.hasSuffix("\r\n") ? [] : [13, 10])
      #expect(
        received
          == SMTPServer.Message(
            from: "syscrap@example.org", recipients: ["ops@example.org"], bytes: expected, user: "syscrap",
            isEncrypted: true, session: index + 1))
    }
    await engine.shutdown()
  }

  @Test("8-bit bytes that are no UTF-8 arrive as they are") func binary() async throws {
    let server = try await SMTPServer.start(.init(security: .plain))
    let engine = try makeEngine()
    let bytes = message() + (128...255).map { UInt8($0) } + [13, 10]
    _ = try await engine.send(try mail("smtp+plain", port: server.port, message: bytes))
    #expect(try await server.nextMessage().bytes == bytes)
  }

  @Test("smtps delivers, and the server says goodbye to us properly") func implicitTLS() async throws {
    let (server, authority) = try await server(.implicit, accounts: Self.accounts)
    let engine = try makeEngine()
    var mail = try mail("smtps", port: server.port)
    (mail.username, mail.password, mail.caFile) = ("syscrap", Secret("hunter2-päss"), authority)
    _ = try await engine.send(mail)
    #expect(try await server.nextMessage().isEncrypted)
    try await server.event { $0 == .goodbye(session: 1) }
  }

  @Test(
    "A certificate that is expired, for another host, self-signed or from an unknown authority ends the session",
    arguments: ["expired", "wrongHost", "selfSigned"], [true, false])
  func untrusted(_ flaw: String, isStartTLS: Bool) async throws {
    let pairs = ["expired": \Certificates.expired, "wrongHost": \.wrongHost, "selfSigned": \.selfSigned]
    let (server, authority) = try await server(
      isStartTLS ? .startTLS : .implicit, certificate: try #require(pairs[flaw]))
    let engine = try makeEngine()
    var mail = try mail(isStartTLS ? "smtp" : "smtps", port: server.port)
    mail.caFile = authority
    let error = try #require(await failure(engine, mail))
    #expect(error.code == .certificate)
    #expect(!error.isPermanent && !error.isOutcomeUnknown)
    #expect(server.messages() == [])
  }

  @Test("Trust in one authority never carries over to a transfer that trusts another, on the same engine")
  func trustIsNotShared() async throws {
    let (server, authority) = try await server(.startTLS)
    let other = try await sharedCertificates.value.otherAuthority
    let engine = try makeEngine()
    for _ in 0..<3 {
      var mail = try mail("smtp", port: server.port)
      mail.caFile = authority
      _ = try await engine.send(mail)
      mail.caFile = other
      #expect(await failure(engine, mail)?.code == .certificate)
      mail.caFile = nil
      #expect(await failure(engine, mail)?.code == .certificate)
      mail.caFile = "/nonexistent/authority.pem"
      #expect(await failure(engine, mail)?.code == .certificate)
    }
    #expect(try await server.messages(atLeast: 3).count == 3)
  }

  @Test("Where STARTTLS is not offered or refused nothing is sent, not even the sender's address")
  func startTLSStripped() async throws {
    let server = try await SMTPServer.start(.init(security: .plain))
    let engine = try makeEngine()
    let error = try #require(await failure(engine, try mail("smtp", port: server.port)))
    #expect(error.code == .startTLSNotOffered)
    #expect(!error.isPermanent)
    try await server.event { $0 == .closed(session: 1) }

    let (refusing, _) = try await self.server(.startTLS)
    var configuration = SMTPServer.Configuration()
    configuration.answers = ["starttls": "454 4.7.0 TLS not available"]
    try await refusing.configure(configuration)
    let refusal = try #require(await failure(engine, try mail("smtp", port: refusing.port)))
    #expect(refusal.code == .startTLSNotOffered)
    try await refusing.event { $0 == .closed(session: 1) }
    for events in [server.events(), refusing.events()] {
      let said = events.compactMap { if case .command(_, let name) = $0 { name } else { nil } }
      #expect(Set(said).isSubset(of: ["EHLO", "STARTTLS", "QUIT"]))
    }
  }

  @Test("Mail goes in the clear only when smtp+plain is said") func plain() async throws {
    let server = try await SMTPServer.start(.init(security: .plain))
    let engine = try makeEngine()
    _ = try await engine.send(try mail("smtp+plain", port: server.port))
    #expect(try await server.nextMessage().isEncrypted == false)
    #expect(await failure(engine, try mail("smtps", port: server.port))?.code == .tls)
    #expect(try await server.messages(atLeast: 1).count == 1)
  }

  @Test("A wrong password is permanent by its 535, and appears in no word of the error") func wrongPassword()
    async throws
  {
    let (server, authority) = try await server(.startTLS, accounts: Self.accounts)
    let engine = try makeEngine()
    var mail = try mail("smtp", port: server.port)
    (mail.username, mail.password, mail.caFile) = ("syscrap", Secret("wrong-secret"), authority)
    let error = try #require(await failure(engine, mail))
    #expect(error.code == .authentication)
    #expect(error.responseCode == 535)
    #expect(error.isPermanent)
    #expect(!"\(error) \(mail)".contains("wrong-secret"))
  }

  @Test("A server that sends our credentials back does not get them into the error") func echo() async throws {
    let (server, authority) = try await server(.startTLS, accounts: Self.accounts)
    var configuration = SMTPServer.Configuration()
    configuration.accounts = Self.accounts
    configuration.answers = [
      "auth": "535 no wrong-secret, AHN5c2NyYXAAd3Jvbmctc2VjcmV0 or d3Jvbmctc2VjcmV0 \u{1b}[31m\u{7}here"
    ]
    try await server.configure(configuration)
    let engine = try makeEngine()
    var mail = try mail("smtp", port: server.port)
    (mail.username, mail.password, mail.caFile) = ("syscrap", Secret("wrong-secret"), authority)
    let error = try #require(await failure(engine, mail))
    #expect(
      error.message == "smtp://localhost:\(server.port): the relay refused with 535 no [secret], [secret] or [secret] "
        + "[31m here; it was asked for the reply to AUTH")
  }

  @Test("With a user name and a relay without AUTH nothing is sent") func noAuthentication() async throws {
    let (server, authority) = try await server(.startTLS)
    let engine = try makeEngine()
    var mail = try mail("smtp", port: server.port)
    (mail.username, mail.password, mail.caFile) = ("syscrap", Secret("hunter2"), authority)
    #expect(await failure(engine, mail)?.code == .authentication)
    #expect(server.messages() == [])
  }

  @Test("550 for one recipient is permanent and concerns no other") func refusedRecipient() async throws {
    let server = try await SMTPServer.start(.init(security: .plain))
    var configuration = SMTPServer.Configuration(security: .plain)
    configuration.refusedRecipients = ["gone@example.org": "550 5.1.1 No such user here"]
    try await server.configure(configuration)
    let engine = try makeEngine()
    var errors: [TransferError?] = []
    for recipient in ["a@example.org", "gone@example.org", "b@example.org"] {
      errors.append(await failure(engine, try mail("smtp+plain", port: server.port, recipient: recipient)))
    }
    #expect(
      errors == [
        nil,
        TransferError(
          .recipientRefused,
          "smtp+plain://localhost:\(server.port): the relay refused with 550 5.1.1 No such user here; "
            + "it was asked for the reply to RCPT", responseCode: 550, rawCode: 55, isPermanent: true),
        nil,
      ])
    #expect(try await server.messages(atLeast: 2).map(\.recipients) == [["a@example.org"], ["b@example.org"]])
  }

  @Test("Greylisting is temporary: 451 until the server relents") func greylisting() async throws {
    let server = try await SMTPServer.start(.init(security: .plain))
    var configuration = SMTPServer.Configuration(security: .plain)
    configuration.greylistCount = 2
    try await server.configure(configuration)
    let engine = try makeEngine()
    var errors: [TransferError?] = []
    for _ in 0..<3 { errors.append(await failure(engine, try mail("smtp+plain", port: server.port))) }
    #expect(errors.map { $0?.responseCode } == [451, 451, nil])
    #expect(errors.map { $0?.isPermanent } == [false, false, nil])
    #expect(try await server.messages(atLeast: 1).count == 1)
  }

  @Test(
    "A refusal is named after its phase, and permanent by its first digit",
    arguments: [
      ("greeting", "554 No service", TransferError.Code.rejected, true),
      ("greeting", "421 Too busy", .rejected, false),
      ("mail", "550 5.7.1 Not you", .senderRefused, true),
      ("mail", "452 4.3.1 Full", .senderRefused, false),
      ("data", "554 5.5.1 No", .rejected, true),
      ("dot", "552 5.3.4 Too big", .rejected, true),
      ("dot", "451 4.3.0 Later", .rejected, false),
    ])
  func refusals(_ phase: String, _ answer: String, _ code: TransferError.Code, _ isPermanent: Bool) async throws {
    var configuration = SMTPServer.Configuration(security: .plain)
    configuration.answers = [phase: answer]
    let server = try await SMTPServer.start(configuration)
    let engine = try makeEngine()
    let error = try #require(await failure(engine, try mail("smtp+plain", port: server.port)))
    #expect(
      [error.code.rawValue, "\(error.isPermanent)", "\(error.isOutcomeUnknown)"] == [
        code.rawValue, "\(isPermanent)", "false",
      ])
    #expect("\(error.responseCode)" == answer.prefix(3))
    #expect(error.message.contains(answer.dropFirst(4)))
    #expect(server.messages() == [])
  }

  @Test("A dead port and an unknown name are told apart and temporary") func nobodyThere() async throws {
    let engine = try makeEngine()
    let port = try ManagedProcess.freePort()
    let refused = try #require(await failure(engine, try mail("smtp", port: port)))
    #expect(refused.code == .connect && !refused.isPermanent)
    var mail = try mail("smtp", port: port)
    mail.relay.host = "nobody.invalid"
    let unknown = try #require(await failure(engine, mail))
    #expect(unknown.code == .resolve && !unknown.isPermanent)
  }

  @Test("64 deliveries at once all arrive, each once") func manyAtOnce() async throws {
    let (server, authority) = try await server(.startTLS, accounts: Self.accounts)
    let engine = try makeEngine()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<64 {
        group.addTask {
          var mail = try mail(
            "smtp", port: server.port, recipient: "ops\(number)@example.org", message: message("\(number)"))
          (mail.username, mail.password, mail.caFile) = ("syscrap", Secret("hunter2-päss"), authority)
          _ = try await engine.send(mail)
        }
      }
      try await group.waitForAll()
    }
    let recipients = try await server.messages(atLeast: 64).flatMap(\.recipients)
    #expect(recipients.sorted() == (0..<64).map { "ops\($0)@example.org" }.sorted())
  }
}
