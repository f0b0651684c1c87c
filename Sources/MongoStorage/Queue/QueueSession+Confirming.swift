internal import Model
internal import Storage

/// Keeps who has lost the gathering from opening episodes that nobody else would ever hear of.
///
/// The store's fence and a new episode are two documents, and there are no transactions. So a new episode is stored with
/// `unconfirmed: number`, its entries in its outbox; then the highest fence is read; then either `unconfirmed` is taken
/// away, or the episode is taken back: ended as superseded, its outbox struck out. Entries reach the queue, and the
/// caller hears of success, only after that. Who finishes outboxes does the same for what a crash left unconfirmed.
///
/// Raising a fence writes (a) the fence into `meta`, then (b) into all open episodes, and then open episodes are read:
/// - Stored before (b), the episode is marked by it and known to the new holder. It stands.
/// - Stored after (b), and so after (a): the read that follows finds the higher fence, and the episode's own is lower.
///   It is taken back. The filter names the fence that was seen there, so that a mark that comes at this moment wins.
/// - Found unconfirmed between (a) and (b) it may be taken back, too: the new holder does not see it then, and decides
///   itself. Nothing is lost: nobody was promised anything.
///
/// The read goes to the primary, which acknowledged the episode before, so it is not older than the episode.
extension QueueSession {
  enum Standing: Hashable {
    /// There is nothing in doubt.
    case stands
    case takenBack
  }

  /// Clears up what an earlier write left in an episode, so that what may be taken back later is the next write alone.
  func clear(_ id: String) throws {
    guard let stored = try promise(of: id) else { return }
    if stored["unconfirmed"] != nil, try confirm(stored, id: id) == .takenBack { return }
    if let outbox = try Outbox(stored, in: QueueNames.episodes) { _ = try finish(outbox) }
  }

  /// Decides about an episode that is unconfirmed.
  /// - Parameter stored: as it was found or written, by ``EpisodeDocument/promise(_:)``.
  func confirm(_ stored: BSON, id: String) throws -> Standing {
    var stored = stored
    for _ in 0..<Self.confirmationBound {
      if stored["taken_back"]?.boolValue == true { return .takenBack }
      guard let mark = stored["unconfirmed"], let fence = stored["fence"]?.int64Value else { return .stands }
      let known = try connection.knownFence()
      let ending = known > fence ? try superseded(id) : nil
      let changed = try count(
        update: QueueNames.episodes,
        where: { w in
          w.string("_id", id)
          w.value("unconfirmed", mark)
          w.int("fence", fence)
          w.value("outbox_number", stored["outbox_number"] ?? .null)
        },
        { w in
          if let (episode, body) = ending {
            w.document("$set") { w in
              EpisodeDocument.fields(episode, body: body, fence: known, &w)
              w.bool("taken_back", true)
            }
          }
          w.document("$unset") { w in
            w.string("unconfirmed", "")
            // An outbox that stands is struck out when it is fulfilled.
            guard ending != nil || stored["outbox"] == nil else { return }
            for field in ["outbox", "outbox_number", "unfinished"] { w.string(field, "") }
          }
        })
      if changed > 0 { return ending == nil ? .stands : .takenBack }
      // Marked, confirmed or taken back by another, or by us and the answer was lost.
      guard let next = try promise(of: id) else { return .stands }
      stored = next
    }
    throw StorageError(.unavailable, "the episode \(id) is in other hands all the time; try again")
  }

  /// So often somebody else may change an episode while it is decided about.
  private static var confirmationBound: Int { 10 }

  private func promise(of id: String) throws -> BSON? {
    let command = BSON { w in
      w.string("find", QueueNames.episodes)
      w.document("filter") { $0.string("_id", id) }
      w.document("projection", EpisodeDocument.promise)
      w.int32("limit", 1)
      w.bool("singleBatch", true)
    }
    return try connection.find(command, limit: 1).first
  }

  private func superseded(_ id: String) throws -> (Episode, BSON)? {
    let command = BSON { w in
      w.string("find", QueueNames.episodes)
      w.document("filter") { $0.string("_id", id) }
      w.int32("limit", 1)
      w.bool("singleBatch", true)
    }
    guard let document = try connection.find(command, limit: 1).first else { throw BSONError.malformed }
    let episode = try EpisodeDocument.episode(document).superseded
    return (episode, try BSONEncoder().encode(episode))
  }
}
