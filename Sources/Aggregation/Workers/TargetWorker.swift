internal import Logging
internal import Model
internal import Remote
internal import Supervision

/// "Aggregator for <target>": the branch of one target, with its connection, `Host`, and a wrapper for each metric.
///
/// It stands as soon as it is made, whether the target can be reached or not. A changed plan reaches it by ``apply(_:)``
/// and touches only the wrappers whose metric changed; the connection stays.
actor TargetWorker: Branch {
  private nonisolated let supervisor: Supervisor
  private let target: String
  private let settings: AggregationSettings
  let shared: TargetShared
  private let logger: Logger
  private var plan: AggregationPlan
  /// The children may not be those of the plan.
  private var isOutdated = true
  private let pokes: AsyncStream<Void>
  private let poke: AsyncStream<Void>.Continuation

  /// After a change of the children failed, it is tried again after this.
  private static let retry: Duration = .seconds(5)

  init(
    _ target: Target, plan: AggregationPlan, link: Link, known: HostFacts?, settings: AggregationSettings,
    context: ChildContext
  ) {
    self.target = target.name
    self.settings = settings
    self.plan = plan
    let timeline = Timeline(context.surroundings.clock)
    let name = target.name
    let shared = TargetShared(
      link: link, asker: Asker(link: link, timeline: timeline),
      emitter: Emitter(timeline: timeline, outlet: settings.outlet),
      facts: FactsBoard(known) { [report = settings.report] in await report(name, $0) },
      warden: TouchWarden(settings.touch(name), budget: plan.touch), timeline: timeline, now: settings.now)
    self.shared = shared
    var logger = context.surroundings.logger
    logger[metadataKey: "target.name"] = "\(name)"
    self.logger = logger
    // Only the newest poke counts: one round does all that is outdated.
    (pokes, poke) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    poke.yield()
    let connection = ChildSpec(id: "Connection for \(name)", backoff: Backoff(), heartbeat: .seconds(90)) { context in
      ConnectionKeeper(
        connector: settings.connector(target), target: name, shared: shared, random: settings.random, context: context)
    }
    supervisor = Supervisor("Aggregator for \(name)", children: [connection], surroundings: context.surroundings)
  }

  /// Makes the wrappers those of `plan`: starts, replaces and stops only what differs. Returns at once; it is done soon
  /// after.
  func apply(_ plan: AggregationPlan) {
    if plan != self.plan {
      self.plan = plan
      isOutdated = true
    }
    if isOutdated { poke.yield() }
  }

  func run() async throws {
    defer { poke.finish() }
    do {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await self.supervisor.run() }
        group.addTask { await self.keepUpToDate() }
        group.addTask { await self.shared.emitter.mind() }
        defer { group.cancelAll() }
        // The others end only when this life is cancelled.
        try await group.next()
      }
    } catch {
      await shared.asker.close()
      throw error
    }
    await shared.asker.close()
  }

  nonisolated func snapshot() -> TreeNode { supervisor.snapshot() }

  private func keepUpToDate() async {
    do { try await supervisor.ready() } catch { return }
    for await _ in pokes {
      while isOutdated, !Task.isCancelled {
        isOutdated = false
        do {
          try await update()
        } catch {
          guard !Task.isCancelled else { return }
          isOutdated = true
          logger.error("The metrics of a target could not be changed", metadata: ["error": "\(error)"])
          try? await shared.timeline.sleep(shared.timeline.now() + Self.retry)
        }
      }
    }
  }

  private func update() async throws {
    let plan = plan
    let always = plan.metrics.filter { MetricCatalogue.always.contains($0.metric) }
    let interval = { (name: String) in
      always.first { $0.metric == name }?.interval ?? MetricCatalogue.defaultInterval(name)
    }
    await shared.link.setStatusInterval(interval("Connection"))
    await shared.warden.set(plan.touch)
    await shared.warden.keep(Set(plan.metrics.map(\.title) + ["Host"]))
    var wanted: [ChildSpec] = [hostSpec(MetricPlan(metric: "Host", interval: interval("Host")))]
    for metric in plan.metrics where !MetricCatalogue.always.contains(metric.metric) {
      let spec = spec(metric)
      if wanted.contains(where: { $0.id == spec.id }) {
        logger.warning("A metric is named twice; the first one counts", metadata: ["metric.name": "\(metric.title)"])
      } else {
        wanted.append(spec)
      }
    }
    let present = await supervisor.children().filter(\.isDynamic)
    for child in present where !wanted.contains(where: { $0.id == child.id }) {
      try await supervisor.terminateChild(child.id)
      try await supervisor.deleteChild(child.id)
    }
    for spec in wanted {
      guard let child = present.first(where: { $0.id == spec.id }) else {
        try await supervisor.startChild(spec)
        continue
      }
      if child.digest != spec.digest { try await supervisor.replace(spec) }
    }
  }

  private func hostSpec(_ plan: MetricPlan) -> ChildSpec {
    wrapperSpec(plan) { [shared] in
      // What was known before this life, so that a reboot in between is seen.
      Host(bootID: await shared.facts.facts?.bootID)
    }
  }

  private func spec(_ plan: MetricPlan) -> ChildSpec {
    guard let refusal = settings.registry.check(plan) else {
      return wrapperSpec(plan) { [registry = settings.registry] in try registry.make(plan) }
    }
    let path = ["metrics", plan.metric, refusal.path].filter { !$0.isEmpty }.joined(separator: ".")
    let problem = Problem(
      kind: DocumentKind.aggregation_options.rawValue, id: target, path: path, reason: refusal.reason,
      hint: refusal.hint)
    return ChildSpec(id: id(plan), digest: plan.digest, name: "Undefined \(id(plan))", backoff: Backoff()) {
      [report = settings.problem] context in
      UndefinedModule(problem: problem.description, clock: context.surroundings.clock) { _ in await report(problem) }
    }
  }

  private func wrapperSpec(_ plan: MetricPlan, _ metric: @escaping @Sendable () async throws -> any Metric) -> ChildSpec
  {
    let series = Series(target: target, metric: plan.metric, name: plan.name)
    let schedule = Schedule(target: target, interval: plan.interval)
    return ChildSpec(
      id: id(plan), digest: plan.digest, backoff: Backoff(), heartbeat: max(schedule.interval * 3, .seconds(90))
    ) { [shared] context in
      Wrapper(
        metric: try await metric(), plan: plan, series: series, schedule: schedule, shared: shared, context: context)
    }
  }

  private func id(_ plan: MetricPlan) -> String { "\(plan.title) for \(target)" }
}

extension MetricPlan {
  /// Equal for equal plans, whatever the order of their options.
  var digest: String { "\(name ?? "") \(interval) \(Value.object(options).json())" }
}
