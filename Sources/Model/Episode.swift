package import FoundationEssentials

/// Which condition: a reaction's demand on one metric (and element) of one target. It outlives edits of the document.
package struct ConditionKey: Sendable, Hashable, Codable {
  /// The reaction document's `_id`.
  package var reaction: String
  package var target: String
  package var metric: String
  package var name: String?
  /// One element of a list metric, e.g. the mount `/var`; `nil` for plain metrics.
  package var element: String?

  package init(reaction: String, target: String, metric: String, name: String? = nil, element: String? = nil) {
    self.reaction = reaction
    self.target = target
    self.metric = metric
    self.name = name
    self.element = element
  }
}

/// Four different things; unknown is not OK, and pending is not firing.
package enum ConditionState: String, Sendable, Hashable, Codable, CaseIterable {
  case unknown, ok, pending, firing
}

/// One time that a condition held: from the first bad sample to the end.
package struct Episode: Sendable, Hashable, Codable {
  /// Unique and stable over restarts; part of every message's key.
  package var id: String
  package var key: ConditionKey
  package var severity: Severity
  /// `pending` or `firing` while open, `ok` once it ended.
  package var state: ConditionState
  /// The first bad sample's time.
  package var since: Date
  package var fired_at: Date?
  package var ended_at: Date?
  /// Why it ended where it is not simply "back within limits": `rule removed`, `target removed` …
  package var end_reason: String?
  /// When the last firing or repeat message was handed over, and how many repeats there were.
  package var announced_at: Date?
  package var repeats: Int
  /// The newest value in a person's words, with its unit: `93.1 %`.
  package var value: String
  /// What it is held against, in a person's words: `at most 90 %`.
  package var limit: String
  /// The newest values, oldest first, at most ``recentBound``; for the message.
  package var recent: [Recent]
  package var runbook: String?
  package var labels: [String: String]

  package static let recentBound = 10

  package struct Recent: Sendable, Hashable, Codable {
    package var at: Date
    package var value: String
    package init(at: Date, value: String) {
      self.at = at
      self.value = value
    }
  }

  package init(
    id: String, key: ConditionKey, severity: Severity, state: ConditionState, since: Date, value: String, limit: String
  ) {
    self.id = id
    self.key = key
    self.severity = severity
    self.state = state
    self.since = since
    self.value = value
    self.limit = limit
    self.repeats = 0
    self.recent = []
    self.labels = [:]
  }
}

/// Something about an episode that people may have to hear: what reactions hand to notifications.
package struct Announcement: Sendable, Hashable {
  package enum Kind: Sendable, Hashable {
    /// Stored, nothing to say: pending began or was dropped, values moved on.
    case silent
    case firing
    /// The n-th reminder, from 1.
    case reminder(Int)
    case resolved
  }

  package var kind: Kind
  /// The episode after the change.
  package var episode: Episode
  /// Who hears of it, from the reaction's document; `nil`: all options that match the target.
  package var notify: [[String]]?
  package var at: Date

  package init(kind: Kind, episode: Episode, notify: [[String]]?, at: Date) {
    self.kind = kind
    self.episode = episode
    self.notify = notify
    self.at = at
  }
}
