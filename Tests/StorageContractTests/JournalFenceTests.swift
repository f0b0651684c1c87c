import Foundation
import Model
import Storage
import TestKit
import Testing

/// The journal of an instance that comes back after another one has taken the gathering over.
@Suite("Journals behind a higher fence")
struct JournalFenceTests {
  private struct Stage {
    var bench: JournalBench
    var fixture: StoreFixture
    var new: any WholeStorage
  }

  /// An instance with fence 1 whose store is away, with what `journal` leaves there; meanwhile another one has fence 2.
  private func stage(
    _ kind: StoreKind, taking: (any WholeStorage) async throws -> Void = { _ in },
    journal: (JournaledStorage) async throws -> Void
  ) async throws -> Stage? {
    let fixture = try await kind.make()
    guard let another = fixture.another else { return nil }
    let bench = try JournalBench(SwitchedStore(fixture.store))
    let before = try await bench.open()
    try await before.raiseFence(to: 1)
    await bench.store.turn(.away)
    try await journal(before)
    await before.close()
    let new = try await another()
    try await new.raiseFence(to: 2)
    try await taking(new)
    await bench.store.turn(.present)
    return Stage(bench: bench, fixture: fixture, new: new)
  }

  @Test(
    "messages of episodes that nobody else tells of reach the queue; the episodes end as superseded",
    arguments: StoreKind.allCases)
  func orphans(_ kind: StoreKind) async throws {
    let (episode, entries) = firing("a")
    let (ended, resolved) = firing("a", state: .ok)
    let (other, otherEntries) = firing("b", entries: 2)
    let stage = try await stage(kind) { storage in
      _ = try await storage.record(episode, queueing: entries)
      _ = try await storage.record(ended, queueing: resolved)
      _ = try await storage.record(other, queueing: otherEntries)
    }
    guard let stage else { return }
    defer { stage.fixture.end() }
    let after = try await stage.bench.open()
    await after.whenPresent(within: .seconds(20))
    #expect(try await stage.bench.queued() == ["a/0", "a-ok/0", "b/0", "b/1"])
    #expect(try await stage.new.episodes(reaction: nil, openOnly: true, limit: 9) == [])
    let left = try await stage.new.episodes(reaction: nil, openOnly: false, limit: 9)
    #expect(
      Dictionary(uniqueKeysWithValues: left.map { ($0.id, $0.end_reason) }) == ["a": "superseded", "b": "superseded"])
    #expect(await after.status.journal.refused == 0)
    #expect(try await stage.new.queueCounts(now: time()).imbalance == 0)
    await after.close()
    await stage.new.close()
  }

  @Test(
    "what the other instance tells of itself is set aside and counted, so that nothing contradicts it",
    arguments: StoreKind.allCases)
  func toldElsewhere(_ kind: StoreKind) async throws {
    let (episode, entries) = firing("a")
    let (ended, resolved) = firing("a", state: .ok)
    var theirs = episode
    theirs.id = "theirs"
    let told = theirs
    let stage = try await stage(
      kind, taking: { _ = try await $0.record(told, queueing: [entry("theirs/0")]) },
      journal: { storage in
        _ = try await storage.record(episode, queueing: entries)
        _ = try await storage.record(ended, queueing: resolved)
      })
    guard let stage else { return }
    defer { stage.fixture.end() }
    let after = try await stage.bench.open()
    await after.whenPresent(within: .seconds(20))
    #expect(try await stage.bench.queued() == ["theirs/0"])
    #expect(try await stage.new.episodes(reaction: nil, openOnly: true, limit: 9) == [told])
    #expect(await after.status.journal.refused == 2)
    await after.close()
    await stage.new.close()
  }
}
