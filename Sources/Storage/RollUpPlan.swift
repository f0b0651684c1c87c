package import Model

/// What counts for the roll-ups of one target.
package struct RollUpPlan: Sendable, Hashable {
  package var limits: HistoryLimits
  /// Bucket length of the variable roll-up.
  package var variable: Duration
  package init(limits: HistoryLimits = .init(), variable: Duration = .seconds(300)) {
    self.limits = limits
    self.variable = variable
  }

  /// Whole seconds, from one to a year.
  var variableSeconds: Int64 { min(max(variable.components.seconds, 1), 366 * 86_400) }

  /// How long roll-ups of a type are kept.
  package func age(_ type: SampleType) -> Duration {
    switch type {
    case .variable: limits.variable
    case .hour: limits.hour
    case .day: limits.day
    case .realTime, .event: .zero
    }
  }

  /// How long anything that is made of a sample is kept.
  package var longestAge: Duration { max(limits.variable, limits.hour, limits.day) }
}

/// The buckets of one series and type.
package struct RollUpHistory: Sendable, Hashable {
  package var series: Series
  package var type: SampleType
  package init(series: Series, type: SampleType) {
    self.series = series
    self.type = type
  }
}

extension Clock where Duration == Swift.Duration {
  /// Reads the time since now.
  func uptime() -> @Sendable () -> Swift.Duration {
    let start = now
    return { start.duration(to: self.now) }
  }
}
