internal import FoundationEssentials
internal import Logging
internal import Model
internal import Remote
internal import Supervision

/// Keeps one target connected: connects, waits for the end of the connection, and connects again, at the pace of
/// ``ReconnectPolicy``.
///
/// A target that cannot be reached is an answer, not a failure of this life: each attempt and each loss becomes a
/// `Connection` event `{state, phase, error, attempt, latency_ms}`, and the state as it is stands in an RT sample, at each
/// change and once an interval. `state` is `connected`, `failed` (nobody answered, or not in time), `refused` (the host
/// answered and turned us away, or was not the host it should be) or `lost`. `latency_ms` is how long the attempt took.
actor ConnectionKeeper: Supervised {
  private let connector: any Connector
  private let series: Series
  private let shared: TargetShared
  private let random: @Sendable () -> Double
  private let context: ChildContext
  private let logger: Logger
  /// What the last attempt or loss said; nil before the first has ended.
  private var present: Value?
  /// So often a budget that is used up is looked at again: it may have been raised.
  private static let look: Duration = .seconds(10)
  /// What the log was last told of the present outage.
  private var lastLogged: String?

  init(
    connector: any Connector, target: String, shared: TargetShared, random: @escaping @Sendable () -> Double,
    context: ChildContext
  ) {
    self.connector = connector
    self.shared = shared
    self.random = random
    self.context = context
    series = Series(target: target, metric: "Connection")
    var logger = context.surroundings.logger
    logger[metadataKey: "target.name"] = "\(target)"
    self.logger = logger
  }

  func run() async throws {
    await shared.link.enter()
    while !Task.isCancelled {
      await holdBack()
      guard !Task.isCancelled, context.fence.isCurrent else { break }
      let attempt = await shared.link.began()
      let began = shared.timeline.now()
      let outcome = await ticking { [connector] in await Self.connect(connector) }
      let latency = shared.timeline.now() - began
      let failure: RemoteError
      switch outcome {
      case .success(let remote):
        guard !Task.isCancelled, context.fence.isCurrent else {
          await remote.close()
          await leave()
          return
        }
        failure = await keep(remote, attempt, latency)
      case .failure(let error):
        failure = error
      }
      guard !Task.isCancelled, context.fence.isCurrent else { break }
      let now = shared.timeline.now()
      let pause = await shared.link.down(failure, at: now, random: random())
      let budget = await shared.warden.loginWait()
      let remark = budget.wait > pause ? Self.remark(budget.wait) : nil
      if remark != nil { await shared.warden.noteDeferred() }
      switch outcome {
      case .success: await change("lost", failure, attempt: attempt, latency: nil, remark: remark)
      case .failure: await change(Self.state(failure), failure, attempt: attempt, latency: latency, remark: remark)
      }
      // Each change is told once; the attempts between are in the store, as events.
      let news = "\(failure.phase.rawValue) \(failure.code.rawValue)"
      logger.log(
        level: news == lastLogged ? .debug : .info, "A target is not connected",
        metadata: [
          "error.phase": "\(failure.phase.rawValue)", "error.code": "\(failure.code.rawValue)",
          "connection.attempt": "\(attempt)", "connection.pause_seconds": "\(rounded(pause / .seconds(1)))",
        ])
      lastLogged = news
      await ticking { [shared] in
        await shared.timeline.wait(until: now + pause) { await shared.link.hurried() }
      }
    }
    await leave()
  }

  /// Waits as long as the budget of logins wants it. Somebody may hurry that on while there are logins left; once they are
  /// used up nothing does but a larger budget.
  private func holdBack() async {
    while !Task.isCancelled, context.fence.isCurrent {
      let budget = await shared.warden.loginWait()
      guard budget.wait > .zero else { return }
      if !budget.isUsedUp, await shared.link.isHurried { return }
      if present == nil {
        let error = RemoteError(.closed, phase: .connection, Self.remark(budget.wait))
        await shared.link.hold(error)
        await change("failed", error, attempt: 0, latency: nil)
        await shared.warden.noteDeferred()
      }
      let end = shared.timeline.now() + min(budget.wait, Self.look)
      await ticking { [shared] in
        if budget.isUsedUp {
          try? await shared.timeline.sleep(end)
        } else {
          await shared.timeline.wait(until: end) { await shared.link.hurried() }
        }
      }
    }
  }

  private static func remark(_ wait: Duration) -> String {
    "the next login waits \(DurationText.format(.seconds(wait.components.seconds + 1))) for touch.logins, the budget of "
      + "logins an hour"
  }

  /// Until the connection ends.
  private func keep(_ remote: any Remote, _ attempt: Int, _ latency: Duration) async -> RemoteError {
    await shared.link.up(remote, at: shared.timeline.now())
    lastLogged = nil
    logger.info("A target is connected", metadata: ["connection.attempt": "\(attempt)"])
    await change("connected", nil, attempt: attempt, latency: latency)
    let reason = await ticking(orOnCancel: { await remote.close() }) { await remote.ended() }
    return reason ?? RemoteError(.closed, phase: .connection, "the connection was closed")
  }

  /// A fenced life has a successor that may have filled the link already.
  private func leave() async {
    if context.fence.isCurrent { await shared.link.leave() }
  }

  private static func connect(_ connector: any Connector) async -> Result<any Remote, RemoteError> {
    do { return .success(try await connector.connect()) } catch { return .failure(error) }
  }

  /// Runs `work` to its end, and says the present state at each tick meanwhile.
  ///
  /// - Parameter onCancel: what makes `work` end where cancellation alone does not; called once more when it has ended.
  @discardableResult
  private func ticking<Result: Sendable>(
    orOnCancel onCancel: @escaping @Sendable () async -> Void = {}, _ work: @escaping @Sendable () async -> Result
  ) async -> Result {
    // Cancelled and awaited when this returns.
    async let _ = tick(onCancel)
    let result = await work()
    return result
  }

  private func tick(_ onCancel: @Sendable () async -> Void) async {
    while true {
      let schedule = Schedule(target: series.target, interval: await shared.link.statusInterval)
      guard (try? await shared.timeline.sleep(schedule.next(after: shared.timeline.now()))) != nil else { break }
      context.beat()
      if let present {
        await shared.emitter.emit([.value(present)], series: series, at: shared.now(), context: context)
      }
    }
    await onCancel()
  }

  private func change(
    _ state: String, _ error: RemoteError?, attempt: Int, latency: Duration?, remark: String? = nil
  ) async {
    var fields: [String: Value] = ["state": .string(state), "attempt": .int(Int64(attempt))]
    if let error {
      fields["phase"] = .string(error.phase.rawValue)
      fields["error"] = .string(error.message + (remark.map { "; \($0)" } ?? ""))
    }
    fields["latency_ms"] = latency.map { .double($0.milliseconds) }
    let value = Value.object(fields)
    present = value
    await shared.emitter.emit(
      [.event(value), .value(value)], series: series, at: shared.now(), context: context)
  }

  private static func state(_ error: RemoteError) -> String {
    switch error.code {
    case .hostKeyUnknown, .hostKeyChanged, .hostKeyRevoked, .authenticationFailed, .refusedByPolicy,
      .noCommonAlgorithm:
      "refused"
    default: "failed"
    }
  }
}
