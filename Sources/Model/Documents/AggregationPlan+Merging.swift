extension AggregationPlan {
  /// What counts for one target: defaults in code ← `generic` ← label selectors ← lists of names ← the target's own.
  ///
  /// Maps are merged key by key at every level; anything else (a number, a list of instances, `false`) replaces what was
  /// inherited. `false` switches a metric off, a later map switches it on again with that map alone. Among label
  /// selectors the one with more labels counts more; among equals the later `_id`.
  ///
  /// Without a matching document there are no metrics, and the limits are the defaults. `Connection` and `Host` are
  /// gathered always and never stand in a plan. A metric that is not known stays in the plan, so that it can be shown.
  /// - Parameters:
  ///   - defaults: what holds where no document says otherwise.
  ///   - options: any documents; those that are disabled or do not match are left out.
  package static func merge(
    defaults: AggregationPlan = AggregationPlan(), matching options: [AggregationOptions], target: Target
  ) -> AggregationPlan {
    var plan = defaults
    var metrics: [String: Value] = [:]
    for metric in defaults.metrics where metric.name == nil {
      var fields = metric.options
      fields["interval"] = .double(metric.interval.secondsValue)
      metrics[metric.metric] = .object(fields)
    }
    var limits: [String: Value] = [:]
    var touch: [String: Value] = [:]
    for layer in options.filter({ $0.isEnabled && $0.selector.matches(target) }).sorted(by: isWeaker) {
      for (metric, value) in layer.metrics { metrics[metric] = merged(metrics[metric], with: value) }
      limits.merge(layer.limits) { $1 }
      touch.merge(layer.touch) { $1 }
      if let variable = layer.variable { plan.variable = variable }
    }
    plan.limits = HistoryLimits(limits, over: defaults.limits)
    plan.touch = TouchBudget(touch.merging(target.touch) { $1 }, over: defaults.touch)
    plan.touch.channels = target.channels
    plan.metrics = metrics.sorted { $0.key < $1.key }.flatMap { MetricPlan.plans(metric: $0.key, options: $0.value) }
    return plan
  }

  private static func isWeaker(_ a: AggregationOptions, _ b: AggregationOptions) -> Bool {
    let (x, y) = (strength(a.selector), strength(b.selector))
    return x == y ? a.id < b.id : x < y
  }

  /// Grows from `generic` over labels and lists of names to one name.
  private static func strength(_ selector: TargetSelector) -> Int {
    switch selector {
    case .generic: 0
    case .labels(let labels): min(labels.count, 1000)
    case .names(let names): names.count == 1 ? 2000 : 1500
    }
  }

  private static func merged(_ below: Value?, with above: Value) -> Value {
    switch (below, above) {
    case (let below?, .null): below
    case (.object(let lower)?, .object(let upper)): .object(lower.merging(upper) { merged($0, with: $1) })
    default: above
    }
  }
}

extension HistoryLimits {
  /// Limits as documents write them, over others; what cannot be read changes nothing.
  package init(_ written: [String: Value], over below: HistoryLimits = HistoryLimits()) {
    self = below
    func count(_ name: String) -> Int? {
      guard let number = written[name]?.integer, let count = Int(exactly: number),
        AggregationOptions.counts.contains(count)
      else { return nil }
      return count
    }
    func age(_ name: String) -> Duration? {
      guard let age = written[name].flatMap(DurationText.parse(_:) as (Value) -> Duration?),
        AggregationOptions.ages.contains(age)
      else { return nil }
      return age
    }
    realTime = count("RT") ?? realTime
    event = count("event") ?? event
    variable = age("variable") ?? variable
    hour = age("hour") ?? hour
    day = age("day") ?? day
  }
}

extension MetricPlan {
  /// The wrappers that one merged entry of `metrics` stands for: none, one, or one for each named instance.
  static func plans(metric: String, options: Value) -> [MetricPlan] {
    guard !MetricCatalogue.always.contains(metric) else { return [] }
    switch options {
    case .object(let fields): return [MetricPlan(metric: metric, fields: fields)]
    case .null, .bool(true): return [MetricPlan(metric: metric, fields: [:])]
    case .array(let elements):
      var names: Set<String?> = []
      return elements.compactMap(\.fields).map { MetricPlan(metric: metric, fields: $0) }
        .filter { names.insert($0.name).inserted }
    default: return []
    }
  }

  private init(metric: String, fields: [String: Value]) {
    let written = fields["interval"].flatMap(DurationText.parse(_:) as (Value) -> Duration?)
    let interval = written.flatMap { AggregationOptions.intervals.contains($0) ? $0 : nil }
    self.init(
      metric: metric, name: fields["name"]?.text, interval: interval ?? MetricCatalogue.defaultInterval(metric),
      options: fields.filter { $0.key != "interval" && $0.key != "name" })
  }
}
