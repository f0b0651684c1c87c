import TestKit
import Testing

@testable import Transfer

/// A relay that falls silent or goes away, in each phase (F23).
@Suite(.enabled(if: PythonEnvironment.isExpected, "\(PythonEnvironment.absence)"))
struct MailHangTests {
  static let phases: [(SMTPServer.Phase, String)] = [
    (.greeting, "the greeting"), (.ehlo, "the reply to EHLO"), (.starttls, "the reply to STARTTLS"),
    (.auth, "the reply to AUTH"), (.mail, "the reply to MAIL"), (.rcpt, "the reply to RCPT"),
    (.data, "the reply to DATA"), (.dot, "the reply after the final dot"),
  ]

  private func start(_ change: (inout SMTPServer.Configuration) -> Void) async throws -> (SMTPServer, MailTransfer) {
    let certificates = try await sharedCertificates.value
    var configuration = SMTPServer.Configuration(certificates: certificates.server)
    configuration.accounts = ["syscrap": "hunter2"]
    change(&configuration)
    let server = try await SMTPServer.start(configuration)
    var mail = try mail("smtp", port: server.port)
    (mail.username, mail.password, mail.caFile) = ("syscrap", Secret("hunter2"), certificates.authority)
    return (server, mail)
  }

  @Test("A relay silent in any phase is given up after that phase's deadline, and the error names the phase")
  func silence() async throws {
    let (server, original) = try await start { _ in }
    let engine = try makeEngine()
    var mail = original
    mail.deadlines.reply = .milliseconds(700)
    for (phase, words) in Self.phases {
      var configuration = SMTPServer.Configuration()
      configuration.accounts = ["syscrap": "hunter2"]
      configuration.hang = phase
      try await server.configure(configuration)
      let error = try #require(await failure(engine, mail), "\(phase)")
      #expect(error.code == .timedOut, "\(phase)")
      #expect(
        error.message == "smtp://localhost:\(server.port): the deadline passed while waiting for \(words)", "\(phase)")
      #expect(error.isOutcomeUnknown == (phase == .dot), "\(phase)")
      #expect(!error.isPermanent, "\(phase)")
      // We hang up: the server is not left with a session.
      let session = server.events().count { if case .opened = $0 { true } else { false } }
      do {
        try await server.event(within: .seconds(5)) { $0 == .closed(session: session) }
      } catch {
        Issue.record("\(phase): the server still has a session: \(server.events().suffix(8))")
      }
    }
    #expect(try await server.messages(atLeast: 1).count == 1)
  }

  @Test("The total deadline ends a transfer although every single reply comes in time") func total() async throws {
    let (server, original) = try await start { $0.hang = .data }
    let engine = try makeEngine()
    var mail = original
    mail.deadlines.total = .seconds(1)
    let error = try #require(await failure(engine, mail))
    #expect(error.code == .timedOut)
    #expect(error.message.hasSuffix("waiting for the reply to DATA"))
    await server.stop()
  }

  @Test("A relay silent after QUIT holds up nothing: the mail is delivered, and the engine stays free")
  func silentGoodbye() async throws {
    let (server, mail) = try await start { $0.hang = .quit }
    let engine = try makeEngine()
    let clock = ContinuousClock()
    let began = clock.now
    for _ in 0..<3 { _ = try await engine.send(mail) }
    // libcurl would wait for each QUIT's reply as long as for any other: 30 s and more.
    #expect(clock.now - began < .seconds(20))
    #expect(try await server.messages(atLeast: 3).count == 3)
    try await server.event { $0 == .goodbye(session: 3) }
  }

  @Test("After a refusal too, a relay silent after QUIT holds up nothing") func silentGoodbyeAfterRefusal() async throws
  {
    let (server, mail) = try await start {
      $0.hang = .quit
      $0.refusedRecipients = ["ops@example.org": "550 5.1.1 No such user"]
    }
    let engine = try makeEngine()
    let clock = ContinuousClock()
    let began = clock.now
    for _ in 0..<3 { #expect(await failure(engine, mail)?.responseCode == 550) }
    #expect(clock.now - began < .seconds(20))
    try await server.event { $0 == .goodbye(session: 3) }
  }

  @Test("Sixty silent relays do not slow a delivery to a good one") func silentNeighbours() async throws {
    let (silent, mail) = try await start { $0.hang = .rcpt }
    let (good, goodMail) = try await start { _ in }
    let engine = try makeEngine()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<60 {
        group.addTask { #expect(await failure(engine, mail)?.code == .cancelled) }
      }
      try await silent.event(within: .seconds(30)) { $0 == .hung(session: 60, .rcpt) }
      let clock = ContinuousClock()
      let began = clock.now
      _ = try await engine.send(goodMail)
      // They are silent for 30 s; nothing of that is felt here.
      #expect(clock.now - began < .seconds(15))
      group.cancelAll()
      try await group.waitForAll()
    }
    #expect(try await good.messages(atLeast: 1).count == 1)
  }

  @Test("A connection closed in any phase is temporary; after the final dot the outcome is unknown")
  func closes() async throws {
    let (server, mail) = try await start { _ in }
    let engine = try makeEngine()
    for (phase, _) in Self.phases {
      var configuration = SMTPServer.Configuration()
      configuration.accounts = ["syscrap": "hunter2"]
      configuration.close = phase
      try await server.configure(configuration)
      let error = try #require(await failure(engine, mail), "\(phase)")
      #expect(error.code == .closed, "\(phase): \(error)")
      #expect(error.isOutcomeUnknown == (phase == .dot), "\(phase)")
      #expect(!error.isPermanent, "\(phase)")
    }
    // The server had taken it: that is why this case has a name of its own.
    #expect(try await server.messages(atLeast: 1).count == 1)
  }

  @Test("A greeting that comes later than the connect deadline is still waited for") func slowGreeting() async throws {
    let (server, original) = try await start { $0.hang = .greeting }
    let engine = try makeEngine()
    var mail = original
    mail.deadlines.connect = .milliseconds(300)
    mail.deadlines.reply = .seconds(2)
    let error = try #require(await failure(engine, mail))
    #expect(error.message.hasSuffix("waiting for the greeting"))
    await server.stop()
  }

  @Test("A cancelled task ends its transfer at once, and hangs up") func cancellation() async throws {
    let (server, mail) = try await start { $0.hang = .data }
    let engine = try makeEngine()
    let task = Task { await failure(engine, mail) }
    try await server.event { $0 == .hung(session: 1, .data) }
    task.cancel()
    #expect(await task.value?.code == .cancelled)
    try await server.event { $0 == .closed(session: 1) }
    // A task that is cancelled already does not begin.
    let early = Task {
      withUnsafeCurrentTask { $0?.cancel() }
      return await failure(engine, mail)
    }
    #expect(await early.value?.code == .cancelled)
    #expect(server.events().contains(.opened(session: 2)) == false)
  }

  @Test("A transfer that is cancelled in the middle of its message leaves no shortened message behind")
  func cancelledMessage() async throws {
    let (server, original) = try await start { $0.hang = .message }
    let engine = try makeEngine()
    var mail = original
    // More than the socket's buffers take, so that the transfer stands still in the middle.
    mail.message = message(body: String(repeating: "0123456789 0123456789 0123456789\r\n", count: 600_000))
    let task = Task { [mail] in await failure(engine, mail) }
    try await server.event { $0 == .hung(session: 1, .message) }
    task.cancel()
    let error = try #require(await task.value)
    #expect(error.code == .cancelled && !error.isOutcomeUnknown)
    // The server reads on, comes to the end, and has no message.
    try await server.event { $0 == .closed(session: 1) }
    #expect(server.messages() == [])
  }

  @Test("A relay that stops reading in the middle of the message is given up after the reply deadline")
  func stalledMessage() async throws {
    let (server, original) = try await start {
      $0.hang = .message
      $0.pause = 3
    }
    let engine = try makeEngine()
    var mail = original
    mail.deadlines.reply = .seconds(1)
    mail.message = message(body: String(repeating: "0123456789 0123456789 0123456789\r\n", count: 600_000))
    let error = try #require(await failure(engine, mail))
    #expect(error.code == .timedOut && !error.isOutcomeUnknown)
    #expect(error.message.hasSuffix("waiting for the message to be taken"))
    try await server.event { $0 == .closed(session: 1) }
    #expect(server.messages() == [])
  }

  @Test("Shutting down ends what is under way and refuses what comes later") func shutdown() async throws {
    let (server, mail) = try await start { $0.hang = .dot }
    let engine = try makeEngine()
    async let first = failure(engine, mail)
    try await server.event { $0 == .hung(session: 1, .dot) }
    await engine.shutdown()
    let error = try #require(await first)
    #expect(error.code == .shutDown && error.isOutcomeUnknown)
    #expect(await failure(engine, mail)?.code == .shutDown)
    await engine.shutdown()
  }

  @Test("What waits for a slot is bounded, and its deadline runs while it waits") func overload() async throws {
    let (server, original) = try await start { $0.hang = .rcpt }
    var configuration = TransferEngine.Configuration()
    (configuration.maximumConcurrent, configuration.maximumQueued) = (1, 1)
    let engine = try makeEngine(configuration)
    var mail = original
    let first = Task { [mail] in await failure(engine, mail) }
    try await server.event { $0 == .hung(session: 1, .rcpt) }
    mail.deadlines.total = .milliseconds(500)
    let errors = await withTaskGroup(of: TransferError?.self) { group in
      for _ in 0..<2 { group.addTask { [mail] in await failure(engine, mail) } }
      return await group.reduce(into: [TransferError.Code]()) { $0.append($1?.code ?? .failed) }
    }
    #expect(Set(errors) == [.overloaded, .timedOut])
    first.cancel()
    #expect(await first.value?.code == .cancelled)
  }
}
