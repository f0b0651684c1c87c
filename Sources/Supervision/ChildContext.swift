internal import Synchronization

/// What a life is told about its place in the tree.
package struct ChildContext: Sendable {
  /// Names from the root down to this child.
  package var path: [String] { surroundings.path }
  /// Goes into everything that the life hands to a sink.
  package let fence: Fence
  /// For supervisors that this child makes: same clock, logger, zombie count and observer, and the right path.
  package let surroundings: Surroundings
  let pulse: Pulse

  /// Says "I am alive". Cheap, and safe from any thread. See ``ChildSpec/heartbeat``.
  package func beat() { pulse.beat() }
}

/// Tells a sink whether what it is handed still counts.
///
/// A Swift task cannot be killed. A child that is deaf to cancellation is fenced and abandoned instead: its fence is no
/// longer current, and whoever accepts samples, writes or leases from it asks ``isCurrent`` first and refuses.
package final class Fence: Sendable {
  /// Which life among all of its supervisor's.
  package let generation: UInt64
  private let current = Atomic<Bool>(true)

  package init(generation: UInt64 = 0) { self.generation = generation }

  /// False once the life has ended or was replaced or abandoned; it never becomes true again.
  package var isCurrent: Bool { current.load(ordering: .acquiring) }

  /// Ends what this fence lets through. Whoever wrote behind ``isCurrent`` before this call has been let through.
  package func revoke() { current.store(false, ordering: .releasing) }
}

/// The time of a life's last beat, in nanoseconds of its supervisor's timeline.
final class Pulse: Sendable {
  private let last = Atomic<Int64>(0)
  private let timeline: Timeline

  init(_ timeline: Timeline) {
    self.timeline = timeline
    beat()
  }

  func beat() {
    let (seconds, attoseconds) = timeline.now().components
    let bounded = min(max(seconds, 0), 9_000_000_000)
    last.store(bounded * 1_000_000_000 + attoseconds / 1_000_000_000, ordering: .relaxed)
  }

  var lastBeat: Duration { .nanoseconds(last.load(ordering: .relaxed)) }
}
