import Foundation
import Model
import Storage
import TestKit
import Testing

/// A store whose appends are seen and can be made to fail or to wait.
private actor ScriptedSamples {
  let store = MemoryStorage()
  /// The values appended, and the number of each failed call's samples as a negative.
  nonisolated let appends = EventLog<[Int64]>()
  private var error: StorageError?
  private var isHeld = false
  private var held: [CheckedContinuation<Void, Never>] = []

  func fail(_ error: StorageError?) { self.error = error }
  func hold() { isHeld = true }
  func letGo() {
    isHeld = false
    for one in held { one.resume() }
    held = []
  }

  func append(_ samples: [Sample]) async throws(StorageError) {
    appends.append(error == nil ? samples.compactMap { $0.value?.integer } : [-Int64(samples.count)])
    if isHeld { await withCheckedContinuation { held.append($0) } }
    if let error { throw error }
    try await store.append(samples)
  }
}

@Suite("The recorder")
struct RecorderTests {
  private let clock = ManualClock()
  private let scripted = ScriptedSamples()

  private func recorder(capacity: Int = 10_000, limits: (@Sendable (String) -> HistoryLimits)? = nil) -> Recorder {
    var configuration = Recorder.Configuration()
    configuration.capacity = capacity
    return Recorder(
      store: SampleGate(scripted: scripted), configuration: configuration, clock: clock,
      now: { [clock] in
        // Both clocks go on together: nothing has set one of them.
        let passed = clock.now.offset.components
        return time(Double(passed.seconds) + Double(passed.attoseconds) / 1e18)
      }, limits: limits)
  }

  private func samples(_ values: Range<Int>, type: SampleType = .realTime) -> [Sample] {
    values.map {
      Sample(series: Series(target: "t", metric: "M"), type: type, at: time(Double($0)), value: .int(Int64($0)))
    }
  }

  @Test("brings samples away every 250 ms, and 500 of them at once")
  func pace() async throws {
    let recorder = recorder()
    let run = Task { await recorder.run() }
    try await clock.sleepers(atLeast: 1)
    await recorder.record(samples(0..<3))
    clock.advance(by: .milliseconds(249))
    #expect(scripted.appends.all == [])
    clock.advance(by: .milliseconds(1))
    #expect(try await scripted.appends.first().element == [0, 1, 2])
    try await clock.sleepers(atLeast: 1)
    await recorder.record(samples(3..<502))
    #expect(scripted.appends.all.count == 1)
    await recorder.record(samples(502..<503))
    #expect(try await scripted.appends.first(from: 1).element.count == 500)
    run.cancel()
    await run.value
    #expect(await recorder.statistics.stored == 503)
  }

  @Test("keeps everything while the store fails, and waits longer each time")
  func backoff() async throws {
    let recorder = recorder()
    await scripted.fail(StorageError(.unavailable, "gone"))
    let run = Task { await recorder.run() }
    try await clock.sleepers(atLeast: 1)
    await recorder.record(samples(0..<600))
    // Full batches do not hurry a store that fails.
    for (index, delay) in [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000].enumerated() {
      if index > 0 {
        try await clock.sleepers(atLeast: 1)
        await recorder.record(samples(600 + index..<601 + index))
        clock.advance(by: .milliseconds(delay - 1))
        #expect(scripted.appends.all.count == index)
        clock.advance(by: .milliseconds(1))
      }
      _ = try await scripted.appends.first(from: index)
    }
    try await clock.sleepers(atLeast: 1)
    #expect(await recorder.statistics.lastError == StorageError(.unavailable, "gone"))
    #expect(await recorder.statistics.failures == 9)
    await scripted.fail(nil)
    clock.advance(by: .seconds(30))
    #expect(try await scripted.appends.first(from: 9).element.count == 608)
    try await clock.sleepers(atLeast: 1)
    run.cancel()
    await run.value
    var expected = Recorder.Counters()
    (expected.received, expected.stored, expected.failures) = (608, 608, 9)
    #expect(await recorder.statistics == expected)
  }

  @Test("drops the oldest metric samples when full, events last, and counts them")
  func bounded() async throws {
    let recorder = recorder(capacity: 10)
    await recorder.record(samples(0..<2, type: .event))
    await recorder.record(samples(10..<18))
    await recorder.record(samples(18..<20))
    await recorder.record(samples(2..<4, type: .event))
    #expect(await recorder.statistics.dropped == 4)
    #expect(await recorder.statistics.waiting == 10)
    #expect(await recorder.flush())
    #expect(scripted.appends.all == [[0, 1, 14, 15, 16, 17, 18, 19, 2, 3]])
    await recorder.record(samples(20..<35, type: .event))
    #expect(await recorder.flush())
    #expect(scripted.appends.all.last == (25..<35).map(Int64.init))
    var expected = Recorder.Counters()
    (expected.received, expected.stored, expected.dropped) = (29, 20, 9)
    #expect(await recorder.statistics == expected)
  }

  @Test("takes samples in while the store does not answer, and loses none that are on their way")
  func slowStore() async throws {
    let recorder = recorder(capacity: 4)
    await scripted.hold()
    await recorder.record(samples(0..<3))
    let flush = Task { await recorder.flush() }
    _ = try await scripted.appends.first()
    // The store hangs; recording goes on and pushes out two that are on their way.
    await recorder.record(samples(3..<6))
    #expect(await recorder.statistics.waiting == 4)
    #expect(await recorder.statistics.dropped == 0)
    await scripted.letGo()
    #expect(await flush.value)
    #expect(scripted.appends.all == [[0, 1, 2], [3, 4, 5]])
    var expected = Recorder.Counters()
    (expected.received, expected.stored) = (6, 6)
    #expect(await recorder.statistics == expected)
  }

  @Test("runs the retention rules that became due")
  func retention() async throws {
    let recorder = recorder(limits: { _ in
      var limits = HistoryLimits()
      limits.realTime = 10
      return limits
    })
    for start in stride(from: 0, to: 200, by: 20) {
      await recorder.record(samples(start..<start + 20))
      #expect(await recorder.flush())
      let kept = try await scripted.store.samples(SampleQuery(Series(target: "t", metric: "M")))
      #expect(kept == Array(samples(start..<start + 20).suffix(10)))
    }
    #expect(await recorder.statistics.pruned == 190)
  }
}

/// What the recorder uses of a store goes to the script, everything else to the store in memory.
private struct SampleGate: Storage {
  let scripted: ScriptedSamples
  private var store: MemoryStorage { scripted.store }

  func append(_ samples: [Sample]) async throws(StorageError) { try await scripted.append(samples) }
  func prune(_ rules: [RetentionRule]) async throws(StorageError) -> Int { try await store.prune(rules) }
  func latest(_ series: Series, type: SampleType) async throws(StorageError) -> Sample? {
    try await store.latest(series, type: type)
  }
  func samples(_ query: SampleQuery) async throws(StorageError) -> [Sample] { try await store.samples(query) }
  func series(type: SampleType, target: String?) async throws(StorageError) -> [Series] {
    try await store.series(type: type, target: target)
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
  func check() async throws(StorageError) -> [String: Value] { try await store.check() }
  func close() async { await store.close() }
}
