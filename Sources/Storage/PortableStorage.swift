package import Model

/// What a store holds, in the order in which it is moved.
///
/// A service may gather meanwhile; what it adds may be missing, but nothing else may be. So samples come first, then the
/// states of roll-ups, then their closed buckets: every sample that is moved is in the state, or newer than it and caught
/// up after the move; every bucket that the state says to be closed was there before it. A bucket that closes in between
/// comes as open as the state has it.
package enum StorePart: String, Sendable, Hashable, CaseIterable {
  case documents, samples, roll_ups, episodes, notifications, counts
}

package enum StoreItem: Sendable, Hashable {
  case document(Document)
  /// RT and events.
  case sample(Sample)
  case rollUp(Series, RollUp)
  case rollUpState(Series, RollUpState)
  case episode(Episode)
  /// With its state, attempts, lease and times as they are.
  case entry(QueueEntry)
  /// What was settled and forgotten: `accepted` is the sum of the others.
  case forgotten(QueueCounts)
}

package struct StorePage: Sendable, Hashable {
  package var items: [StoreItem]
  /// Where the next page begins; nil: that was all.
  package var next: String?
  package init(items: [StoreItem], next: String?) {
    self.items = items
    self.next = next
  }
}

/// Moving everything from one store to another.
package protocol PortableStorage: Sendable {
  /// At most `limit` items of a part, from a cursor on; every item that is there from the first page to the last comes
  /// exactly once.
  func export(_ part: StorePart, after cursor: String?, limit: Int) async throws(StorageError) -> StorePage
  /// Takes items in as they are, leases given back (pending). What is there already under the same key stays, so that
  /// doing it again changes nothing. - Returns: how many were new.
  func restore(_ items: [StoreItem]) async throws(StorageError) -> Int
}
