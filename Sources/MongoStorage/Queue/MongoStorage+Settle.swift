package import FoundationEssentials
internal import Logging
package import Model
package import Storage

extension MongoStorage {
  package func extend(_ lease: QueueLease, until: Date) async throws(StorageError) -> Bool {
    guard let owner = lease.entry.owner else { return false }
    return try await queue("extending a lease") { session in
      try session.count(
        update: QueueNames.notifications,
        where: { QueueSession.holds(lease, by: owner, &$0) },
        { w in
          w.document("$set") { w in
            w.date("lease_until", until)
            w.int("token", session.memory.newToken())
          }
        }) > 0
    }
  }

  /// One update whose filter names owner and epoch: what the entry becomes follows from the lease alone, because nobody
  /// else writes to what is leased (a hand that drops it ends the lease). Entries to add are promised in the same
  /// document (see ``Outbox``). Settlements that come together go together, see ``QueueGroupSettlement``.
  package func settle(
    _ lease: QueueLease, as settlement: Settlement, now: Date, adding: [QueueEntry]
  ) async throws(StorageError) -> Bool {
    guard lease.entry.owner != nil else { return false }
    let settled = try await settlements.call(
      SettleRequest(lease: lease, settlement: settlement, now: now, adding: adding), doing: "settling a notification")
    if settled { queueMemory.forgetWaiting() }
    return settled
  }
}

/// The end of one lease.
struct SettleRequest: Sendable {
  var lease: QueueLease
  var settlement: Settlement
  var now: Date
  var adding: [QueueEntry]
}

/// Settlements of several workers that came together: one command with an update for each.
struct QueueGroupSettlement {
  let session: QueueSession
  let requests: [SettleRequest]

  private struct Change {
    var request: SettleRequest
    var owner: String
    var entry: QueueEntry
    var documents: [BSON]
    var token: Int64
  }

  func run(_ address: MongoAddress, doing: String) -> [Result<Bool, StorageError>] {
    let changes = requests.map(change)
    var isCertain = false
    do {
      isCertain = try write(changes) == changes.count
    } catch let error as MongoFailure where error.isFinal && changes.count > 1 {
      // One that the store refuses must not fail the others: their documents say what became of them.
      session.logger.warning("a settlement was refused; each is made alone", metadata: ["error": "\(error)"])
    } catch {
      let failure = MongoPool.storageError(error, doing: doing, address)
      return requests.map { _ in .failure(failure) }
    }
    // Once the store does not answer it is not waited for again by each of them.
    var absence: StorageError?
    return changes.map { change in
      // What was promised besides stands in the document: whoever looks next puts it into the queue.
      if isCertain, change.documents.isEmpty || absence != nil { return .success(true) }
      if let absence { return .failure(absence) }
      do {
        return .success(try finish(change, isCertain: try isCertain || write([change]) == 1))
      } catch {
        let failure = MongoPool.storageError(error, doing: doing, address)
        if failure.code == .unavailable { absence = failure }
        return isCertain ? .success(true) : .failure(failure)
      }
    }
  }

  private func change(_ request: SettleRequest) -> Change {
    session.memory.saw(request.now)
    var entry = request.lease.entry
    let owner = entry.owner ?? ""
    entry.settled(request.settlement, now: request.now, handsOn: !request.adding.isEmpty)
    return Change(
      request: request, owner: owner, entry: entry, documents: session.documents(request.adding),
      token: session.memory.newToken())
  }

  /// - Returns: how many leases were still held.
  private func write(_ changes: [Change]) throws -> Int {
    let reply = try session.connection.write { w in
      w.string("update", QueueNames.notifications)
      w.array("updates") { w in
        for change in changes {
          w.document { w in
            w.document("q") { QueueSession.holds(change.request.lease, by: change.owner, &$0) }
            w.document("u") { w in
              w.document("$set") { w in
                QueueDocument.changing(change.entry, &w)
                if !change.request.adding.isEmpty {
                  w.strings("alternates", change.entry.alternates)
                  Outbox.set(change.token, &w)
                }
                w.int("token", change.token)
              }
              if !change.request.adding.isEmpty { Outbox.push(change.documents, &w) }
            }
          }
        }
      }
      w.bool("ordered", false)
    }
    return reply["n"]?.intValue ?? 0
  }

  /// Looks whose the entry is, and fulfils what it promises.
  /// - Parameter isCertain: the lease was held. Else it was not any more; or it was settled by an earlier try of this very
  ///   call, and goes on in other hands by now: then the ledger has our line.
  /// - Returns: false when the lease was not held any more.
  private func finish(_ change: Change, isCertain: Bool) throws -> Bool {
    let found = try session.document { QueueID.identify(change.request.lease.entry.id, &$0) }
    guard let found else { return isCertain }
    if !isCertain, found["token"]?.int64Value != change.token {
      // Alone it is known whether the lease was held: then only the token counts.
      guard requests.count > 1, let line = change.entry.attempts.last,
        QueueDocument.stored(found).entry.attempts.contains(line)
      else { return false }
    }
    // Where there is an outbox, it may hold what an earlier settlement left.
    if let outbox = try Outbox(found, in: QueueNames.notifications) { _ = session.fulfil(outbox, at: .settled) }
    return true
  }
}

extension QueueSession {
  /// The filter that only the holder's own lease passes.
  static func holds(_ lease: QueueLease, by owner: String, _ w: inout BSONWriter) {
    QueueID.identify(lease.entry.id, &w)
    w.string("state", QueueEntry.State.leased.rawValue)
    w.string("owner", owner)
    w.int("epoch", lease.entry.epoch)
  }
}
