internal import FoundationEssentials
package import Model

/// What a message can say, as texts by name: what a `template` uses as `{{name}}`.
///
/// It travels in the queue entry, so that a message can be written anew for another channel, or when it turns out that
/// the message before it was never delivered. All values are harmless: ``PlainText`` went over them.
package struct MessageFields: Sendable, Hashable {
  package var texts: [String: String]

  /// The names that a template may use. An absent value is an empty text.
  package static let names: Set<String> = [
    "status", "severity", "kind", "reminder", "reaction", "target", "host", "metric", "name", "element", "what",
    "value",
    "limit", "since", "until", "duration", "reason", "recent", "runbook", "labels", "episode", "subject", "body",
  ]

  package init(_ texts: [String: String]) { self.texts = texts }

  package subscript(name: String) -> String {
    get { texts[name] ?? "" }
    set { texts[name] = newValue.isEmpty ? nil : newValue }
  }

  /// The facts of an announcement.
  /// - Parameter target: the monitored host, when it still exists.
  package init(_ announcement: Announcement, kind: MessageKind, target: Target?) {
    let episode = announcement.episode
    let key = episode.key
    texts = [:]
    self["kind"] = kind.name
    self["severity"] = episode.severity.rawValue
    switch kind {
    case .resolved: self["status"] = "RESOLVED"
    case .firing, .reminder: self["status"] = "FIRING"
    case .test: self["status"] = "TEST"
    case .notice: self["status"] = "NOTICE"
    }
    if case .reminder(let number) = kind { self["reminder"] = String(number) }
    self["reaction"] = PlainText.line(key.reaction, limit: 200)
    self["target"] = PlainText.line(key.target, limit: 200)
    if let host = target?.host, host != key.target { self["host"] = PlainText.line(host, limit: 253) }
    self["metric"] = PlainText.line(key.metric, limit: 100)
    self["name"] = PlainText.line(key.name ?? "", limit: 100)
    self["element"] = PlainText.line(key.element ?? "", limit: 200)
    self["what"] = [self["metric"], self["name"], self["element"]].filter { !$0.isEmpty }.joined(separator: " ")
    self["value"] = PlainText.line(episode.value, limit: 300)
    self["limit"] = PlainText.line(episode.limit, limit: 300)
    self["since"] = PlainText.instant(episode.since)
    let end = episode.ended_at ?? announcement.at
    if episode.ended_at != nil || kind == .resolved { self["until"] = PlainText.instant(end) }
    self["duration"] = PlainText.duration(PlainText.span(from: episode.since, to: end))
    self["reason"] = PlainText.line(episode.end_reason ?? "", limit: 300)
    self["recent"] = episode.recent.suffix(Episode.recentBound).map {
      "\(PlainText.stamp($0.at))  \(PlainText.line($0.value, limit: 120))"
    }.joined(separator: "\n")
    self["runbook"] = PlainText.line(episode.runbook ?? "", limit: 500)
    self["labels"] = episode.labels.sorted { $0.key < $1.key }.prefix(20)
      .map { "\(PlainText.line($0.key, limit: 60))=\(PlainText.line($0.value, limit: 120))" }.joined(separator: " ")
    self["episode"] = PlainText.line(episode.id, limit: 100)
  }

  /// As it stands in a queue entry's payload.
  package var value: Value { .object(texts.mapValues { .string($0) }) }

  /// Reads what ``value`` wrote. `nil`: there are none (a message that another program queued).
  package init?(_ value: Value?) {
    guard let fields = value?.fields else { return nil }
    texts = fields.compactMapValues(\.text).mapValues { PlainText.lines($0) }
  }
}
