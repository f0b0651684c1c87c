internal import FoundationEssentials
internal import Model
package import Storage

/// How fast the queue hands out, beside the least that MongoDB can do.
package struct ClaimFigures: Sendable, Hashable {
  package var entries: Int
  package var claimers: Int
  /// ``Storage/claim(owner:now:lease:)`` of entries like the service's own.
  package var claimsPerSecond: Double
  /// Claim and settlement, `delivered`.
  package var deliveriesPerSecond: Double
  /// Bare `findAndModify` of two fields over an index of two, equally safe, through the same threads.
  package var bareClaimsPerSecond: Double
}

extension MongoStorage {
  /// Fills the queue of this database, which should be empty and of no other use, and empties it again. Leaves settled
  /// entries and the collection `claim_measure` behind; drop the database afterwards.
  /// - Parameters:
  ///   - entries: how many are claimed in each of the three ways. They take turns in rounds of a tenth, so that all
  ///     three see the same load of the machine.
  ///   - claimers: how many claim at the same time.
  package func measureClaims(entries: Int, claimers: Int) async throws(StorageError) -> ClaimFigures {
    let now = Date()
    let entries = max(1, entries)
    let claimers = max(1, claimers)
    var claims = 0.0
    var deliveries = 0.0
    var bare = 0.0
    let rounds = min(entries, 10)
    for round in 0..<rounds {
      // Rounds differ by one at most, and come to all.
      let count = entries * (round + 1) / rounds - entries * round / rounds
      try await fill(count, "a\(round)", now)
      claims += try await seconds(claimers) { storage, worker async throws(StorageError) in
        try await storage.claim(owner: "measure \(worker)", now: now, lease: .seconds(600)) != nil
      }
      try await fillBare(count)
      bare += try await seconds(claimers) { storage, _ async throws(StorageError) in
        try await storage.pool.run("measuring claims") { connection in
          try connection.write(Self.bareClaim)["value"]?.documentValue != nil
        }
      }
      try await fill(count, "b\(round)", now)
      deliveries += try await seconds(claimers) { storage, worker async throws(StorageError) in
        guard let lease = try await storage.claim(owner: "measure \(worker)", now: now, lease: .seconds(600)) else {
          return false
        }
        return try await storage.settle(lease, as: .delivered(receipt: "250 ok"), now: now, adding: [])
      }
    }
    func rate(_ seconds: Double) -> Double { Double(entries) / max(seconds, 1e-9) }
    return ClaimFigures(
      entries: entries, claimers: claimers, claimsPerSecond: rate(claims), deliveriesPerSecond: rate(deliveries),
      bareClaimsPerSecond: rate(bare))
  }

  private func fill(_ count: Int, _ prefix: String, _ now: Date) async throws(StorageError) {
    let run = UInt64.random(in: 0 ... .max)
    for start in stride(from: 0, to: count, by: 500) {
      let entries = (start..<min(start + 500, count)).map { number in
        QueueEntry(
          id: "\(prefix)-\(run)-\(number)", key: "\(prefix)-\(run)-\(number)", reaction: "disk-full", target: "web-1",
          type: "email",
          payload: [
            "to": "ops@example.org", "subject": "[FIRING critical] Vitals.Disk / on web-1",
            "body": .string(String(repeating: "Vitals.Disk / on web-1 is 93.1 %, at most 90 %.\n", count: 8)),
          ], episode: "measure", kind: "firing", option: "ops", recipient: "ops@example.org", severity: .critical,
          created: now)
      }
      _ = try await record(nil, queueing: entries)
    }
  }

  private func fillBare(_ count: Int) async throws(StorageError) {
    try await pool.run("measuring claims") { connection in
      _ = try connection.write(
        BSON { w in
          w.string("delete", Self.bareCollection)
          w.array("deletes") { w in
            w.document { w in
              w.document("q") { _ in }
              w.int32("limit", 0)
            }
          }
        })
      _ = try connection.administer(
        BSON { w in
          w.string("createIndexes", Self.bareCollection)
          w.array("indexes") { w in
            w.document { w in
              w.document("key") { w in
                w.int32("state", 1)
                w.int32("due", 1)
              }
              w.string("name", "claim")
            }
          }
        })
      for start in stride(from: 0, to: count, by: 1000) {
        let documents = (start..<min(start + 1000, count)).map { number in
          BSON { w in
            w.int("_id", number)
            w.string("state", "pending")
            w.int("due", number)
          }
        }
        _ = try connection.write(
          BSON { w in
            w.string("insert", Self.bareCollection)
            w.documents("documents", documents)
          })
      }
    }
  }

  private static let bareCollection = "claim_measure"

  private static let bareClaim = BSON { w in
    w.string("findAndModify", bareCollection)
    w.document("query") { $0.string("state", "pending") }
    w.document("sort") { $0.int32("due", 1) }
    w.document("update") { w in w.document("$set") { $0.string("state", "leased") } }
  }

  /// Lets `claimers` work until each of them finds nothing. - Returns: how long it took.
  private func seconds(
    _ claimers: Int, _ work: @escaping @Sendable (MongoStorage, Int) async throws(StorageError) -> Bool
  ) async throws(StorageError) -> Double {
    let began = ContinuousClock.now
    let result: Result<Void, StorageError> = await withTaskGroup(of: Result<Void, StorageError>.self) { group in
      for worker in 0..<claimers {
        group.addTask {
          do throws(StorageError) {
            while try await work(self, worker) {}
            return .success(())
          } catch {
            return .failure(error)
          }
        }
      }
      for await one in group { if case .failure = one { return one } }
      return .success(())
    }
    try result.get()
    return (ContinuousClock.now - began).timeInterval
  }
}
