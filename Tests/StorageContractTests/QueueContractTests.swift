import Foundation
import Model
import Storage
import Testing

@Suite("The queue, in every store")
struct QueueContractTests {
  private let lease: Duration = .seconds(60)

  private func attempt(_ seconds: Double, _ outcome: String, _ answer: String) -> QueueEntry.Attempt {
    QueueEntry.Attempt(at: time(seconds), outcome: outcome, answer: answer)
  }

  @Test("takes every key once, and entries without a key always", arguments: StoreKind.allCases)
  func keys(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    #expect(try await store.record(nil, queueing: [entry("1", key: "k"), entry("2", key: "k"), entry("3")]) == 2)
    #expect(try await store.record(nil, queueing: [entry("4", key: "k"), entry("5"), entry("5"), entry("1")]) == 1)
    let ids = try await store.queue(QueueQuery()).map(\.id)
    #expect(ids == ["5", "3", "1"])
    #expect(try await store.queueEntry(id: "1") == entry("1", key: "k").accepted)
    #expect(try await store.queueEntry(id: "2") == nil)
    let counts = try await store.queueCounts(now: time())
    #expect(counts.accepted == 3 && counts.pending == 3 && counts.due == 3 && counts.imbalance == 0)
  }

  @Test("hands out what is due, by time and then by age", arguments: StoreKind.allCases)
  func order(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    _ = try await store.record(
      nil,
      queueing: [
        entry("late", created: 0, due: 10), entry("b", created: 2, due: 5), entry("a", created: 1, due: 5),
        entry("a2", created: 1, due: 5), entry("now", created: 3, due: 4),
      ])
    #expect(try await store.nextDue() == time(4))
    #expect(try await store.claim(owner: "w", now: time(3.999), lease: lease) == nil)
    var order: [String] = []
    while let lease = try await store.claim(owner: "w", now: time(5), lease: lease) {
      order.append(lease.entry.id)
      #expect(lease.predecessor == .none)
      #expect(lease.entry.state == .leased && lease.entry.owner == "w" && lease.entry.epoch == 1)
      #expect(lease.entry.lease_until == time(65))
    }
    #expect(order == ["now", "a", "a2", "b"])
    #expect(try await store.nextDue() == time(10))
    let counts = try await store.queueCounts(now: time(5))
    #expect(counts.leased == 4 && counts.pending == 1 && counts.due == 0 && counts.oldestPending == time(0))
  }

  @Test("keeps a ledger of every try until delivery", arguments: StoreKind.allCases)
  func ledger(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    _ = try await store.record(nil, queueing: [entry("1", key: "k", alternates: ["pager"])])
    let first = try #require(try await store.claim(owner: "w", now: time(1), lease: lease))
    let again = Settlement.again(at: time(6), outcome: "again", answer: "451 later")
    #expect(try await store.settle(first, as: again, now: time(2), adding: [entry("alt", key: "k2")]))
    #expect(try await !store.settle(first, as: again, now: time(2), adding: [entry("alt2")]))
    #expect(try await store.queueEntry(id: "alt2") == nil)
    let alternate = try #require(try await store.claim(owner: "w", now: time(3), lease: lease))
    #expect(alternate.entry.id == "alt")
    #expect(try await store.settle(alternate, as: .dead(answer: "550 no"), now: time(4), adding: []))
    let second = try #require(try await store.claim(owner: "v", now: time(6), lease: lease))
    #expect(second.entry.epoch == 2 && second.entry.alternates == [])
    #expect(try await store.settle(second, as: .delivered(receipt: "250 queued"), now: time(7), adding: []))
    let done = try #require(try await store.queueEntry(id: "1"))
    #expect(done.state == .delivered && done.owner == nil && done.lease_until == nil)
    #expect(done.delivered_at == time(7) && done.receipt == "250 queued")
    #expect(done.attempts == [attempt(2, "again", "451 later"), attempt(7, "delivered", "250 queued")])
    #expect(try await store.queueEntry(id: "alt")?.attempts == [attempt(4, "gave_up", "550 no")])
    let counts = try await store.queueCounts(now: time(8))
    #expect(counts.accepted == 2 && counts.delivered == 1 && counts.dead == 1 && counts.imbalance == 0)
  }

