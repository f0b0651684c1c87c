internal import FoundationEssentials
internal import Logging
internal import Model
internal import Reactions
internal import Storage
internal import Supervision

/// Makes the children of the Reactor, one for each document of `reaction_targets`, and knows who lives.
actor ReactionDirectory {
  private let pipeline: Pipeline
  private let time: Timepiece
  private let trouble: TroubleDesk
  private let logger: Logger
  private var workers: [String: ReactionWorker] = [:]

  init(
    pipeline: Pipeline, time: Timepiece, trouble: TroubleDesk, logger: Logger
  ) {
    self.pipeline = pipeline
    self.time = time
    self.trouble = trouble
    self.logger = logger
  }

  /// The children for the reactions that count now; their identity is the document's id, the digest of its content, and
  /// the epoch with which this instance gathers.
  func children(_ snapshot: DocumentBook.Snapshot, epoch: Int64 = 0) -> [ChildSpec] {
    let wanted = snapshot.set.reactionTargets.filter(\.isEnabled)
    let ids = Set(wanted.map(\.id))
    workers = workers.filter { ids.contains($0.key) }
    return wanted.map { spec($0, digest: "\(snapshot.digest(.reaction_targets, $0.id))/\(epoch)") }
  }

  func states(of reaction: String) async -> [(key: ConditionKey, state: ConditionState, episode: Episode?)] {
    await workers[reaction]?.states() ?? []
  }

  private func spec(_ reaction: ReactionTarget, digest: String) -> ChildSpec {
    let title = "\(reaction.reaction) for \(reaction.selector.title) (\(reaction.id))"
    guard let rule = ReactionCatalogue.reactions[reaction.reaction] else {
      let problem = Problem(
        kind: DocumentKind.reaction_targets.rawValue, id: reaction.id, path: "reaction",
        reason: "there is no reaction \"\(reaction.reaction)\" in this version",
        hint: NearestName.hint(reaction.reaction, in: ReactionCatalogue.names))
      return ChildSpec(id: reaction.id, digest: digest, name: "Undefined \(title)", backoff: Backoff()) {
        [trouble] context in
        UndefinedModule(problem: problem.description, clock: context.surroundings.clock) { _ in
          await trouble.note(problem)
        }
      }
    }
    return ChildSpec(id: reaction.id, digest: digest, name: title, backoff: Backoff(), heartbeat: .seconds(120)) {
      [weak self] context in await self?.make(reaction, rule, context)
    }
  }

  private func make(_ reaction: ReactionTarget, _ rule: any Reaction, _ context: ChildContext) -> ReactionWorker {
    let worker = ReactionWorker(
      reaction, rule: rule, environment: pipeline.environment, exchange: pipeline.exchange,
      time: time, beat: { context.beat() }, isCurrent: { context.fence.isCurrent }, logger: logger)
    workers[reaction.id] = worker
    return worker
  }

  /// Ends the episodes of reactions that are gone. - Returns: how many.
  func closeOrphans(_ snapshot: DocumentBook.Snapshot) async throws -> Int {
    let open = try await pipeline.storage.episodes(reaction: nil, openOnly: true, limit: 100_000)
    let reactions = Set(snapshot.set.reactionTargets.filter(\.isEnabled).map(\.id))
    return try await Orphans(environment: pipeline.environment, time: time).close(
      open, reactions: reactions, refused: snapshot.refusedReactions)
  }
}

extension TargetSelector {
  /// In the words of a title: `generic`, `web-1`, `web-1, web-2`, `role=web`.
  var title: String {
    switch self {
    case .generic: "generic"
    case .names(let names): names.prefix(3).joined(separator: ", ") + (names.count > 3 ? " …" : "")
    case .labels(let labels): labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
    }
  }
}
