extension NotificationOptions {
  private static let common: Set<String> = Document.commonFields.union([
    "type", "base_url", "template", "timeout", "rate",
  ])
  private static let names: [String: Set<String>] = [
    "email": ["to", "from", "relay", "username", "password_file", "password_command", "ca_file"],
    "slack": ["webhook_url_file"],
    "telegram": ["token_file", "chat"],
    "asana": ["token_file", "project"],
    "webhook": ["url", "method", "headers_file", "secret_file"],
    "message_queue": ["uri", "username", "password_file", "collection"],
    "command": ["argv"],
  ]
  /// Bound on one delivery.
  static let timeouts: ClosedRange<Duration> = .milliseconds(100)...Duration.seconds(600)

  /// Reads a document of `notification_options`.
  ///
  /// `options` of the result holds the type's fields, as written; `to` is always a list. Fields of a type that nobody
  /// knows are kept unchecked.
  /// - Parameter available: types outside are reported; the value is made all the same, for a visible, harmless entry.
  package static func read(_ document: Document, available: Availability = .everything) -> Reading<NotificationOptions>
  {
    let problems = ProblemList(kind: document.kind.rawValue, id: document.id)
    let reader = FieldReader(document: document, problems)
    guard !problems.isFatal else { return problems.reading(nil) }
    reader.require("type", example: "email")
    let type = reader.text("type", upTo: 256, example: "email") ?? ""
    var result = NotificationOptions(
      id: document.id, selector: TargetSelector.read(reader) ?? .generic, type: type,
      options: document.fields.filter {
        !Document.commonFields.contains($0.key) && $0.key != "type" && !$0.value.isNull
      })
    result.labels = reader.textMap("labels") ?? [:]
    result.isEnabled = reader.enabled()
    result.timeout = reader.duration("timeout", in: timeouts)
    result.options["timeout"] = nil
    readCommon(reader)
    guard !type.isEmpty else { return problems.reading(nil) }
    let isUsable = checkType(type, available, problems)
    guard let fields = names[type] else {
      refuseSecrets(reader)
      return problems.reading(result)
    }
    reader.allow(
      only: common.union(fields),
      advice: ["host": "write relay: smtp://mail.example.org:587", "port": "write relay: smtp://mail.example.org:587"])
    if isUsable { check(type, reader, into: &result) }
    return problems.reading(result)
  }

  private static func checkType(_ type: String, _ available: Availability, _ problems: ProblemList) -> Bool {
    switch Availability.standing(type, known: Set(names.keys), available: available.notifiers) {
    case .usable: return true
    case .unavailable:
      problems.refusePart(
        "type", "\(type) is not available in this version",
        hint: "available: \(available.notifiers.sorted().joined(separator: ", "))")
    case .unknown:
      problems.refusePart(
        "type", "there is no type \(FieldReader.quoted(type))", hint: NearestName.hint(type, in: available.notifiers))
    }
    return false
  }

  private static func refuseSecrets(_ reader: FieldReader) {
    for name in reader.fields.keys.sorted() {
      guard let advice = LiteralSecrets.advice(for: name, allowed: ["password_file", "token_file", "secret_file"])
      else {
        continue
      }
      reader.problems.refuse(reader.path(of: name), "a secret must not stand in a document", hint: advice)
    }
  }

  private static func readCommon(_ reader: FieldReader) {
    if reader.value("base_url") != nil { _ = url(reader, "base_url", schemes: ["https", "http"]) }
    if let template = reader.map("template") {
      template.allow(only: ["subject", "body"])
      _ = template.text("subject", upTo: 1024)
      _ = template.longText("body")
    }
    guard let rate = reader.value("rate") else { return }
    if let number = rate.number, number > 0, number <= 100_000 { return }
    if let text = rate.text {
      let parts = text.split(separator: "/", omittingEmptySubsequences: false)
      if parts.count == 2, let count = Int(parts[0]), (1...100_000).contains(count), ["s", "m", "h"].contains(parts[1])
      {
        return
      }
    }
    reader.problems.refuse(
      reader.path(of: "rate"), "expected messages in a time, found \(FieldReader.found(rate, "rate"))",
      hint: "for example 10/m or 100/h; a plain number is messages a minute")
  }

  // MARK: - By type

