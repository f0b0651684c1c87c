import Foundation
import Model
import Storage

/// A store that a test switches off: every call of the queue fails as long as it is away.
actor BrokenLine: Storage {
  private let inner: any Storage
  private var isAway = false
  private var failsRescues = false

  init(_ inner: any Storage) { self.inner = inner }

  func turn(isAway: Bool) { self.isAway = isAway }

  /// Lets rescues alone fail.
  func turn(failsRescues: Bool) { self.failsRescues = failsRescues }

  private func line() throws(StorageError) -> any Storage {
    if isAway { throw StorageError(.unavailable, "switched off") }
    return inner
  }

  func documents(_ kind: DocumentKind) async throws(StorageError) -> [Document] { try await line().documents(kind) }
  func document(_ kind: DocumentKind, id: String) async throws(StorageError) -> Document? {
    try await line().document(kind, id: id)
  }
  func put(_ documents: [Document]) async throws(StorageError) -> [PutOutcome] { try await line().put(documents) }
  func delete(_ kind: DocumentKind, id: String) async throws(StorageError) -> Bool {
    try await line().delete(kind, id: id)
  }
  func documentRevision() async throws(StorageError) -> Int64 { try await line().documentRevision() }
  func mergeDetectedSpecs(_ specs: [String: Value], targetID: String) async throws(StorageError) {
    try await line().mergeDetectedSpecs(specs, targetID: targetID)
  }
  func append(_ samples: [Sample]) async throws(StorageError) { try await line().append(samples) }
  func latest(_ series: Series, type: SampleType) async throws(StorageError) -> Sample? {
    try await line().latest(series, type: type)
  }
  func samples(_ query: SampleQuery) async throws(StorageError) -> [Sample] { try await line().samples(query) }
  func series(type: SampleType, target: String?) async throws(StorageError) -> [Series] {
    try await line().series(type: type, target: target)
  }
  func prune(_ rules: [RetentionRule]) async throws(StorageError) -> Int { try await line().prune(rules) }
  func record(_ episode: Episode?, queueing entries: [QueueEntry]) async throws(StorageError) -> Int {
    try await line().record(episode, queueing: entries)
  }
  func episodes(reaction: String?, openOnly: Bool, limit: Int) async throws(StorageError) -> [Episode] {
    try await line().episodes(reaction: reaction, openOnly: openOnly, limit: limit)
  }
  func claim(owner: String, now: Date, lease: Duration) async throws(StorageError) -> QueueLease? {
    try await line().claim(owner: owner, now: now, lease: lease)
  }
  func extend(_ lease: QueueLease, until: Date) async throws(StorageError) -> Bool {
    try await line().extend(lease, until: until)
  }
  func settle(
    _ lease: QueueLease, as settlement: Settlement, now: Date, adding: [QueueEntry]
  ) async throws(StorageError) -> Bool {
    try await line().settle(lease, as: settlement, now: now, adding: adding)
  }
  func heldLeases(limit: Int) async throws(StorageError) -> [QueueLease] { try await line().heldLeases(limit: limit) }
  func rescue(_ leases: [QueueLease], now: Date) async throws(StorageError) -> Int {
    if failsRescues { throw StorageError(.unavailable, "no rescue now") }
    return try await line().rescue(leases, now: now)
  }
  func queueCounts(now: Date) async throws(StorageError) -> QueueCounts { try await line().queueCounts(now: now) }
  func queueLoad(now: Date) async throws(StorageError) -> QueueLoad { try await line().queueLoad(now: now) }
  func nextDue() async throws(StorageError) -> Date? { try await line().nextDue() }
  func queue(_ query: QueueQuery) async throws(StorageError) -> [QueueEntry] { try await line().queue(query) }
  func queueEntry(id: String) async throws(StorageError) -> QueueEntry? { try await line().queueEntry(id: id) }
  func retry(id: String, now: Date) async throws(StorageError) -> Bool { try await line().retry(id: id, now: now) }
  func drop(id: String, reason: String, now: Date) async throws(StorageError) -> Bool {
    try await line().drop(id: id, reason: reason, now: now)
  }
  func pruneQueue(settledBefore date: Date) async throws(StorageError) -> Int {
    try await line().pruneQueue(settledBefore: date)
  }
  func check() async throws(StorageError) -> [String: Value] { try await line().check() }
  func close() async { await inner.close() }
}
