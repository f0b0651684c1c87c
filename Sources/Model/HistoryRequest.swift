package import FoundationEssentials

/// Which part of a metric's history somebody wants to see.
package struct HistoryRequest: Sendable, Hashable {
  /// A point in time: so long ago, or an instant.
  package enum Moment: Sendable, Hashable {
    case ago(Duration)
    case at(Date)

    /// Reads `1h`, a number of seconds, or ISO 8601; nil for anything else.
    package init?(_ text: String) {
      if let duration = DurationText.parse(text) {
        self = .ago(duration)
      } else if let date = Instant.parse(text) {
        self = .at(date)
      } else {
        return nil
      }
    }

    package func date(from now: Date) -> Date {
      switch self {
      case .ago(let duration): now.addingTimeInterval(-duration.secondsValue)
      case .at(let date): date
      }
    }
  }

  package var target: String
  package var metric: String
  /// One instance of a metric that has several; nil: all.
  package var name: String?
  /// A ``SampleType`` by its name; nil: the finest that reaches back to `since`.
  package var type: String?
  package var since: Moment
  /// Up to, but not including; nil: until now.
  package var until: Moment?
  /// At most so many samples, the newest.
  package var limit: Int

  package init(
    target: String, metric: String, name: String? = nil, type: String? = nil, since: Moment = .ago(.seconds(3600)),
    until: Moment? = nil, limit: Int = 1000
  ) {
    self.target = target
    self.metric = metric
    self.name = name
    self.type = type
    self.since = since
    self.until = until
    self.limit = limit
  }
}
