package import FoundationEssentials
package import Model

/// What goes to the store or fails.
extension JournaledStorage: Storage {
  /// Which stand of the store a call needs.
  enum Need {
    /// It must answer.
    case reachable
    /// It must know everything that was accepted.
    case complete
  }

  func pass<R: Sendable>(
    _ need: Need = .reachable, _ body: (any WholeStorage) async throws(StorageError) -> R
  ) async throws(StorageError) -> R {
    let store = try present(need)
    do throws(StorageError) {
      return try await body(store)
    } catch {
      doubt(error)
      throw error
    }
  }

  /// The store, where it stands as a call needs it.
  private func present(_ need: Need) throws(StorageError) -> any WholeStorage {
    try open()
    guard let primary, mode == .present || (mode == .replaying && need == .reachable) else { throw absence }
    return primary
  }

  /// A slow question is no outage yet: the prober finds out.
  private func doubt(_ error: StorageError) {
    if error.code == .unavailable { startWatch() }
  }

  var absence: StorageError {
    if mode == .replaying {
      return StorageError(
        .unavailable, "the store is back but does not have everything yet; the journal is brought to it")
    }
    let since = outage.map { " since \(Instant.format($0.since))" } ?? ""
    return StorageError(.unavailable, "the store is away\(since): \(outage?.reason ?? "it was never reached")")
  }

  // MARK: Documents

  package func documents(_ kind: DocumentKind) async throws(StorageError) -> [Document] {
    try await pass { (store) async throws(StorageError) in try await store.documents(kind) }
  }

  package func document(_ kind: DocumentKind, id: String) async throws(StorageError) -> Document? {
    try await pass { (store) async throws(StorageError) in try await store.document(kind, id: id) }
  }

  package func put(_ documents: [Document]) async throws(StorageError) -> [PutOutcome] {
    try await pass { (store) async throws(StorageError) in try await store.put(documents) }
  }

  package func delete(_ kind: DocumentKind, id: String) async throws(StorageError) -> Bool {
    try await pass { (store) async throws(StorageError) in try await store.delete(kind, id: id) }
  }

  package func documentRevision() async throws(StorageError) -> Int64 {
    try await pass { (store) async throws(StorageError) in try await store.documentRevision() }
  }

  package func mergeDetectedSpecs(_ specs: [String: Value], targetID: String) async throws(StorageError) {
    let store = try present(.reachable)
    do throws(StorageError) {
      try await store.mergeDetectedSpecs(specs, targetID: targetID)
    } catch {
      doubt(error)
      throw error
    }
  }

  // MARK: Samples

  /// Appends to the store or fails; the journal is not for these.
  func appendToStore(_ samples: [Sample]) async throws(StorageError) {
    try await pass(.complete) { (store) async throws(StorageError) in try await store.append(samples) }
  }

  package func latest(_ series: Series, type: SampleType) async throws(StorageError) -> Sample? {
    try await pass(.complete) { (store) async throws(StorageError) in try await store.latest(series, type: type) }
  }

  package func samples(_ query: SampleQuery) async throws(StorageError) -> [Sample] {
    try await pass { (store) async throws(StorageError) in try await store.samples(query) }
  }

  package func series(type: SampleType, target: String?) async throws(StorageError) -> [Series] {
    try await pass { (store) async throws(StorageError) in try await store.series(type: type, target: target) }
  }

  package func prune(_ rules: [RetentionRule]) async throws(StorageError) -> Int {
    try await pass { (store) async throws(StorageError) in try await store.prune(rules) }
  }

  // MARK: Episodes and the queue

  package func episodes(reaction: String?, openOnly: Bool, limit: Int) async throws(StorageError) -> [Episode] {
    try await pass(.complete) { (store) async throws(StorageError) in
      try await store.episodes(reaction: reaction, openOnly: openOnly, limit: limit)
    }
  }

  package func claim(owner: String, now: Date, lease: Duration) async throws(StorageError) -> QueueLease? {
    try await pass { (store) async throws(StorageError) in
      try await store.claim(owner: owner, now: now, lease: lease)
    }
  }

  package func extend(_ lease: QueueLease, until: Date) async throws(StorageError) -> Bool {
    try await pass { (store) async throws(StorageError) in try await store.extend(lease, until: until) }
  }

  package func settle(
    _ lease: QueueLease, as settlement: Settlement, now: Date, adding: [QueueEntry]
  ) async throws(StorageError) -> Bool {
    try await pass { (store) async throws(StorageError) in
      try await store.settle(lease, as: settlement, now: now, adding: adding)
    }
  }

  package func heldLeases(limit: Int) async throws(StorageError) -> [QueueLease] {
    try await pass { (store) async throws(StorageError) in try await store.heldLeases(limit: limit) }
  }

  package func rescue(_ leases: [QueueLease], now: Date) async throws(StorageError) -> Int {
    try await pass { (store) async throws(StorageError) in try await store.rescue(leases, now: now) }
  }

