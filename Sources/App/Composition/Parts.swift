internal import Aggregation
internal import FoundationEssentials
internal import Logging
internal import Model
internal import Notifications
internal import Reactions
internal import SSH
internal import Storage
internal import Supervision
internal import Threads
internal import Transfer

/// Everything the service is made of, made once and handed on. ``Plantation`` puts the lives among it into a tree.
struct Parts: Sendable {
  let configuration: Configuration
  let storage: any WholeStorage
  /// The store behind its journal, where it has one.
  let journaled: JournaledStorage?
  let leadership: Leadership
  let logger: Logger
  let registry: PrometheusRegistry
  let clock: any Clock<Duration> = ContinuousClock()
  let now: @Sendable () -> Date = { Date() }
  let instance: String
  let pool: BlockingPool
  let loops: EventLoopGroup
  let engine: TransferEngine
  let book: DocumentBook
  let desk: DocumentDesk
  /// Must be told when this instance begins to gather after another: ``RollUpKeeper/reset()``.
  let rollUps: RollUpKeeper
  let recorder: Recorder
  let board = FleetBoard()
  let pipeline: Pipeline
  let aggregator: Aggregator
  let reactions: ReactionDirectory
  let connectors: Connectors
  let touch = TouchLedger()
  let workers: WorkerContext
  let notices: SelfNotices
  let trouble: TroubleDesk

  init(
    configuration: Configuration, stores: Stores.ForService, registry: PrometheusRegistry, logger: Logger
  ) throws {
    self.configuration = configuration
    let (storage, journaled) = (stores.storage, stores.journaled)
    self.storage = storage
    self.journaled = journaled
    self.registry = registry
    self.logger = logger
    let (now, clock, host) = (now, clock, ProcessName.host)
    let identity = try InstanceIdentity(stateDirectory: configuration.stateDirectory)
    instance = identity.owner
    leadership = Leadership(
      shared: stores.shared, owner: identity.owner, hasEnded: { identity.hasSucceeded($0) }, clock: clock,
      factory: registry, logger: logger)
    pool = BlockingPool(named: "files", threads: 2)
    loops = try EventLoopGroup(count: 2, connects: .init(configuration.ssh.connect))
    engine = try TransferEngine(logger: logger)
    book = DocumentBook(
      storage: storage, checks: .standard, memory: DocumentMemory(configuration, pool: pool, logger: logger), now: now)
    desk = DocumentDesk(storage: storage, checks: .standard)
    trouble = TroubleDesk(logger: logger, now: now)

    let (book, board, trouble, leadership) = (book, board, trouble, leadership)
    let limits = LimitsBoard()
    rollUps = RollUpKeeper(
      store: storage, clock: clock, now: now, plan: { limits.plan($0) })
    recorder = Recorder(
      store: storage, clock: clock, now: now, limits: { limits.plan($0).limits },
      isStray: { limits.isStray($0) }, rollUps: rollUps,
      mayGather: {
        let role = leadership.role
        return role.isActive && role.isConfirmed
      })
    let notifiers = BuiltIn.notifiers(engine, host: host)
    let doorbell = Doorbell()
    let directory = Directory(
      options: { try await book.known().set.notificationOptions }, target: { await book.snapshot.targets[$0] })
    let report: ProblemReport = { await trouble.note($0) }
    let router = Router(
      storage: storage, directory: directory, notifiers: notifiers, doorbell: doorbell, report: report, logger: logger)
    pipeline = Pipeline(
      storage: storage, journaled: journaled, recorder: recorder, board: board, exchange: SampleExchange(), book: book,
      router: router, leadership: leadership)
    notices = SelfNotices(
      storage: storage, directory: directory, notifiers: notifiers, doorbell: doorbell,
      notify: configuration.notices.notify ?? [], host: host, logger: logger, now: now)
    let (notices, pipeline) = (notices, pipeline)
    let settings = Notificator.Settings(configuration.notificator, instance: instance)
    var workers = WorkerContext(
      storage: storage, directory: directory, notifiers: notifiers, doorbell: doorbell,
      gate: ChannelGate(limit: settings.deliveriesPerChannel, clock: clock, now: now), report: report,
      notice: { _ = await notices.post($0) }, clock: clock, now: now, logger: logger)
    // A store that is ours alone has no living owners but this process.
    let isAlone = stores.shared == nil
    workers.hasEnded = { isAlone ? !identity.isOurs($0) : identity.hasSucceeded($0) }
    self.workers = workers

    let targets = TargetsBoard()
    self.targets = targets
    connectors = Connectors(
      configuration: configuration.ssh, group: loops, metrics: SSHMetrics(factory: registry), logger: logger,
      touch: touch, pool: pool, target: { targets[$0] })
    let (connectors, touch) = (connectors, touch)
    let facts = FactsBook()
    self.facts = facts
    aggregator = Aggregator(
      AggregationSettings(
        registry: BuiltIn.metrics, connector: { connectors.connector(for: $0) },
        outlet: { await pipeline.take($0) },
        report: { name, new in
          facts.set(new, for: name)
          guard leadership.role.isActive, let id = await book.snapshot.targets[name]?.id,
            let fields = new.value.fields
          else { return }
          do {
            try await storage.mergeDetectedSpecs(fields, targetID: id)
          } catch {
            logger.warning(
              "What a host is could not be stored", metadata: ["target.name": "\(name)", "error": "\(error)"])
          }
        }, problem: { await trouble.note($0) },
        touch: { touch.account(of: $0) }, now: now))
    var judging = pipeline
    judging.asGathered = { [aggregator] plan, target in await aggregator.asGathered(plan, of: target) }
    reactions = ReactionDirectory(
      pipeline: judging, time: Timepiece(clock: ContinuousClock(), wall: now), trouble: trouble, logger: logger)
    self.limits = limits
  }

  let limits: LimitsBoard
  let facts: FactsBook
  let targets: TargetsBoard

  var notificatorSettings: Notificator.Settings { .init(configuration.notificator, instance: instance) }
}

extension Notificator.Settings {
  init(_ configuration: Configuration.Notificator, instance: String) {
    self.init(instance: instance)
    workers = configuration.workers
    maximumWorkers = configuration.maxWorkers
  }
}

/// What history every target keeps, readable without waiting.
///
/// Until documents were read nothing is known of any target, and nothing may be deleted.
final class LimitsBoard: Sendable {
  private let plans = Locked<HistoryPlans?>(nil)
  func plan(_ target: String) -> RollUpPlan {
    plans.withLock { $0?.plan(target) } ?? RollUpPlan(limits: .greatest)
  }
  func isStray(_ target: String) -> Bool { plans.withLock { $0?.isStray(target) } ?? false }
  func set(_ new: HistoryPlans) { plans.withLock { $0 = new } }
}

/// The targets' documents that count, readable without waiting.
final class TargetsBoard: Sendable {
  private let targets = Locked<[String: Target]>([:])
  subscript(name: String) -> Target? { targets.withLock { $0[name] } }
  func set(_ new: [Target]) {
    let byName = Dictionary(new.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    targets.withLock { $0 = byName }
  }
}

/// What each host last told of itself in this run: newer than what the documents held when they were read.
final class FactsBook: Sendable {
  private let facts = Locked<[String: HostFacts]>([:])
  subscript(target: String) -> HostFacts? { facts.withLock { $0[target] } }
  func set(_ new: HostFacts, for target: String) { facts.withLock { $0[target] = new } }
}
