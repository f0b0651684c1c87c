internal import FoundationEssentials
package import Logging
package import Model
internal import Supervision

/// One document of `reaction_targets` at work: it is woken by samples, and by the clock only for what time alone decides
/// (silence, reminders).
///
/// State is kept for each condition, that is for each target, metric, instance and element. A step counts only once
/// its announcement was stored; until then it is decided anew from the next sample or tick.
package actor ReactionWorker: Supervised {
  /// Most conditions one document may hold open; beyond it new ones are refused and said once.
  package static let conditionBound = 50_000
  /// How often silence and reminders are looked at.
  static let tickInterval: Duration = .seconds(1)
  /// How long after a failed announcement the next try is made.
  static let retryInterval: Duration = .seconds(2)

  private let reaction: ReactionTarget
  private let rule: any Reaction
  private let environment: ReactionEnvironment
  private let exchange: SampleExchange
  private let time: Timepiece
  private let beat: @Sendable () -> Void
  private let isCurrent: @Sendable () -> Bool
  private let logger: Logger

  private var machines: [ConditionKey: EpisodeMachine] = [:]
  /// When each watched series last had a value, for silence.
  private var lastValue: [Series: Watch] = [:]
  private var targets: [String: Target] = [:]
  private var targetsReadAt: Duration?
  /// Refused targets: nothing is known of them, so nothing of theirs ends.
  private var held: Set<String> = []
  private var retryAt: Duration?
  private var lastTick: Duration?
  private var hasSaidBound = false
  /// Somebody else told the news: nothing is decided before the open episodes are read again.
  private var isSuperseded = false
  /// The last announcement could not be stored: that is logged once.
  private var isRefused = false

  private struct Watch {
    var conditionIndex: Int
    var since: Duration
    var limit: Duration
    /// When silence was last judged; nil while there is none.
    var judgedAt: Duration?
  }

  /// - Parameters:
  ///   - rule: The rule that `reaction.reaction` names, from ``ReactionCatalogue``.
  ///   - beat: Called at every tick, so that a supervisor sees the worker live.
  ///   - isCurrent: False once this life was replaced: it announces nothing any more.
  package init(
    _ reaction: ReactionTarget, rule: any Reaction, environment: ReactionEnvironment, exchange: SampleExchange,
    time: Timepiece, beat: @escaping @Sendable () -> Void = {}, isCurrent: @escaping @Sendable () -> Bool = { true },
    logger: Logger
  ) {
    self.reaction = reaction
    self.rule = rule
    self.environment = environment
    self.exchange = exchange
    self.time = time
    self.beat = beat
    self.isCurrent = isCurrent
    var logger = logger
    logger[metadataKey: "reaction.id"] = "\(reaction.id)"
    self.logger = logger
  }

  package func run() async throws {
    // Subscribed first, so that nothing falls between the stored samples and the new ones.
    let (subscription, stream) = await exchange.subscribe(metrics: Set(reaction.conditions.map(\.metric)))
    do {
      try await beginWhenPossible()
      try await withThrowingTaskGroup(of: Void.self) { group in
        // One reader: samples and ticks never overtake each other in the middle of a step.
        group.addTask {
          for await samples in stream {
            if samples.isEmpty { await self.tick() } else { await self.consider(samples) }
          }
        }
        group.addTask {
          while !Task.isCancelled {
            try await self.time.sleep(Self.tickInterval)
            await self.exchange.tick(subscription)
          }
        }
        _ = try await group.next()
        group.cancelAll()
      }
    } catch {
      await exchange.unsubscribe(subscription)
      throw error
    }
    await exchange.unsubscribe(subscription)
  }

  // MARK: Beginning

  /// A store that is away is waited for: it is an answer, not a failure of this life.
  private func beginWhenPossible() async throws {
    while true {
      try Task.checkCancellation()
      beat()
      do {
        return try await begin()
      } catch let error where !(error is CancellationError) {
        logger.warning("A reaction waits for the store", metadata: ["error": "\(error)"])
        try await time.sleep(Self.retryInterval)
      }
    }
  }

  /// Continues open episodes, then looks at the newest stored samples at once.
  private func begin() async throws {
    let now = time.now()
    machines = [:]
    isSuperseded = false
    for episode in try await environment.history.openEpisodes(reaction: reaction.id).sorted(by: { $0.since < $1.since })
    {
      // Of two open episodes of one condition the older is the true one.
      guard let condition = condition(for: episode.key), machines[episode.key] == nil else {
        try await end(episode)
        continue
      }
      machines[episode.key] = EpisodeMachine(continuing: episode, rule: EpisodeRule(reaction, condition), at: now)
    }
    await refreshTargets(force: true)
    for target in targets.values {
      for condition in reaction.conditions {
        for newest in try await environment.history.newest(metric: condition.metric, target: target.name)
        where condition.name == nil || condition.name == newest.series.name {
          try Task.checkCancellation()
          try await remember(condition, before: newest)
          await consider([newest], isStored: true)
          try await endWhatIsNoLongerChosen(condition, newest)
        }
      }
    }
  }

  /// N of M looks back as far as it counts.
  private func remember(_ condition: MetricCondition, before newest: Sample) async throws {
    guard let times = condition.times, times.last > 1 else { return }
    let samples = try await environment.history.recent(newest.series, type: .realTime, count: min(times.last, 1000))
    for sample in samples.dropLast() {
      for finding in rule.findings(in: sample, for: condition) {
        let key = key(newest.series, finding.element)
        var machine = machines[key] ?? EpisodeMachine(key: key, rule: EpisodeRule(reaction, condition))
        machine.remember(finding)
        machines[key] = machine
      }
    }
  }

  /// Elements that are there but that the document no longer chooses.
  private func endWhatIsNoLongerChosen(_ condition: MetricCondition, _ newest: Sample) async throws {
    guard let value = newest.value, let present = elementNames(of: value) else { return }
    let chosen = Set(rule.findings(in: newest, for: condition).compactMap(\.element))
    for (key, machine) in machines where key.target == newest.series.target && key.metric == newest.series.metric {
      guard key.name == newest.series.name, let element = key.element, let episode = machine.episode,
        present.contains(element), !chosen.contains(element)
      else { continue }
      try await end(episode)
      machines[key] = nil
    }
  }

  private func end(_ episode: Episode) async throws {
    let now = time.now()
    let condition = condition(for: episode.key) ?? MetricCondition(metric: episode.key.metric)
    var machine = EpisodeMachine(continuing: episode, rule: EpisodeRule(reaction, condition), at: now)
    if let announcement = machine.retire(reason: "no longer checked", at: now) {
      try await environment.announce(announcement)
    }
  }

  private func condition(for key: ConditionKey) -> MetricCondition? {
    reaction.conditions.first { $0.metric == key.metric && ($0.name == nil || $0.name == key.name) }
  }

  /// Targets come and go: they are read again every few seconds, and whenever an unknown one sends a sample.
  private func refreshTargets(force: Bool = false) async {
    let uptime = time.now().uptime
    if !force, let read = targetsReadAt, uptime - read < .seconds(3) { return }
    targetsReadAt = uptime
    // Asked before and after: who changes from one to the other in between is in neither list otherwise.
    let heldBefore = await environment.refusedTargets()
    let all = await environment.targets()
    held = heldBefore.union(await environment.refusedTargets())
    targets = Dictionary(
      all.filter { reaction.selector.matches($0) }.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    await watchSilence(uptime)
  }

  /// Expects a value of every series that the plan says is gathered.
  private func watchSilence(_ uptime: Duration) async {
    var expected: [Series: Watch] = [:]
    for target in targets.values {
      let plan = await environment.plan(target.name)
      for (index, condition) in reaction.conditions.enumerated() {
        let plans =
          plan?.metrics.filter { $0.metric == condition.metric && (condition.name == nil || $0.name == condition.name) }
          ?? []
        let instances: [(String?, Duration)] =
          plans.isEmpty ? [(condition.name, .seconds(10))] : plans.map { ($0.name, $0.interval) }
        for (name, interval) in instances {
          guard let limit = rule.silenceLimit(for: condition, interval: interval) else { continue }
          let series = Series(target: target.name, metric: condition.metric, name: name)
          var watch = lastValue[series] ?? Watch(conditionIndex: index, since: uptime, limit: limit)
          watch.conditionIndex = index
          watch.limit = limit
          expected[series] = watch
        }
      }
    }
    lastValue = expected
  }

  // MARK: Samples

  /// Looks at samples in the order they come. - Parameter isStored: they are from the store, so their age counts.
  func consider(_ samples: [Sample], isStored: Bool = false) async {
    for sample in samples {
      if Task.isCancelled { return }
      if targets[sample.series.target] == nil { await refreshTargets() }
      guard targets[sample.series.target] != nil else { continue }
      let now = time.now()
      if sample.value != nil, var watch = lastValue[sample.series] {
        let age = isStored ? max(0, now.wall.timeIntervalSince(sample.at)) : 0
        // While nobody watched, nobody was silent: the time before the service's start does not count.
        watch.since = max(now.uptime - .seconds(min(age, 1e9)), .zero)
        watch.judgedAt = nil
        lastValue[sample.series] = watch
      }
      for condition in reaction.conditions
      where condition.metric == sample.series.metric && (condition.name == nil || condition.name == sample.series.name)
      {
        await consider(
          rule.findings(in: sample, for: condition) + vanished(from: sample), of: sample.series, condition,
          stamp: SampleStamp(sample), at: now)
      }
    }
  }

  /// Elements with an open episode that the list no longer holds: nothing is known of them.
  private func vanished(from sample: Sample) -> [Finding] {
    guard let value = sample.value, let present = elementNames(of: value) else { return [] }
    return machines.values.filter { machine in
      guard let element = machine.key.element, machine.episode != nil else { return false }
      return machine.key.target == sample.series.target && machine.key.metric == sample.series.metric
        && machine.key.name == sample.series.name && !present.contains(element)
    }.map {
      Finding(element: $0.key.element, verdict: .unknown, value: "no longer there", limit: $0.episode?.limit ?? "")
    }
  }

  private func consider(
    _ findings: [Finding], of series: Series, _ condition: MetricCondition, stamp: SampleStamp? = nil, at now: Moment
  ) async {
    for finding in findings {
      if finding.verdict == .unknown, finding.element == nil {
        // The whole metric is missing: that is said of each of its elements.
        let keys = machines.keys.filter {
          $0.target == series.target && $0.metric == series.metric && $0.name == series.name
        }
        for key in keys { await step(key, condition) { $0.consider(finding, stamp: stamp, at: now) } }
        if !keys.isEmpty { continue }
      }
      await step(key(series, finding.element), condition) { $0.consider(finding, stamp: stamp, at: now) }
      // What silence had opened for the metric as a whole ends with the first element that is there again.
      let whole = key(series, nil)
      if finding.element != nil, finding.verdict != .unknown, machines[whole]?.episode != nil {
        var again = finding
        again.element = nil
        again.verdict = .ok(hasCleared: true)
        await step(whole, condition) { $0.consider(again, stamp: stamp, at: now) }
      }
    }
  }

  private func key(_ series: Series, _ element: String?) -> ConditionKey {
    ConditionKey(
      reaction: reaction.id, target: series.target, metric: series.metric, name: series.name, element: element)
  }

  /// Decides one step and hands it over; only when that succeeded does the step count.
  private func step(
    _ key: ConditionKey, _ condition: MetricCondition, _ decide: (inout EpisodeMachine) -> Announcement?
  ) async {
    if machines[key] == nil, machines.count >= Self.conditionBound {
      if !hasSaidBound { logger.warning("Too many conditions in one reaction; new ones are left out") }
      hasSaidBound = true
      return
    }
    var machine = machines[key] ?? EpisodeMachine(key: key, rule: EpisodeRule(reaction, condition))
    guard var announcement = decide(&machine) else {
      machines[key] = machine
      return
    }
    if isSuperseded { return }
    if announcement.kind != .silent { announcement.episode.recent = await recent(key, condition) }
    // A life that was replaced hands over nothing: its successor decides.
    guard isCurrent(), !Task.isCancelled else { return }
    do {
      try await environment.announce(announcement)
      machines[key] = machine
      isRefused = false
    } catch {
      retryAt = time.now().uptime + Self.retryInterval
      if error is Superseded { isSuperseded = true }
      logger.log(
        level: isRefused ? .debug : .warning, "An announcement could not be stored; it is decided again",
        metadata: ["error": "\(error)"])
      isRefused = true
    }
  }

  /// The newest values of a condition, for the message.
  private func recent(_ key: ConditionKey, _ condition: MetricCondition) async -> [Episode.Recent] {
    let series = Series(target: key.target, metric: key.metric, name: key.name)
    let samples = try? await environment.history.recent(series, type: .realTime, count: Episode.recentBound)
    return (samples ?? []).flatMap { sample in
      rule.findings(in: sample, for: condition).filter { $0.element == key.element }
        .map { Episode.Recent(at: sample.at, value: $0.value) }
    }
  }

  // MARK: Time

  /// Silence, reminders, targets that went, and announcements that could not be stored.
  func tick() async {
    beat()
    await refreshTargets()
    let now = time.now()
    forgive(now)
    for (series, watch) in lastValue where now.uptime - watch.since > watch.limit {
      if Task.isCancelled { return }
      guard reaction.conditions.indices.contains(watch.conditionIndex) else { continue }
      // Once when it begins, then as often as samples would come.
      if let judged = watch.judgedAt, now.uptime - judged < max(watch.limit / 3, Self.tickInterval) { continue }
      lastValue[series]?.judgedAt = now.uptime
      let condition = reaction.conditions[watch.conditionIndex]
      let finding = rule.silence(for: condition, lasting: now.uptime - watch.since)
      await consider([finding], of: series, condition, at: now)
    }
    for (key, machine) in machines {
      guard let due = machine.nextReminder, due <= now.uptime, let condition = condition(for: key) else { continue }
      // Asked before each: the store may go away at any of them.
      guard await environment.mayRemind() else { break }
      await step(key, condition) { $0.tick(at: now) }
    }
    for (key, machine) in machines
    where machine.episode != nil && targets[key.target] == nil && !held.contains(key.target) {
      guard let condition = condition(for: key) else { continue }
      await step(key, condition) { $0.retire(reason: "target no longer checked", at: now) }
    }
    for key in machines.keys where targets[key.target] == nil && machines[key]?.episode == nil { machines[key] = nil }
    if let due = retryAt, due <= now.uptime {
      retryAt = nil
      if isSuperseded { await beginAnew() } else { await reconsiderNewest() }
    }
  }

  /// What is remembered is not what is stored: everything is read again. A store that is away is asked again later.
  private func beginAnew() async {
    logger.notice("Somebody else told this news; beginning anew from the store")
    do {
      try await begin()
    } catch {
      isSuperseded = true
      retryAt = time.now().uptime + Self.retryInterval
    }
  }

  /// Time in which this process did not run (suspended, stopped) is nobody's silence.
  private func forgive(_ now: Moment) {
    defer { lastTick = now.uptime }
    guard let lastTick, now.uptime - lastTick > Self.tickInterval * 10 else { return }
    let gap = now.uptime - lastTick
    for series in lastValue.keys { lastValue[series]?.since += gap }
  }

  /// After a failed announcement the newest stored samples decide again.
  private func reconsiderNewest() async {
    for target in targets.values {
      if Task.isCancelled { return }
      for condition in reaction.conditions {
        guard let newest = try? await environment.history.newest(metric: condition.metric, target: target.name) else {
          // Asked again until the store answers: the next sample may be an hour away.
          retryAt = time.now().uptime + Self.retryInterval
          continue
        }
        await consider(newest.filter { condition.name == nil || condition.name == $0.series.name }, isStored: true)
      }
    }
  }

  // MARK: Seen from outside

  /// The state of every condition, for `describe`.
  package func states() -> [(key: ConditionKey, state: ConditionState, episode: Episode?)] {
    machines.values.map { ($0.key, $0.state, $0.episode) }.sorted { "\($0.key)" < "\($1.key)" }
  }
}
