internal import Logging
package import Model
package import Storage

/// Keeps every service from gathering on a store that several may use while something is put into it, and refuses while
/// one does: where its roll-ups stand would be written over what is put in.
///
/// It has the lease by which services gather. The lease of one that ended without giving it back is waited for, as
/// another service would; one that is renewed meanwhile is a live service's.
package struct GatheringHold: Sendable {
  /// Longest wait for a lease that nobody renews: the longest time to live that is respected, and some looks.
  static let longestWait: Duration = .seconds(660)

  private let keeper: LeaseKeeper
  private let keeping: Task<Void, any Error>

  /// - Parameters:
  ///   - waiting: hears once whose lease has to run out.
  /// - Throws: `failed` with what to do, while a service gathers; what the store says when it does not answer.
  package init(
    _ store: any LeaseStorage & FencedStorage, times: LeaseTimes = LeaseTimes(),
    clock: any Clock<Duration> = ContinuousClock(), waiting: (_ holder: String) -> Void = { _ in }
  ) async throws(OperationError) {
    let owner = "\(ProcessName.host)/import/\(ProcessName.pid)"
    let keeper = LeaseKeeper(
      Leadership.leaseName, owner: owner, storage: store, times: times, clock: clock,
      logger: Logger(label: "import") { _ in SwiftLogNoOpLogHandler() }, observe: { _ in })
    self.keeper = keeper
    keeping = Task { try await keeper.run() }
    do {
      try await Self.take(keeper, owner, store, times, clock, waiting)
    } catch {
      await end()
      throw (error as? OperationError) ?? (error as? StorageError).map { OperationError(store: $0) }
        ?? OperationError(.failed, "\(error)")
    }
  }

  /// Whether no service can have begun to gather meanwhile.
  package var isHeld: Bool {
    get async { if case .holding = await keeper.state { true } else { false } }
  }

  /// Gives the lease back: a service that waits for it gathers at its next look.
  package func end() async {
    keeping.cancel()
    _ = try? await keeping.value
    await keeper.resign()
  }

  private static func take(
    _ keeper: LeaseKeeper, _ owner: String, _ store: any LeaseStorage & FencedStorage, _ times: LeaseTimes,
    _ clock: any Clock<Duration>, _ waiting: (String) -> Void
  ) async throws {
    var seen: Lease?
    var passed: Duration = .zero
    while passed < longestWait {
      if case .holding(let epoch) = await keeper.state {
        // What one that was only halted still writes is refused from now on.
        do throws(StorageError) {
          try await store.raiseFence(to: epoch)
          return
        } catch {
          guard error.code == .conflict else { throw error }
          await keeper.outbid(epoch)
        }
      }
      if let found = try await store.lease(Leadership.leaseName), !found.owner.isEmpty, found.owner != owner {
        if let seen, seen != found { throw refusal(found.owner) }
        if seen == nil { waiting(found.owner) }
        seen = found
      }
      try await clock.sleep(for: times.look / 4)
      passed += times.look / 4
    }
    throw OperationError(
      .failed,
      "the lease of \(seen?.owner ?? "nobody") does not run out: see that no service uses the store, and try again")
  }

  private static func refusal(_ holder: String) -> OperationError {
    OperationError(
      .failed,
      "another syscrap (\(holder)) gathers into this store; an import needs the store for itself: "
        + "stop the services that use it, import, and start them again")
  }
}

extension Configuration {
  /// Whether services on several machines may use the store.
  package var isStoreShared: Bool { if case .mongodb = store { true } else { false } }
}
