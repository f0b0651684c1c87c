import Foundation
import Model
import Notifications
import Storage
import TestKit
import Testing
import Transfer

/// What Python's own e-mail package makes of a message: an independent reader.
struct ParsedMail: Decodable, Equatable {
  var headers: [[String]]
  var body: String
  var parts: Int
  var defects: Int

  func header(_ name: String) -> String? { headers.first { $0[0] == name }?[1] }

  static func read(_ messages: [[UInt8]]) throws -> [ParsedMail] {
    let script = """
      import sys, json, base64, email, email.policy
      out = []
      for line in sys.stdin:
          m = email.message_from_bytes(base64.b64decode(line), policy=email.policy.default)
          out.append({"headers": [[k, str(v)] for k, v in m.items()], "body": m.get_content(),
              "parts": sum(1 for _ in m.walk()), "defects": len(m.defects) + sum(len(v.defects) for v in m.values())})
      print(json.dumps(out))
      """
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [try PythonEnvironment.required(), "-c", script]
    let input = Pipe()
    let output = Pipe()
    process.standardInput = input
    process.standardOutput = output
    try process.run()
    for message in messages {
      try input.fileHandleForWriting.write(contentsOf: Data((Data(message).base64EncodedString() + "\n").utf8))
    }
    try input.fileHandleForWriting.close()
    let data = try output.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return try JSONDecoder().decode([ParsedMail].self, from: data)
  }
}

@Suite(.enabled(if: PythonEnvironment.isExpected, Comment(rawValue: PythonEnvironment.absence)))
struct MailMessageTests {
  private func message(subject: String = "s", body: String = "b", extra: String = "x") throws -> MailMessage {
    MailMessage(
      from: try #require(MailAddress("Syscrap, the watcher <syscrap@example.org>")),
      to: try #require(MailAddress("Jörg Müller <ops@example.org>")), subject: subject, body: body,
      date: Office.opening,
      messageID: "abc@web", references: ["first@web", "second@web"], extra: [("X-Syscrap-Target", extra)])
  }

  private static let names = [
    "Date", "From", "To", "Message-ID", "In-Reply-To", "References", "Subject", "Auto-Submitted", "X-Syscrap-Target",
    "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
  ]

