internal import Logging
internal import Model

/// Episodes of the journal that the store refuses, because another instance has gathered since they were accepted.
extension JournaledStorage {
  /// Most episodes of a reaction that are looked through; the open ones come first.
  private static let orphanBound = 1000

  /// Brings the messages of such an episode to people without the episode itself: in the store it ends as superseded,
  /// so that none stays open that the instance which gathers now does not know of.
  ///
  /// - Returns: false, and nothing was done, where that instance tells people itself: it has this very episode, or
  ///   another open one of the same condition. A message from before would contradict it then.
  func adopt(
    _ episode: Episode, _ entries: [QueueEntry], _ primary: any WholeStorage
  ) async throws(StorageError) -> Bool {
    let known = try await primary.episodes(reaction: episode.key.reaction, openOnly: false, limit: Self.orphanBound)
    let isToldElsewhere = known.contains { other in
      other.isOpen && other.key == episode.key || other.id == episode.id && other.end_reason != Episode.supersededReason
    }
    if isToldElsewhere { return false }
    var copy = episode.isOpen ? episode.superseded : episode
    copy.end_reason = Episode.supersededReason
    // Its end, which may follow in the journal, finds it there; done again after a crash, so does this.
    _ = try await primary.restore([.episode(copy)])
    _ = try await primary.record(nil, queueing: entries)
    logger.notice(
      "another instance has the gathering: an episode from the journal ends, its messages are queued",
      metadata: ["episode.id": "\(episode.id)", "notification.count": "\(entries.count)"])
    return true
  }
}
