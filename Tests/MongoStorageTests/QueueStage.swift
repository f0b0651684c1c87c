import Foundation
import Logging
import Model
import Storage
import TestKit
import Testing

@testable import MongoStorage

/// 2026-11-21T08:00:00Z and so many seconds.
func instant(_ seconds: Double = 0) -> Date { Date(timeIntervalSince1970: 1_795_248_000 + seconds) }

/// Handles of one database of its own, as several instances of the service have them.
struct QueueStage {
  let server: MongoServer
  let uri: String

  init(_ server: MongoServer) {
    self.server = server
    uri = server.uri(database: MongoServer.freshDatabase("queue"))
  }

  func open(threads: Int = 6) async throws -> MongoStorage {
    var configuration = MongoStorage.Configuration(uri: uri)
    configuration.threads = threads
    return try await MongoStorage.open(configuration, logger: Logger(label: "test"))
  }

  static func entry(
    _ id: String, key: String? = nil, after: String? = nil, created: Double = 0, due: Double? = nil,
    alternates: [String] = []
  ) -> QueueEntry {
    QueueEntry(
      id: id, key: key ?? "key-\(id)", reaction: "disk-full", target: "web-1", type: "email",
      payload: ["to": ["ops@example.org"], "subject": "s", "body": "b"], episode: "e", kind: "firing", option: "ops",
      recipient: "ops@example.org", alternates: alternates, after: after, severity: .critical,
      created: instant(created), next_at: due.map { instant($0) })
  }

  static func episode(_ id: String, element: String = "/", ended: Double? = nil) -> Episode {
    var episode = Episode(
      id: id, key: ConditionKey(reaction: "disk-full", target: "web-1", metric: "Vitals.Disk", element: element),
      severity: .critical, state: ended == nil ? .firing : .ok, since: instant(), value: "93.1 %", limit: "at most 90 %"
    )
    episode.ended_at = ended.map { instant($0) }
    return episode
  }
}

/// What ends an operation between two commands, as the end of the process would.
struct ProcessEnded: Error {}

extension MongoStorage {
  /// Ends every operation at `step` from now on.
  func end(at step: QueueStep) {
    queueMemory.interrupt { if $0 == step { throw ProcessEnded() } }
  }

  /// Takes away the leases that are over by `now`.
  func takeBack(now: Date) async throws -> Int {
    let over = try await heldLeases(limit: 1000).filter { $0.entry.isStranded(at: now) }
    return try await rescue(over, now: now)
  }

  /// Puts a document into `notifications` as another program does.
  func put(_ document: BSON) async throws {
    try await pool.run("inserting as another program") { connection in
      _ = try connection.write(
        BSON { w in
          w.string("insert", "notifications")
          w.documents("documents", [document])
        })
    }
  }

  /// Claims and settles until nothing is left. - Returns: the ids in the order of their claims.
  func deliverAll(_ owner: String = "w", now: Date) async throws -> [String] {
    var ids: [String] = []
    while let lease = try await claim(owner: owner, now: now, lease: .seconds(60)) {
      let settlement = lease.problem.map { Settlement.dead(answer: $0) } ?? .delivered(receipt: "250 ok")
      if lease.problem == nil { ids.append(lease.entry.id) }
      let isOurs = try await settle(lease, as: settlement, now: now, adding: [])
      try #require(isOurs)
    }
    return ids
  }
}
