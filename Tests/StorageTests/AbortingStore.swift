import Foundation
import Model
import Storage

/// A store before another one whose calls fail as a test wants: before or after they took effect, once or from then on.
///
/// It keeps a ledger of the raw samples that reached the store, the first of each key, whatever was pruned since.
actor AbortingStore: WholeStorage {
  enum Fault {
    /// Fails without an effect, then goes on.
    case before
    /// Takes effect and says that it failed.
    case after
    /// As `before`, and nothing works any more until ``revive()``.
    case killBefore
    case killAfter
  }

  private let store: any WholeStorage
  private(set) var ledger: [Series: [SampleKey: Value]] = [:]
  private(set) var calls = 0
  private(set) var isDead = false
  private var faults: [Int: Fault] = [:]
  private(set) var statesStored = 0
  private(set) var largestStore = 0

  private var isMute = false

  private let staysOpen: Bool

  /// - Parameter staysOpen: whether the store behind goes on when this one is closed.
  init(_ store: any WholeStorage, staysOpen: Bool = false) { (self.store, self.staysOpen) = (store, staysOpen) }

  /// Whether every call but ``append(_:)`` and ``prune(_:)`` fails.
  func mute(_ isMute: Bool) { self.isMute = isMute }

  /// Whether nothing works.
  func cut(_ isCut: Bool) { isDead = isCut }

  /// Whether no roll-up can be stored.
  func refuseRollUps(_ isRefusing: Bool) { refusesRollUps = isRefusing }
  private var refusesRollUps = false

  /// The call that is `distance` calls away from now, 1 being the next, fails.
  func fail(in distance: Int, _ fault: Fault) { faults[calls + distance] = fault }
  func revive() {
    isDead = false
    refusesRollUps = false
    faults = [:]
  }

  private func call<Result: Sendable>(
    isAnsweredMute: Bool = false, _ body: () async throws(StorageError) -> Result
  ) async throws(StorageError) -> Result {
    if isMute, !isAnsweredMute { throw StorageError(.unavailable, "mute") }
    if isDead { throw StorageError(.unavailable, "dead") }
    calls += 1
    let fault = faults.removeValue(forKey: calls)
    switch fault {
    case nil: return try await body()
    case .before: throw StorageError(.unavailable, "before")
    case .killBefore:
      isDead = true
      throw StorageError(.unavailable, "killed before")
    case .after:
      _ = try await body()
      throw StorageError(.unavailable, "after")
    case .killAfter:
      isDead = true
      _ = try await body()
      throw StorageError(.unavailable, "killed after")
    }
  }

  func append(_ samples: [Sample]) async throws(StorageError) {
    try await call(isAnsweredMute: true) { () async throws(StorageError) in
      try await store.append(samples)
      for sample in samples where sample.type == .realTime {
        guard ledger[sample.series]?[SampleKey(sample)] == nil else { continue }
        // A null stands for an error: it is there, and does not enter.
        ledger[sample.series, default: [:]][SampleKey(sample)] = sample.value ?? .null
      }
    }
  }
  func note(_ value: Value, _ key: SampleKey, _ series: Series) { ledger[series, default: [:]][key] = value }

  func samples(_ query: SampleQuery) async throws(StorageError) -> [Sample] {
    try await call { () async throws(StorageError) in try await store.samples(query) }
  }
  func prune(_ rules: [RetentionRule]) async throws(StorageError) -> Int {
    try await call(isAnsweredMute: true) { () async throws(StorageError) in try await store.prune(rules) }
  }
  func rollUpStates(_ series: [Series]) async throws(StorageError) -> [Series: RollUpState] {
    try await call { () async throws(StorageError) in try await store.rollUpStates(series) }
  }
  func rollUps(_ series: Series, type: SampleType, starts: [Int64]) async throws(StorageError) -> [RollUp] {
    try await call { () async throws(StorageError) in try await store.rollUps(series, type: type, starts: starts) }
  }
  func store(_ updates: [RollUpUpdate]) async throws(StorageError) {
    statesStored += updates.count
    largestStore = max(largestStore, updates.count)
    if refusesRollUps { throw StorageError(.unavailable, "no roll-ups") }
    try await call { () async throws(StorageError) in try await store.store(updates) }
  }
  func newestRolledUp(until second: Int64) async throws(StorageError) -> Int64? {
    try await call { () async throws(StorageError) in try await store.newestRolledUp(until: second) }
  }
  func remove(_ series: [Series], quietSince date: Date) async throws(StorageError) -> Int {
    try await call { () async throws(StorageError) in try await store.remove(series, quietSince: date) }
  }
  func series(type: SampleType, target: String?) async throws(StorageError) -> [Series] {
    try await call { () async throws(StorageError) in try await store.series(type: type, target: target) }
  }

  // MARK: What the recorder does not use

  func latest(_ series: Series, type: SampleType) async throws(StorageError) -> Sample? {
    try await store.latest(series, type: type)
  }
  func documents(_ kind: DocumentKind) async throws(StorageError) -> [Document] { try await store.documents(kind) }
  func document(_ kind: DocumentKind, id: String) async throws(StorageError) -> Document? {
    try await store.document(kind, id: id)
  }
  func put(_ documents: [Document]) async throws(StorageError) -> [PutOutcome] { try await store.put(documents) }
  func delete(_ kind: DocumentKind, id: String) async throws(StorageError) -> Bool {
    try await store.delete(kind, id: id)
  }
  func documentRevision() async throws(StorageError) -> Int64 { try await store.documentRevision() }
  func mergeDetectedSpecs(_ specs: [String: Value], targetID: String) async throws(StorageError) {
    try await store.mergeDetectedSpecs(specs, targetID: targetID)
  }
  func record(_ episode: Episode?, queueing entries: [QueueEntry]) async throws(StorageError) -> Int {
    try await store.record(episode, queueing: entries)
  }
  func episodes(reaction: String?, openOnly: Bool, limit: Int) async throws(StorageError) -> [Episode] {
    try await store.episodes(reaction: reaction, openOnly: openOnly, limit: limit)
  }
  func claim(owner: String, now: Date, lease: Duration) async throws(StorageError) -> QueueLease? {
    try await store.claim(owner: owner, now: now, lease: lease)
  }
  func extend(_ lease: QueueLease, until: Date) async throws(StorageError) -> Bool {
    try await store.extend(lease, until: until)
  }
  func settle(
    _ lease: QueueLease, as settlement: Settlement, now: Date, adding: [QueueEntry]
  ) async throws(StorageError) -> Bool {
    try await store.settle(lease, as: settlement, now: now, adding: adding)
  }
  func heldLeases(limit: Int) async throws(StorageError) -> [QueueLease] { try await store.heldLeases(limit: limit) }
  func rescue(_ leases: [QueueLease], now: Date) async throws(StorageError) -> Int {
    try await store.rescue(leases, now: now)
  }
  func queueCounts(now: Date) async throws(StorageError) -> QueueCounts { try await store.queueCounts(now: now) }
  func queueLoad(now: Date) async throws(StorageError) -> QueueLoad { try await store.queueLoad(now: now) }
  func nextDue() async throws(StorageError) -> Date? { try await store.nextDue() }
  func queue(_ query: QueueQuery) async throws(StorageError) -> [QueueEntry] { try await store.queue(query) }
  func queueEntry(id: String) async throws(StorageError) -> QueueEntry? { try await store.queueEntry(id: id) }
  func retry(id: String, now: Date) async throws(StorageError) -> Bool { try await store.retry(id: id, now: now) }
  func drop(id: String, reason: String, now: Date) async throws(StorageError) -> Bool {
    try await store.drop(id: id, reason: reason, now: now)
  }
  func pruneQueue(settledBefore date: Date) async throws(StorageError) -> Int {
    try await store.pruneQueue(settledBefore: date)
  }
  func check() async throws(StorageError) -> [String: Value] {
    try await call { () async throws(StorageError) in try await store.check() }
  }
  func lease(_ name: String) async throws(StorageError) -> Lease? { try await store.lease(name) }
  func replace(_ lease: Lease, expecting expected: Lease?) async throws(StorageError) -> Lease? {
    try await store.replace(lease, expecting: expected)
  }
  func raiseFence(to fence: Int64) async throws(StorageError) { try await store.raiseFence(to: fence) }
  func export(_ part: StorePart, after cursor: String?, limit: Int) async throws(StorageError) -> StorePage {
    try await store.export(part, after: cursor, limit: limit)
  }
  func restore(_ items: [StoreItem]) async throws(StorageError) -> Int { try await store.restore(items) }
  func close() async {
    if !staysOpen { await store.close() }
  }
}
