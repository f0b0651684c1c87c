internal import Metrics

/// The words in which stores refuse what must not be written.
package enum StorageRefusal {
  /// Whether a write was refused in these words: then waiting does not mend it. A conflict with a number is a library's.
  package static func isFinal(_ error: StorageError) -> Bool { error.code == .conflict && error.rawCode == nil }

  /// Counts it, too.
  package static func fenced(_ what: String) -> StorageError {
    staleWrites.increment()
    return StorageError(
      .conflict, "\(what) was written by another instance that has the gathering now; this one's write is refused")
  }

  package static func secondOpenEpisode(_ id: String) -> StorageError {
    StorageError(.conflict, "the episode \(id) is refused: its condition has another open episode")
  }

  /// Counts it, too.
  package static func lowerFence(_ fence: Int64, than known: Int64) -> StorageError {
    staleWrites.increment()
    return StorageError(.conflict, "the fence \(fence) is lower than \(known), which another instance has raised")
  }

  private static var staleWrites: Counter { Counter(label: "stale_epoch_writes_total") }
}
