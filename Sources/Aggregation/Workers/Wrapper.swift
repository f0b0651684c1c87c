internal import CoreMetrics
internal import Logging
internal import Model
internal import Remote
internal import Supervision

/// One metric on one target: at each tick it asks, and hands what the metric makes of the answers to the outlet.
///
/// It never has two asks in flight. When answers take longer than the interval, ticks are skipped and counted, and the
/// period stretches. Without a connection it says so once an interval, and asks as soon as there is a connection again.
actor Wrapper: Supervised {
  private var metric: any Metric
  private let plan: MetricPlan
  private let series: Series
  private let schedule: Schedule
  private let shared: TargetShared
  private let context: ChildContext
  private let logger: Logger
  /// Ticks that were skipped because an answer was late, since this life began.
  private(set) var skippedTicks = 0
  private var isSlow = false

  init(
    metric: any Metric, plan: MetricPlan, series: Series, schedule: Schedule, shared: TargetShared,
    context: ChildContext
  ) {
    self.metric = metric
    self.plan = plan
    self.series = series
    self.shared = shared
    self.context = context
    self.schedule = schedule
    var logger = context.surroundings.logger
    logger[metadataKey: "target.name"] = "\(series.target)"
    logger[metadataKey: "metric.name"] = "\(series.metric)"
    self.logger = logger
  }

  func run() async throws {
    var tick = shared.timeline.now()
    // The first look, and the first after an outage, is made at once and not at a tick.
    var isAtTick = false
    while !Task.isCancelled {
      context.beat()
      let generation = await shared.link.generation
      let hasAnswer: Bool
      if await shared.link.isSettled {
        hasAnswer = await look(tick: isAtTick ? schedule.index(of: tick) : nil)
      } else {
        hasAnswer = false
        if isAtTick { await say("not connected: the first attempt to connect has not ended yet") }
      }
      context.beat()
      let now = shared.timeline.now()
      // A tick that follows at once upon a look of its own would tell nothing new.
      let next = schedule.next(after: isAtTick ? now : now + schedule.interval / 4)
      if isAtTick { count(skipped: schedule.skipped(from: tick, to: next), took: now - tick) }
      if hasAnswer {
        try? await shared.timeline.sleep(next)
      } else {
        await shared.timeline.wait(until: next) { [link = shared.link] in await link.connected(after: generation) }
      }
      isAtTick = shared.timeline.now() >= next
      tick = next
    }
  }

  /// One look, if the target's budget allows it.
  /// - Parameters:
  ///   - tick: the number of the tick it is made at; nil for the first look and the first after an outage.
  ///   - isSecond: it belongs to a look that was allowed a moment ago, and is followed by no other.
  /// - Returns: false when there was no connection to ask over.
  private func look(tick: Int64?, isSecond: Bool = false) async -> Bool {
    let questions = metric.questions(await shared.facts.facts)
    let began = shared.timeline.now()
    let answers: [Answer]
    do {
      _ = try await shared.link.remote()
    } catch {
      if !Task.isCancelled { await say("not connected: \(error)") }
      return false
    }
    let demand = TouchDemand(questions)
    if !isSecond {
      let (verdict, news) = await shared.warden.decide(plan, tick: tick, demand: demand)
      if let news { await tell(news) }
      guard verdict == .ask else { return true }
    }
    let result = await ask(questions)
    if !isSecond { await shared.warden.done(demand) }
    do {
      answers = try result.get()
    } catch {
      if !Task.isCancelled { await say("\(error)") }
      return false
    }
    guard !Task.isCancelled else { return true }
    let moment = Moment(
      at: shared.now(), latency: shared.timeline.now() - began, elapsed: shared.timeline.now())
    var drafts: [Emitter.Draft] = []
    var again: Duration?
    for gathered in metric.gathered(from: answers, at: moment) {
      switch gathered {
      case .value(let value): drafts.append(.value(value))
      case .event(let value): drafts.append(.event(value))
      case .error(let text): drafts.append(.error(text))
      case .unchanged: break
      case .again(let after): again = after
      case .load(let perCore): await shared.warden.note(load: perCore)
      case .facts(let facts):
        await shared.emitter.handOver(context) { [board = shared.facts] in await board.update(facts) }
      }
    }
    await shared.emitter.emit(drafts, series: series, at: moment.at, context: context)
    if let again, !isSecond {
      let wait = min(max(again, .milliseconds(10)), schedule.interval)
      guard (try? await shared.timeline.sleep(shared.timeline.now() + wait)) != nil else { return true }
      return await look(tick: nil, isSecond: true)
    }
    return true
  }

  private func ask(_ questions: [Question]) async -> Result<[Answer], RemoteError> {
    do { return .success(try await shared.asker.ask(questions)) } catch { return .failure(error) }
  }

  /// A metric that is asked less often than its interval says, or not at all, is an event.
  private func tell(_ standing: TouchGovernor.Standing) async {
    var metadata: Logger.Metadata = ["touch.state": "\(standing.word)"]
    switch standing {
    case .normal: break
    case .stretched(let factor): metadata["touch.factor"] = "\(factor)"
    case .shed(let reason): metadata["touch.why"] = "\(reason.rawValue)"
    }
    logger.info("The touch budget changes how often a metric is gathered", metadata: metadata)
    await shared.emitter.emit([.event(standing.value)], series: series, at: shared.now(), context: context)
  }

  private func say(_ error: String) async {
    await shared.emitter.emit([.error(error)], series: series, at: shared.now(), context: context)
  }

  private func count(skipped: Int, took: Duration) {
    skippedTicks += skipped
    if skipped > 0 { shared.skipped.increment(by: skipped) }
    guard isSlow != (skipped > 0) else { return }
    isSlow = skipped > 0
    let metadata: Logger.Metadata = [
      "duration.seconds": "\((took / .seconds(1)).rounded())", "interval.seconds": "\(schedule.interval / .seconds(1))",
    ]
    if isSlow {
      logger.warning("A metric takes longer than its interval", metadata: metadata)
    } else {
      logger.info("A metric keeps its interval again", metadata: metadata)
    }
  }
}
