internal import FoundationEssentials
internal import Logging
internal import Metrics
internal import Model
internal import Storage
internal import Supervision
internal import Threads

/// Which part this instance plays among those that share a store.
struct Role: Sendable, Hashable {
  enum Part: String, Sendable, Hashable {
    /// Gathers, reacts and delivers.
    case active
    /// Delivers, and waits for the active one's end.
    case standby
  }

  var part: Part
  /// Of the lease that it is active with; 0 with a store of its own.
  var epoch: Int64 = 0
  /// Who is active as far as is known; nil: nobody, or not known.
  var holder: String?
  /// Whether nobody else can be active: false while the store does not confirm the lease.
  var isConfirmed = true
  /// In a person's words: why it stands by, or what is in doubt.
  var detail = ""

  var isActive: Bool { part == .active }

  /// With a store that nobody else can use.
  static let alone = Role(part: .active, detail: "the only one")
  static let beginning = Role(part: .standby, detail: "the store has not answered yet")
}

/// Decides whether this instance is the one that gathers: with a store that several may share, only the holder of the
/// store's lease is; with an embedded one it always is.
///
/// Becoming active: the store's fence is raised to the lease's epoch first, so that whatever an earlier holder still
/// writes is refused; then open episodes are read, then the workers start. Standing back stops them at once.
actor Leadership {
  static let leaseName = "gathering"
  /// How long after a fence that could not be raised the next try is made.
  static let retryInterval: Duration = .seconds(2)
  /// For so long the lease is kept while nothing moves on the way to becoming active; then another one may try.
  static let patience: Duration = .seconds(180)
  /// So long the lease is left to others then.
  static let abstention: Duration = .seconds(60)

  /// What happens around a change of the part.
  struct Hooks: Sendable {
    /// How much has to be brought to the store before it knows everything.
    var backlog: @Sendable () async -> Int = { 0 }
    /// Before the workers start; a store that fails is asked again.
    var prepare: @Sendable () async throws(StorageError) -> Void
    /// After each change: everything that depends on it looks again at once.
    var changed: @Sendable (Role) async -> Void
    /// Before the lease is given back: what was gathered is brought away.
    var finish: @Sendable () async -> Void
  }

  private let keeper: LeaseKeeper?
  private let fence: (any FencedStorage)?
  /// Where the keeper's states go in this life: a stream ends with its reader.
  private let sink: Locked<AsyncStream<LeaseState>.Continuation?>
  private let clock: any Clock<Duration>
  private let logger: Logger
  private let current: Locked<Role>

  /// - Parameters:
  ///   - shared: the store that keeps the lease; nil: nobody else can use it.
  ///   - owner: unique for each process.
  ///   - hasEnded: whether an owner was an earlier process of this state folder, which has ended for certain.
  init(
    shared: (any LeaseStorage & FencedStorage)?, owner: String, hasEnded: @escaping @Sendable (String) -> Bool,
    clock: any Clock<Duration>,
    factory: any MetricsFactory, logger: Logger
  ) {
    let sink = Locked<AsyncStream<LeaseState>.Continuation?>(nil)
    self.sink = sink
    fence = shared
    self.owner = owner
    self.clock = clock
    self.logger = logger
    current = Locked(shared == nil ? .alone : .beginning)
    if let shared {
      keeper = LeaseKeeper(
        Self.leaseName, owner: owner, hasEnded: hasEnded, storage: shared, clock: clock, factory: factory,
        logger: logger,
        observe: { state in sink.withLock { _ = $0?.yield(state) } })
    } else {
      keeper = nil
    }
  }

  /// Who this instance is among the others.
  nonisolated let owner: String
  nonisolated var role: Role { current.withLock { $0 } }
  /// Whether there may be others.
  nonisolated var isShared: Bool { keeper != nil }

  /// Whether another instance has the lease, and was alive when the store last answered.
  nonisolated func hasLivingHolder() async -> Bool { await keeper?.hasLivingHolder ?? false }

  /// The store refused a write in a way that hints at another holder: it is asked at once.
  nonisolated func doubt() async { await keeper?.doubt() }

  /// Keeps the part until it is cancelled, then stands back and gives the lease back. Returns at once with a store of its
  /// own.
  func run(_ hooks: Hooks) async throws {
    guard let keeper else { return }
    // States are few and come seconds apart; of more than 64 that wait the oldest are of no interest.
    let (states, continuation) = AsyncStream.makeStream(of: LeaseState.self, bufferingPolicy: .bufferingNewest(64))
    sink.withLock { $0 = continuation }
    var failure: (any Error)?
    do {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await keeper.run() }
        group.addTask {
          // A life before this one may have left off in the middle.
          try await self.settle(await keeper.state, hooks)
          for await state in states { try await self.settle(state, hooks) }
        }
        defer { group.cancelAll() }
        try await group.next()
      }
    } catch {
      failure = error
    }
    // A reader of states ends without an error when it is cancelled, so this is not for failures alone.
    await hooks.finish()
    set(Role(part: .standby, detail: "stopping"))
    await keeper.resign()
    try Task.checkCancellation()
    if let failure { throw failure }
  }

  private func settle(_ state: LeaseState, _ hooks: Hooks) async throws {
    switch state {
    case .unknown:
      await stand(back: Role.beginning, hooks)
    case .standby(let holder):
      await stand(back: Self.standby(behind: holder), hooks)
    case .holding(let epoch):
      if role.isActive, role.epoch == epoch {
        set(Role(part: .active, epoch: epoch))
      } else {
        try await take(epoch, hooks)
      }
    case .holdingUnconfirmed(let epoch):
      // Gathering harms nobody when two do it; who has only just taken the lease waits for its confirmation.
      if role.isActive, role.epoch == epoch {
        set(
          Role(
            part: .active, epoch: epoch, isConfirmed: false,
            detail: "the store does not confirm the lease; gathering goes on"))
      } else {
        await stand(back: Role(part: .standby, detail: "the lease is not confirmed yet"), hooks)
      }
    }
  }

  private static func standby(behind holder: String?) -> Role {
    Role(
      part: .standby, holder: holder,
      detail: holder.map { "gathered by \($0)" } ?? "nobody gathers at this moment; the next one takes over in seconds")
  }

  private func stand(back role: Role, _ hooks: Hooks) async {
    let former = self.role
    set(role)
    guard former.part != role.part || former.holder != role.holder else { return }
    if former.isActive { logger.warning("Standing back", metadata: ["role.detail": "\(role.detail)"]) }
    await hooks.changed(role)
  }

  /// Raises the fence, reads what is open, and only then is active. Where that does not succeed although the store
  /// confirms the lease, and what has to be brought there first does not grow less either, the lease is given back.
  private func take(_ epoch: Int64, _ hooks: Hooks) async throws {
    guard let keeper, let fence else { return }
    var hasSaid = false
    var waited = Duration.zero
    var least = Int.max
    while await keeper.state == .holding(epoch: epoch) {
      do throws(StorageError) {
        try await fence.raiseFence(to: epoch)
        try await hooks.prepare()
        // The store may have taken its time.
        guard await keeper.state == .holding(epoch: epoch) else { return }
        set(Role(part: .active, epoch: epoch))
        logger.notice("Active: this instance gathers", metadata: ["lease.epoch": "\(epoch)"])
        await hooks.changed(role)
        return
      } catch {
        if error.code == .conflict { await keeper.outbid(epoch) }
        // A long journal of an earlier run, for example: it can take minutes until the store knows everything.
        if await keeper.state == .holding(epoch: epoch), !role.isActive {
          set(
            Role(
              part: .standby, holder: owner,
              detail: "has the lease, and gathers as soon as the store is ready for it: \(error.message)"))
        }
        if !hasSaid {
          logger.warning("The gathering could not be taken over yet; trying again", metadata: ["error": "\(error)"])
        }
        hasSaid = true
      }
      let backlog = await hooks.backlog()
      waited = backlog < least ? .zero : waited + Self.retryInterval
      least = min(least, backlog)
      if waited >= Self.patience {
        logger.error("The gathering cannot be taken over here; the lease is given back")
        return await keeper.giveBack(abstaining: Self.abstention)
      }
      try await clock.sleep(for: Self.retryInterval)
    }
  }

  private func set(_ role: Role) { current.withLock { $0 = role } }
}
