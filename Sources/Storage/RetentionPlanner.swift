package import FoundationEssentials
package import Model

/// Decides which caps to enforce now, so that every history that is written to stays within its ``HistoryLimits``.
///
/// RT and events are capped by count: a rule is due when more than a tenth of the cap has come since the last one, and
/// at the first sight of a history, because what an earlier process left is unknown. Roll-ups are capped by age: at
/// most one rule a minute for each, and none while ages cannot be trusted (see ``ClockWatch``). Rules are only decided
/// here; a rule that failed to run comes again with ``forget(_:)``.
package struct RetentionPlanner: Sendable {
  private struct Key: Hashable {
    var series: Series
    var type: SampleType
  }

  private struct Standing {
    /// Samples that came since the last count rule.
    var added = 0
    var cap: Int
    var lastAgeRule: Date?
  }

  /// How many histories are remembered. When full all are forgotten: each gets one rule more than it needs.
  package static let historiesBound = 100_000
  package static let ageInterval: Duration = .seconds(60)

  private var standings: [Key: Standing] = [:]

  package init() {}

  /// How many histories are remembered now.
  package var historyCount: Int { standings.count }

  /// - Parameters:
  ///   - samples: what was just appended, successfully.
  ///   - closed: histories to which buckets were added.
  ///   - limits: the limits of a target, by its name.
  ///   - agesArePaused: whether nothing may go for its age now.
  /// - Returns: the rules to run now, in the order in which their series stand in `samples`, then in `closed`.
  package mutating func rules(
    after samples: [Sample], closed: [RollUpHistory] = [], limits: (String) -> HistoryLimits, now: Date,
    agesArePaused: Bool = false
  ) -> [RetentionRule] {
    var added: [Key: Int] = [:]
    var order: [Key] = []
    for sample in samples {
      let key = Key(series: sample.series, type: sample.type)
      if added.updateValue((added[key] ?? 0) + 1, forKey: key) == nil { order.append(key) }
    }
    for history in closed {
      let key = Key(series: history.series, type: history.type)
      if added.updateValue((added[key] ?? 0) + 1, forKey: key) == nil { order.append(key) }
    }
    var limitsByTarget: [String: HistoryLimits] = [:]
    var rules: [RetentionRule] = []
    for key in order {
      if agesArePaused, key.type.isRollUp { continue }
      let target = key.series.target
      let limit = limitsByTarget[target] ?? limits(target)
      limitsByTarget[target] = limit
      let count = added[key] ?? 0
      let keep =
        switch key.type {
        case .realTime: keep(key, cap: limit.realTime, added: count)
        case .event: keep(key, cap: limit.event, added: count)
        case .variable: keep(key, age: limit.variable, now: now)
        case .hour: keep(key, age: limit.hour, now: now)
        case .day: keep(key, age: limit.day, now: now)
        }
      if let keep { rules.append(RetentionRule(key.series, type: key.type, keep: keep)) }
    }
    return rules
  }

  /// Rules that could not be run: they come again with the next sample of their series.
  package mutating func forget(_ rules: [RetentionRule]) {
    for rule in rules { standings[Key(series: rule.series, type: rule.type)] = nil }
  }

  private mutating func keep(_ key: Key, cap: Int, added: Int) -> RetentionRule.Keep? {
    let cap = max(0, cap)
    guard var standing = standings[key], standing.cap <= cap else {
      remember(key, Standing(cap: cap))
      return .newest(cap)
    }
    let (sum, overflow) = standing.added.addingReportingOverflow(added)
    // A cap that grew needs no rule: what was kept under the smaller one fits.
    standing.cap = cap
    standing.added = overflow || sum > cap / 10 ? 0 : sum
    standings[key] = standing
    return overflow || sum > cap / 10 ? .newest(cap) : nil
  }

  private mutating func keep(_ key: Key, age: Duration, now: Date) -> RetentionRule.Keep? {
    if let last = standings[key]?.lastAgeRule {
      let passed = now.timeIntervalSince(last)
      // A clock that was set back counts as a minute passed.
      if passed >= 0, passed < Self.ageInterval.timeInterval { return nil }
    }
    remember(key, Standing(cap: 0, lastAgeRule: now))
    return .since(now - max(0, age.timeInterval))
  }

  private mutating func remember(_ key: Key, _ standing: Standing) {
    if standings[key] == nil, standings.count >= Self.historiesBound { standings.removeAll() }
    standings[key] = standing
  }
}