  private static func check(_ type: String, _ reader: FieldReader, into result: inout NotificationOptions) {
    switch type {
    case "email": checkEmail(reader, into: &result)
    case "slack":
      reader.require("webhook_url_file", example: "/etc/syscrap/slack_url")
      _ = reader.text("webhook_url_file")
    case "telegram":
      requireTexts(reader, ["token_file"])
      if reader.value("chat")?.integer == nil { requireTexts(reader, ["chat"]) }
    case "asana":
      requireTexts(reader, ["token_file"])
      if reader.value("project")?.integer == nil { requireTexts(reader, ["project"]) }
    case "webhook":
      reader.require("url", example: "https://example.org/hook")
      _ = url(reader, "url", schemes: ["https", "http"])
      _ = reader.choice("method", of: ["POST", "PUT", "PATCH"])
      for name in ["headers_file", "secret_file"] { _ = reader.text(name) }
    case "message_queue":
      reader.require("uri", example: "mongodb://db.example.org/queue")
      _ = url(reader, "uri", schemes: ["mongodb", "mongodb+srv"])
      requireTexts(reader, ["collection"])
      checkCredentials(reader)
    default:
      reader.require("argv", example: "[/usr/local/bin/tell]")
      _ = reader.arguments("argv")
    }
  }

  private static func requireTexts(_ reader: FieldReader, _ names: [String]) {
    for name in names {
      reader.require(name)
      _ = reader.text(name)
    }
  }

  private static func checkEmail(_ reader: FieldReader, into result: inout NotificationOptions) {
    if let to = reader.texts("to", example: "ops@example.org") {
      for (index, address) in to.enumerated() {
        checkAddress(address, reader.fields["to"]?.elements == nil ? "to" : "to[\(index)]", reader.problems)
      }
      if to.isEmpty { reader.problems.refuse("to", "the list is empty", hint: "for example [ops@example.org]") }
      result.options["to"] = .array(to.map { .string($0) })
    } else if reader.value("to") == nil {
      reader.problems.warn(
        "to", "without to only messages that other programs queue can leave this way",
        hint: "write to: [ops@example.org]")
    }
    if let from = reader.text("from", upTo: 254, example: "syscrap@example.org") {
      checkAddress(from, "from", reader.problems)
    }
    reader.require("relay", example: "smtp://mail.example.org:587")
    let relay = url(
      reader, "relay", schemes: ["smtp", "smtps", "smtp+plain"], allowsPath: false,
      example: "smtp://mail.example.org:587")
    checkCredentials(reader)
    if relay?.scheme == "smtp+plain", reader.value("username") != nil {
      reader.problems.warn(
        "relay", "the password would travel without encryption", hint: "use smtp:// (with STARTTLS) or smtps://")
    }
    _ = reader.text("ca_file")
  }

  private static func checkAddress(_ address: String, _ path: String, _ problems: ProblemList) {
    guard !HostText.isMailAddress(address) else { return }
    problems.refuse(
      path, "\(FieldReader.quoted(address)) is not an e-mail address",
      hint: address.contains("<") ? "write the address alone, without a name" : "for example ops@example.org")
  }

  private static func checkCredentials(_ reader: FieldReader) {
    _ = reader.text("username", upTo: 512)
    _ = reader.text("password_file")
    _ = reader.arguments("password_command")
    let sources = ["password_file", "password_command"].filter { reader.value($0) != nil }
    if sources.count > 1 {
      reader.problems.refuse("password_command", "password_file is given too", hint: "keep one of them")
    }
    switch (reader.value("username") != nil, sources.first) {
    case (true, nil):
      reader.problems.refuse("username", "there is no password for it", hint: "write password_file beside it")
    case (false, let source?):
      reader.problems.refuse(source, "there is no username for it", hint: "write username beside it")
    default: break
    }
  }

  /// A URI without a user and a password. Its text is never repeated in a message.
  private static func url(
    _ reader: FieldReader, _ name: String, schemes: [String], allowsPath: Bool = true, example: String? = nil
  ) -> URIText? {
    let example = example ?? "\(schemes[0])://example.org"
    guard let text = reader.text(name, upTo: 2048, example: example) else { return nil }
    let path = reader.path(of: name)
    guard let uri = URIText(text) else {
      reader.problems.refuse(path, "not a URI", hint: "for example \(example)")
      return nil
    }
    guard schemes.contains(uri.scheme) else {
      reader.problems.refuse(
        path, "the scheme \(FieldReader.quoted(uri.scheme)) does not fit here",
        hint: "use \(schemes.map { $0 + "://" }.joined(separator: ", "))")
      return nil
    }
    if uri.user != nil, !LiteralSecrets.holdsPassword(text) {
      reader.problems.refuse(path, "the URI carries a user", hint: "write username beside it")
    }
    if !uri.host.split(separator: ",").allSatisfy({ HostText.isHost(hostPart(String($0))) }) {
      reader.problems.refuse(path, "the URI's host is neither a name nor an IP address", hint: "for example \(example)")
    }
    if !allowsPath, !uri.rest.isEmpty, uri.rest != "/" {
      reader.problems.refuse(path, "the URI must end after the port", hint: "for example \(example)")
    }
    return uri
  }

  /// One of several hosts of a URI may have a port of its own.
  private static func hostPart(_ text: String) -> String {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    return parts.count == 2 && Int(parts[1]).map { (1...65_535).contains($0) } == true ? String(parts[0]) : text
  }
}
