internal import FoundationEssentials
internal import Model

/// One piece of news, before it is known by which ways it goes: makes the queue entries for a way.
struct Message {
  enum Words {
    /// Written from facts, anew where it must be.
    case facts(MessageFields)
    /// As it is.
    case fixed(subject: String, body: String)
  }

  var identity: MessageIdentity
  var words: Words
  var severity: Severity?
  /// The message before this one was never told, as is known already.
  var isUntold = false

  init(_ identity: MessageIdentity, words: Words, severity: Severity?, isUntold: Bool = false) {
    self.identity = identity
    self.words = words
    self.severity = severity
    self.isUntold = isUntold
  }

  /// One entry for each recipient of `options`.
  ///
  /// Reminders and "resolved" stay behind the message that fired, and hang on its mail thread.
  func entries(
    for options: NotificationOptions, recipients: [String?], alternates: [String], at now: Date
  ) -> [QueueEntry] {
    recipients.map { recipient in
      let isFirst = identity.kind != .resolved && !identity.kind.isReminder
      let firingKey = isFirst ? nil : identity.firing.key(option: options.id, recipient: recipient)
      return QueueEntry(
        id: UUID().uuidString.lowercased(), key: identity.key(option: options.id, recipient: recipient),
        reaction: identity.condition.reaction, target: identity.condition.target, type: options.type,
        payload: payload(for: options, recipient: recipient, thread: firingKey), episode: episodeID,
        kind: identity.kind.name, option: options.id, recipient: recipient, alternates: alternates, after: firingKey,
        severity: severity, created: now)
    }
  }

  /// Notices and tests belong to no episode; their identity's is made up.
  private var episodeID: String? {
    switch identity.kind {
    case .firing, .reminder, .resolved: identity.episode
    case .test, .notice: nil
    }
  }

  /// In the shape of documents.md: `{from, to, subject, body}`, and beside it what is needed to write it anew.
  private func payload(for options: NotificationOptions, recipient: String?, thread: String?) -> [String: Value] {
    var payload: [String: Value] = ["identity": identity.value]
    switch words {
    case .facts(let fields):
      let text = MessageText(fields, untold: isUntold, template: MessageTemplate(options.options))
      payload["subject"] = .string(text.subject)
      payload["body"] = .string(text.body)
      payload["fields"] = fields.value
    case .fixed(let subject, let body):
      payload["subject"] = .string(subject)
      payload["body"] = .string(body)
    }
    if let from = options.options["from"]?.text { payload["from"] = .string(from) }
    if let recipient { payload["to"] = .string(recipient) }
    if let thread { payload["thread"] = .string(thread) }
    if isUntold { payload["untold"] = true }
    return payload
  }

  /// The news of an entry, to send it by another way; `nil`: another program queued it.
  init?(_ entry: QueueEntry, isUntold: Bool) {
    guard let identity = MessageIdentity(entry) else { return nil }
    self.identity = identity
    severity = entry.severity
    self.isUntold = isUntold || entry.payload["untold"]?.flag == true
    if let fields = MessageFields(entry.payload["fields"]) {
      words = .facts(fields)
    } else {
      words = .fixed(
        subject: entry.payload["subject"]?.text ?? "", body: entry.payload["body"]?.text ?? "")
    }
  }

  /// The words of an entry that is about to leave.
  static func text(of entry: QueueEntry, options: NotificationOptions, isUntold: Bool) -> MessageText {
    if let fields = MessageFields(entry.payload["fields"]) {
      return MessageText(
        fields, untold: isUntold || entry.payload["untold"]?.flag == true, template: MessageTemplate(options.options))
    }
    let subject = entry.payload["subject"].map(plain) ?? ""
    let body = entry.payload["body"].map(plain) ?? ""
    return MessageText(
      subject: subject.isEmpty ? "Message about \(PlainText.line(entry.target, limit: 200))" : PlainText.line(subject),
      body: PlainText.lines(body))
  }

  private static func plain(_ value: Value) -> String {
    value.text ?? (value.isNull ? "" : value.json())
  }
}

extension MessageKind {
  var isReminder: Bool { if case .reminder = self { true } else { false } }
}
