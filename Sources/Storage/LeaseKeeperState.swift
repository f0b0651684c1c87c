/// What a ``LeaseKeeper`` knows of its lease.
package enum LeaseState: Sendable, Hashable {
  /// The store has not answered since the start.
  case unknown
  /// Somebody else holds it; `holder` nil: nobody does at this moment.
  case standby(holder: String?)
  /// Ours, confirmed not long ago: nobody else can have taken it yet.
  case holding(epoch: Int64)
  /// Ours when the store last answered, but that is so long ago that somebody else may have it by now. What is harmless
  /// when two do it (observing) may go on; nothing else may.
  case holdingUnconfirmed(epoch: Int64)

  /// The epoch of a lease that was ours when the store last answered.
  package var epoch: Int64? {
    switch self {
    case .holding(let epoch), .holdingUnconfirmed(let epoch): epoch
    case .unknown, .standby: nil
    }
  }
}

/// The times that a lease is kept by; all are measured on one clock of this process that counts suspended time, too.
package struct LeaseTimes: Sendable, Hashable {
  /// Who wants to take over must have seen the same beat for so long.
  package var ttl: Duration = .seconds(30)
  /// The holder trusts its lease for `ttl` less this, counted from before its last successful renewal was sent.
  package var margin: Duration = .seconds(8)
  /// How often the holder renews.
  package var renewal: Duration = .seconds(8)
  /// How often others look, and how long the holder waits after a renewal that had no answer.
  package var look: Duration = .seconds(2)
  package init() {}

  /// How long a successful renewal is trusted.
  package var trust: Duration { max(ttl - margin, .zero) }
}
