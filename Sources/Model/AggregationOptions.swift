/// A document of `aggregation_options`: what is gathered where, and how much history is kept.
///
/// Values are still as written (maps, lists, `false`): what counts for one target is made by merging all that match,
/// see ``AggregationPlan``.
package struct AggregationOptions: Sendable, Hashable {
  package var id: String
  package var selector: TargetSelector
  /// Metric name → options map, list of maps, or `false`.
  package var metrics: [String: Value]
  /// `RT variable hour day event` as written.
  package var limits: [String: Value]
  /// Bucket length of the variable roll-up.
  package var variable: Duration?
  /// What is said of the targets' budgets, as written: see ``TouchBudget``.
  package var touch: [String: Value]
  package var isEnabled: Bool

  package init(
    id: String, selector: TargetSelector, metrics: [String: Value] = [:], limits: [String: Value] = [:],
    variable: Duration? = nil, touch: [String: Value] = [:], isEnabled: Bool = true
  ) {
    self.id = id
    self.selector = selector
    self.metrics = metrics
    self.limits = limits
    self.variable = variable
    self.touch = touch
    self.isEnabled = isEnabled
  }
}

/// One wrapper to run: a metric with the options that count for one target.
package struct MetricPlan: Sendable, Hashable {
  package var metric: String
  /// Tells several instances of one metric apart.
  package var name: String?
  package var interval: Duration
  package var options: [String: Value]

  package init(metric: String, name: String? = nil, interval: Duration, options: [String: Value] = [:]) {
    self.metric = metric
    self.name = name
    self.interval = interval
    self.options = options
  }

  /// `Vitals.CPU`, or `POL.Port ssh` where instances are named.
  package var title: String { name.map { "\(metric) \($0)" } ?? metric }
}

/// How much is kept: RT and events by count, roll-ups by age.
package struct HistoryLimits: Sendable, Hashable {
  package var realTime = 100
  package var variable: Duration = .seconds(3600)
  package var hour: Duration = .seconds(72 * 3600)
  package var day: Duration = .seconds(30 * 86_400)
  package var event = 1000
  package init() {}

  /// The most that a document can ask for: where nobody knows what it asks for, nothing goes by less.
  package static let greatest: HistoryLimits = {
    var limits = HistoryLimits()
    (limits.realTime, limits.event) = (AggregationOptions.counts.upperBound, AggregationOptions.counts.upperBound)
    let age = AggregationOptions.ages.upperBound
    (limits.variable, limits.hour, limits.day) = (age, age, age)
    return limits
  }()
}

/// What one target is asked, merged from defaults, `generic`, selectors and the target's own document.
package struct AggregationPlan: Sendable, Hashable {
  package var metrics: [MetricPlan]
  package var limits: HistoryLimits
  /// Bucket length of the variable roll-up; default 5 min.
  package var variable: Duration
  /// The most that all this may cost the target.
  package var touch: TouchBudget

  package init(
    metrics: [MetricPlan] = [], limits: HistoryLimits = .init(), variable: Duration = .seconds(300),
    touch: TouchBudget = .init()
  ) {
    self.metrics = metrics
    self.limits = limits
    self.variable = variable
    self.touch = touch
  }
}
