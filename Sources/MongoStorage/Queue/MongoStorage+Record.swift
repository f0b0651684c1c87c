package import Model
package import Storage

extension MongoStorage {
  /// Where the promise is made:
  /// - one entry alone is its own promise: one insert;
  /// - an episode carries its entries in its document (see ``Outbox``): one update, then the insert;
  /// - several entries without an episode are promised by a document of `outboxes`.
  ///
  /// Up to the promise the call fails as a whole; after it, it succeeds, and what is left to do is done by the next who
  /// looks. A call that failed without an answer may have promised: done again it finds its own work (the episode by its
  /// `_id`, entries by id and key) and succeeds.
  package func record(_ episode: Episode?, queueing entries: [QueueEntry]) async throws(StorageError) -> Int {
    let fence = fence
    let stored = episode?.stored
    return try await queue("queueing notifications") { session in
      let documents = session.documents(entries)
      if let stored { return try session.record(stored, fence: fence, documents) }
      guard documents.count > 1 else { return documents.isEmpty ? 0 : try session.insert(documents) }
      let outbox = try session.promise(documents)
      return session.fulfil(outbox, at: .promised)
    }
  }
}

extension QueueSession {
  func promise(_ documents: [BSON]) throws -> Outbox {
    let outbox = Outbox(
      collection: QueueNames.outboxes, id: .objectID(.make()), number: memory.newToken(), entries: documents)
    let command = BSON { w in
      w.string("insert", outbox.collection)
      w.array("documents") { w in
        w.document { w in
          w.value("_id", outbox.id)
          w.documents("outbox", documents)
          Outbox.set(outbox.number, &w)
        }
      }
    }
    // Sent twice where the answer was lost: the second finds the first by its `_id`.
    _ = try connection.write(command, ignoring: [MongoCodes.duplicateKey])
    return outbox
  }

  /// Stores the episode with the promise of its entries, and fulfils it.
  ///
  /// An open episode carries the fence of who gathers (``MongoStorage/raiseFence(to:)`` writes it into each), so that one
  /// filter decides. Any other, above all a new one, carries none that could refuse it: it is stored as unconfirmed and
  /// counts only after ``confirm(_:id:)`` has asked for the store's highest fence.
  func record(_ episode: Episode, fence: Int64, _ documents: [BSON]) throws -> Int {
    let body = try BSONEncoder().encode(episode)
    for isOpen in [true, false] {
      let number = memory.newToken()
      if !isOpen { try clear(episode.id) }
      let command = Self.command(episode, body: body, fence: fence, documents, number: number, isOpen: isOpen)
      do {
        let reply = try connection.write(command)
        guard let stored = reply["value"]?.documentValue else { throw BSONError.malformed }
        if stored["unconfirmed"] != nil {
          try memory.reached(.proposed)
          guard try confirm(stored, id: episode.id) != .takenBack else {
            throw StorageRefusal.fenced("the episode \(episode.id)")
          }
        }
        if documents.isEmpty { return 0 }
        // With what an earlier call left there, in its order.
        let promised = try stored["outbox"]?.arrayValue?.values().compactMap(\.documentValue)
        let outbox = Outbox(
          collection: QueueNames.episodes, id: .string(episode.id), number: number, entries: promised ?? documents)
        let count = fulfil(outbox, at: .promised)
        return min(count, documents.count)
      } catch let error as MongoFailure where error.isDuplicateKey {
        if error.message.contains("index: \(QueueNames.conditionIndex)") {
          throw StorageRefusal.secondOpenEpisode(episode.id)
        }
      }
    }
    throw StorageRefusal.fenced("the episode \(episode.id)")
  }

  /// Stores an episode over the one that is open, or makes a new one; or (`isOpen` false) over one that is not open.
  /// Where it finds neither, the insert that follows from it is refused by `_id`.
  private static func command(
    _ episode: Episode, body: BSON, fence: Int64, _ documents: [BSON], number: Int64, isOpen: Bool
  ) -> BSON {
    BSON { w in
      w.string("findAndModify", QueueNames.episodes)
      w.document("query") { w in
        w.string("_id", episode.id)
        w.document("fence") { w in w.document("$not") { $0.int("$gt", fence) } }
        if isOpen { w.bool("open", true) } else { w.document("unfinished") { $0.bool("$exists", false) } }
      }
      w.document("update") { w in
        w.document("$set") { w in
          EpisodeDocument.fields(episode, body: body, fence: fence, &w)
          if !documents.isEmpty { Outbox.set(number, &w) }
          if !isOpen { EpisodeDocument.unconfirmed(number, hasOutbox: !documents.isEmpty, &w) }
        }
        if isOpen {
          w.document("$setOnInsert") { EpisodeDocument.unconfirmed(number, hasOutbox: !documents.isEmpty, &$0) }
        } else {
          w.document("$unset") { $0.string("taken_back", "") }
        }
        if !documents.isEmpty { Outbox.push(documents, &w) }
      }
      w.bool("upsert", true)
      w.bool("new", true)
      w.document("fields", EpisodeDocument.promise)
    }
  }
}
