extension DocumentSet {
  /// Targets whose metrics, each at its interval, cannot fit the budget that their documents declare.
  ///
  /// - Parameters:
  ///   - level: `refused` where a person can still mend it before it counts. What counts already is a warning: the
  ///     service keeps to the budget by stretching intervals.
  ///   - demand: what one look of a metric asks; nil for metrics that do not run.
  package func touchProblems(
    _ level: Problem.Level, demand: (MetricPlan) -> TouchDemand?
  ) -> [Problem] {
    targets.filter(\.isEnabled).flatMap { target -> [Problem] in
      let plan = AggregationPlan.merge(matching: aggregationOptions, target: target)
      return plan.touchProblems(level, of: target, demand: demand)
    }
  }
}

extension AggregationPlan {
  /// What the metrics cost if each is gathered at its interval, `Host` included.
  package func touchForecast(demand: (MetricPlan) -> TouchDemand?) -> TouchForecast {
    let host = MetricPlan(metric: "Host", interval: MetricCatalogue.defaultInterval("Host"))
    return TouchForecast(
      ([host] + metrics).compactMap { plan in demand(plan).map { TouchForecast.Part(plan: plan, demand: $0) } })
  }

  func touchProblems(
    _ level: Problem.Level, of target: Target, demand: (MetricPlan) -> TouchDemand?
  ) -> [Problem] {
    let forecast = touchForecast(demand: demand)
    var problems: [Problem] = []
    func say(
      _ field: String, _ need: Double, _ budget: Double, of what: String, unit: String = "",
      _ cost: (TouchForecast.Part) -> Double
    ) {
      // What is left of the arithmetic's rounding is no need.
      let need = ((need * 1000).rounded() / 1000).rounded(.up)
      guard need > budget else { return }
      let text = { (number: Double) in "\(Int64(exactly: number.rounded()) ?? .max)\(unit)" }
      let dearest = forecast.parts.max { cost($0) < cost($1) }
      var hint = "raise touch.\(field) to \(text(need)) or more"
      if let dearest, let interval = Self.remedy(dearest, need: need, budget: budget, cost: cost(dearest)) {
        hint = "gather \(dearest.plan.title) every \(interval) or less often, or \(hint)"
      }
      problems.append(
        Problem(
          level, kind: DocumentKind.targets.rawValue, id: target.id, path: "touch.\(field)",
          reason:
            "its metrics need \(text(need))\(what) a minute, and the budget is \(text(budget))"
            + (dearest.map { "; most of it is \($0.plan.title) every \(DurationText.format($0.plan.interval))" } ?? ""),
          hint: hint))
    }
    say("commands", forecast.commands, Double(touch.commands), of: " commands", \.commands)
    say("bytes", forecast.bytes, Double(touch.bytes), of: " bytes", \.bytes)
    say(
      "cpu", forecast.cpu.secondsValue * 1000, touch.cpu.secondsValue * 1000, of: " of processor time", unit: "ms"
    ) {
      (TouchCost.command * $0.commands + TouchCost.poll * ($0.demand.readsFiles ? $0.looks : 0)).secondsValue * 1000
    }
    return problems
  }

  /// The shortest interval of one metric at which all fit, if there is one.
  private static func remedy(_ part: TouchForecast.Part, need: Double, budget: Double, cost: Double) -> String? {
    let left = budget - (need - cost)
    guard left > 0, cost > 0 else { return nil }
    let seconds = part.plan.interval.secondsValue * cost / left
    guard seconds <= 86_400 else { return nil }
    return DurationText.format(.seconds(Int64(seconds.rounded(.up))))
  }
}
