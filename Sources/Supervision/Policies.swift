/// When a child that has ended is started again.
package enum Restart: String, Sendable, Codable {
  /// Always.
  case permanent
  /// Only after it threw or hung; when it returned or was cancelled, its specification stays, without a life.
  case transient
  /// Never, not even when a sibling's failure ends it; its specification goes with its life.
  case temporary
}

/// How a child is stopped. Every way begins with the cancellation of its task.
package enum Shutdown: Sendable, Equatable {
  /// The child is abandoned when it has not ended by then: fenced and counted as a zombie.
  case deadline(Duration)
  /// The child is fenced at once, so that nothing it still does counts, and abandoned after ``brutalGrace``.
  case brutal
  /// The supervisor waits as long as it takes: for children that are supervisors, whose own children have deadlines.
  case unlimited

  /// What a task that heeds cancellation needs to unwind; without it every brutal stop would look like a zombie.
  package static let brutalGrace: Duration = .seconds(1)
  /// For workers that name no other.
  package static let standard: Shutdown = .deadline(.seconds(5))
}

/// Which siblings share the fate of a child that has to be restarted.
package enum Strategy: String, Sendable, Codable {
  /// None.
  case oneForOne
  /// All: they stop in reverse order of their start, then all start in order.
  case oneForAll
  /// Those that were added after it.
  case restForOne
}

/// Whether the end of significant children ends their supervisor. A child counts only when it ended by itself and is
/// not to be restarted.
package enum AutoShutdown: String, Sendable, Codable {
  case never
  /// As soon as one significant child has ended.
  case anySignificant
  /// As soon as no significant child is left.
  case allSignificant
}

/// How many restarts a supervisor bears before it gives up and escalates to its parent.
///
/// A sliding window on a monotonic clock: more than `restarts` within `period` is too many. 0 means that the first
/// failure escalates.
package struct Intensity: Sendable, Equatable {
  package var restarts: Int
  package var period: Duration

  package init(restarts: Int = 3, period: Duration = .seconds(5)) {
    self.restarts = restarts
    self.period = period
  }
}
