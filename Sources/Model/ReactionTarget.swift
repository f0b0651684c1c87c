/// How bad it is; the order is the order of urgency.
package enum Severity: String, Sendable, Hashable, Codable, CaseIterable, Comparable {
  case info, warning, critical
  package static func < (a: Severity, b: Severity) -> Bool { a.order < b.order }
  private var order: Int {
    switch self {
    case .info: 0
    case .warning: 1
    case .critical: 2
    }
  }
}

/// What missing data means to a condition.
package enum NoDataPolicy: String, Sendable, Hashable, Codable, CaseIterable {
  /// The state stays what it was; never resolves.
  case keep
  case alert
  case ok
}

/// A document of `reaction_targets`: what is checked, on which targets, and who hears of it.
package struct ReactionTarget: Sendable, Hashable {
  package var id: String
  /// `Range`, `Presence`, `Regexp`, `Composed`, or a name nobody knows.
  package var reaction: String
  package var selector: TargetSelector
  /// In the order of the metric's name.
  package var conditions: [MetricCondition]
  package var severity: Severity
  package var noData: NoDataPolicy
  /// Each step is a list of notification_options, tried in order; `nil`: all whose `target` matches.
  package var notify: [[String]]?
  /// How often a message is repeated while the condition holds.
  package var repeatInterval: Duration
  package var sendsResolved: Bool
  package var runbook: String?
  package var labels: [String: String]
  package var isEnabled: Bool
  /// The fields of `Composed`: `of` and `when`, as written.
  package var composition: [String: Value]

  package init(
    id: String, reaction: String, selector: TargetSelector, conditions: [MetricCondition] = [],
    severity: Severity = .warning, noData: NoDataPolicy = .keep, notify: [[String]]? = nil,
    repeatInterval: Duration = .seconds(4 * 3600), sendsResolved: Bool = true, runbook: String? = nil,
    labels: [String: String] = [:], isEnabled: Bool = true, composition: [String: Value] = [:]
  ) {
    self.id = id
    self.reaction = reaction
    self.selector = selector
    self.conditions = conditions
    self.severity = severity
    self.noData = noData
    self.notify = notify
    self.repeatInterval = repeatInterval
    self.sendsResolved = sendsResolved
    self.runbook = runbook
    self.labels = labels
    self.isEnabled = isEnabled
    self.composition = composition
  }
}

/// What one reaction demands of one metric.
package struct MetricCondition: Sendable, Hashable {
  package var metric: String
  /// The instance, where a metric has several; `nil`: all.
  package var name: String?
  /// Which field; `nil`: the metric's headline.
  package var field: String?
  /// Which elements of a list count: all whose fields equal these.
  package var filter: [String: Value]
  /// How long it must hold before it fires.
  package var holdFor: Duration
  /// N of M: fires when at least `n` of the `last` samples are bad.
  package var times: Times?
  /// The limits that must be met to resolve, where they differ (`clear: {max: 80}`).
  package var clear: [String: Value]?
  /// The limits themselves: `min`, `max`, `max_age`, `match`, `absent`, as the reaction reads them; checked on reading.
  package var limits: [String: Value]
  /// What missing data means to this metric, where it differs from the document's.
  package var noData: NoDataPolicy?

  package struct Times: Sendable, Hashable {
    package var n: Int
    package var last: Int
    package init(n: Int, last: Int) {
      self.n = n
      self.last = last
    }
  }

  package init(
    metric: String, name: String? = nil, field: String? = nil, filter: [String: Value] = [:],
    holdFor: Duration = .zero, times: Times? = nil, clear: [String: Value]? = nil, limits: [String: Value] = [:],
    noData: NoDataPolicy? = nil
  ) {
    self.metric = metric
    self.name = name
    self.field = field
    self.filter = filter
    self.holdFor = holdFor
    self.times = times
    self.clear = clear
    self.limits = limits
    self.noData = noData
  }
}
