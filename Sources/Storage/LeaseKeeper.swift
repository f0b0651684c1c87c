package import Logging
package import Metrics

/// Keeps one lease of the store for this process: takes it when it is free or its holder is silent, renews it while it is
/// ours, and says at once when it is not.
///
/// A store that is away loses nothing: the state becomes ``LeaseState/holdingUnconfirmed(epoch:)`` and stays so until the
/// store answers. ``run()`` does the work until it is cancelled and leaves the lease as it is; ``resign()`` gives it
/// back, so that another instance takes over at its next look.
package actor LeaseKeeper {
  private let storage: any LeaseStorage
  private let logger: Logger
  private let metrics: LeaseMetrics
  private let observe: @Sendable (LeaseState) -> Void
  private let now: @Sendable () -> Duration
  private let sleep: @Sendable (_ until: Duration) async throws -> Void

  private var logic: LeaseLogic
  private var published = LeaseState.unknown
  /// The pause of `run`, so that a doubt can cut it short.
  private var pause: Task<Void, Never>?
  private var hasSaidAway = false

  /// - Parameters:
  ///   - owner: unique for each process.
  ///   - hasEnded: whether an owner is known to have ended, such as the process before this one.
  ///   - clock: must go on while the machine sleeps, as `ContinuousClock` does (CLOCK_BOOTTIME on Linux).
  ///   - observe: hears each change of the state, in order; it returns at once.
  package init<C: Clock>(
    _ name: String, owner: String, hasEnded: @escaping @Sendable (String) -> Bool = { _ in false },
    storage: any LeaseStorage,
    times: LeaseTimes = LeaseTimes(), clock: C,
    factory: any MetricsFactory = MetricsSystem.factory, logger: Logger,
    observe: @escaping @Sendable (LeaseState) -> Void
  ) where C.Duration == Duration {
    self.storage = storage
    self.observe = observe
    self.metrics = LeaseMetrics(name, factory: factory)
    let origin = clock.now
    now = { origin.duration(to: clock.now) }
    sleep = { try await clock.sleep(until: origin.advanced(by: $0), tolerance: nil) }
    logic = LeaseLogic(name: name, owner: owner, hasEnded: hasEnded, times: times)
    var logger = logger
    logger[metadataKey: "lease.name"] = "\(name)"
    self.logger = logger
  }

  /// As it is at this moment.
  package var state: LeaseState { logic.state(at: now()) }

  /// Looks, takes and renews until it is cancelled.
  package func run() async throws {
    while true {
      try Task.checkCancellation()
      let step = logic.step(at: now())
      // Whether a free lease becomes ours is known in a moment; "nobody" would only be noise.
      if case .put = step, logic.mine == nil {} else { publish() }
      let sent = now()
      do throws(StorageError) {
        switch step {
        case .wait(let until):
          await wait(until: until)
          continue
        case .look:
          let found = try await storage.lease(logic.name)
          logic.looked(found, sent: sent, at: now())
        case .put(let lease, let expected):
          // A lease that is not confirmed in time is seen even while the store is being asked.
          let alarm = trustAlarm()
          defer { alarm?.cancel() }
          let stands = try await storage.replace(lease, expecting: expected)
          let event = logic.answered(stands, to: lease, expecting: expected, sent: sent, at: now())
          note(event, lasting: now() - sent)
        }
        hasSaidAway = false
      } catch {
        logic.failed(step, at: now())
        if !hasSaidAway {
          logger.warning("The lease could not be looked after; trying again", metadata: ["error": "\(error)"])
        }
        hasSaidAway = true
      }
    }
  }

  /// Gives the lease back where it is ours, so that nobody has to wait for it. Only after ``run()`` has ended.
  /// - Returns: false when the store did not answer; it runs out by itself then.
  @discardableResult
  package func resign() async -> Bool {
    // The first answer may show a renewal of our own that we did not know had come through.
    for _ in 0..<2 {
      guard let (free, held) = logic.release else { return true }
      let storage = storage
      // A task of its own: giving back is what a cancelled life still has to do. Bounded by the store's own time-out.
      let answer = await Task { () -> Result<Lease?, StorageError> in
        do throws(StorageError) {
          return .success(try await storage.replace(free, expecting: held))
        } catch {
          return .failure(error)
        }
      }.value
      switch answer {
      case .failure(let error):
        logger.warning("The lease could not be given back; it runs out", metadata: ["error": "\(error)"])
        return false
      case .success(let stands):
        if stands != free, logic.refound(stands) { continue }
        logic.released(stands ?? free, at: now())
        publish()
        return true
      }
    }
    return false
  }

  /// Something hints that the lease is no longer ours: the store is asked at once.
  package func doubt() {
    logic.doubt(at: now())
    pause?.cancel()
  }

  /// Gives the lease back while ``run()`` goes on, see ``LeaseLogic/giveBack(abstaining:at:)``.
  package func giveBack(abstaining: Duration) {
    logic.giveBack(abstaining: abstaining, at: now())
    pause?.cancel()
  }

  /// Whether another one was seen to renew the lease not long before the store last answered.
  package var hasLivingHolder: Bool { logic.hasLivingHolder }

  /// The store has seen a higher epoch than this one of ours: see ``LeaseLogic/outbid(_:at:)``.
  package func outbid(_ epoch: Int64) {
    logic.outbid(epoch, at: now())
    pause?.cancel()
  }

  // MARK: Helpers

  private func publish() {
    let state = logic.state(at: now())
    metrics.held(state.epoch != nil)
    guard state != published else { return }
    published = state
    logger.info("The lease's state changed", metadata: ["lease.state": "\(state)"])
    observe(state)
  }

  private func trustAlarm() -> Task<Void, Never>? {
    guard let end = logic.trustEnd(at: now()) else { return nil }
    let sleep = sleep
    return Task {
      do { try await sleep(end) } catch { return }
      publish()
    }
  }

  private func wait(until: Duration) async {
    let end = min(until, logic.trustEnd(at: now()) ?? until)
    let sleep = sleep
    let pause = Task { _ = try? await sleep(end) }
    self.pause = pause
    await withTaskCancellationHandler {
      await pause.value
    } onCancel: {
      pause.cancel()
    }
    self.pause = nil
  }

  private func note(_ event: LeaseLogic.Event, lasting duration: Duration) {
    switch event {
    case .nothing: break
    case .renewed: metrics.renewed(duration)
    case .took(let former):
      metrics.took(from: former)
      logger.notice("The lease is ours", metadata: ["lease.former": "\(former ?? "nobody")"])
    case .gaveBack: logger.notice("The lease was given back")
    case .lost(let why):
      metrics.lost(why)
      logger.warning("The lease is lost", metadata: ["lease.loss": "\(why.rawValue)"])
    }
  }
}

/// What a lease tells of itself.
struct LeaseMetrics: Sendable {
  private let name: String
  private let factory: any MetricsFactory
  private let heldNow: Gauge
  private let renewal: Metrics.Timer

  init(_ name: String, factory: any MetricsFactory) {
    self.name = name
    self.factory = factory
    heldNow = Gauge(label: "leases_held", dimensions: [("lease", name)], factory: factory)
    renewal = Metrics.Timer(label: "lease_renew_seconds", dimensions: [], factory: factory)
  }

  func held(_ isHeld: Bool) { heldNow.record(isHeld ? 1 : 0) }

  func renewed(_ duration: Duration) {
    let parts = duration.components
    renewal.recordNanoseconds(
      Int64(clamping: parts.seconds).multipliedReportingOverflow(by: 1_000_000_000).partialValue
        &+ parts.attoseconds / 1_000_000_000)
  }

  func lost(_ why: LeaseLogic.Loss) {
    Counter(label: "lease_lost_total", dimensions: [("why", why.rawValue)], factory: factory).increment()
  }

  /// Only a lease that somebody else held, and did not give back, is a takeover.
  func took(from former: String?) {
    guard former != nil else { return }
    Counter(label: "takeovers_total", dimensions: [], factory: factory).increment()
  }
}
