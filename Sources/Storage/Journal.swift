package import FoundationEssentials
package import Model

/// What is kept on this machine while the store is away, to be brought there later.
package enum JournalOperation: Sendable, Hashable {
  case append([Sample])
  /// `fence`: in whose name it was accepted (see ``FencedStorage``).
  case record(Episode?, [QueueEntry], fence: Int64)
}

/// What may be given up when the journal is full. Episodes and queue entries may not.
package enum JournalLoss: String, Sendable, Hashable, CaseIterable {
  /// Measured values.
  case values
  /// What was stored because gathering failed.
  case errors
  case events
}

package struct JournalItem: Sendable, Hashable {
  /// Grows with every operation, also over restarts.
  package var sequence: Int64
  package var accepted: Date
  /// `nil`: its bytes cannot be read any more.
  package var operation: JournalOperation?
  package init(sequence: Int64, accepted: Date, operation: JournalOperation?) {
    self.sequence = sequence
    self.accepted = accepted
    self.operation = operation
  }
}

package struct JournalSize: Sendable, Hashable {
  /// Operations that wait.
  package var operations = 0
  package var bytes: Int64 = 0
  /// Samples and queue entries in them.
  package var samples = 0
  package var entries = 0
  /// When the oldest of them was accepted.
  package var oldest: Date?
  /// Samples given up because the journal was full, since it was made.
  package var dropped: [JournalLoss: Int] = [:]
  /// Operations that the store refused for good, since the journal was made.
  package var refused = 0
  package init() {}
}

/// A durable line of operations on this machine: what was accepted first leaves first.
///
/// One process at a time has it open. An operation stays until it is removed, whatever becomes of the process.
package protocol Journal: Sendable {
  /// Puts an operation at the end. When this returns, samples survive the end of the process; episodes and queue
  /// entries also the loss of power.
  func append(_ operation: JournalOperation, at accepted: Date) async throws(StorageError)
  /// The oldest operations in order, until they hold `samples` samples or as many queue entries; at least one when
  /// there is any.
  func oldest(samples: Int) async throws(StorageError) -> [JournalItem]
  /// Forgets everything up to and including `sequence`.
  func remove(through sequence: Int64) async throws(StorageError)
  /// Puts an operation away for people to look at, and counts it; it is not replayed again. `operation` nil: the bytes
  /// of `sequence` as they are. A bounded number is kept. The operation itself still has to be removed.
  func setAside(_ sequence: Int64, _ operation: JournalOperation?, reason: String) async throws(StorageError)
  /// Gives samples up until no more than `bytes` are used, or nothing but episodes and queue entries is left: first every
  /// second value of each series in the older half, again and again, then errors and events likewise. Counts them.
  func thin(to bytes: Int64) async throws(StorageError)
  /// The queue entries of one episode that wait here, oldest first.
  func entries(episode: String) async throws(StorageError) -> [QueueEntry]
  var size: JournalSize { get async }
  func close() async
}
