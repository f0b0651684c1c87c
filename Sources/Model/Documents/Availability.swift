/// Which of the names that documents may use are built into this program; App says so.
package struct Availability: Sendable, Hashable {
  package var metrics: Set<String>
  package var reactions: Set<String>
  /// Types of notification_options.
  package var notifiers: Set<String>

  package init(metrics: Set<String>, reactions: Set<String>, notifiers: Set<String>) {
    self.metrics = metrics
    self.reactions = reactions
    self.notifiers = notifiers
  }

  /// All names that documents.md knows.
  package static let everything = Availability(
    metrics: Set(MetricCatalogue.headline.keys), reactions: ["Range", "Presence", "Regexp", "Composed"],
    notifiers: ["email", "slack", "telegram", "asana", "webhook", "message_queue", "command"])

  /// What stands between a name and its use.
  enum Standing { case usable, unavailable, unknown }

  static func standing(_ name: String, known: Set<String>, available: Set<String>) -> Standing {
    if available.contains(name) { return .usable }
    return known.contains(name) ? .unavailable : .unknown
  }
}
