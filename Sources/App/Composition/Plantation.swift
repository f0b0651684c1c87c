internal import Aggregation
internal import Foundation
internal import Gateway
internal import Logging
internal import Model
internal import Notifications
internal import Reactions
internal import Storage
internal import Supervision
internal import Threads

/// The supervision tree, on one screen. One-for-one at the root; the order is drain before spring, so that stopping in
/// reverse order first closes the sources and last the store.
///
/// An outage of a host, the store or a relay is an answer and restarts nothing; only what is broken does.
struct Plantation {
  let parts: Parts
  let gateway: Gateway
  let surroundings: Surroundings
  let stop: @Sendable (Service.End) -> Void

  /// The root, and what makes its populators look at once.
  func root() -> (root: Supervisor, poke: @Sendable () async -> Void) {
    // Children fail one by one, each with its own back-off; many targets may fail at once without a common cause.
    let wide = Intensity(restarts: 100, period: .seconds(5))
    let aggregators = branch("Aggregator", intensity: wide)
    let reactors = branch("Reactor", intensity: wide)
    let targets = populator("AggregatorPopulator", of: aggregators, desired: desiredTargets)
    let reactions = populator("ReactorPopulator", of: reactors, desired: desiredReactions)
    let poke: @Sendable () async -> Void = {
      await targets.poke()
      await reactions.poke()
    }
    let root = Supervisor(
      Self.rootName, intensity: Intensity(restarts: 10, period: .seconds(60)),
      children: [
        store(), Notificator.spec(parts.workers, settings: parts.notificatorSettings), leadership(poke),
        ChildSpec(id: "Reactor", kind: .supervisor, backoff: Backoff()) { _ in reactors },
        ChildSpec(id: "Aggregator", kind: .supervisor, backoff: Backoff()) { _ in aggregators },
        ChildSpec(id: "AggregatorPopulator", backoff: Backoff()) { _ in targets },
        ChildSpec(id: "ReactorPopulator", backoff: Backoff()) { _ in reactions },
        documents(), trouble(), outage(), alive(), restartWatch(),
        gatewayChild(),
      ], surroundings: surroundings)
    return (root, poke)
  }

  static let rootName = "Root"

  private func branch(_ name: String, intensity: Intensity) -> Supervisor {
    var below = surroundings
    below.path = [Self.rootName, name]
    return Supervisor(name, intensity: intensity, surroundings: below)
  }

  // MARK: Branches

  private func store() -> ChildSpec {
    let parts = parts
    return ChildSpec(id: "Store", shutdown: .deadline(.seconds(8)), backoff: Backoff()) { _ in
      Routine {
        if parts.leadership.isShared {
          await Self.recordWhileActive(parts)
        } else {
          await parts.recorder.run()
        }
        // What was gathered until now is brought away before the store closes.
        _ = await parts.recorder.flush()
      }
    }
  }

  /// Only who gathers records, rolls up and deletes what is old.
  private static func recordWhileActive(_ parts: Parts) async {
    while !Task.isCancelled {
      guard parts.leadership.role.isActive else {
        guard (try? await parts.clock.sleep(for: .milliseconds(200))) != nil else { return }
        continue
      }
      await withTaskGroup(of: Void.self) { group in
        group.addTask { await parts.recorder.run() }
        group.addTask {
          while parts.leadership.role.isActive, (try? await parts.clock.sleep(for: .seconds(1))) != nil {}
        }
        await group.next()
        group.cancelAll()
      }
      // Observations that were made are worth keeping, whoever gathers now.
      if !Task.isCancelled { _ = await parts.recorder.flush(rollUps: false) }
    }
  }

  /// Stops after whatever gathers and reacts, and before the store: the lease is given back when nothing is left to do.
  private func leadership(_ poke: @escaping @Sendable () async -> Void) -> ChildSpec {
    let parts = parts
    return ChildSpec(id: "Leadership", shutdown: .deadline(.seconds(8)), backoff: Backoff()) { _ in
      guard parts.leadership.isShared else { return nil }
      return Routine {
        try await parts.leadership.run(
          Leadership.Hooks(
            backlog: { await parts.journaled?.status.journal.operations ?? 0 },
            prepare: { () async throws(StorageError) in
              let open = try await parts.storage.episodes(reaction: nil, openOnly: true, limit: 100_000)
              await parts.rollUps.reset()
              await parts.board.lead(open: open)
            },
            changed: { role in
              if !role.isActive { await parts.board.standBy(role.detail) }
              await poke()
            },
            finish: { _ = await parts.recorder.flush() }))
      }
    }
  }

