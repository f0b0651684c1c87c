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
  /// - Parameter first: what it does before the store is away.
  private func stage(
    _ kind: StoreKind, first: (JournaledStorage) async throws -> Void = { _ in },
    taking: (any WholeStorage) async throws -> Void = { _ in },
    journal: (JournaledStorage) async throws -> Void
  ) async throws -> Stage? {
    let fixture = try await kind.make()
    guard let another = fixture.another else { return nil }
    var bench = try JournalBench(SwitchedStore(fixture.store))
    bench.ending = { episode, firing, time in
      var end = entry(
        "end-\(firing.id)", key: "key-\(episode.id)-ok/0", after: firing.key, due: -1, episode: episode.id)
      (end.kind, end.created, end.recipient) = ("resolved", time, firing.recipient)
      return end
    }
    let before = try await bench.open()
    try await before.raiseFence(to: 1)
    try await first(before)
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
    #expect(try await stage.bench.queued() == ["a/0", "a-ok/0", "b/0", "b/1", "end-b/1"])
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
      kind, taking: { _ = try await $0.record(told, queueing: [entry("theirs/0", episode: "theirs")]) },
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

  /// Brings the journal back. - Returns: the queue's ids, and how many operations were set aside.
  private func bringBack(_ stage: Stage) async throws -> (queued: [String], refused: Int) {
    let after = try await stage.bench.open()
    await after.whenPresent(within: .seconds(20))
    #expect(await after.status.condition == .present)
    #expect(try await stage.new.queueCounts(now: time()).imbalance == 0)
    let refused = await after.status.journal.refused
    await after.close()
    return (try await stage.bench.queued(), refused)
  }

  @Test(
    "what the other instance told from beginning to end is not told again in another name",
    arguments: StoreKind.allCases)
  func toldAndOver(_ kind: StoreKind) async throws {
    let (episode, entries) = firing("a")
    var theirs = episode
    (theirs.id, theirs.since) = ("theirs", time(30))
    var over = theirs
    (over.state, over.ended_at) = (.ok, time(90))
    let (told, ended) = (theirs, over)
    let stage = try await stage(
      kind,
      taking: { storage in
        _ = try await storage.record(told, queueing: [entry("theirs/0", episode: "theirs")])
        _ = try await storage.record(ended, queueing: [entry("theirs-ok/0", episode: "theirs")])
      }, journal: { _ = try await $0.record(episode, queueing: entries) })
    guard let stage else { return }
    defer { stage.fixture.end() }
    let (queued, refused) = try await bringBack(stage)
    #expect(queued == ["theirs/0", "theirs-ok/0"])
    #expect(refused == 1)
    await stage.new.close()
  }

  @Test(
    "messages of an episode that the other instance ended without a word reach the queue, each once",
    arguments: StoreKind.allCases)
  func endedInSilence(_ kind: StoreKind) async throws {
    let pending = firing("a", state: .pending).0
    let (episode, entries) = firing("a")
    let (ended, resolved) = firing("a", state: .ok)
    let stage = try await stage(
      kind, first: { _ = try await $0.record(pending, queueing: []) },
      taking: { _ = try await $0.record(ended, queueing: []) },
      journal: { storage in
        _ = try await storage.record(episode, queueing: entries)
        _ = try await storage.record(ended, queueing: resolved)
      })
    guard let stage else { return }
    defer { stage.fixture.end() }
    let (queued, refused) = try await bringBack(stage)
    #expect(queued == ["a/0", "a-ok/0"])
    #expect(refused == 0)
    #expect(try await stage.new.episodes(reaction: nil, openOnly: true, limit: 9) == [])
    await stage.new.close()
  }

  @Test(
    "a firing that comes so late that nothing is open any more gets its end, and one message tells of both",
    arguments: StoreKind.allCases)
  func lateEnd(_ kind: StoreKind) async throws {
    let (episode, entries) = firing("a")
    var silent = firing("a", state: .ok).0
    (silent.id, silent.since) = ("silent", time(30))
    let unheard = silent
    // The other instance had an episode of the condition, too, but nobody heard of it.
    let stage = try await stage(
      kind, taking: { _ = try await $0.record(unheard, queueing: []) },
      journal: { _ = try await $0.record(episode, queueing: entries) })
    guard let stage else { return }
    defer { stage.fixture.end() }
    let (queued, refused) = try await bringBack(stage)
    #expect(queued.sorted() == ["a/0", "end-a/0"])
    #expect(refused == 0)
    let lease = try #require(try await stage.new.claim(owner: "w", now: time(600), lease: .seconds(60)))
    #expect(lease.entry.id == "end-a/0" && lease.predecessor == .untold)
    #expect(try await stage.new.queueEntry(id: "a/0")?.state == .merged)
    await stage.new.close()
  }

  @Test(
    "a firing whose episode the other instance still watches is queued without an end, which that one will tell",
    arguments: StoreKind.allCases)
  func stillWatched(_ kind: StoreKind) async throws {
    let pending = firing("a", state: .pending).0
    let (episode, entries) = firing("a")
    let stage = try await stage(
      kind, first: { _ = try await $0.record(pending, queueing: []) },
      journal: { _ = try await $0.record(episode, queueing: entries) })
    guard let stage else { return }
    defer { stage.fixture.end() }
    #expect(try await bringBack(stage) == (["a/0"], 0))
    #expect(try await stage.new.episodes(reaction: nil, openOnly: true, limit: 9) == [pending])
    await stage.new.close()
  }
}
