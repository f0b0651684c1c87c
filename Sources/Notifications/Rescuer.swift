package import FoundationEssentials
package import Logging
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

  /// How often leases are looked through.
  package static let interval: Duration = .seconds(10)
  /// How long settled messages are kept.
  package static let memory: Duration = .seconds(30 * 86_400)
  /// Old messages are looked for at every so many rounds: once an hour.
  static let pruneRounds = 360

  package init(
    storage: any Storage, doorbell: Doorbell, clock: any Clock<Duration>, now: @escaping @Sendable () -> Date,
    logger: Logger, beat: @escaping @Sendable () -> Void = {}
  ) {
    self.storage = storage
    self.doorbell = doorbell
    self.clock = clock
    self.now = now
    self.logger = logger
    self.beat = beat
  }

  package func run() async throws {
    var round = 0
    var isStoreAway = false
    while true {
      beat()
      do throws(StorageError) {
        let count = try await storage.rescue(now: now())
        if count > 0 {
          metrics.rescued(count)
          logger.warning("leases ran out; their messages are due again", metadata: ["count": "\(count)"])
          doorbell.ring()
        }
        if round % Self.pruneRounds == 0 {
          let forgotten = try await storage.pruneQueue(settledBefore: now().advanced(by: .zero - Self.memory))
          if forgotten > 0 { logger.info("old messages forgotten", metadata: ["count": "\(forgotten)"]) }
        }
        round += 1
        isStoreAway = false
      } catch {
        if !isStoreAway {
          logger.warning("the queue cannot be looked through; trying again", metadata: ["error": "\(error)"])
        }
        isStoreAway = true
      }
      try await clock.sleep(for: Self.interval)
    }
  }
}
