internal import FoundationEssentials
internal import Logging
internal import Model

/// Episodes of the journal that the store refuses, because another instance has gathered since they were accepted.
extension JournaledStorage {
  /// Most episodes of a reaction that are looked through; the open ones come first.
  private static let orphanBound = 1000
  /// Most messages of one episode that are looked through, the newest first.
  private static let messageBound = 500

  /// Brings the messages of such an episode to people without the episode itself: in the store it ends as superseded,
  /// so that none stays open that the instance which gathers now does not know of. Where no end follows in the journal
  /// one is queued with them: that instance knows of nothing that it could end.
  ///
  /// - Returns: false, and nothing was done, where people have heard of it from that instance, or will: a message from
  ///   before would contradict it then.
  func adopt(
    _ episode: Episode, _ entries: [QueueEntry], _ primary: any WholeStorage
  ) async throws(StorageError) -> Bool {
    let known = try await primary.episodes(reaction: episode.key.reaction, openOnly: false, limit: Self.orphanBound)
    let queued = try await primary.queue(QueueQuery(episode: episode.id, limit: Self.messageBound))
    if try await isToldElsewhere(episode, entries, known: known, queued: queued, primary) { return false }
    let isOpenThere = known.contains { $0.id == episode.id && $0.isOpen }
    let ends = isOpenThere ? [] : try await missingEnds(of: episode, entries, queued, primary)
    var copy = episode.isOpen ? episode.superseded : episode
    copy.end_reason = Episode.supersededReason
    // Its end, which may follow in the journal, finds it there; done again after a crash, so does this.
    _ = try await primary.restore([.episode(copy)])
    _ = try await primary.record(nil, queueing: entries + ends)
    logger.notice(
      "another instance has the gathering: an episode from the journal ends, its messages are queued",
      metadata: ["episode.id": "\(episode.id)", "notification.count": "\(entries.count + ends.count)"])
    return true
  }

  /// What was said decides, not which rows there are: the other instance may have ended an episode that it never told of.
  private func isToldElsewhere(
    _ episode: Episode, _ entries: [QueueEntry], known: [Episode], queued: [QueueEntry], _ primary: any WholeStorage
  ) async throws(StorageError) -> Bool {
    let ids = Set(queued.map(\.id))
    // A crash came before they were forgotten here.
    if !entries.isEmpty, entries.allSatisfy({ ids.contains($0.id) }) { return false }
    let own = known.first { $0.id == episode.id }
    if queued.contains(where: { $0.kind == "firing" }) {
      // By the other one, which ends it as well; or from here, a moment ago.
      if own?.end_reason == Episode.supersededReason { return false }
      return own?.isOpen == true || queued.contains { $0.kind == "resolved" }
    }
    // Whatever held while this one did, or after it began, is newer news, if anybody heard of it.
    for other in known where other.key == episode.key && other.id != episode.id {
      guard other.end_reason != Episode.supersededReason,
        other.isOpen || other.ended_at ?? other.since >= episode.since
      else { continue }
      if try await !primary.queue(QueueQuery(episode: other.id, limit: 1)).isEmpty { return true }
    }
    return false
  }

  /// The ends of messages that fired, one for each way, where the journal has no later word of the episode.
  private func missingEnds(
    of episode: Episode, _ entries: [QueueEntry], _ queued: [QueueEntry], _ primary: any WholeStorage
  ) async throws(StorageError) -> [QueueEntry] {
    // Of some reactions nobody wants to hear the end.
    let reaction = try await primary.document(.reaction_targets, id: episode.key.reaction)
    if reaction?.fields["resolved"] == .bool(false) { return [] }
    let ids = Set(entries.map(\.id))
    guard !entries.isEmpty, try await journal.entries(episode: episode.id).last.map({ ids.contains($0.id) }) != false
    else { return [] }
    let all = Array(entries.reversed()) + queued.filter { !ids.contains($0.id) }
    if all.contains(where: { $0.kind == "resolved" }) { return [] }
    var ways: Set<[String?]> = []
    let time = now()
    return all.compactMap { entry in
      ways.insert([entry.option, entry.recipient]).inserted ? ending(episode, entry, time) : nil
    }
  }
}
