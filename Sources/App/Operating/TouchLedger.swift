package import Model
internal import Threads

/// What touched each target in the last hour of this process, one account a target.
///
/// An account outlives connections and workers, so that a budget of an hour is one. Bounded by ``keep(only:)`` to the
/// targets that are there, and those that went within the hour.
package final class TouchLedger: Sendable {
  /// One target's account.
  package final class Account: TouchAccount, Sendable {
    private let start: ContinuousClock.Instant
    private let meter = Locked(TouchMeter())

    fileprivate init(start: ContinuousClock.Instant) { self.start = start }

    private var now: Duration { start.duration(to: .now) }

    package func note(_ event: TouchEvent) {
      let now = now
      meter.withLock { $0.note(event, at: now) }
    }

    package var minute: TouchMinute {
      let now = now
      return meter.withLock { $0.minute(at: now) }
    }

    package var loginAges: [Duration] {
      let now = now
      return meter.withLock { $0.loginAges(at: now) }
    }

    /// The last hour, its worst minute with its age, and the channels open now.
    package func report(_ budget: TouchBudget) -> (
      minute: TouchUse, hour: TouchUse, worst: (age: Duration, use: TouchUse)?, channels: Int
    ) {
      let now = now
      return meter.withLock { meter in
        let worst = meter.worst(by: budget, at: now).map { (age: now - $0.began, use: $0.use) }
        return (meter.minute(at: now).use, meter.hour(at: now), worst, meter.channels)
      }
    }

    fileprivate var isQuiet: Bool {
      let now = now
      return meter.withLock { $0.channels == 0 && $0.hour(at: now) == TouchUse() }
    }
  }

  private let start = ContinuousClock.now
  private let accounts = Locked<[String: Account]>([:])

  package init() {}

  /// The account of a target, made where there is none.
  package func account(of target: String) -> Account {
    accounts.withLock { accounts in
      if let known = accounts[target] { return known }
      let made = Account(start: start)
      accounts[target] = made
      return made
    }
  }

  /// Forgets targets that are gone, once nothing touched them for an hour: a target that comes back soon has its budget.
  package func keep(only targets: Set<String>) {
    let gone = accounts.withLock { accounts in accounts.filter { !targets.contains($0.key) } }
    let quiet = gone.filter { $0.value.isQuiet }.map(\.key)
    guard !quiet.isEmpty else { return }
    accounts.withLock { accounts in
      for name in quiet { accounts[name] = nil }
    }
  }
}
