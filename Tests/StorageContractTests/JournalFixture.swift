import Foundation
import Logging
import Model
import SQLiteStorage
import Storage
import TestKit

/// A store that a test switches off, lets hang, or makes refuse; behind it one in memory.
actor SwitchedStore: WholeStorage {
  enum State: Sendable, Equatable {
    case present
    /// Fails at once.
    case away
    /// Takes calls and answers none until the state changes; then they take effect.
    case hanging
  }

  struct Call: Sendable, Equatable {
    /// The `n` of samples, or the ids of entries.
    var what: [String]
  }

  let inner: any WholeStorage
  private(set) var state = State.present
  private var held: [CheckedContinuation<Void, Never>] = []
  /// What reached the store, in order.
  private(set) var calls: [Call] = []
  private(set) var checks = 0
  private var probing = 0
  private(set) var mostProbes = 0
  /// How many calls are waiting for an answer now.
  var heldCount: Int { held.count }
  private var refusal: (@Sendable ([String]) -> StorageError?)?
  /// Asked before and after each write: a process that died writes no more, and hears of nothing.
  var guillotine: (any Blade)?
  private(set) var fences: [Int64] = []
  private var foreignFence: Int64 = 0

  init(_ inner: any WholeStorage = MemoryStorage()) { self.inner = inner }

  func turn(_ new: State) {
    state = new
    guard new != .hanging else { return }
    let woken = held
    held = []
    for continuation in woken { continuation.resume() }
  }

  func refuse(_ decide: (@Sendable ([String]) -> StorageError?)?) {
    refusal = decide
    guillotine = nil
  }
  func seeFence(_ fence: Int64) { foreignFence = fence }

  private func pass() async throws(StorageError) {
    if state == .away { throw StorageError(.unavailable, "switched off") }
    if state == .hanging { await withCheckedContinuation { held.append($0) } }
    if state == .away { throw StorageError(.unavailable, "switched off") }
  }

  func raiseFence(to fence: Int64) async throws(StorageError) {
    try await pass()
    if fence < foreignFence { throw StorageRefusal.lowerFence(fence, than: foreignFence) }
    try await inner.raiseFence(to: fence)
    fences.append(fence)
  }

  func append(_ samples: [Sample]) async throws(StorageError) {
    try await pass()
    let what = samples.map { "\($0.n)" }
    if let error = refusal?(what) { throw error }
    try await guillotine?.pass()
    try await inner.append(samples)
    calls.append(Call(what: what))
    try await guillotine?.pass()
  }

  func record(_ episode: Episode?, queueing entries: [QueueEntry]) async throws(StorageError) -> Int {
    try await pass()
    let what = entries.map(\.id)
    if let error = refusal?(what) { throw error }
    try await guillotine?.pass()
    let count = try await inner.record(episode, queueing: entries)
    calls.append(Call(what: what))
    try await guillotine?.pass()
    return count
  }

  func check() async throws(StorageError) -> [String: Value] {
    checks += 1
    probing += 1
    mostProbes = max(mostProbes, probing)
    defer { probing -= 1 }
    try await pass()
    return try await inner.check()
  }

  func documents(_ kind: DocumentKind) async throws(StorageError) -> [Document] {
    try await pass()
    return try await inner.documents(kind)
  }
  func document(_ kind: DocumentKind, id: String) async throws(StorageError) -> Document? {
    try await pass()
    return try await inner.document(kind, id: id)
  }
  func put(_ documents: [Document]) async throws(StorageError) -> [PutOutcome] {
    try await pass()
    return try await inner.put(documents)
  }
  func delete(_ kind: DocumentKind, id: String) async throws(StorageError) -> Bool {
    try await pass()
    return try await inner.delete(kind, id: id)
  }
  func documentRevision() async throws(StorageError) -> Int64 {
    try await pass()
    return try await inner.documentRevision()
  }
  func mergeDetectedSpecs(_ specs: [String: Value], targetID: String) async throws(StorageError) {
    try await pass()
    try await inner.mergeDetectedSpecs(specs, targetID: targetID)
  }
  func latest(_ series: Series, type: SampleType) async throws(StorageError) -> Sample? {
    try await pass()
    return try await inner.latest(series, type: type)
  }
  func samples(_ query: SampleQuery) async throws(StorageError) -> [Sample] {
    try await pass()
    return try await inner.samples(query)
  }
  func series(type: SampleType, target: String?) async throws(StorageError) -> [Series] {
    try await pass()
    return try await inner.series(type: type, target: target)
  }
  func prune(_ rules: [RetentionRule]) async throws(StorageError) -> Int {
    try await pass()
    return try await inner.prune(rules)
  }
  func episodes(reaction: String?, openOnly: Bool, limit: Int) async throws(StorageError) -> [Episode] {
    try await pass()
    return try await inner.episodes(reaction: reaction, openOnly: openOnly, limit: limit)
  }
  func claim(owner: String, now: Date, lease: Duration) async throws(StorageError) -> QueueLease? {
    try await pass()
    return try await inner.claim(owner: owner, now: now, lease: lease)
  }
  func extend(_ lease: QueueLease, until: Date) async throws(StorageError) -> Bool {
    try await pass()
    return try await inner.extend(lease, until: until)
  }
  func settle(
    _ lease: QueueLease, as settlement: Settlement, now: Date, adding: [QueueEntry]
  ) async throws(StorageError) -> Bool {
    try await pass()
    return try await inner.settle(lease, as: settlement, now: now, adding: adding)
  }
  func heldLeases(limit: Int) async throws(StorageError) -> [QueueLease] {
    try await pass()
    return try await inner.heldLeases(limit: limit)
  }
  func rescue(_ leases: [QueueLease], now: Date) async throws(StorageError) -> Int {
    try await pass()
    return try await inner.rescue(leases, now: now)
  }
  func queueCounts(now: Date) async throws(StorageError) -> QueueCounts {
    try await pass()
    return try await inner.queueCounts(now: now)
  }
  func queueLoad(now: Date) async throws(StorageError) -> QueueLoad {
    try await pass()
    return try await inner.queueLoad(now: now)
  }
  func nextDue() async throws(StorageError) -> Date? {
    try await pass()
    return try await inner.nextDue()
  }
  func queue(_ query: QueueQuery) async throws(StorageError) -> [QueueEntry] {
    try await pass()
    return try await inner.queue(query)
  }
  func queueEntry(id: String) async throws(StorageError) -> QueueEntry? {
    try await pass()
    return try await inner.queueEntry(id: id)
  }
  func retry(id: String, now: Date) async throws(StorageError) -> Bool {
    try await pass()
    return try await inner.retry(id: id, now: now)
  }
  func drop(id: String, reason: String, now: Date) async throws(StorageError) -> Bool {
    try await pass()
    return try await inner.drop(id: id, reason: reason, now: now)
  }
  func pruneQueue(settledBefore date: Date) async throws(StorageError) -> Int {
    try await pass()
    return try await inner.pruneQueue(settledBefore: date)
  }
  func rollUpStates(_ series: [Series]) async throws(StorageError) -> [Series: RollUpState] {
    try await pass()
    return try await inner.rollUpStates(series)
  }
  func rollUps(_ series: Series, type: SampleType, starts: [Int64]) async throws(StorageError) -> [RollUp] {
    try await pass()
    return try await inner.rollUps(series, type: type, starts: starts)
  }
  func store(_ updates: [RollUpUpdate]) async throws(StorageError) {
    try await pass()
    try await inner.store(updates)
  }
  func newestRolledUp(until second: Int64) async throws(StorageError) -> Int64? {
    try await pass()
    return try await inner.newestRolledUp(until: second)
  }
  func remove(_ series: [Series], quietSince date: Date) async throws(StorageError) -> Int {
    try await pass()
    return try await inner.remove(series, quietSince: date)
  }
  func lease(_ name: String) async throws(StorageError) -> Lease? {
    try await pass()
    return try await inner.lease(name)
  }
  func replace(_ lease: Lease, expecting expected: Lease?) async throws(StorageError) -> Lease? {
    try await pass()
    return try await inner.replace(lease, expecting: expected)
  }
  func export(_ part: StorePart, after cursor: String?, limit: Int) async throws(StorageError) -> StorePage {
    try await pass()
    return try await inner.export(part, after: cursor, limit: limit)
  }
  func restore(_ items: [StoreItem]) async throws(StorageError) -> Int {
    try await pass()
    return try await inner.restore(items)
  }
  func close() async {}
}