  @Test("a message as bytes: plain text stays readable")
  func bytes() throws {
    let message = MailMessage(
      from: try #require(MailAddress("syscrap@example.org")), to: try #require(MailAddress("ops@example.org")),
      subject: "[FIRING critical] Vitals.Disk /var on web-1: 93.1 % (limit: at most 90 %)", body: "One\nTwo\n",
      date: Office.opening, messageID: "abc@web")
    #expect(
      String(decoding: message.bytes(), as: UTF8.self)
        == """
        Date: Sat, 21 Nov 2026 08:15:00 +0000
        From: syscrap@example.org
        To: ops@example.org
        Message-ID: <abc@web>
        Subject: [FIRING critical] Vitals.Disk /var on web-1: 93.1 % (limit: at most
         90 %)
        Auto-Submitted: auto-generated
        MIME-Version: 1.0
        Content-Type: text/plain; charset=utf-8
        Content-Transfer-Encoding: 7bit

        One
        Two

        """.replacingOccurrences(of: "\n", with: "\r\n"))
  }

  static let hostile = [
    "a\r\nBcc: victim@example.org", "a\nX-Evil: 1\n\nbody", "a\r\r\n.\r\nMAIL FROM:<x@y>",
    "\u{0}\u{8}\u{1b}[2J\u{7f}\u{85}",
    "\u{2028}\u{2029}Subject: x", "=?utf-8?B?DQpCY2M6IHZpY3RpbUBleGFtcGxlLm9yZw==?=", "\r\n\r\n", ".", "..", "From me",
    "\u{202e}lrig\u{2066}", "<script>alert(1)</script>", "--boundary\r\nContent-Type: text/html", "\u{feff}x",
    String(repeating: "x", count: 5000), String(repeating: "ü€😀", count: 700), String(repeating: " ", count: 400),
    "Größe über 90 % – ☃ on web-1 is \"quoted\" \\ and, comma; semi: colon", "a\u{b}b\u{c}c", "\r", "\n", "",
  ]

  @Test("whatever the texts hold, the structure of the message is the same")
  func injection() throws {
    var messages: [[UInt8]] = []
    for text in Self.hostile {
      messages.append(try message(subject: "[FIRING critical] \(text)").bytes())
      messages.append(try message(body: text).bytes())
      messages.append(try message(extra: "t\(text)").bytes())
    }
    for bytes in messages {
      let lines = String(decoding: bytes, as: UTF8.self).components(separatedBy: "\r\n")
      #expect(lines.allSatisfy { $0.utf8.count <= 76 && !$0.contains("\r") && !$0.contains("\n") })
      #expect(bytes.allSatisfy { $0 == 13 || $0 == 10 || $0 == 9 || ($0 >= 32 && $0 < 127) })
    }
    for (mail, index) in zip(try ParsedMail.read(messages), 0...) {
      #expect(mail.headers.map { $0[0] } == Self.names)
      #expect(mail.parts == 1)
      #expect(mail.defects == 0, "message \(index): \(mail.headers)")
      #expect(mail.header("From") == "\"Syscrap, the watcher\" <syscrap@example.org>")
      #expect(mail.header("To") == "Jörg Müller <ops@example.org>")
      #expect(mail.header("References") == "<first@web> <second@web>")
      #expect(mail.header("In-Reply-To") == "<second@web>")
    }
  }

  @Test(
    "texts of all scripts come out as they went in",
    arguments: [
      "[FIRING critical] Größe über 90 % – ☃ on web-1", "[RESOLVED] plain only", "日本語の件名 in the middle 日本語 end",
      "[FIRING warning] a =?utf-8?B?eA==?= b", "two  spaces stay ü  here", String(repeating: "Ü", count: 300),
    ])
  func roundTrip(text: String) throws {
    let body = "\(text)\n\n  indented = sign\ttab\ntrailing blank \n.\nFrom here\n"
    let mail = try #require(try ParsedMail.read([try message(subject: text, body: body).bytes()]).first)
    #expect(mail.header("Subject") == text)
    #expect(mail.body.replacingOccurrences(of: "\r\n", with: "\n") == body)
    let raw = String(decoding: try message(subject: text).bytes(), as: UTF8.self)
    if text.hasPrefix("[FIRING critical]") { #expect(raw.contains("\r\nSubject: [FIRING critical] ")) }
  }

  @Test(
    "what is no single mailbox is no address",
    arguments: [
      "", "ops", "@example.org", "ops@", "a@b@c", "a b@example.org", "a@exa mple.org", "a@example.org\r\nRCPT TO:<x@y>",
      "a@example.org>", "<a@example.org", "x <a@example.org> y", "a@-\u{0}", "ä@example.org", "a@exämple.org", ".a@b",
      "a.@b",
      "a..b@c", "a@b..c", "a@.b", "a\"<b>\" <c@d>", "\(String(repeating: "a", count: 65))@b",
      "a@\(String(repeating: "b", count: 260))", "a@[1.2.3.4", "a,b@c",
    ])
  func noAddress(text: String) {
    #expect(MailAddress(text) == nil)
  }

  @Test(
    "addresses with and without a name are read",
    arguments: [
      ("ops@example.org", "", "ops@example.org"), (" ops@example.org ", "", "ops@example.org"),
      ("<ops@example.org>", "", "ops@example.org"),
      ("Operations <ops+x@example.org>", "Operations", "ops+x@example.org"),
      ("\"O, P\" <ops@[127.0.0.1]>", "O, P", "ops@[127.0.0.1]"), ("root@localhost", "", "root@localhost"),
    ])
  func address(text: String, name: String, address: String) throws {
    let found = try #require(MailAddress(text))
    #expect([found.name, found.address] == [name, address])
  }
}
