package import FoundationEssentials
internal import Model
package import Storage

/// Tells the leases of the living from those of the dead, whatever clocks say.
///
/// A worker moves the end of its lease at each third of it. So a lease whose end is past is taken away only when it has
/// not moved for longer than that while somebody looked; one that has not moved for all of its length and more is dead
/// even when its end lies in the future. A clock that is set, here or on another machine, takes nobody's lease away and
/// keeps nobody waiting for longer than that. Time is counted in looks, so that a process that was stopped for a while
/// and wakes gives its own workers the time to move theirs.
package struct LeaseWatch: Sendable {
  private struct Sighting {
    var lease: QueueLease
    /// How often it was seen since, unmoved.
    var looks: Int
  }

  /// Looks after which a lease that is over by the clock is taken away, and one that is not.
  private let looksWhenOver: Int
  private let looksAtMost: Int
  /// Looks in a row after one that failed before a lease is taken away: while nobody could look nobody could extend
  /// either, and who could not tries again every second.
  private static let looksAfterMiss = 3
  private var looksSinceMiss = LeaseWatch.looksAfterMiss
  /// By the entry's id: as many as there are leases.
  private var sightings: [String: Sighting] = [:]

  /// - Parameters:
  ///   - lease: the length of a lease.
  ///   - interval: the time between two looks.
  package init(lease: Duration, interval: Duration) {
    let beat = max(interval, .milliseconds(1))
    looksWhenOver = Int(((lease / 3) / beat).rounded(.up)) + 1
    looksAtMost = Int((lease / beat).rounded(.up)) + 2
  }

  /// Takes a look.
  /// - Parameters:
  ///   - leases: all that are held now.
  ///   - now: the time of day.
  /// - Returns: those whose holder is gone.
  package mutating func look(at leases: [QueueLease], now: Date) -> [QueueLease] {
    looksSinceMiss = min(looksSinceMiss + 1, Self.looksAfterMiss)
    var next: [String: Sighting] = [:]
    var stranded: [QueueLease] = []
    for lease in leases {
      var sighting = Sighting(lease: lease, looks: 0)
      if let known = sightings[lease.entry.id], lease.entry.isUnchanged(since: known.lease) {
        sighting.looks = known.looks + 1
      }
      if looksSinceMiss == Self.looksAfterMiss,
        sighting.looks >= (lease.entry.isStranded(at: now) ? looksWhenOver : looksAtMost)
      {
        stranded.append(lease)
      }
      next[lease.entry.id] = sighting
    }
    sightings = next
    return stranded
  }

  /// A look failed. What was seen before still counts, or a store that fails now and then would keep the dead's leases
  /// for ever.
  package mutating func missed() { looksSinceMiss = 0 }
}
