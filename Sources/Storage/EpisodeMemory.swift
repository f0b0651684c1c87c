package import Model

/// A store that can say who was told of an episode even while it is away.
package protocol EpisodeMemory: Sendable {
  /// The entries of an episode, newest first, at most 500: their ways, kinds and keys are certain; payloads may be
  /// empty and states old.
  /// - Throws: `unavailable` when it cannot be said with certainty.
  func told(episode: String) async throws(StorageError) -> [QueueEntry]
}

extension Storage {
  /// Who was told of an episode, from the store's memory where it has one (see ``EpisodeMemory``).
  package func entries(telling episode: String) async throws(StorageError) -> [QueueEntry] {
    if let memory = self as? any EpisodeMemory { return try await memory.told(episode: episode) }
    return try await queue(QueueQuery(episode: episode, limit: 500))
  }
}
