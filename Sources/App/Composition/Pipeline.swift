internal import Aggregation
internal import FoundationEssentials
internal import Logging
internal import Model
internal import Notifications
internal import Reactions
internal import Storage

/// The way of a sample, on one screen: gather → tee → judge → announce → queue → deliver.
///
/// The recorder and the board are bounded side branches; the main line is the exchange, which never waits either. What
/// holds the gathering back is the store's promise alone, and only where a message has to be queued.
struct Pipeline: Sendable {
  let storage: any Storage
  /// The store behind its journal, where it has one.
  let journaled: JournaledStorage?
  let recorder: Recorder
  let board: FleetBoard
  let exchange: SampleExchange
  let book: DocumentBook
  let router: Router
  let leadership: Leadership
  /// A target's plan as its touch budget lets it be kept at present.
  var asGathered: @Sendable (_ plan: AggregationPlan, _ target: String) async -> AggregationPlan = { plan, _ in plan }

  /// Aggregation's outlet.
  func take(_ samples: [Sample]) async {
    await recorder.record(samples)
    await board.take(samples)
    await exchange.offer(samples)
  }

  /// What reactions know of the world.
  var environment: ReactionEnvironment {
    ReactionEnvironment(
      history: StoreHistory(storage) { _ = await recorder.flush(rollUps: false) },
      targets: { await Array(book.snapshot.targets.values) },
      plan: { target in
        guard let plan = await book.snapshot.plans[target] else { return nil }
        return await asGathered(plan, target)
      },
      announce: { announcement in
        // An instance that stands back hands over nothing: the one that gathers now decides.
        guard leadership.role.isActive else { throw Superseded("this instance stands by") }
        do {
          try await router.route(announcement)
        } catch let error as StorageError where error.code == .conflict {
          await leadership.doubt()
          throw Superseded(error.message)
        }
        await board.take(announcement)
      },
      mayRemind: { await journaled?.status.condition ?? .present == .present },
      refusedTargets: { Set(await book.snapshot.refusedTargets.keys) })
  }
}
