/// A right that one instance at a time has, as it stands in the store. No time is ever compared between machines: who
/// wants it must have seen the same `(epoch, beat)` for `ttl` seconds on a clock of its own.
package struct Lease: Sendable, Hashable, Codable {
  package var name: String
  /// Unique for each process.
  package var owner: String
  /// Grows with each change of hands.
  package var epoch: Int64
  /// Grows with each renewal.
  package var beat: Int64
  package var ttl: Int
  package init(name: String, owner: String, epoch: Int64, beat: Int64, ttl: Int) {
    self.name = name
    self.owner = owner
    self.epoch = epoch
    self.beat = beat
    self.ttl = ttl
  }
}

package protocol LeaseStorage: Sendable {
  func lease(_ name: String) async throws(StorageError) -> Lease?
  /// Compare and set: puts `lease` where `expected` (nil: nothing) stands, as one durable step.
  /// - Returns: what stands there afterwards; equal to `lease` when it was taken.
  func replace(_ lease: Lease, expecting expected: Lease?) async throws(StorageError) -> Lease?
}

/// Keeps a holder that has lost its lease without knowing from deciding anything.
package protocol FencedStorage: Sendable {
  /// From now on episodes and roll-up states are written by this handle in the name of `fence` (an epoch; 0 before).
  /// Open episodes are marked with it at once. A write to an episode or state that carries a higher one is refused:
  /// ``StorageError/Code/conflict``; so is a second open episode of one condition, and an episode that begins in the
  /// name of a lower fence than the store has seen: whoever gathers now would never know of it.
  /// - Throws: `conflict` when the store has seen a higher one.
  func raiseFence(to fence: Int64) async throws(StorageError)
}