/// Ends a process at some point.
protocol Blade: Sendable {
  /// - Throws: once the process is dead.
  func pass() async throws(StorageError)
}

/// A journal in a folder of its own before a switched store.
struct JournalBench {
  let store: SwitchedStore
  let folder: TemporaryDirectory
  var configuration = JournaledStorage.Configuration()
  var clock: any Clock<Duration> = ContinuousClock()
  var ending: @Sendable (Episode, QueueEntry, Date) -> QueueEntry? = { _, _, _ in nil }

  init(_ store: SwitchedStore = SwitchedStore()) throws {
    self.store = store
    folder = try TemporaryDirectory("journal")
    configuration.shortestPause = .milliseconds(2)
    configuration.longestPause = .milliseconds(10)
  }

  var path: String { folder.file("journal.db") }

  func journal() async throws -> SQLiteJournal {
    try await SQLiteJournal.open(path: path, logger: quiet)
  }

  func open(_ journal: (any Journal)? = nil) async throws -> JournaledStorage {
    let store = store
    return try await open(journal, opening: { () async throws(StorageError) -> any WholeStorage in store })
  }

  func open(
    _ journal: (any Journal)? = nil, opening: @escaping @Sendable () async throws(StorageError) -> any WholeStorage
  ) async throws -> JournaledStorage {
    let line: any Journal
    if let journal { line = journal } else { line = try await self.journal() }
    return try await JournaledStorage.open(
      journal: line, configuration: configuration, clock: clock, logger: quiet, ending: ending, opening: opening)
  }

