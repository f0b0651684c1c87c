package import FoundationEssentials

/// One point in time on two clocks: the wall clock for stamps, a monotonic one for every interval.
///
/// A stepped wall clock thus moves no `for`, no `max_age` and no reminder.
package struct Moment: Sendable, Hashable {
  package var wall: Date
  /// Time since some fixed start; only differences count.
  package var uptime: Duration

  package init(wall: Date, uptime: Duration) {
    self.wall = wall
    self.uptime = uptime
  }
}

/// Reads both clocks. One for the whole process: `uptime` then counts from the service's start.
package struct Timepiece: Sendable {
  package let now: @Sendable () -> Moment
  package let sleep: @Sendable (Duration) async throws -> Void

  package init<C: Clock>(clock: C, wall: @escaping @Sendable () -> Date) where C.Duration == Duration {
    let start = clock.now
    now = { Moment(wall: wall(), uptime: start.duration(to: clock.now)) }
    sleep = { try await clock.sleep(for: $0) }
  }
}

extension Duration {
  /// Seconds as a number, for arithmetic with dates.
  var seconds: Double {
    let parts = components
    return Double(parts.seconds) + Double(parts.attoseconds) * 1e-18
  }
}
