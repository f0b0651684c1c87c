import Model
import Notifications
import Testing
import Transfer

@Suite struct EmailOptionsTests {
  private let notifier = EmailNotifier(host: "h") { _ throws(TransferError) in throw TransferError(.shutDown, "unused")
  }

  @Test("a complete document has no problems")
  func complete() {
    let options = Office.channel(
      "ops", to: ["ops@example.org", "Night <night@example.org>"],
      options: [
        "relay": "smtp://mail.example.org:587", "username": "syscrap", "password_command": ["pass", "show", "mail"],
        "ca_file": "/etc/ca.pem", "template": ["subject": "{{status}} {{what}}"],
      ])
    #expect(Notifiers([notifier]).problems(options).isEmpty)
    #expect(notifier.recipients(options) == ["ops@example.org", "Night <night@example.org>"])
  }

  @Test("without a sender the service writes in its own name")
  func sender() {
    var options = Office.channel("ops", to: "ops@example.org")
    options.options["from"] = nil
    #expect(notifier.problems(options).isEmpty)
  }

  struct Mistake: Sendable, CustomTestStringConvertible {
    var change: [String: Value]
    var expected: String
    var testDescription: String { expected }
    init(_ change: [String: Value], _ expected: String) {
      self.change = change
      self.expected = expected
    }
  }

  static let mistakes: [Mistake] = [
    Mistake(["to": []], "to: names nobody"),
    Mistake(["to": ["a@b", "x y"]], "to.1: 'x y' is no e-mail address"),
    Mistake(["from": 5], "from: must be text, not a number"),
    Mistake(["from": "me"], "from: 'me' is no e-mail address"),
    Mistake(["relay": ["smtp://x"]], "relay: must be text, not a list"),
    Mistake(["password": "geheim"], "password: a document must not hold a secret"),
    Mistake(["username": "u"], "username: has no password"),
    Mistake(["password_file": "/x"], "username: is missing beside the password"),
    Mistake(
      ["username": "u", "password_file": "/x", "password_command": ["y"]],
      "password_command: stands beside password_file; keep one of them"),
    Mistake(
      ["username": "u", "password_command": "pass show"],
      "password_command: must be a list of words, the program first"),
    Mistake(["rely": "smtp://x"], "rely: unknown field"),
  ]

  @Test("every mistake is named with its field", arguments: mistakes)
  func mistake(_ mistake: Mistake) {
    let options = Office.channel("ops", to: "ops@example.org", options: mistake.change)
    #expect(notifier.problems(options).map { "\($0.path): \($0.reason)" } == [mistake.expected])
  }

  @Test("a secret is never repeated in a problem")
  func secrets() {
    let options = Office.channel(
      "ops", to: "ops@example.org", options: ["password": "geheim-1", "relay": "smtp://u:geheim-2@mail.example.org"])
    #expect(notifier.problems(options).allSatisfy { !$0.description.contains("geheim") })
  }
}