  private func populator(
    _ name: String, of supervisor: Supervisor, desired: @escaping @Sendable () async throws -> [ChildSpec]
  ) -> Populator {
    var below = surroundings
    below.path = [Self.rootName, name]
    return Populator(
      of: supervisor, settings: .init(form: .looper(step: parts.configuration.population.step)), surroundings: below,
      desired: desired)
  }

  private var desiredTargets: @Sendable () async throws -> [ChildSpec] {
    let parts = parts
    return {
      guard parts.leadership.role.isActive else {
        // Whoever stands by reads the documents only to show them and to deliver by them.
        _ = try? await parts.refresh()
        return []
      }
      let snapshot = try await parts.current()
      guard parts.leadership.role.isActive else { return [] }
      let wanted = snapshot.targets.values.sorted { $0.name < $1.name }.map { target in
        AggregationTarget(
          target: target, plan: snapshot.plans[target.name] ?? AggregationPlan(),
          connectionDigest: parts.connectors.digest(target),
          known: parts.facts[target.name] ?? snapshot.specs[target.name].map { HostFacts($0) })
      }
      parts.touch.keep(only: Set(snapshot.targets.keys))
      return await parts.aggregator.children(for: wanted)
    }
  }

  private var desiredReactions: @Sendable () async throws -> [ChildSpec] {
    let parts = parts
    return {
      guard parts.leadership.role.isActive else { return [] }
      let snapshot = try await parts.current()
      do {
        _ = try await parts.reactions.closeOrphans(snapshot)
      } catch is Superseded {
        // Somebody else ended them, or gathers by now; the next round sees.
      } catch let error as StorageError where error.code == .unavailable && parts.leadership.isShared {
        // They are ended when the store is back.
      }
      let role = parts.leadership.role
      // Whoever takes over again begins from the store: another may have decided in between.
      return role.isActive ? await parts.reactions.children(snapshot, epoch: role.epoch) : []
    }
  }

  // MARK: Leaves

  private func documents() -> ChildSpec {
    let parts = parts
    return ChildSpec(id: "Documents", backoff: Backoff()) { _ in
      guard !parts.configuration.documents.isEmpty else { return nil }
      return DocumentFolder(parts)
    }
  }

  private func trouble() -> ChildSpec {
    let (trouble, notices, clock, leadership) = (parts.trouble, parts.notices, parts.clock, parts.leadership)
    let (recorder, logger) = (parts.recorder, parts.logger)
    return ChildSpec(id: "Problems", backoff: Backoff(), heartbeat: .seconds(120)) { context in
      Routine {
        var told: Set<String> = []
        var isFull = false
        var steps = ClockSteps()
        while true {
          context.beat()
          try await clock.sleep(for: .seconds(10))
          await trouble.say()
          let recorded = await recorder.statistics
          if let news = steps.news(in: recorded) {
            logger.warning("The wall clock was set", metadata: news.metadata)
            if let notice = news.notice { await notices.post(notice) }
          }
          // What the disk keeps for messages carries this one, too.
          let failure = recorded.lastError
          if let failure, failure.code == .full, !isFull {
            await notices.post(
              Notice(
                source: "store", text: "the store's disk is full: no history is recorded", details: failure.message,
                severity: .critical, dedupeKey: "full"))
          }
          isFull = failure?.code == .full
          // What is wrong with the documents is told by one instance.
          guard leadership.role.isActive else { continue }
          let refused = await trouble.all().filter { $0.level == .refused }
          for problem in refused where told.insert(problem.description).inserted {
            // Once for each problem; the notices themselves see that no document has more than one an hour.
            await notices.post(
              Notice(
                source: "\(problem.kind)/\(problem.id)",
                text:
                  "something needs mending: \([problem.kind, problem.id].filter { !$0.isEmpty }.joined(separator: " "))",
                details: problem.description))
          }
          told.formIntersection(refused.map(\.description))
        }
      }
    }
  }

  /// Says that the store is away, by a path that does not need it.
  private func outage() -> ChildSpec {
    let parts = parts
    let path = parts.configuration.stateDirectory + "/outage"
    return ChildSpec(id: "OutageNotice", backoff: Backoff(), heartbeat: .seconds(180)) { context in
      guard let journaled = parts.journaled else { return nil }
      let notice = OutageNotice(
        parts.workers,
        surroundings: OutageNotice.Surroundings(
          status: { await journaled.status },
          isSpeaker: {
            let role = parts.leadership.role
            if role.isActive || role == .beginning { return true }
            guard let since = await journaled.status.outage?.since else { return false }
            // The one that should speak may have gone together with the store, or a moment before it.
            let silence = await parts.leadership.hasLivingHolder() ? Self.silenceBesideHolder : Self.silence
            return parts.now().timeIntervalSince(since) > silence
          },
          load: {
            let read = try? await parts.pool.run { FileManager.default.contents(atPath: path) }
            return read.flatMap { $0 }.map(Array.init)
          },
          save: { bytes in
            do {
              try await parts.pool.run { try PrivateFile.write(String(decoding: bytes, as: UTF8.self), to: path) }
            } catch {
              parts.logger.warning(
                "What the notice of an outage has to remember could not be written down",
                metadata: ["error": "\(error)"])
            }
          }), notify: parts.configuration.notices.notify ?? [], host: ProcessName.host, beat: { context.beat() })
      return Routine { try await notice.run() }
    }
  }

