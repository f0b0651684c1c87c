internal import FoundationEssentials
package import Model

/// What a reaction is told of the world; App fulfils it. Nothing here knows where targets and history are kept.
package struct ReactionEnvironment: Sendable {
  package var history: any History
  /// The targets that are monitored now.
  package var targets: @Sendable () async -> [Target]
  /// What is gathered on a target and how often; nil while nothing is known of it.
  package var plan: @Sendable (_ target: String) async -> AggregationPlan?
  /// Where announcements go. It throws when they could not be stored; they are handed over again then, unless it was
  /// ``Superseded``.
  package var announce: @Sendable (Announcement) async throws -> Void
  /// Whether a reminder would reach anybody by now. While it is false none is decided, so that an outage of the store
  /// leaves no backlog of them: of each condition that still fires one is decided afterwards.
  package var mayRemind: @Sendable () async -> Bool
  /// The names of targets whose documents are there but cannot be used: their episodes stay open.
  package var refusedTargets: @Sendable () async -> Set<String>

  package init(
    history: any History, targets: @escaping @Sendable () async -> [Target],
    plan: @escaping @Sendable (String) async -> AggregationPlan?,
    announce: @escaping @Sendable (Announcement) async throws -> Void,
    mayRemind: @escaping @Sendable () async -> Bool = { true },
    refusedTargets: @escaping @Sendable () async -> Set<String> = { [] }
  ) {
    self.history = history
    self.targets = targets
    self.plan = plan
    self.announce = announce
    self.mayRemind = mayRemind
    self.refusedTargets = refusedTargets
  }
}

/// The announcement was refused for good: somebody else has told the news of this condition, or may tell it alone. What
/// the reaction remembers is not what is stored, so it begins anew from the store.
package struct Superseded: Error, Sendable, CustomStringConvertible {
  package var description: String
  package init(_ description: String) { self.description = description }
}
