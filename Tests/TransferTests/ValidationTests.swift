import Testing

@testable import Transfer

/// Requests that would change a protocol's structure are refused before anything is sent (S19).
@Suite struct ValidationTests {
  private func engineError(_ change: (inout MailTransfer) -> Void) async throws -> TransferError? {
    // Nobody listens at port 1: what passes validation fails with another code.
    var mail = try mail("smtp+plain", port: 1)
    change(&mail)
    return await failure(try makeEngine(), mail)
  }

  @Test(
    "An address that could end a command's line or argument is refused",
    arguments: [
      "a@b\r\nRCPT TO:<evil@c>", "a@b\n", "a@b\r", "a@b> SIZE=1", "a@b>\r\n<c@d", "a b@c", "<a@b> NOTIFY=NEVER", "a",
      "@b", "a@", "", "<>", "<<a@b>", "a@b\u{0}", "a@b\u{85}\u{2028}", "ä@b", "a@bücher.example", "a@b\t",
      String(repeating: "a", count: 250) + "@b.cd", "a@b, c@d", "Name\r\nX: y <a@b>",
    ])
  func recipients(_ text: String) async throws {
    let error = try #require(try await engineError { $0.recipient = text })
    #expect(error.code == .invalidRequest && error.isPermanent)
    #expect(error.message.utf8.allSatisfy { $0 >= 0x20 })
    if !text.isEmpty && text != "<>" {
      #expect(try await engineError { $0.from = text }?.code == .invalidRequest)
    }
  }