  /// Seconds after which an instance that stands by says what the active one should have said: early enough for the
  /// promised minute, unless that one was seen alive just before. Then it speaks, or has nothing to say because only
  /// this instance does not reach the store.
  private static let silence: TimeInterval = 40
  private static let silenceBesideHolder: TimeInterval = 300

  private func alive() -> ChildSpec {
    let (configuration, clock, pool, trouble) = (parts.configuration.alive, parts.clock, parts.pool, parts.trouble)
    return ChildSpec(id: "AliveLoop", backoff: Backoff(), heartbeat: max(configuration.interval * 4, .seconds(60))) {
      context in
      Persistent("alive.file", trouble: trouble, clock: clock, beat: { context.beat() }) {
        try await AliveLoop(
          path: configuration.file, interval: configuration.interval, clock: clock, pool: pool,
          beat: { context.beat() }, isWell: { !context.surroundings.zombies.isOverLimit }
        ).run()
      }
    }
  }

  private func restartWatch() -> ChildSpec {
    let (path, stop, logger) = (parts.configuration.restart.file, stop, parts.logger)
    let (clock, pool, trouble) = (parts.clock, parts.pool, parts.trouble)
    return ChildSpec(id: "RestartWatch", backoff: Backoff(), heartbeat: .seconds(60)) { context in
      Persistent("restart.file", trouble: trouble, clock: clock, beat: { context.beat() }) {
        try await RestartWatch(path: path, clock: clock, pool: pool, beat: { context.beat() }) {
          logger.info("The restart file was touched", metadata: ["restart.file": "\(path)"])
          stop(.restart)
        }.run()
      }
    }
  }

  private func gatewayChild() -> ChildSpec {
    let (gateway, clock, trouble) = (gateway, parts.clock, parts.trouble)
    return ChildSpec(id: "Gateway", backoff: Backoff()) { context in
      Persistent("http.listen", trouble: trouble, clock: clock, beat: { context.beat() }) { try await gateway.run() }
    }
  }
}

/// A life whose surroundings may fail it: a port that is taken, a file that cannot be touched.
///
/// That is an answer, not a defect: it is shown as a problem and tried again, and costs nobody's restart budget.
struct Persistent: Supervised {
  static let pause: Duration = .seconds(5)
  let field: String
  let trouble: TroubleDesk
  let clock: any Clock<Duration>
  let beat: @Sendable () -> Void
  let life: @Sendable () async throws -> Void

  /// - Parameter field: the configuration's field that the trouble is about.
  init(
    _ field: String, trouble: TroubleDesk, clock: any Clock<Duration>, beat: @escaping @Sendable () -> Void,
    life: @escaping @Sendable () async throws -> Void
  ) {
    self.field = field
    self.trouble = trouble
    self.clock = clock
    self.beat = beat
    self.life = life
  }

  func run() async throws {
    while true {
      do {
        try await life()
        try Task.checkCancellation()
      } catch let error where !(error is CancellationError) && !Task.isCancelled {
        await trouble.note(
          Problem(kind: Configuration.kind, id: "", path: field, reason: "\(error); it is tried again every 5 s"))
      }
      beat()
      try await clock.sleep(for: Self.pause)
    }
  }
}

extension Parts {
  /// The documents as they are in the store; while one on another machine is away, as they were last known.
  func current() async throws -> DocumentBook.Snapshot {
    do {
      return try await refresh()
    } catch let error as StorageError where error.code == .unavailable && leadership.isShared {
      return try await book.known()
    }
  }

  /// The documents as they are in the store now, told to everyone who keeps a copy.
  func refresh() async throws -> DocumentBook.Snapshot {
    let (snapshot, isNew) = try await book.refresh()
    if isNew {
      limits.set(snapshot.histories)
      targets.set(snapshot.set.targets)
      await board.keep(only: Set(snapshot.targets.keys), refused: snapshot.refusedTargets)
      await trouble.set(documents: snapshot.problems)
    }
    return snapshot
  }
}
