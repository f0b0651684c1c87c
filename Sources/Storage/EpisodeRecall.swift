internal import Model

/// Who was told of episodes, so far as this process told it itself: what a "resolved" needs to know while the store is
/// away.
///
/// An episode is known only when its very beginning was seen here; anything else would be a guess. Bound: ``bound``
/// episodes, the oldest go first; an ended one goes at once. Of an entry the payload is not kept.
struct EpisodeRecall: Sendable {
  static let bound = 10_000
  /// Of one episode; beyond it nothing is claimed of it any more.
  static let entryBound = 500

  private struct Told {
    var order: Int64
    var entries: [QueueEntry] = []
    /// Workers of any instance may have queued alternates that nobody here has heard of.
    var mayHaveMore = false
  }

  private var told: [String: Told] = [:]
  private var next: Int64 = 0

  /// - Parameter mayBeStored: whether the store may hold them, where workers find them.
  mutating func note(_ episode: Episode?, _ entries: [QueueEntry], mayBeStored: Bool) {
    guard let episode else { return }
    guard episode.isOpen else { return told[episode.id] = nil }
    var known: Told
    if let found = told[episode.id] {
      known = found
    } else if episode.state == .pending || entries.contains(where: { $0.kind == "firing" }) {
      makeRoom()
      known = Told(order: next)
      next += 1
    } else {
      return
    }
    for var entry in entries where !known.entries.contains(where: { $0.key == entry.key && $0.id == entry.id }) {
      if mayBeStored, !entry.alternates.isEmpty { known.mayHaveMore = true }
      entry.payload = [:]
      known.entries.append(entry)
    }
    if known.entries.count > Self.entryBound { known.mayHaveMore = true }
    known.entries = known.entries.suffix(Self.entryBound)
    told[episode.id] = known
  }

  /// They have reached the store.
  mutating func stored(_ entries: [QueueEntry]) {
    for entry in entries where !entry.alternates.isEmpty {
      if let episode = entry.episode { told[episode]?.mayHaveMore = true }
    }
  }

  /// All entries of an episode, newest first; `nil` when that cannot be said with certainty.
  func entries(of episode: String) -> [QueueEntry]? {
    guard let known = told[episode], !known.mayHaveMore else { return nil }
    return known.entries.reversed()
  }

  private mutating func makeRoom() {
    guard told.count >= Self.bound else { return }
    // A tenth at once: finding the oldest takes a walk through all.
    let oldest = told.sorted { $0.value.order < $1.value.order }.prefix(Self.bound / 10)
    for (id, _) in oldest { told[id] = nil }
  }
}
