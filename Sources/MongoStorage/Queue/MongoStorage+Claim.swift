package import FoundationEssentials
internal import Model
package import Storage

extension MongoStorage {
  /// Usually one round trip: a single findAndModify along the index `claim`, majority and journaled. Claims that come
  /// together go together, see ``QueueGroupClaim``.
  ///
  /// Without transactions the order is: lease first, then look at what stands before, then merge. So:
  /// - Two claimers never have one entry: the lease is a compare-and-set of one document.
  /// - Two claimers on one chain: who leased the later entry looks at the earlier one afterwards. It is leased: the later
  ///   is given back as it was. It is pending: it is merged by its `token`; if the other was quicker, the merge fails,
  ///   the chain is looked at anew, and the later one is given back. Each looks only backwards, so neither waits for the
  ///   other for good.
  /// - Of several pending predecessors the farthest is merged first. A process that ends in between leaves a chain whose
  ///   far end is merged into the leased entry: when that lease was rescued, the next claim merges the rest, and knows by
  ///   the ledgers that the news is its own to tell.
  /// - A lease whose answer never arrived stands until it is rescued: the message is late by one lease, never lost.
  ///   An epoch that was given out is never given out again: a lease that is given back takes its number back only
  ///   while its `token` still stands, and nobody has seen the number.
  package func claim(owner: String, now: Date, lease: Duration) async throws(StorageError) -> QueueLease? {
    try await claims.call(
      ClaimRequest(owner: owner, now: now, until: now + lease.timeInterval), doing: "claiming a notification")
  }
}
