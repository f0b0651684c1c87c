package import FoundationEssentials
package import Logging
internal import Model
package import Storage

/// Gives back the messages of workers that died with them in hand, and forgets what was settled long ago.
package struct Rescuer: Sendable {
  private let storage: any Storage
  private let doorbell: Doorbell
  private let clock: any Clock<Duration>
  private let now: @Sendable () -> Date
  private let logger: Logger
  private let beat: @Sendable () -> Void
  private let metrics = DeliveryMetrics()

  private let lease: Duration
  private let hasEnded: @Sendable (String) -> Bool

  /// How often leases are looked through. A message of a worker that died is due again within a lease and two of these.
  package static let interval: Duration = .seconds(5)
  /// Most leases that are looked at: more than all pools together have workers.
  static let leaseBound = 10_000
  /// How long settled messages are kept.
  package static let memory: Duration = .seconds(30 * 86_400)
  /// Old messages are looked for at every so many rounds: once an hour.
  static let pruneRounds = 720
  /// By how much the time of day may differ from what has passed before it counts as set.
  static let stepBound: TimeInterval = 60
  /// How soon the first look is tried again while the store is away: what the process before this one held waits for it.
  static let firstPause: Duration = .seconds(1)

  package init(
    storage: any Storage, doorbell: Doorbell, clock: any Clock<Duration>, now: @escaping @Sendable () -> Date,
    logger: Logger, lease: Duration = .seconds(60),
    hasEnded: @escaping @Sendable (String) -> Bool = { _ in false }, beat: @escaping @Sendable () -> Void = {}
  ) {
    self.lease = lease
    self.hasEnded = hasEnded
    self.storage = storage
    self.doorbell = doorbell
    self.clock = clock
    self.now = now
    self.logger = logger
    self.beat = beat
  }

  package func run() async throws {
    var watch = LeaseWatch(lease: lease, interval: Self.interval)
    var roundsToPruning = 0
    var isStoreAway = false
    var last: Date?
    var hasLooked = false
    while true {
      beat()
      let now = now()
      if hasLooked, let last, abs(now.timeIntervalSince(last) - Self.interval.timeInterval) > Self.stepBound {
        // Nothing is forgotten by a clock that may be wrong: an hour is time to put it right.
        logger.notice(
          "the time of day jumped, or the process was stopped for a while",
          metadata: ["seconds": "\(PlainText.span(from: last, to: now).components.seconds)"])
        roundsToPruning = Self.pruneRounds
      }
      last = now
      var hasSeen = false
      do throws(StorageError) {
        let leases = try await storage.heldLeases(limit: Self.leaseBound)
        hasSeen = true
        // Also without any: the store finishes what a crash left half done.
        var ended = leases.filter { $0.entry.owner.map(hasEnded) ?? false }
        let stranded = watch.look(at: leases, now: now).filter { !ended.contains($0) }
        let counts = Dictionary(grouping: ended, by: Self.process(of:)).mapValues(\.count)
        for index in ended.indices { ended[index].hasOwnerEnded = counts[Self.process(of: ended[index])] == 1 }
        let count = try await storage.rescue(ended + stranded, now: now)
        hasLooked = true
        if count > 0 {
          metrics.rescued(count)
          logger.warning("leases ran out; their messages are due again", metadata: ["count": "\(count)"])
          doorbell.ring()
        }
        if roundsToPruning <= 0 {
          let forgotten = try await storage.pruneQueue(settledBefore: now.advanced(by: .zero - Self.memory))
          if forgotten > 0 { logger.info("old messages forgotten", metadata: ["count": "\(forgotten)"]) }
          roundsToPruning = Self.pruneRounds
        }
        roundsToPruning -= 1
        isStoreAway = false
      } catch {
        if !isStoreAway {
          logger.warning("the queue cannot be looked through; trying again", metadata: ["error": "\(error)"])
        }
        isStoreAway = true
        // What else failed is tried again; what was seen was seen.
        if !hasSeen { watch.missed() }
      }
      try await clock.sleep(for: hasLooked ? Self.interval : Self.firstPause)
    }
  }

  /// The process whose worker has it. Which of several messages that one had in hand ended it nobody can tell, so none
  /// is held to have: one that does is the first that is claimed after the next start, by the one worker there is then,
  /// and is alone.
  private static func process(of lease: QueueLease) -> String {
    (lease.entry.owner ?? "").split(separator: "/", omittingEmptySubsequences: false).dropLast(2).joined(separator: "/")
  }
}
