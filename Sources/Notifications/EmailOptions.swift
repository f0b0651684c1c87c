package import Model
package import Transfer

/// The fields of a notification_options document of type `email`, read and checked.
package struct EmailOptions: Sendable {
  package var relay: Relay
  /// The notifier fills in its own where the document has none.
  package var from: MailAddress
  package var to: [MailAddress]
  package var username: String?
  package var password: SecretSource?
  package var caFile: String?

  /// The most recipients of one document: each is a message of its own.
  package static let recipientsBound = 100

  static let known: Set<String> = [
    "to", "from", "relay", "username", "password_file", "password_command", "ca_file", "template", "timeout", "rate",
    "base_url",
  ]

  /// Everybody in `to`, a text or a list; those that are no address are left out.
  package static func recipients(_ options: NotificationOptions) -> [MailAddress] {
    addresses(options.options["to"]).compactMap { MailAddress($0) }
  }

  /// The texts of `to`: one, or a list; a text may itself hold several, with commas between them.
  static func addresses(_ value: Value?) -> [String] {
    let texts: [String] =
      switch value {
      case .string(let text): [text]
      case .array(let elements): elements.compactMap(\.text)
      default: []
      }
    return texts.flatMap { $0.split(separator: ",") }.map { String($0) }.filter { $0.contains { $0 != " " } }
      .prefix(recipientsBound).map { $0 }
  }

  /// Reads the document.
  /// - Parameter problems: what a person has to mend is added here.
  /// - Returns: nil when it cannot be used.
  package init?(_ options: NotificationOptions, problems: inout [Problem]) {
    let fields = options.options
    var found: [Problem] = []
    func problem(_ path: String, _ reason: String, _ hint: String? = nil, level: Problem.Level = .refused) {
      found.append(
        Problem(level, kind: "notification_options", id: options.id, path: path, reason: reason, hint: hint))
    }
    func text(_ name: String) -> String? {
      guard let value = fields[name], !value.isNull else { return nil }
      if let text = value.text, !text.isEmpty { return text }
      problem(name, "must be text, not \(value.kindName)")
      return nil
    }
    for name in fields.keys.sorted() where !Self.known.contains(name) {
      if ["password", "secret", "token"].contains(name) {
        problem(name, "a document must not hold a secret", "use password_file or password_command")
      } else {
        problem(name, "unknown field", NearestName.hint(name, in: Self.known), level: .warning)
      }
    }

    var relay: Relay?
    if let written = text("relay") {
      do throws(TransferError) { relay = try Relay(written) } catch { problem("relay", error.message) }
    } else if fields["relay"] == nil {
      problem("relay", "is missing", "e.g. smtp://mail.example.org:587")
    }
    let from = text("from")
    let sender = from.flatMap { MailAddress($0) }
    if let from, sender == nil {
      problem("from", "'\(PlainText.line(from, limit: 100))' is no e-mail address", "e.g. syscrap@example.org")
    } else if fields["from"] == nil {
      problem("from", "is missing", "e.g. syscrap@example.org")
    }
    let written = Self.addresses(fields["to"])
    for (index, address) in written.enumerated() where MailAddress(address) == nil {
      let path = written.count > 1 ? "to.\(index)" : "to"
      problem(path, "'\(PlainText.line(address, limit: 100))' is no e-mail address", "e.g. ops@example.org")
    }
    if written.isEmpty { problem("to", "names nobody", "an address or a list of them") }

    caFile = text("ca_file")
    username = text("username")
    switch (text("password_file"), fields["password_command"]) {
    case (let file?, nil): password = .file(file)
    case (nil, let command?):
      let argv = command.elements?.compactMap(\.text) ?? []
      if argv.isEmpty || argv.count != command.elements?.count {
        problem("password_command", "must be a list of words, the program first", "e.g. [pass, show, mail]")
      } else {
        password = .command(argv)
      }
    case (_?, _?): problem("password_command", "stands beside password_file; keep one of them")
    case (nil, nil): break
    }
    if username != nil, password == nil, fields["password_file"] == nil, fields["password_command"] == nil {
      problem("username", "has no password", "add password_file or password_command")
    }
    if username == nil, password != nil { problem("username", "is missing beside the password") }
    problems += found
    guard let relay, let sender, !found.contains(where: { $0.level == .refused }) else { return nil }
    self.relay = relay
    self.from = sender
    to = Self.recipients(options)
  }
}
