internal import CoreMetrics
internal import Model
internal import Remote

/// Keeps one target's budget: asks the governor before each look, with what was counted until then. It outlives the lives
/// of the wrappers and of the keeper.
actor TouchWarden {
  private nonisolated let account: any TouchAccount
  private var governor: TouchGovernor
  private let stretched = Counter(label: "syscrap_touch_stretched_looks_total")
  private let deferred = Counter(label: "syscrap_touch_logins_deferred_total")

  init(_ account: any TouchAccount, budget: TouchBudget = TouchBudget()) {
    self.account = account
    governor = TouchGovernor(budget: budget)
  }

  func set(_ budget: TouchBudget) { governor.budget = budget }

  /// - Returns: what becomes of the look, and the metric's standing where it has changed.
  func decide(
    _ plan: MetricPlan, tick: Int64?, demand: TouchDemand
  ) -> (verdict: TouchGovernor.Verdict, news: TouchGovernor.Standing?) {
    let verdict = governor.decide(plan, tick: tick, demand: demand, now: account.minute)
    switch verdict {
    case .ask: break
    case .stretched:
      account.note(.stretched)
      stretched.increment()
    case .shed(let reason):
      account.note(.shed)
      Counter(label: "syscrap_touch_shed_looks_total", dimensions: [("why", reason.rawValue)]).increment()
    }
    return (verdict, governor.news(of: plan))
  }

  func done(_ demand: TouchDemand) { governor.done(demand) }

  func note(load perCore: Double) { governor.note(load: perCore, now: account.minute) }

  /// The metrics that run now; what is known of others is forgotten.
  func keep(_ titles: Set<String>) {
    for (plan, _) in governor.standings where !titles.contains(plan.title) { governor.forget(plan.title) }
  }

  /// How long the next login has to wait for the budget, and whether nothing may shorten that.
  func loginWait() -> (wait: Duration, isUsedUp: Bool) { governor.budget.loginWait(ages: account.loginAges) }

  /// A login waits longer than it would without a budget.
  func noteDeferred() { deferred.increment() }

  /// The plan as it is kept at present: stretched intervals as they are, and a day for what is not looked at.
  func asGathered(_ plan: AggregationPlan) -> AggregationPlan {
    var plan = plan
    for index in plan.metrics.indices {
      switch governor.standing(of: plan.metrics[index].title) {
      case .normal: break
      case .stretched(let factor): plan.metrics[index].interval *= factor
      case .shed: plan.metrics[index].interval = .seconds(86_400)
      }
    }
    return plan
  }

  /// For people: `{factor, loaded, load, metrics: {TITLE: {every, state, why}}}`.
  var state: Value {
    var fields: [String: Value] = ["factor": .int(Int64(governor.factor)), "loaded": .bool(governor.isLoaded)]
    fields["load"] = governor.load.map { .double(rounded($0)) }
    var metrics: [String: Value] = [:]
    for (plan, standing) in governor.standings {
      let factor: Int
      if case .normal = standing { factor = 1 } else { factor = governor.factor }
      var entry: [String: Value] = [
        "every": .string(DurationText.format(plan.interval * factor)), "state": .string(standing.word),
      ]
      if case .shed(let reason) = standing { entry["why"] = .string(reason.rawValue) }
      metrics[plan.title] = .object(entry)
    }
    fields["metrics"] = .object(metrics)
    return .object(fields)
  }
}

extension TouchGovernor.Standing {
  var word: String {
    switch self {
    case .normal: "normal"
    case .stretched: "stretched"
    case .shed: "shed"
    }
  }

  /// The event's value: `{touch: normal | stretched | shed, factor, why}`.
  var value: Value {
    switch self {
    case .normal: ["touch": "normal"]
    case .stretched(let factor): ["touch": "stretched", "factor": .int(Int64(factor))]
    case .shed(let reason): ["touch": "shed", "why": .string(reason.rawValue)]
    }
  }
}
