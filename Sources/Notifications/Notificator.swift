internal import FoundationEssentials
internal import Model
internal import Storage
package import Supervision

/// The branch of the tree that empties the queue: a pool of workers that grows with the queue, and who rescues what
/// dead workers leave behind.
///
/// `Notificator.Worker.0` … `Notificator.Worker.n-1`; n follows the queue's length between the configuration's
/// `workers` and `max_workers`.
package struct Notificator: Branch {
  package struct Settings: Sendable, Hashable {
    /// Workers that are always there.
    package var workers = 1
    /// The most there may be; half of them may serve one channel at the same time.
    package var maximumWorkers = 8
    /// How often the pool looks at the queue's length.
    package var step: Duration = .seconds(1)
    /// What leases are held in the name of; unique for each process.
    package var instance: String

    package init(instance: String) { self.instance = instance }

    /// The bound for ``ChannelGate``.
    package var deliveriesPerChannel: Int {
      max(1, PoolSize(workers: workers, maximum: maximumWorkers).maximum / 2)
    }
  }

  private let supervisor: Supervisor
  private let populator: Populator

  /// - Parameter surroundings: those of the child that this is, or of a root.
  package init(_ context: WorkerContext, settings: Settings, surroundings: Surroundings) {
    let pool = Pool(context, settings: settings)
    let rescuer = ChildSpec(id: "Notificator.Rescuer", backoff: Backoff(), heartbeat: .seconds(300)) { child in
      let rescuer = Rescuer(
        storage: context.storage, doorbell: context.doorbell, clock: context.clock, now: context.now,
        logger: context.logger, lease: context.lease, hasEnded: context.hasEnded, beat: child.beat)
      return Routine { try await rescuer.run() }
    }
    supervisor = Supervisor(
      "Notificator", intensity: Intensity(restarts: pool.maximum + 1, period: .seconds(5)), children: [rescuer],
      surroundings: surroundings)
    populator = Populator(
      of: supervisor, settings: .init(form: .looper(step: settings.step)), surroundings: surroundings,
      desired: { await pool.desired() })
  }

  package func run() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await supervisor.run() }
      group.addTask { try await populator.run() }
      defer { group.cancelAll() }
      try await group.next()
    }
  }

  package nonisolated func snapshot() -> TreeNode { supervisor.snapshot() }

  /// The specification for the tree's root.
  package static func spec(_ context: WorkerContext, settings: Settings) -> ChildSpec {
    ChildSpec(id: "Notificator", kind: .supervisor) { child in
      Notificator(context, settings: settings, surroundings: child.surroundings)
    }
  }
}

/// Decides which workers there shall be.
actor Pool {
  nonisolated let maximum: Int
  private let context: WorkerContext
  private let instance: String
  private var size: PoolSize

  init(_ context: WorkerContext, settings: Notificator.Settings) {
    self.context = context
    instance = settings.instance
    size = PoolSize(workers: settings.workers, maximum: settings.maximumWorkers)
    maximum = size.maximum
  }

  func desired() async -> [ChildSpec] {
    // While the store is away the pool stays as it is; its workers say so in the log.
    if let load = try? await context.storage.queueLoad(now: context.now()) {
      _ = size.adapt(due: load.due, busy: load.leased, at: context.now())
    }
    return (0..<size.current).map(worker)
  }

  private func worker(_ number: Int) -> ChildSpec {
    let context = context
    let instance = instance
    let name = "Notificator.Worker.\(number)"
    // A delivery has `drain` to end when its worker is stopped, then a moment to be recorded. It beats before each
    // message; one takes at most 240 s, and a minute more while the store is away.
    return ChildSpec(
      id: name, shutdown: .deadline(context.drain + .seconds(4)), backoff: Backoff(), heartbeat: .seconds(420)
    ) { child in
      let worker = QueueWorker(
        context, owner: "\(instance)/\(name)/\(UUID().uuidString.lowercased())", beat: child.beat)
      return Routine { try await worker.run() }
    }
  }
}
