internal import FoundationEssentials
internal import Model
internal import Storage

/// Moving episodes and the queue from one store to another.
extension MongoStorage {
  func exportEpisodes(from start: DocumentCursor, limit: Int) async throws(StorageError) -> StorePage {
    try await queue("exporting episodes") { session in
      let documents = try session.connection.page(QueueNames.episodes, from: start, limit: limit)
      let items = try documents.map { StoreItem.episode(try EpisodeDocument.episode($0)) }
      guard documents.count == limit, let last = documents.last?["_id"] else {
        return StorePage(items: items, next: nil)
      }
      return StorePage(items: items, next: DocumentCursor(step: 0, id: last).text)
    }
  }

  /// In the order of their age and arrival, which never change; the cursor's `id` is that place. Messages of other
  /// programs are taken in before the first page.
  func exportEntries(from start: DocumentCursor, limit: Int) async throws(StorageError) -> StorePage {
    try await queue("exporting notifications") { session in
      if start.id == nil { _ = try session.tidy(now: Date()) }
      let place = start.id?.documentValue
      let command = BSON { w in
        w.string("find", QueueNames.notifications)
        w.document("filter") { w in
          w.document("sequence") { $0.bool("$exists", true) }
          guard let place, let created = place["created"], let sequence = place["sequence"], let id = place["_id"]
          else {
            return
          }
          w.array("$or") { w in
            w.document { w in w.document("created") { $0.value("$gt", created) } }
            w.document { w in
              w.value("created", created)
              w.document("sequence") { $0.value("$gt", sequence) }
            }
            w.document { w in
              w.value("created", created)
              w.value("sequence", sequence)
              w.document("_id") { $0.value("$gt", id) }
            }
          }
        }
        w.document("sort") { w in for field in ["created", "sequence", "_id"] { w.int32(field, 1) } }
        w.int("limit", limit)
      }
      let documents = try session.connection.find(command, limit: limit)
      let items = documents.map { StoreItem.entry(QueueDocument.stored($0).entry) }
      guard documents.count == limit, let last = documents.last else { return StorePage(items: items, next: nil) }
      let next = BSON { w in
        for field in ["created", "sequence", "_id"] { w.value(field, last[field] ?? .null) }
      }
      return StorePage(items: items, next: DocumentCursor(step: 0, id: .document(next)).text)
    }
  }

  /// What was settled and forgotten.
  func forgotten() async throws(StorageError) -> QueueCounts {
    try await queue("counting notifications") { session in
      var counts = try session.readTally().counts
      counts.accepted = counts.delivered + counts.merged + counts.dead
      return counts
    }
  }

  func restoreEpisodes(_ episodes: [Episode]) async throws(StorageError) -> Int {
    let fence = fence
    return try await queue("restoring episodes") { session in
      var count = 0
      for episode in episodes.map(\.stored) where try session.restore(episode, fence: fence) { count += 1 }
      return count
    }
  }

  func restoreEntries(_ entries: [QueueEntry]) async throws(StorageError) -> Int {
    try await queue("restoring notifications") { session in
      try session.insert(
        entries.map { entry in
          QueueDocument.document(
            entry.moved, sequence: session.memory.nextSequence(), token: session.memory.newToken())
        })
    }
  }

  /// Adds another store's account where nothing was forgotten yet.
  /// - Returns: false when there was nothing to add, or something had been forgotten here.
  func restoreForgotten(_ counts: QueueCounts) async throws(StorageError) -> Bool {
    let sum = counts.delivered + counts.merged + counts.dead
    return try await queue("restoring the account of notifications") { session in
      for _ in 0..<100 {
        let tally = try session.readTally()
        guard sum > 0, tally.counts.delivered + tally.counts.merged + tally.counts.dead == 0 else { return false }
        var new = tally
        new.counts.accepted += sum
        new.counts.delivered += counts.delivered
        new.counts.merged += counts.merged
        new.counts.dead += counts.dead
        if try session.write(new, over: tally) { return true }
      }
      throw StorageError(.unavailable, "the queue's account is in other hands all the time; try again")
    }
  }
}

extension QueueSession {
  /// An open episode whose condition has another open one here comes as ended.
  /// - Returns: false when it was there already.
  fileprivate func restore(_ episode: Episode, fence: Int64) throws -> Bool {
    for copy in [episode, episode.superseded] {
      let body = try BSONEncoder().encode(copy)
      let command = BSON { w in
        w.string("insert", QueueNames.episodes)
        w.array("documents") { w in
          w.document { w in
            w.string("_id", copy.id)
            EpisodeDocument.fields(copy, body: body, fence: fence, &w)
          }
        }
      }
      do {
        _ = try connection.write(command)
        return true
      } catch let error as MongoFailure where error.isDuplicateKey {
        guard error.message.contains("index: \(QueueNames.conditionIndex)") else { return false }
      }
    }
    return false
  }
}
