internal import Synchronization

/// Counts the abandoned lives of the process that have not ended yet.
///
/// Each keeps its memory and perhaps a thread, and cannot be ended from here. With more than `limit` of them the process
/// is better started anew: the supervisor that abandons the one too many reports `zombieLimit`, and the composition ends
/// the process.
package final class ZombieCounter: Sendable {
  package let limit: Int
  private let living = Atomic<Int>(0)

  /// - Parameter limit: how many are borne. Default 16.
  package init(limit: Int = 16) { self.limit = limit }

  package var count: Int { living.load(ordering: .relaxed) }

  package var isOverLimit: Bool { count > limit }

  /// Returns how many there are now.
  func add() -> Int { living.wrappingAdd(1, ordering: .relaxed).newValue }

  func remove() { living.wrappingSubtract(1, ordering: .relaxed) }
}