  package func queueCounts(now: Date) async throws(StorageError) -> QueueCounts {
    try await pass { (store) async throws(StorageError) in try await store.queueCounts(now: now) }
  }

  package func queueLoad(now: Date) async throws(StorageError) -> QueueLoad {
    try await pass { (store) async throws(StorageError) in try await store.queueLoad(now: now) }
  }

  package func nextDue() async throws(StorageError) -> Date? {
    try await pass { (store) async throws(StorageError) in try await store.nextDue() }
  }

  package func queue(_ query: QueueQuery) async throws(StorageError) -> [QueueEntry] {
    try await pass { (store) async throws(StorageError) in try await store.queue(query) }
  }

  package func queueEntry(id: String) async throws(StorageError) -> QueueEntry? {
    try await pass { (store) async throws(StorageError) in try await store.queueEntry(id: id) }
  }

  package func retry(id: String, now: Date) async throws(StorageError) -> Bool {
    try await pass { (store) async throws(StorageError) in try await store.retry(id: id, now: now) }
  }

  package func drop(id: String, reason: String, now: Date) async throws(StorageError) -> Bool {
    try await pass { (store) async throws(StorageError) in try await store.drop(id: id, reason: reason, now: now) }
  }

  package func pruneQueue(settledBefore date: Date) async throws(StorageError) -> Int {
    try await pass { (store) async throws(StorageError) in try await store.pruneQueue(settledBefore: date) }
  }

  // MARK: Itself

  package func check() async throws(StorageError) -> [String: Value] {
    var facts = try await pass { (store) async throws(StorageError) in try await store.check() }
    let size = await journal.size
    facts["journal_operations"] = .int(Int64(size.operations))
    facts["journal_bytes"] = .int(size.bytes)
    return facts
  }
}

extension JournaledStorage: EpisodeMemory {
  package func told(episode: String) async throws(StorageError) -> [QueueEntry] {
    let query = QueueQuery(episode: episode, limit: 500)
    do throws(StorageError) {
      if mode == .present {
        return try await pass { (store) async throws(StorageError) in try await store.queue(query) }
      }
      if mode == .replaying {
        // The journal first: what moves to the store meanwhile is then seen twice rather than never.
        let journaled = try await journal.entries(episode: episode)
        let stored = try await pass { (store) async throws(StorageError) in try await store.queue(query) }
        let known = Set(stored.map(\.id))
        return Array((journaled.reversed().filter { !known.contains($0.id) } + stored).prefix(500))
      }
    } catch  where error.code == .unavailable {
      // It is away, as below.
    }
    guard let entries = recall.entries(of: episode) else { throw absence }
    return entries
  }
}

// MARK: What stores can do besides

extension JournaledStorage: RollUpStorage, LeaseStorage, FencedStorage, PortableStorage {
  package func rollUpStates(_ series: [Series]) async throws(StorageError) -> [Series: RollUpState] {
    try await pass { (store) async throws(StorageError) in
      try await store.rollUpStates(series)
    }
  }

  package func rollUps(_ series: Series, type: SampleType, starts: [Int64]) async throws(StorageError) -> [RollUp] {
    try await pass { (store) async throws(StorageError) in
      try await store.rollUps(series, type: type, starts: starts)
    }
  }

  package func store(_ updates: [RollUpUpdate]) async throws(StorageError) {
    let store = try present(.reachable)
    do throws(StorageError) {
      try await store.store(updates)
    } catch {
      doubt(error)
      throw error
    }
  }

  package func newestRolledUp(until second: Int64) async throws(StorageError) -> Int64? {
    try await pass { (store) async throws(StorageError) in try await store.newestRolledUp(until: second) }
  }

  package func remove(_ series: [Series], quietSince date: Date) async throws(StorageError) -> Int {
    try await pass { (store) async throws(StorageError) in try await store.remove(series, quietSince: date) }
  }

  package func lease(_ name: String) async throws(StorageError) -> Lease? {
    try await pass { (store) async throws(StorageError) in try await store.lease(name) }
  }

  package func replace(_ lease: Lease, expecting expected: Lease?) async throws(StorageError) -> Lease? {
    try await pass { (store) async throws(StorageError) in
      try await store.replace(lease, expecting: expected)
    }
  }

  /// What was accepted under a lower fence has to be in the store first: until then `unavailable`.
  package func raiseFence(to fence: Int64) async throws(StorageError) {
    let store = try present(.complete)
    do throws(StorageError) {
      try await store.raiseFence(to: fence)
    } catch {
      doubt(error)
      throw error
    }
    self.fence = max(self.fence, fence)
  }

  package func export(_ part: StorePart, after cursor: String?, limit: Int) async throws(StorageError) -> StorePage {
    try await pass(.complete) { (store) async throws(StorageError) in
      try await store.export(part, after: cursor, limit: limit)
    }
  }

  package func restore(_ items: [StoreItem]) async throws(StorageError) -> Int {
    try await pass { (store) async throws(StorageError) in try await store.restore(items) }
  }
}
