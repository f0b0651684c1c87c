internal import Aggregation
internal import FoundationEssentials
internal import Logging
internal import Model
internal import Notifications
internal import Reactions
internal import Remote
internal import Storage
internal import Supervision

/// What the Gateway's callers can ask of the running service.
actor ServiceOperations: Operations {
  private let parts: Parts
  private let surroundings: Surroundings
  private let reloading: @Sendable () async -> Value
  private let started = ContinuousClock.now
  private var root: Supervisor?
  private var poke: @Sendable () async -> Void = {}

  init(parts: Parts, surroundings: Surroundings, reload: @escaping @Sendable () async -> Value) {
    self.parts = parts
    self.surroundings = surroundings
    reloading = reload
  }

  /// The tree exists only after the Gateway that shows it.
  func plant(_ root: Supervisor, poke: @escaping @Sendable () async -> Void) {
    self.root = root
    self.poke = poke
  }

  // MARK: Documents

  func get(
    kind: String, name: String?, labels: [String: String], limit: Int
  ) async throws(OperationError) -> [Value] {
    if DocumentDesk.collection(kind) == "problems" {
      return await parts.trouble.all().filter { name == nil || $0.id == name }.map(\.value)
    }
    return try await parts.desk.get(kind: kind, name: name, labels: labels, limit: limit)
  }

  func apply(_ documents: [Value], dryRun: Bool) async throws(OperationError) -> ApplyReport {
    let report = try await parts.desk.apply(documents, dryRun: dryRun)
    if !dryRun {
      log(
        "apply", report.items.filter { $0.outcome != "unchanged" }.map { "\($0.kind)/\($0.id)" }.joined(separator: " "))
      // What was applied counts now, not with the next step.
      await poke()
    }
    return report
  }

  func delete(kind: String, name: String, dryRun: Bool) async throws(OperationError) {
    try await parts.desk.delete(kind: kind, name: name, dryRun: dryRun)
    if !dryRun {
      log("delete", "\(kind)/\(name)")
      await poke()
    }
  }

  // MARK: Views

  func tree() async -> Value {
    guard let root, let json = try? JSONEncoder().encode(root.snapshot()), let value = try? Value(json: json) else {
      return [:]
    }
    return value
  }

  func fleet() async throws(OperationError) -> Value { .array(await parts.board.fleet()) }

  func updates() async -> AsyncStream<Value> { await parts.board.updates() }

  func history(_ request: HistoryRequest) async throws(OperationError) -> [Value] {
    _ = await parts.recorder.flush { $0.target == request.target && $0.metric == request.metric }
    return try await HistoryDesk(storage: parts.storage, now: parts.now).history(request)
  }

  func describe(kind: String, name: String) async throws(OperationError) -> Value {
    switch DocumentDesk.collection(kind) {
    case "targets": return try await describeTarget(name)
    case "reaction_targets": return try await describeReaction(name)
    case "notifications": return try await get(kind: "notifications", name: name, labels: [:], limit: 1).first ?? [:]
    case "notification_options":
      return try await get(kind: "notification_options", name: name, labels: [:], limit: 1).first ?? [:]
    case "episodes": return try await describeEpisode(name)
    default:
      throw OperationError(
        .usage, "describe takes target, reaction, notification or episode, not \"\(kind.prefix(40))\"")
    }
  }

  private func describeTarget(_ name: String) async throws(OperationError) -> Value {
    var fields = try await parts.desk.get(kind: "targets", name: name, labels: [:], limit: 1).first?.fields ?? [:]
    let target = fields["target"]?.text ?? name
    let snapshot = await parts.book.snapshot
    if let row = await parts.board.fleet().first(where: { $0["target"]?.text == target }) { fields["now"] = row }
    do {
      try leading("connecting")
      let facts = try await parts.aggregator.remote(of: target).facts
      var connection: [String: Value] = [
        "transport": .string(facts.transport), "address": .string(facts.address), "server": .string(facts.serverBanner),
        "host_key": .string("\(facts.hostKeyType) \(facts.hostKeyFingerprint)"),
        "key_exchange": .string(facts.keyExchange), "cipher": .string(facts.cipher), "mac": .string(facts.mac),
        "authentication": .string(facts.authentication), "latency_ms": .double(facts.latency_ms),
      ]
      if !facts.reader.isEmpty { connection["reader"] = .string(facts.reader) }
      if !facts.jump.isEmpty { connection["jump"] = .string(facts.jump) }
      fields["connection"] = .object(connection)
    } catch {
      fields["connection"] = ["error": .string("\(error)")]
    }
    let gathering = await parts.aggregator.touchState(of: target)
    fields["metrics"] = .object(
      Dictionary(
        (snapshot.plans[target]?.metrics ?? []).map { plan in
          var shown = "every \(DurationText.format(plan.interval))"
          // Names have dots, so they are no path.
          if let state = gathering?["metrics"]?[plan.title], let word = state["state"]?.text, word != "normal" {
            shown += ", \(word)\(state["why"]?.text.map { " for \($0)" } ?? ": every \(state["every"]?.text ?? "?")")"
          }
          return (plan.title, .string(shown))
        },
        uniquingKeysWith: { first, _ in first }))
    let events = try await history(
      HistoryRequest(
        target: target, metric: "Connection", type: "event", since: .ago(.seconds(86_400)), limit: 10))
    fields["connection_events"] = .array(
      events.map { event in
        var shown = event["value"]?.fields ?? [:]
        shown["at"] = event["updated"]
        return .object(shown)
      })
    fields["episodes"] = .array(
      try await openEpisodes().filter { $0.key.target == target }.map(EpisodeDocument.value))
    fields["problems"] = .array(await parts.trouble.all().filter { $0.id == name || $0.id == target }.map(\.value))
    return .object(fields)
  }

  private func describeReaction(_ name: String) async throws(OperationError) -> Value {
    var fields =
      try await parts.desk.get(kind: "reaction_targets", name: name, labels: [:], limit: 1).first?.fields ?? [:]
    let states = await parts.reactions.states(of: name)
    var counts: [String: Value] = [:]
    for state in ConditionState.allCases {
      counts[state.rawValue] = .int(Int64(states.count { $0.state == state }))
    }
    fields["conditions"] = .object(counts)
    fields["not_ok"] = .array(
      states.filter { $0.state == .firing || $0.state == .pending }.prefix(100).map { state in
        state.episode.map(EpisodeDocument.value) ?? ["target": .string(state.key.target)]
      })
    let episodes = try await store { () throws(StorageError) in
      try await self.parts.storage.episodes(reaction: name, openOnly: false, limit: 10)
    }
    if !parts.leadership.role.isActive { fields["standby"] = .string(parts.leadership.role.detail) }
    fields["last_episodes"] = .array(episodes.map(EpisodeDocument.value))
    fields["problems"] = .array(await parts.trouble.all().filter { $0.id == name }.map(\.value))
    return .object(fields)
  }

  private func describeEpisode(_ id: String) async throws(OperationError) -> Value {
    var fields = try await parts.desk.get(kind: "episodes", name: id, labels: [:], limit: 1).first?.fields ?? [:]
    let entries = try await store { () throws(StorageError) in
      try await self.parts.storage.queue(QueueQuery(episode: id, limit: 100))
    }
    fields["notifications"] = .array(entries.map { EpisodeDocument.value($0) })
    return .object(fields)
  }

  func touch(target: String) async throws(OperationError) -> Value {
    let snapshot = await parts.book.snapshot
    guard snapshot.targets[target] != nil, let plan = snapshot.plans[target] else {
      throw OperationError(.notFound, "there is no target \"\(target)\"")
    }
    try leading("measuring what touches targets")
    return TouchReport(
      target: target, budget: plan.touch, account: parts.touch.account(of: target),
      forecast: plan.touchForecast { BuiltIn.metrics.demand(of: $0) },
      gathering: await parts.aggregator.touchState(of: target), now: parts.now()
    ).value
  }

  // MARK: Actions

  func exec(target: String, arguments: [String]) async throws(OperationError) -> ExecReport {
    guard parts.configuration.ssh.allowsExec else {
      throw OperationError(.denied, "commands on targets are off: set ssh.allow_exec: true in the configuration")
    }
    guard await parts.book.snapshot.targets[target] != nil else {
      throw OperationError(.notFound, "there is no target \"\(target)\"")
    }
    try leading("exec")
    log("exec", "\(target): \(arguments.first ?? "")")
    do {
      let result = try await parts.aggregator.remote(of: target).run(Command(arguments, environment: [:]))
      return ExecReport(
        status: Int(result.status ?? -1), signal: result.signal, output: result.output, errors: result.errors,
        isTruncated: result.isTruncated)
    } catch {
      switch error.code {
      case .invalidCommand: throw OperationError(.usage, "\(target): \(error)")
      case .timedOut where error.phase == .command: throw OperationError(.failed, "\(target): \(error)")
      default: throw OperationError(.unreachable, "\(target): \(error)")
      }
    }
  }

  func privileges(target: String) async throws(OperationError) -> Value {
    let snapshot = await parts.book.snapshot
    guard let found = snapshot.targets[target] else {
      throw OperationError(.notFound, "there is no target \"\(target)\" that is watched")
    }
    try leading("looking at privileges")
    log("privileges", target)
    let plan = PrivilegePlan(
      found, plan: snapshot.plans[target] ?? AggregationPlan(), defaultUser: parts.configuration.ssh.user)
    do {
      return try await PrivilegeCheck(plan, over: try await parts.aggregator.remote(of: target)).report().value
    } catch {
      throw OperationError(.unreachable, "\(target): \(error)")
    }
  }

  func notifyTest(option: String) async throws(OperationError) -> Value {
    // A document applied a moment ago counts, too.
    do { _ = try await parts.refresh() } catch { throw OperationError(.failed, "the store: \(error)") }
    let report = try await TestMessage(parts.workers, host: ProcessName.host).send(option: option)
    var fields = report.value.fields ?? [:]
    fields["outcome"] = report.isDelivered ? "delivered" : "not delivered"
    return .object(fields)
  }

  func queueRetry(id: String) async throws(OperationError) {
    let now = parts.now()
    let isDone = try await store { () throws(StorageError) in try await self.parts.storage.retry(id: id, now: now) }
    guard isDone else { throw OperationError(.notFound, "there is no pending or dead notification \"\(id)\"") }
    parts.workers.doorbell.ring()
    log("queue retry", id)
  }

  func queueDrop(id: String, reason: String) async throws(OperationError) {
    let now = parts.now()
    let isDone = try await store { () throws(StorageError) in
      try await self.parts.storage.drop(id: id, reason: reason, now: now)
    }
    guard isDone else { throw OperationError(.notFound, "there is no notification \"\(id)\" that is not settled") }
    log("queue drop", id)
  }

  func reload() async throws(OperationError) -> Value { await reloading() }

  // MARK: Health

  func isAlive() async -> Bool { root?.snapshot().state == .running && !surroundings.zombies.isOverLimit }

  func readiness() async -> (isReady: Bool, report: Value) {
    var checks: [String: Value] = [:]
    do {
      _ = try await parts.storage.check()
      checks["store"] = .string(await parts.journaled?.status.backlog ?? "ok")
    } catch {
      checks["store"] = .string(error.message)
    }
    do {
      let counts = try await parts.storage.queueCounts(now: parts.now())
      let age = counts.oldestPending.map { parts.now().timeIntervalSince($0) } ?? 0
      checks["queue"] =
        counts.imbalance != 0
        ? .string("imbalance \(counts.imbalance)")
        : counts.due > 0 && age > 300 ? .string("\(counts.due) due, the oldest for \(Int(age)) s") : "ok"
    } catch {
      checks["queue"] = .string(error.message)
    }
    let branches = root?.snapshot().children ?? []
    let down = branches.filter { $0.state != .running && $0.state != .ignored && $0.state != .finished }.map(\.name)
    checks["workers"] =
      branches.isEmpty ? "starting" : down.isEmpty ? "ok" : .string("not running: \(down.joined(separator: ", "))")
    let isReady = checks.values.allSatisfy { $0 == "ok" }
    var report: [String: Value] = [
      "status": isReady ? "ready" : "not ready", "checks": .object(checks), "version": .string(Version.text),
    ]
    let role = parts.leadership.role
    report["role"] = .string(role.part.rawValue)
    if parts.leadership.isShared {
      report["instance"] = .string(parts.leadership.owner)
      report["holder"] = role.isActive ? .string(parts.leadership.owner) : role.holder.map(Value.string)
      if !role.detail.isEmpty { report["role_detail"] = .string(role.detail) }
    }
    return (isReady, .object(report))
  }

  func metricsText() async -> String {
    let gauges = SelfGauges(parts.registry)
    await gauges.read(
      parts, tree: root?.snapshot(), zombies: surroundings.zombies.count, uptime: ContinuousClock.now - started)
    return parts.registry.exposition()
  }

  // MARK: Helpers

  /// Those that are open: as this instance knows them while it gathers, else as they are stored.
  private func openEpisodes() async throws(OperationError) -> [Episode] {
    if parts.leadership.role.isActive { return await parts.board.openEpisodes() }
    return try await store { () throws(StorageError) in
      try await self.parts.storage.episodes(reaction: nil, openOnly: true, limit: 100_000)
    }
  }

  /// What only the instance that gathers can do.
  private func leading(_ what: String) throws(OperationError) {
    let role = parts.leadership.role
    guard role.isActive else {
      throw OperationError(
        .unreachable, "this instance stands by (\(role.detail)): \(what) is done by the one that gathers")
    }
  }

  private func log(_ action: String, _ subject: String) {
    parts.logger.info("Done by hand", metadata: ["action": "\(action)", "subject": "\(subject)"])
  }

  private func store<Result: Sendable>(
    _ work: () async throws(StorageError) -> Result
  ) async throws(OperationError) -> Result {
    do {
      return try await work()
    } catch {
      throw OperationError(.failed, "the store: \(error.message)")
    }
  }
}
