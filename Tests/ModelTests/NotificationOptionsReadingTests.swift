internal import Model
internal import Testing

@Suite struct NotificationOptionsReadingTests {
  private func read(_ fields: [String: Value], _ available: Availability = .everything) -> Reading<NotificationOptions>
  {
    NotificationOptions.read(document(.notification_options, fields), available: available)
  }

  @Test("E-mail options are read; to is a list whatever was written")
  func email() {
    let reading = read([
      "target": "generic", "type": "email", "to": "ops@example.org", "from": "syscrap@example.org",
      "relay": "smtp://mail.example.org:587", "username": "syscrap", "password_file": "/p", "timeout": "20s",
      "template": ["subject": "s", "body": "a\nb"], "rate": "10/m", "labels": ["a": "b"], "enabled": false,
    ])
    #expect(
      reading.value
        == NotificationOptions(
          id: "x", selector: .generic, type: "email",
          options: [
            "to": ["ops@example.org"], "from": "syscrap@example.org", "relay": "smtp://mail.example.org:587",
            "username": "syscrap", "password_file": "/p", "template": ["subject": "s", "body": "a\nb"], "rate": "10/m",
          ], timeout: .seconds(20), labels: ["a": "b"], isEnabled: false))
    #expect(reading.problems == [])
  }

  @Test(
    "Every type's own fields are accepted",
    arguments: [
      ["type": "slack", "webhook_url_file": "/s"], ["type": "telegram", "token_file": "/t", "chat": -100_123],
      ["type": "asana", "token_file": "/t", "project": "12"],
      [
        "type": "webhook", "url": "https://example.org/h?x", "method": "PUT", "headers_file": "/h", "secret_file": "/s",
      ],
      [
        "type": "message_queue", "uri": "mongodb://a:27017,b:27018/q", "username": "u", "password_file": "/p",
        "collection": "c",
      ],
      ["type": "command", "argv": ["/bin/tell", "--now"], "base_url": "http://127.0.0.1:8080"],
      ["type": "email", "to": ["a@b", "c+d@e.example"], "relay": "smtp+plain://[::1]:2525"],
      [
        "type": "email", "to": ["a@b"], "relay": "smtps://mail", "username": "u", "password_command": ["pass"],
        "ca_file": "/c", "rate": 5,
      ],
    ] as [[String: Value]])
  func types(fields: [String: Value]) {
    let reading = read(fields)
    #expect(reading.problems == [])
    #expect(reading.value != nil)
  }

  private static func email(_ fields: [String: Value]) -> [String: Value] {
    ["type": "email", "to": ["a@b.example"], "relay": "smtp://mail:587"].merging(fields) { $1 }
  }

  static let refusals: [Refusal] = [
    .init([:], "type: type is missing (write type: email)"),
    .init(["type": "email", "to": "a@b"], "relay: relay is missing (write relay: smtp://mail.example.org:587)"),
    .init(
      email(["to": ["a@b", "nobody"]]), "to[1]: \"nobody\" is not an e-mail address (for example ops@example.org)"),
    .init(
      email(["to": "Ops <ops@b>"]),
      "to: \"Ops <ops@b>\" is not an e-mail address (write the address alone, without a name)"),
    .init(email(["to": "a@b\r\nBcc: c@d"]), "to: the text holds a control character or a line break"),
    .init(email(["to": []]), "to: the list is empty (for example [ops@example.org])"),
    .init(email(["to": 5]), "to: expected a list of texts, found the number 5 (for example [ops@example.org])"),
    .init(email(["from": "a@@b"]), "from: \"a@@b\" is not an e-mail address (for example ops@example.org)"),
    .init(email(["relay": "mail:587"]), "relay: not a URI (for example smtp://mail.example.org:587)"),
    .init(
      email(["relay": "http://mail"]),
      "relay: the scheme \"http\" does not fit here (use smtp://, smtps://, smtp+plain://)"),
    .init(
      email(["relay": "smtp://u:hunter2@mail"]),
      "relay: the URI carries a password (write username and password_file beside it, and the URI without them)"),
    .init(email(["relay": "smtp://u@mail"]), "relay: the URI carries a user (write username beside it)"),
    .init(
      email(["relay": "smtp://mail/x"]),
      "relay: the URI must end after the port (for example smtp://mail.example.org:587)"),
    .init(email(["username": "u"]), "username: there is no password for it (write password_file beside it)"),
    .init(email(["password_file": "/p"]), "password_file: there is no username for it (write username beside it)"),
    .init(
      email(["password": "hunter2"]),
      "password: a secret must not stand in a document (write password_file or password_command: the secret stays in a file or comes from a command)"
    ),
    .init(email(["port": 587]), "port: unknown field \"port\" (write relay: smtp://mail.example.org:587)"),
    .init(email(["template": ["subjct": "x"]]), "template.subjct: unknown field \"subjct\" (did you mean subject?)"),
    .init(email(["timeout": "0s"]), "timeout: 0s is outside 100ms to 10m"),
    .init(
      email(["rate": "often"]),
      "rate: expected messages in a time, found the text \"often\" (for example 10/m or 100/h; a plain number is messages a minute)"
    ),
    .init(
      ["type": "slack", "webhook_url": "https://hooks/x"],
      "webhook_url: a secret must not stand in a document (write webhook_url_file: the secret stays in a file or comes from a command)",
      "webhook_url_file: webhook_url_file is missing (write webhook_url_file: /etc/syscrap/slack_url)"),
    .init(
      ["type": "telegram", "token": "1:x", "chat": "c"],
      "token: a secret must not stand in a document (write token_file: the secret stays in a file or comes from a command)",
      "token_file: token_file is missing"),
    .init(["type": "webhook", "url": "ftp://x"], "url: the scheme \"ftp\" does not fit here (use https://, http://)"),
    .init(
      ["type": "webhook", "url": "https://x", "method": "GET"],
      "method: expected one of POST, PUT, PATCH, found the text \"GET\""),
    .init(["type": "command", "argv": []], "argv: the list is empty (write [program, argument, …])"),
  ]

  @Test("Wrong options are refused with path, reason and hint", arguments: refusals)
  func refuses(_ refusal: Refusal) {
    let reading = read(refusal.fields)
    #expect(lines(reading.problems) == refusal.expected)
    #expect(reading.value == nil)
  }

  @Test("A type that nobody knows or that is not built yet is refused by name, and its document is there")
  func undefined() {
    let now = Availability(metrics: [], reactions: [], notifiers: ["email"])
    let unknown = read(["type": "emial", "whatever": 1], now)
    #expect(lines(unknown.problems) == ["type: there is no type \"emial\" (did you mean email?)"])
    #expect(unknown.value?.options == ["whatever": 1])
    let later = read(["type": "slack", "webhook_url_file": "/s"], now)
    #expect(lines(later.problems) == ["type: slack is not available in this version (available: email)"])
    #expect(later.value?.type == "slack")
    #expect(read(["type": "pigeon", "password": "hunter2"], now).value == nil)
  }

  @Test("What probably is not meant is warned of")
  func warns() {
    #expect(
      lines(read(["type": "email", "relay": "smtp+plain://m", "username": "u", "password_file": "/p"]).problems) == [
        "~to: without to only messages that other programs queue can leave this way (write to: [ops@example.org])",
        "~relay: the password would travel without encryption (use smtp:// (with STARTTLS) or smtps://)",
      ])
  }
}
