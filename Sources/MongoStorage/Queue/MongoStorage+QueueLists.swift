internal import FoundationEssentials
package import Model
package import Storage

extension MongoStorage {
  package func episodes(
    reaction: String?, openOnly: Bool, limit: Int
  ) async throws(StorageError) -> [Episode] {
    if limit <= 0 {
      try await queue("reading episodes") { _ in }
      return []
    }
    return try await queue("reading episodes") { session in
      let command = BSON { w in
        w.string("find", QueueNames.episodes)
        w.document("filter") { w in
          if let reaction { w.string("reaction", reaction) }
          if openOnly { w.bool("open", true) }
        }
        w.document("sort") { w in
          w.int32("open", -1)
          w.int32("listed", -1)
          w.int32("_id", 1)
        }
        w.document("projection") { $0.int32("body", 1) }
        w.int("limit", limit)
      }
      return try session.connection.find(command, limit: limit).map(EpisodeDocument.episode)
    }
  }

  package func queue(_ query: QueueQuery) async throws(StorageError) -> [QueueEntry] {
    try await queue("reading the queue") { session in
      try session.find(
        limit: query.limit,
        where: { w in
          if let episode = query.episode { w.string("episode", episode) }
          w.document("state") { $0.strings("$in", query.states.map(\.rawValue).sorted()) }
        },
        sort: { w in
          w.int32("created", -1)
          w.int32("sequence", -1)
        }
      ).map(\.entry)
    }
  }

  package func queueEntry(id: String) async throws(StorageError) -> QueueEntry? {
    try await queue("reading a notification") { session in try session.find(id: id)?.entry }
  }
}
