package import FoundationEssentials
package import Logging
internal import Model
package import Storage

/// What all workers of a pool share.
package struct WorkerContext: Sendable {
  package var storage: any Storage
  package var directory: Directory
  package var notifiers: Notifiers
  package var doorbell: Doorbell
  package var gate: ChannelGate
  package var report: ProblemReport
  /// Where the service's own news goes, for dead letters.
  package var notice: @Sendable (Notice) async -> Void
  package var clock: any Clock<Duration>
  package var now: @Sendable () -> Date
  package var logger: Logger
  package var schedule = RetrySchedule()
  /// Whether the owner of a lease has ended for certain, so that its message need not wait for the lease's end.
  package var hasEnded: @Sendable (String) -> Bool = { _ in false }
  package var lease: Duration = .seconds(60)
  /// The longest an idle worker waits before it looks again: other processes ring no bell.
  package var poll: Duration = .seconds(1)
  /// How long a delivery may go on after the worker was asked to stop.
  package var drain: Duration = .seconds(8)
  /// A number from 0 up to 1.
  package var random: @Sendable () -> Double = { Double.random(in: 0..<1) }

  package init(
    storage: any Storage, directory: Directory, notifiers: Notifiers, doorbell: Doorbell, gate: ChannelGate,
    report: @escaping ProblemReport, notice: @escaping @Sendable (Notice) async -> Void, clock: any Clock<Duration>,
    now: @escaping @Sendable () -> Date, logger: Logger
  ) {
    self.storage = storage
    self.directory = directory
    self.notifiers = notifiers
    self.doorbell = doorbell
    self.gate = gate
    self.report = report
    self.notice = notice
    self.clock = clock
    self.now = now
    self.logger = logger
  }
}

