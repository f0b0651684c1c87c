package import Model

/// Ends the open episodes whose reaction is gone: the document was deleted or switched off.
///
/// A document that is there but refused is not gone: its episodes stay open until it is mended or deleted. It works on
/// what is stored, so that a deletion made while the service was down is told all the same.
package struct Orphans: Sendable {
  private let environment: ReactionEnvironment
  private let time: Timepiece

  package init(environment: ReactionEnvironment, time: Timepiece) {
    self.environment = environment
    self.time = time
  }

  /// - Parameters:
  ///   - open: All open episodes.
  ///   - reactions: The ids of all reaction documents that are there and enabled, in their last good version.
  ///   - refused: The ids of those that are there and cannot be used.
  /// - Returns: how many were ended.
  package func close(
    _ open: [Episode], reactions: Set<String>, refused: Set<String> = []
  ) async throws -> Int {
    var count = 0
    let present = reactions.union(refused)
    for episode in open where !present.contains(episode.key.reaction) {
      let rule = EpisodeRule(
        ReactionTarget(id: episode.key.reaction, reaction: "", selector: .generic, notify: []),
        MetricCondition(metric: episode.key.metric))
      let now = time.now()
      var machine = EpisodeMachine(continuing: episode, rule: rule, at: now)
      guard let announcement = machine.retire(reason: "rule removed", at: now) else { continue }
      try await environment.announce(announcement)
      count += 1
    }
    return count
  }
}
