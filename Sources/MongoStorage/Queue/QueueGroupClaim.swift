internal import FoundationEssentials
internal import Logging
internal import Model
internal import Storage

/// Who claims, and until when.
struct ClaimRequest: Sendable {
  var owner: String
  var now: Date
  var until: Date
}

/// Claims of several workers that came together, by two commands: the first that are due are read, and each is leased by
/// compare and set on its `token`, all in one update.
///
/// Who gets none that way (another handle was quicker; an entry has predecessors, or has to be looked at closer) claims
/// alone, see ``QueueClaim``. As there, a lease whose answer never arrived stands until it is rescued.
struct QueueGroupClaim {
  let session: QueueSession
  let requests: [ClaimRequest]

  /// - Throws: only what the pool mends, and before anything was leased.
  func run(_ address: MongoAddress, doing: String) throws -> [Result<QueueLease?, StorageError>] {
    var leases: [QueueLease?] = Array(repeating: nil, count: requests.count)
    // Once the store does not answer it is not waited for again: what is leased already must not grow old here.
    var absence: StorageError?
    do {
      if requests.count > 1 { try leaseFront(&leases) }
    } catch let failure as MongoFailure where failure.isNoSuchIndex {
      throw failure
    } catch {
      absence = MongoPool.storageError(error, doing: doing, address)
    }
    let hasLeased = leases.contains { $0 != nil }
    var outcomes: [Result<QueueLease?, StorageError>] = []
    for (request, lease) in zip(requests, leases) {
      if let lease {
        outcomes.append(.success(lease))
      } else if let absence {
        outcomes.append(.failure(absence))
      } else {
        do {
          outcomes.append(
            .success(
              try QueueClaim(session: session, owner: request.owner, now: request.now, until: request.until).run()))
        } catch let failure as MongoFailure where failure.isNoSuchIndex && !hasLeased && outcomes.isEmpty {
          throw failure
        } catch {
          let failure = MongoPool.storageError(error, doing: doing, address)
          if failure.code == .unavailable { absence = failure }
          outcomes.append(.failure(failure))
        }
      }
    }
    return outcomes
  }

  private struct Found {
    /// Whose it becomes.
    var request: Int
    /// As it is once it is leased.
    var entry: QueueEntry
    var id: BSONValue
    /// The token it was read with, and the one it gets.
    var before: Int64
    var token: Int64
  }

  private func leaseFront(_ leases: inout [QueueLease?]) throws {
    guard let now = requests.map(\.now).min() else { return }
    session.memory.saw(now)
    if session.memory.isTimeToLook(now) { _ = try session.tidy(now: now) }
    var found: [Found] = []
    // What is behind one that takes in its predecessors may be one of these: it has to go alone, and before them.
    for (index, stored) in try front(now).prefix(while: isSimple).enumerated() {
      guard let before = stored.token else { break }
      var entry = stored.entry
      entry.leased(by: requests[index].owner, now: requests[index].now, until: requests[index].until)
      found.append(
        Found(request: index, entry: entry, id: stored.id, before: before, token: session.memory.newToken()))
    }
    if found.isEmpty { return }
    var count: Int?
    do {
      count = try update(found)
    } catch let error as MongoFailure where error.isFinal {
      session.logger.warning("a claim was refused", metadata: ["error": "\(error)"])
    }
    // Where another was quicker with one, or the answer to a first try was lost, the documents say whose they are.
    let tokens = count == found.count ? nil : try tokens(of: found.map(\.id))
    for one in found where tokens?.contains(one.token) ?? true {
      leases[one.request] = QueueLease(entry: one.entry)
    }
  }

  /// - Returns: how many were as they were read.
  private func update(_ found: [Found]) throws -> Int? {
    let reply = try session.connection.write { w in
      w.string("update", QueueNames.notifications)
      w.array("updates") { w in
        for one in found {
          w.document { w in
            w.document("q") { w in
              w.value("_id", one.id)
              w.string("state", QueueEntry.State.pending.rawValue)
              w.int("token", one.before)
            }
            w.document("u") { w in
              w.document("$set") { w in
                w.string("state", QueueEntry.State.leased.rawValue)
                w.string("owner", requests[one.request].owner)
                w.date("lease_until", requests[one.request].until)
                w.date("updated", requests[one.request].now)
                w.int("epoch", one.entry.epoch)
                w.int("token", one.token)
              }
            }
          }
        }
      }
      w.bool("ordered", false)
    }
    return reply["n"]?.intValue
  }

  /// Nothing stands before it, and it can be delivered as it is.
  private func isSimple(_ stored: StoredEntry) -> Bool {
    stored.problem == nil && stored.sequence != nil && stored.entry.after == nil
  }

  private func front(_ now: Date) throws -> [StoredEntry] {
    let waiting = session.memory.waiting(now)
    let command = BSON { w in
      w.string("find", QueueNames.notifications)
      w.document("filter") { w in
        w.string("state", QueueEntry.State.pending.rawValue)
        w.document("next_at") { $0.date("$lte", now) }
        if !waiting.isEmpty { w.document("_id") { $0.strings("$nin", waiting) } }
      }
      w.document("sort") { w in for field in ["next_at", "created", "sequence"] { w.int32(field, 1) } }
      w.int("limit", requests.count)
      w.bool("singleBatch", true)
      w.string("hint", QueueNames.claimIndex)
    }
    return try session.connection.find(command, limit: requests.count).map(QueueDocument.stored)
  }

  private func tokens(of ids: [BSONValue]) throws -> Set<Int64> {
    let command = BSON { w in
      w.string("find", QueueNames.notifications)
      w.document("filter") { w in
        w.document("_id") { w in w.array("$in") { w in for id in ids { w.value("", id) } } }
      }
      w.document("projection") { $0.int32("token", 1) }
    }
    return Set(try session.connection.find(command, limit: ids.count).compactMap { $0["token"]?.int64Value })
  }
}