/// Takes one message after another from the queue and delivers it, until it is cancelled.
///
/// A store that is away is waited for; a delivery in progress when the worker is cancelled has ``WorkerContext/drain``
/// to end, then it is broken off and the message goes back to the queue.
package struct QueueWorker: Sendable {
  let context: WorkerContext
  let owner: String
  let beat: @Sendable () -> Void
  let metrics = DeliveryMetrics()

  /// - Parameters:
  ///   - owner: unique for every life of every worker of every process.
  ///   - beat: called whenever the worker is well; at least every few minutes.
  package init(_ context: WorkerContext, owner: String, beat: @escaping @Sendable () -> Void = {}) {
    self.context = context
    self.owner = owner
    self.beat = beat
  }

  package func run() async throws {
    var storeFailures = 0
    var mayHaveLost = false
    while !Task.isCancelled {
      beat()
      let seen = context.doorbell.count
      var wait = context.poll
      do {
        if mayHaveLost { try await takeBackLost() }
        mayHaveLost = false
        if try await deliverNext() {
          storeFailures = 0
          continue
        }
        if let next = try await context.storage.nextDue() {
          // A message that is due and cannot be had waits behind a leased one: look again a little later.
          let left = PlainText.span(from: context.now(), to: next)
          wait = min(left > .zero ? left : .milliseconds(250), context.poll)
        }
        storeFailures = 0
      } catch {
        storeFailures += 1
        mayHaveLost = true
        if storeFailures == 1 {
          context.logger.warning(
            "the queue cannot be read; trying again", metadata: ["worker": "\(owner)", "error": "\(error)"])
        }
        wait = min(context.poll * Double(1 << min(storeFailures - 1, 4)), .seconds(10))
      }
      await context.doorbell.wait(after: seen, atMost: wait, clock: context.clock)
    }
  }

  /// Gives back what a claim leased whose answer never came: a worker that claims has nothing in hand, so whatever is
  /// held in its name is that. Else it would wait for the lease's end.
  private func takeBackLost() async throws {
    let lost = try await context.storage.heldLeases(limit: Rescuer.leaseBound).filter { $0.entry.owner == owner }
    if lost.isEmpty { return }
    if try await context.storage.rescue(lost, now: context.now()) > 0 { context.doorbell.ring() }
  }

  /// Delivers the first message that is due.
  /// - Returns: false when there is none.
  package func deliverNext() async throws -> Bool {
    let found = try await context.storage.claim(owner: owner, now: context.now(), lease: context.lease)
    guard let lease = found else { return false }
    await deliver(lease)
    return true
  }

  /// Delivers one message, or gives it up.
  package func deliver(_ lease: QueueLease) async {
    let stop = Doorbell()
    // A task of its own, awaited right here: cancelling the worker must neither break a delivery off at once nor keep
    // its outcome from being recorded. `stop` tells it that it was asked to end.
    let work = Task { await handle(lease, stop: stop) }
    await withTaskCancellationHandler {
      await work.value
    } onCancel: {
      stop.ring()
    }
  }

  /// From the lease to its settlement.
  private func handle(_ lease: QueueLease, stop: Doorbell) async {
    let entry = lease.entry
    if let problem = lease.problem {
      await context.report(
        Problem(
          .warning, kind: "notifications", id: entry.id, path: "", reason: problem,
          hint: "correct the program that inserts it"))
      let verdict = DeliveryVerdict(settlement: .dead(answer: problem), handsOn: false, result: "gave_up")
      return await settle(lease, verdict, adding: [], channel: nil, stop: stop)
    }
    if DeliveryVerdict.isPoisonous(entry) {
      await settle(lease, quarantine(entry), adding: [], channel: nil, stop: stop)
      return
    }
    let options: NotificationOptions
    let notifier: any Notifier
    switch await wayOut(for: entry) {
    case .unknown(let reason):
      // Documents cannot be read now: that says nothing of the message.
      let verdict = DeliveryVerdict.deferring(
        entry, until: context.now().advanced(by: .seconds(5)), reason: reason, now: context.now(),
        schedule: context.schedule)
      await settle(lease, verdict, adding: [], channel: nil, stop: stop)
      return
    case .none(let reason):
      let verdict = DeliveryVerdict(settlement: .dead(answer: reason), handsOn: true, result: "gave_up")
      await finish(lease, verdict, adding: [], channel: nil, stop: stop)
      return
    case .found(let found, let with):
      options = found
      notifier = with
    }
    let adding = others(beside: entry, notifier: notifier)
    // Timeouts of documents are bounded, so that a worker always comes back before it counts as hung.
    let timeout = min(max(options.timeout ?? notifier.defaultTimeout, .seconds(1)), .seconds(240))
    if isTurnOfAlternates(entry, since: context.now()) { await queueAlternates(of: lease) }
    switch await context.gate.enter(options.id, deadline: timeout, rate: DeliveryRate(options.options["rate"])) {
    case .later(let until, let reason):
      // Spread, so that they do not all come back at once.
      let spread = until.advanced(by: .milliseconds(Int64(min(max(context.random(), 0), 1) * 2000)))
      let verdict = DeliveryVerdict.deferring(
        entry, until: spread, reason: reason, now: context.now(), schedule: context.schedule)
      await finish(lease, verdict, adding: adding, channel: options.id, stop: stop)
    case .go(let place):
      let start = context.now()
      let attempt = await attempt(lease, options: options, notifier: notifier, timeout: timeout, stop: stop)
      var quiet: Duration?
      if case .again(let requested, _, _) = attempt.outcome { quiet = requested }
      await context.gate.leave(place, channel: options.id, quietFor: quiet)
      let now = context.now()
      var verdict = DeliveryVerdict.judge(
        attempt.outcome, of: entry, now: now, schedule: context.schedule, random: context.random())
      if attempt.wasBrokenOff, case .again(_, _, let answer) = verdict.settlement {
        verdict.settlement = .again(at: now, outcome: "unknown", answer: answer)
        verdict.handsOn = false
      }
      metrics.attempted(
        channel: options.id, result: verdict.result, took: PlainText.span(from: start, to: now))
      if attempt.isLeaseLost {
        leaseLost(entry, result: verdict.result)
        return
      }
      await finish(lease, verdict, adding: adding, channel: options.id, stop: stop)
    }
  }

  /// Ends the lease, with the next channel's messages where it is their turn.
  private func finish(
    _ lease: QueueLease, _ verdict: DeliveryVerdict, adding: [QueueEntry], channel: String?, stop: Doorbell
  ) async {
    guard verdict.handsOn, !lease.entry.alternates.isEmpty else {
      return await settle(lease, verdict, adding: adding, channel: channel, stop: stop)
    }
    do {
      let next = try await alternates(of: lease)
      await settle(lease, verdict, adding: adding + next, channel: channel, stop: stop)
    } catch {
      // Who comes next cannot be told now, and must not be lost.
      let now = context.now()
      let verdict = DeliveryVerdict(
        settlement: .again(
          at: now.advanced(by: .seconds(5)), outcome: DeliveryVerdict.deferred,
          answer: PlainText.answer("the next channel cannot be found now: \(error)")),
        handsOn: false, result: DeliveryVerdict.deferred)
      await settle(lease, verdict, adding: adding, channel: channel, stop: stop)
    }
  }

  private func quarantine(_ entry: QueueEntry) -> DeliveryVerdict {
    context.logger.error(
      "message quarantined", metadata: ["notification.id": "\(entry.id)", "target.id": "\(entry.target)"])
    return DeliveryVerdict(
      settlement: .dead(
        answer: "quarantined: the process ended twice while delivering this message; "
          + "`syscrap queue retry` tries it once more"),
      handsOn: false, result: "quarantined")
  }

  // MARK: Settling

  /// Ends the lease; while the store is away it is tried again for as long as a lease lasts (counted in tries: the time
  /// of day may be set meanwhile). Then the message goes out again, with the same key.
  private func settle(
    _ lease: QueueLease, _ verdict: DeliveryVerdict, adding: [QueueEntry], channel: String?, stop: Doorbell
  ) async {
    let entry = lease.entry
    var triesLeft = max(1, Int((context.lease / .seconds(1)).rounded(.up)))
    while true {
      do throws(StorageError) {
        let isOurs = try await context.storage.settle(lease, as: verdict.settlement, now: context.now(), adding: adding)
        guard isOurs else { return leaseLost(entry, result: verdict.result) }
        if !adding.isEmpty { context.doorbell.ring() }
        return await settled(entry, as: verdict.settlement, channel: channel)
      } catch {
        context.logger.warning(
          "a delivery could not be recorded; trying again",
          metadata: ["notification.id": "\(entry.id)", "error": "\(error)"])
        triesLeft -= 1
        guard stop.count == 0, triesLeft > 0, (try? await context.clock.sleep(for: .seconds(1))) != nil
        else { return }
      }
    }
  }

  private func settled(_ entry: QueueEntry, as settlement: Settlement, channel: String?) async {
    var facts: Logger.Metadata = [
      "notification.id": "\(entry.id)", "notification.kind": "\(entry.kind)", "target.id": "\(entry.target)",
      "reaction.id": "\(entry.reaction)", "channel.id": "\(channel ?? entry.option ?? "")",
    ]
    switch settlement {
    case .delivered:
      metrics.delivered(age: PlainText.span(from: entry.created, to: context.now()))
      context.logger.info("message delivered", metadata: facts)
    case .again(let at, let outcome, let answer):
      facts["answer"] = "\(answer)"
      facts["next"] = "\(PlainText.instant(at))"
      let level: Logger.Level = outcome == DeliveryVerdict.deferred ? .debug : .info
      context.logger.log(level: level, "message not delivered yet", metadata: facts)
    case .dead(let answer):
      facts["answer"] = "\(answer)"
      metrics.gaveUp(channel: channel ?? entry.option ?? "")
      context.logger.warning("message given up", metadata: facts)
      await deadLetter(entry, answer: answer, channel: channel ?? entry.option)
    }
  }

  /// One notice an hour for each channel; notices and tests raise none, or they would raise each other.
  private func deadLetter(_ entry: QueueEntry, answer: String, channel: String?) async {
    switch MessageKind(name: entry.kind) {
    case .test: return
    case .notice where MessageIdentity(entry) != nil: return
    default: break
    }
    let type = entry.type.isEmpty ? "no type" : "type \(PlainText.line(entry.type, limit: 40))"
    let name = channel.map { "channel \($0)" } ?? "messages of \(type)"
    let commands = """
      It is kept for 30 days:
        syscrap queue show \(PlainText.shellWord(entry.id))
        syscrap queue retry \(PlainText.shellWord(entry.id))
      """
    await context.notice(
      Notice(
        source: name,
        text: "a message could not be delivered by \(name): \(PlainText.line(answer, limit: 200))",
        details: """
          Message:  \(PlainText.line(entry.id, limit: 100))
          About:    \(PlainText.line(entry.kind, limit: 40)) of \(PlainText.line(entry.reaction, limit: 200)) on \
          \(PlainText.line(entry.target, limit: 200))
          To:       \(PlainText.line(entry.recipient ?? "", limit: 200))
          \(entry.id.isEmpty ? "Its _id has no words; it is found in the store by hand." : commands)
          """,
        severity: entry.severity ?? .warning, dedupeKey: "dead letter"))
  }

  private func leaseLost(_ entry: QueueEntry, result: String) {
    metrics.leaseLost()
    context.logger.warning(
      "a lease was lost; another worker has the message",
      metadata: ["notification.id": "\(entry.id)", "result": "\(result)"])
  }
}