  @Test("Brackets, a display name and spaces around an address are taken off") func forms() throws {
    let forms = ["a@b", "<a@b>", " Ops Team <a@b> ", "\"Ops, Team\" <a@b>", "o'neil+x@b.example"]
    #expect(
      try forms.map { try MailTransfer.envelopeAddress($0) } == ["a@b", "a@b", "a@b", "a@b", "o'neil+x@b.example"])
    #expect(try mail("smtp", port: 1).reversePath() == "<syscrap@example.org>")
  }

  @Test(
    "A message with a bare CR or LF is refused: servers disagree where it ends",
    arguments: ["a\n", "a\r", "a\r\n.\n", "\na\r\n", "a\r\r\n", "a\n\r\n", ""])
  func lineEnds(_ text: String) async throws {
    #expect(try await engineError { $0.message = Array(text.utf8) }?.code == .invalidRequest)
  }

  @Test("A message over the bound, a user name with a line break and a password with NUL are refused")
  func others() async throws {
    #expect(
      try await engineError { $0.message = Array(repeating: 65, count: MailTransfer.maximumBytes + 1) }?.code
        == .tooLarge)
    #expect(try await engineError { ($0.username, $0.password) = ("a\r\nb", Secret("x")) }?.code == .invalidRequest)
    #expect(try await engineError { ($0.username, $0.password) = ("a", Secret([65, 0, 66])) }?.code == .invalidRequest)
    #expect(try await engineError { $0.username = "a" }?.code == .invalidRequest)
    #expect(try await engineError { $0.clientName = "a\r\nMAIL" }?.code == .invalidRequest)
    #expect(try await engineError { _ in }?.code == .connect)
  }

  @Test(
    "Only http and https URLs without credentials are asked",
    arguments: [
      "file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1:25/_HELO", "http://user:hunter2@127.0.0.1/",
      "http://127.0.0.1/\r\nX: y", "http://", "/etc/passwd", "smtp://127.0.0.1", "http://127.0.0.1:99999/",
      "http://a b/", "dict://127.0.0.1/",
    ])
  func urls(_ url: String) async throws {
    let error = try #require(await failure(try makeEngine(), HTTPRequest(url: url)))
    #expect(error.code == .invalidRequest && error.isPermanent)
    #expect(!error.message.contains("hunter2"))
  }

  @Test("A header field that could begin another one is refused, its value not repeated") func headers() async throws {
    let engine = try makeEngine()
    for header in [
      HTTPRequest.Header("X", "a\r\nY: hunter2"), .init("X\r\nY", "a"), .init("X", "a\u{0}hunter2"), .init("", "a"),
      .init("X:", "a"), .init("X Y", "a"),
    ] {
      let error = try #require(await failure(engine, HTTPRequest(url: "http://127.0.0.1:1/", headers: [header])))
      #expect(error.code == .invalidRequest)
      #expect(!error.message.contains("hunter2"))
    }
    #expect(
      await failure(engine, HTTPRequest(method: "GET /\r\n", url: "http://127.0.0.1:1/"))?.code == .invalidRequest)
    #expect(await failure(engine, HTTPRequest(url: "http://127.0.0.1:1/"))?.code == .connect)
  }

  @Test("A secret shows itself in no description") func secret() {
    let secret = Secret("hunter2")
    var text = ""
    dump(secret, to: &text)
    #expect(!"\(secret) \(String(reflecting: secret)) \([secret]) \(text)".contains("hunter2"))
  }

  @Test("Retry-After is read as seconds or as a date of any HTTP form; everything else is no wish")
  func retryAfter() {
    let now: Int64 = 784_111_777  // Sun, 06 Nov 1994 08:49:37 GMT, the date in RFC 9110
    let wishes: [(String, Duration?)] = [
      ("120", .seconds(120)), (" 0 ", .zero), ("99999999999999999999", .seconds(365 * 86_400)),
      ("Sun, 06 Nov 1994 08:50:37 GMT", .seconds(60)), ("Sunday, 06-Nov-94 08:50:37 GMT", .seconds(60)),
      ("Sun Nov  6 08:50:37 1994", .seconds(60)), ("Sun, 06 Nov 1994 08:49:36 GMT", .zero),
      ("Tue, 01 Jan 2999 00:00:00 GMT", .seconds(365 * 86_400)), ("", nil), ("-5", nil), ("1.5", nil), ("soon", nil),
      ("Sometime", nil), ("１２", nil),
    ]
    #expect(wishes.map { HTTPReply.retryAfter($0.0, now: now) } == wishes.map(\.1))
  }

  @Test("A peer's text loses its control and formatting characters and is cut between characters")
  func cleaning() {
    #expect(PlainText.clean(Array("a\r\n\u{1b}[31mb\u{202e}c\t\td ".utf8), limit: 100) == "a [31mb c d")
    #expect(PlainText.clean(Array("üüü".utf8), limit: 5) == "üü")
    #expect(PlainText.clean([0x61, 0xff, 0x62], limit: 100) == "a\u{fffd}b")
    #expect(PlainText.clean([], limit: 100) == "")
  }

  @Test("The relay's replies are followed line by line; a reply without end keeps bounded lines") func session() {
    var session = SMTPSession(security: .startTLS, authenticates: true)
    var steps: [SMTPSession.Step] = []
    for line in [
      "220 hi", "250-mail", "250-AUTH PLAIN", "250 STARTTLS", "220 go", "250-mail", "250 AUTH NTLM LOGIN", "334 VXNlcg",
      "235 ok", "250 ok", "250 ok", "354 go",
    ] { steps.append(session.receive(Array((line + "\r\n").utf8))) }
    #expect(steps == Array(repeating: .goOn, count: 12))
    #expect(session.phase == .message)
    session.sentMessage()
    #expect(session.phase == .acceptance)
    for number in 0..<10_000 { _ = session.receive(Array("250-line \(number)".utf8)) }
    #expect(session.receive(Array("250 end".utf8)) == .ended)
    #expect(session.replyText.hasPrefix("line 9993") && session.replyText.hasSuffix("line 9999 end"))
    #expect(session.refusedIn == nil)

    // AUTH that was offered in the clear only does not count.
    var stripped = SMTPSession(security: .startTLS, authenticates: true)
    for line in ["220 hi", "250-AUTH PLAIN", "250 STARTTLS", "220 go"] { _ = stripped.receive(Array(line.utf8)) }
    guard case .refuse(.authentication, _) = stripped.receive(Array("250 mail".utf8)) else {
      Issue.record("went on without AUTH")
      return
    }
    // What is no reply changes nothing.
    for noise in [[], [0x32], Array("abc".utf8), [0xff, 0xfe, 0xfd, 0xfc]] { #expect(stripped.receive(noise) == .goOn) }
  }
}
