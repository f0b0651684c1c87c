import Foundation
import Model
import SQLiteStorage
import Storage
import TestKit
import Testing

/// Ends a process at a chosen point: from there on nothing has any effect any more.
private actor Guillotine: Blade {
  private var left: Int
  private(set) var passed = 0

  init(after count: Int) { left = count }

  func pass() throws(StorageError) {
    guard left > 0 else { throw StorageError(.closed, "the process is dead") }
    left -= 1
    passed += 1
  }
}

/// A journal whose process may die before and after each of its steps.
private struct MortalJournal: Journal {
  let inner: any Journal
  let blade: Guillotine

  func append(_ operation: JournalOperation, at accepted: Date) async throws(StorageError) {
    try await blade.pass()
    try await inner.append(operation, at: accepted)
    try await blade.pass()
  }
  func oldest(samples: Int) async throws(StorageError) -> [JournalItem] { try await inner.oldest(samples: samples) }
  func remove(through sequence: Int64) async throws(StorageError) {
    try await blade.pass()
    try await inner.remove(through: sequence)
    try await blade.pass()
  }
  func setAside(_ sequence: Int64, _ operation: JournalOperation?, reason: String) async throws(StorageError) {
    try await blade.pass()
    try await inner.setAside(sequence, operation, reason: reason)
  }
  func thin(to bytes: Int64) async throws(StorageError) { try await inner.thin(to: bytes) }
  func entries(episode: String) async throws(StorageError) -> [QueueEntry] {
    try await inner.entries(episode: episode)
  }
  var size: JournalSize { get async { await inner.size } }
  func close() async { await inner.close() }
}

@Suite struct JournalCrashTests {
  /// One life: an outage, work in it, the return; dies after `points` steps. - Returns: what was accepted, and how many
  /// steps there were.
  private func life(_ bench: JournalBench, dyingAfter points: Int) async throws -> (accepted: [String], steps: Int) {
    let blade = Guillotine(after: points)
    let storage = try await bench.open(MortalJournal(inner: try await bench.journal(), blade: blade))
    await bench.store.turn(.away)
    var accepted: [String] = []
    for n in 0..<6 {
      if (try? await storage.append([sample(2 * n), sample(2 * n + 1)])) != nil {
        accepted += ["\(2 * n)", "\(2 * n + 1)"]
      }
      let (episode, entries) = firing("e\(n)", state: .firing)
      if (try? await storage.record(episode, queueing: entries)) != nil { accepted += entries.map(\.id) }
      if n % 2 == 1 {
        let (ended, resolved) = firing("e\(n)", state: .ok)
        if (try? await storage.record(ended, queueing: resolved)) != nil { accepted += resolved.map(\.id) }
      }
    }
    await bench.store.refuseWhenDead(blade)
    await bench.store.turn(.present)
    while await storage.status.condition != .present, (try? await blade.peek()) != nil {
      try await Task.sleep(for: .milliseconds(1))
    }
    let steps = await blade.passed
    await storage.close()
    await bench.store.refuse(nil)
    return (accepted, steps)
  }

  @Test("whatever is accepted is in the store exactly once and in order, wherever the process dies")
  func everyPoint() async throws {
    var bench = try JournalBench()
    bench.configuration.batch = 2
    let steps = try await life(bench, dyingAfter: .max).steps
    #expect(steps >= 40)
    for point in 0..<steps {
      var bench = try JournalBench()
      bench.configuration.batch = 2
      let (accepted, _) = try await life(bench, dyingAfter: point)
      let next = try await bench.open()
      await next.whenPresent(within: .seconds(20))
      #expect(await next.status.condition == .present, "died after \(point) steps")
      await next.close()
      let samples = try await bench.stored().map { "\($0)" }
      let entries = try await bench.queued()
      #expect(Set(samples).count == samples.count)
      #expect(Set(accepted).isSubset(of: Set(samples + entries)), "died after \(point) steps")
      // What was not answered may be there as well, at most the one step that was under way.
      #expect(Set(samples + entries).subtracting(accepted).count <= 2)
      let counts = try await bench.store.inner.queueCounts(now: time(1000))
      #expect(counts.accepted == entries.count)
      #expect(counts.imbalance == 0)
      // An episode that ended stays ended.
      let open = try await bench.store.inner.episodes(reaction: nil, openOnly: true, limit: 100).map(\.id)
      for id in entries where id.hasSuffix("-ok/0") { #expect(!open.contains(String(id.prefix(2)))) }
    }
  }
}

extension Guillotine {
  fileprivate func peek() throws(StorageError) {
    if left == 0 { throw StorageError(.closed, "the process is dead") }
  }
}

extension SwitchedStore {
  /// Each call is one step before it takes effect; the dead take none.
  fileprivate func refuseWhenDead(_ blade: Guillotine) {
    guillotine = blade
  }
}