  @Test("refuses a late worker whose entry was rescued and taken by another", arguments: StoreKind.allCases)
  func lateWorker(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    _ = try await store.record(nil, queueing: [entry("1")])
    let late = try #require(try await store.claim(owner: "late", now: time(0), lease: lease))
    #expect(try await store.rescue(now: time(59.999)) == 0)
    #expect(try await store.extend(late, until: time(90)))
    #expect(try await store.rescue(now: time(61)) == 0)
    #expect(try await store.rescue(now: time(90)) == 1)
    #expect(try await !store.extend(late, until: time(120)))
    #expect(try await !store.settle(late, as: .delivered(receipt: "late"), now: time(91), adding: []))
    let next = try #require(try await store.claim(owner: "late", now: time(91), lease: lease))
    #expect(next.entry.epoch == 2)
    #expect(next.entry.attempts == [attempt(90, "rescued", "late left it unfinished")])
    // The same name does not help: the epoch has moved on.
    #expect(try await !store.settle(late, as: .delivered(receipt: "late"), now: time(92), adding: []))
    #expect(try await store.settle(next, as: .delivered(receipt: "ok"), now: time(93), adding: []))
  }

  @Test("tells in the ledger whether who left an entry had ended for certain", arguments: StoreKind.allCases)
  func crashed(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    _ = try await store.record(nil, queueing: [entry("1")])
    var held = try #require(try await store.claim(owner: "a", now: time(0), lease: lease))
    held.hasOwnerEnded = true
    #expect(try await store.rescue([held], now: time(5)) == 1)
    let next = try #require(try await store.claim(owner: "b", now: time(6), lease: lease))
    #expect(try await store.rescue([next], now: time(70)) == 1)
    #expect(
      try await store.queueEntry(id: "1")?.attempts == [
        attempt(5, "crashed", "a ended and left it unfinished"), attempt(70, "rescued", "b left it unfinished"),
      ])
  }

  @Test(
    "leaves an entry in its worker's hands however late it is, until it is given back", arguments: StoreKind.allCases)
  func stranded(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    _ = try await store.record(nil, queueing: [entry("1"), entry("2")])
    let first = try #require(try await store.claim(owner: "a", now: time(0), lease: lease))
    let other = try #require(try await store.claim(owner: "c", now: time(0), lease: .seconds(30)))
    // A day later, or a clock that was set: time alone takes nobody's lease away.
    #expect(try await store.claim(owner: "b", now: time(86_400), lease: lease) == nil)
    #expect(try await store.heldLeases(limit: 10) == [other, first])
    #expect(try await store.heldLeases(limit: 1) == [other])
    // A lease that its worker has moved since it was looked at is not taken away.
    #expect(try await store.extend(other, until: time(90)))
    #expect(try await store.rescue([first, other], now: time(61)) == 1)
    #expect(try await store.rescue([first], now: time(61)) == 0)
    let second = try #require(try await store.claim(owner: "b", now: time(61), lease: lease))
    #expect(second.entry.id == "1" && second.entry.epoch == 2)
    #expect(second.entry.attempts == [attempt(61, "rescued", "a left it unfinished")])
    #expect(try await !store.settle(first, as: .delivered(receipt: ""), now: time(61), adding: []))
    #expect(try await store.settle(second, as: .delivered(receipt: ""), now: time(600), adding: []))
    #expect(try await store.settle(other, as: .delivered(receipt: ""), now: time(600), adding: []))
    #expect(try await store.heldLeases(limit: 10) == [])
    #expect(try await store.queueCounts(now: time(600)).imbalance == 0)
  }

  @Test("takes a pending predecessor in, due or not", arguments: StoreKind.allCases)
  func merging(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    _ = try await store.record(
      nil,
      queueing: [
        entry("firing", key: "f", created: 0, due: 500), entry("repeat", key: "r", after: "f", created: 1, due: 600),
        entry("resolved", key: "e", after: "r", created: 2),
      ])
    let first = try #require(try await store.claim(owner: "w", now: time(3), lease: lease))
    #expect(first.entry.id == "resolved" && first.predecessor == .untold)
    for id in ["firing", "repeat"] {
      let merged = try #require(try await store.queueEntry(id: id))
      #expect(merged.state == .merged && merged.attempts == [attempt(3, "merged", "resolved")])
    }
    // The next try still knows that nothing was told.
    let again = Settlement.again(at: time(10), outcome: "again", answer: "")
    #expect(try await store.settle(first, as: again, now: time(4), adding: []))
    #expect(try await store.claim(owner: "w", now: time(10), lease: lease)?.predecessor == .untold)
    let counts = try await store.queueCounts(now: time(10))
    #expect(counts.merged == 2 && counts.leased == 1 && counts.accepted == 3 && counts.imbalance == 0)
  }

  @Test("lets an entry wait while its predecessor is in somebody's hands", arguments: StoreKind.allCases)
  func waiting(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    _ = try await store.record(
      nil,
      queueing: [
        entry("firing", key: "f"), entry("resolved", key: "e", after: "f", created: 1),
        entry("other", key: "o", created: 2), entry("orphan", key: "x", after: "unknown", created: 3),
      ])
    let firing = try #require(try await store.claim(owner: "w", now: time(5), lease: lease))
    #expect(firing.entry.id == "firing")
    let other = try #require(try await store.claim(owner: "w", now: time(5), lease: lease))
    #expect(other.entry.id == "other")
    let orphan = try #require(try await store.claim(owner: "w", now: time(5), lease: lease))
    #expect(orphan.entry.id == "orphan" && orphan.predecessor == .none)
    #expect(try await store.claim(owner: "w", now: time(5), lease: lease) == nil)
    #expect(try await store.settle(firing, as: .delivered(receipt: ""), now: time(6), adding: []))
    let resolved = try #require(try await store.claim(owner: "w", now: time(6), lease: lease))
    #expect(resolved.entry.id == "resolved" && resolved.predecessor == .none)
  }

  @Test("says that a dead predecessor's news was never told", arguments: StoreKind.allCases)
  func deadPredecessor(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    _ = try await store.record(
      nil, queueing: [entry("firing", key: "f"), entry("resolved", key: "e", after: "f", due: 9)])
    let firing = try #require(try await store.claim(owner: "w", now: time(5), lease: lease))
    #expect(try await store.settle(firing, as: .dead(answer: "550"), now: time(6), adding: []))
    #expect(try await store.claim(owner: "w", now: time(9), lease: lease)?.predecessor == .untold)
  }

  @Test("is retried and dropped by hand", arguments: StoreKind.allCases)
  func byHand(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    _ = try await store.record(nil, queueing: [entry("1", due: 500), entry("2"), entry("3")])
    #expect(try await store.retry(id: "1", now: time(7)))
    #expect(try await store.queueEntry(id: "1")?.next_at == time(7))
    #expect(try await store.drop(id: "2", reason: "not needed", now: time(8)))
    #expect(try await !store.drop(id: "2", reason: "again", now: time(8)))
    #expect(try await store.queueEntry(id: "2")?.attempts == [attempt(8, "gave_up", "not needed")])
    #expect(try await store.queueCounts(now: time(8)).dead == 1)
    #expect(try await store.retry(id: "2", now: time(9)))
    #expect(try await store.queueCounts(now: time(9)).dead == 0)
    let leased = try #require(try await store.claim(owner: "w", now: time(9), lease: lease))
    #expect(leased.entry.id == "3")
    #expect(try await !store.retry(id: "3", now: time(9)))
    #expect(try await store.drop(id: "3", reason: "stop", now: time(9)))
    #expect(try await !store.settle(leased, as: .delivered(receipt: ""), now: time(9), adding: []))
    #expect(try await !store.retry(id: "nobody", now: time(9)))
    #expect(try await !store.drop(id: "nobody", reason: "", now: time(9)))
    let counts = try await store.queueCounts(now: time(9))
    #expect(counts.accepted == 3 && counts.pending == 2 && counts.dead == 1 && counts.imbalance == 0)
  }

  @Test(
    "forgets settled entries and ended episodes, and still knows how many there were", arguments: StoreKind.allCases)
  func pruning(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    var ended = episode("old", since: 0)
    ended.ended_at = time(3)
    ended.state = .ok
    _ = try await store.record(ended, queueing: (0..<4).map { entry("\($0)", key: "k\($0)") })
    _ = try await store.record(episode("open", since: 0), queueing: [])
    for second in 1...3 {
      let lease = try #require(try await store.claim(owner: "w", now: time(Double(second)), lease: lease))
      let settlement: Settlement = second == 2 ? .dead(answer: "") : .delivered(receipt: "")
      #expect(try await store.settle(lease, as: settlement, now: time(Double(second)), adding: []))
    }
    #expect(try await store.pruneQueue(settledBefore: time(3)) == 2)
    #expect(try await store.episodes(reaction: nil, openOnly: false, limit: 9).map(\.id) == ["open", "old"])
    #expect(try await store.pruneQueue(settledBefore: time(4)) == 1)
    #expect(try await store.episodes(reaction: nil, openOnly: false, limit: 9).map(\.id) == ["open"])
    #expect(try await store.queue(QueueQuery()).map(\.id) == ["3"])
    let counts = try await store.queueCounts(now: time(5))
    #expect(counts.accepted == 4 && counts.delivered == 2 && counts.dead == 1 && counts.imbalance == 0)
  }

  @Test("is searched by state and episode, newest first", arguments: StoreKind.allCases)
  func searching(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    _ = try await store.record(
      nil,
      queueing: [
        entry("1", created: 1, episode: "e"), entry("2", created: 3), entry("3", created: 2, episode: "e"),
        entry("4", created: 2, episode: "e"),
      ])
    #expect(try await store.queue(QueueQuery()).map(\.id) == ["2", "4", "3", "1"])
    #expect(try await store.queue(QueueQuery(limit: 2)).map(\.id) == ["2", "4"])
    #expect(try await store.queue(QueueQuery(episode: "e")).map(\.id) == ["4", "3", "1"])
    #expect(try await store.queue(QueueQuery(states: [.dead, .leased])) == [])
    _ = try await store.drop(id: "3", reason: "", now: time(9))
    #expect(try await store.queue(QueueQuery(states: [.dead])).map(\.id) == ["3"])
    #expect(try await store.queue(QueueQuery(states: [.pending], episode: "e")).map(\.id) == ["4", "1"])
  }

  @Test("bounds the ledger and the answers in it", arguments: StoreKind.allCases)
  func bounds(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    _ = try await store.record(nil, queueing: [entry("1")])
    for second in 0..<60 {
      let lease = try #require(try await store.claim(owner: "w", now: time(Double(second)), lease: lease))
      let answer = "\(second) " + String(repeating: "ä", count: 400)
      let again = Settlement.again(at: time(Double(second)), outcome: "again", answer: answer)
      #expect(try await store.settle(lease, as: again, now: time(Double(second)), adding: []))
    }
    let attempts = try #require(try await store.queueEntry(id: "1")).attempts
    #expect(attempts.map { Int($0.at.timeIntervalSince(time())) } == [0] + Array(11..<60))
    #expect(attempts.allSatisfy { $0.answer.utf8.count <= 512 && $0.answer.utf8.count > 508 })
  }

  /// Each of a condition of its own.
  private func episode(_ id: String, reaction: String = "r", since: Double) -> Episode {
    Episode(
      id: id, key: ConditionKey(reaction: reaction, target: "t", metric: "M", element: "/\(id)"), severity: .warning,
      state: .firing, since: time(since), value: "93.1 %", limit: "at most 90 %")
  }

  @Test("stores the episode in the same step, open ones are listed first", arguments: StoreKind.allCases)
  func episodes(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    var first = episode("1", since: 0)
    first.recent = (0..<15).map { Episode.Recent(at: time(Double($0)), value: "\($0)") }
    first.labels = ["role": "web"]
    first.fired_at = time(1)
    var kept = first
    kept.recent = Array(first.recent.suffix(Episode.recentBound))
    #expect(try await store.record(first, queueing: [entry("m", key: "k", episode: "1")]) == 1)
    #expect(try await store.episodes(reaction: "r", openOnly: true, limit: 10) == [kept])
    let others = [episode("2", since: 5), episode("3", reaction: "s", since: 6), episode("4", since: 7)]
    for one in others { _ = try await store.record(one, queueing: []) }
    kept.ended_at = time(30)
    kept.state = .ok
    var last = others[2]
    last.ended_at = time(40)
    last.state = .ok
    _ = try await store.record(kept, queueing: [])
    _ = try await store.record(last, queueing: [])
    #expect(
      try await store.episodes(reaction: nil, openOnly: false, limit: 10) == [others[1], others[0], last, kept])
    #expect(try await store.episodes(reaction: nil, openOnly: true, limit: 10) == [others[1], others[0]])
    #expect(try await store.episodes(reaction: "r", openOnly: false, limit: 2) == [others[0], last])
    #expect(try await store.episodes(reaction: "nobody", openOnly: false, limit: 2) == [])
  }

  @Test("gives each of 500 entries to exactly one of eight claimers", arguments: StoreKind.allCases)
  func concurrency(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    let all = (0..<500).map { entry("\($0)", key: "k\($0)") }
    #expect(try await store.record(nil, queueing: all) == 500)
    let claimed = try await withThrowingTaskGroup(of: [String].self) { group in
      for worker in 0..<8 {
        group.addTask {
          var mine: [String] = []
          while let lease = try await store.claim(owner: "w\(worker)", now: time(1), lease: .seconds(60)) {
            mine.append(lease.entry.id)
          }
          return mine
        }
      }
      return try await group.reduce(into: []) { $0 += $1 }
    }
    #expect(claimed.count == 500 && Set(claimed) == Set(all.map(\.id)))
    #expect(try await store.queueCounts(now: time(1)).leased == 500)
  }

  @Test("answers `closed` after it was closed, and a check before", arguments: StoreKind.allCases)
  func closing(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    #expect(try await store.check()["store"] == .string(kind.isMongo ? "mongodb" : kind.rawValue))
    await store.close()
    await store.close()
    let error = await #expect(throws: StorageError.self) { try await store.documentRevision() }
    #expect(error?.code == .closed)
    let other = await #expect(throws: StorageError.self) { try await store.record(nil, queueing: []) }
    #expect(other?.code == .closed)
  }
}
