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
  /// The filter lets nobody write over what was written in the name of a higher fence: it finds nothing then, and the
  /// insert that follows from it is refused by `_id`. Between the two another handle may have made the very episode: so
  /// once more before it counts as refused.
  func record(_ episode: Episode, fence: Int64, _ documents: [BSON]) throws -> Int {
    let number = memory.newToken()
    let body = try BSONEncoder().encode(episode)
    let command = BSON { w in
      w.string("findAndModify", QueueNames.episodes)
      w.document("query") { w in
        w.string("_id", episode.id)
        w.document("fence") { w in w.document("$not") { $0.int("$gt", fence) } }
      }
      w.document("update") { w in
        w.document("$set") { w in
          EpisodeDocument.fields(episode, body: body, fence: fence, &w)
          if !documents.isEmpty { Outbox.set(number, &w) }
        }
        if !documents.isEmpty { Outbox.push(documents, &w) }
      }
      w.bool("upsert", true)
      w.bool("new", true)
      w.document("fields") { $0.int32("outbox", 1) }
    }
    for isLast in [false, true] {
      do {
        let reply = try connection.write(command)
        if documents.isEmpty { return 0 }
        // With what an earlier call left there, in its order.
        let promised = try reply["value"]?.documentValue?["outbox"]?.arrayValue?.values().compactMap(\.documentValue)
        let outbox = Outbox(
          collection: QueueNames.episodes, id: .string(episode.id), number: number, entries: promised ?? documents)
        let count = fulfil(outbox, at: .promised)
        return min(count, documents.count)
      } catch let error as MongoFailure where error.isDuplicateKey {
        if error.message.contains("index: \(QueueNames.conditionIndex)") {
          throw StorageRefusal.secondOpenEpisode(episode.id)
        }
        if isLast { throw StorageRefusal.fenced("the episode \(episode.id)") }
      }
    }
    return 0
  }
}