  /// All samples that the store has, by `n`.
  func stored(_ series: Series = load) async throws -> [Int] {
    try await store.inner.samples(SampleQuery(series, limit: 1_000_000)).map(\.n)
  }

  /// All entries that the store has, the first queued first.
  func queued() async throws -> [String] {
    try await store.inner.queue(QueueQuery(limit: 1_000_000)).map(\.id).reversed()
  }
}

let quiet: Logger = {
  var logger = Logger(label: "test")
  logger.logLevel = .critical
  return logger
}()

let load = Series(target: "web-1", metric: "Vitals.CPU")

func sample(_ n: Int, _ series: Series = load, at seconds: Double? = nil) -> Sample {
  Sample(
    series: series, at: time(seconds ?? Double(n)), n: n,
    value: ["percent": .double(Double(n % 1000) / 10), "cores": 4, "load1": 0.25])
}

func firing(_ id: String, entries: Int = 1, state: ConditionState = .firing) -> (Episode, [QueueEntry]) {
  var episode = Episode(
    id: id, key: ConditionKey(reaction: "disk-full", target: "web-1", metric: "Vitals.Disk", element: "/\(id)"),
    severity: .critical, state: state, since: time(), value: "93 %", limit: "at most 90 %")
  if state == .ok { episode.ended_at = time(60) }
  let kind = state == .firing ? "" : "-\(state)"
  return (
    episode,
    (0..<entries).map {
      var entry = entry("\(id)\(kind)/\($0)", key: "key-\(id)\(kind)/\($0)", episode: id)
      if state == .ok { entry.kind = "resolved" }
      return entry
    }
  )
}
