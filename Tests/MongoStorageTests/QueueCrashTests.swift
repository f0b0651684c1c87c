import Foundation
import Model
import Storage
import TestKit
import Testing

@testable import MongoStorage

/// An operation ends between two of its commands, and another handle goes on from what stands in the store.
@Suite(
  "The queue after a crash between two commands",
  .enabled(if: MongoServer.isExpected, Comment(rawValue: MongoServer.absence)))
struct QueueCrashTests {
  private func stage() async throws -> QueueStage { QueueStage(try await MongoServer.shared()) }

  /// Exact at every time: nothing is ever counted twice or missed.
  private func counted(_ store: MongoStorage, now: Date = instant(5)) async throws -> QueueCounts {
    let counts = try await store.queueCounts(now: now)
    #expect(counts.imbalance == 0)
    return counts
  }

  @Test("keeps an episode's messages whichever command was the last", arguments: [QueueStep.promised, .inserted])
  func episode(_ step: QueueStep) async throws {
    let stage = try await stage()
    let dying = try await stage.open()
    let other = try await stage.open()
    dying.end(at: step)
    let entries = (0..<3).map { QueueStage.entry("\($0)", created: Double($0)) }
    #expect(try await dying.record(QueueStage.episode("e"), queueing: entries) == 3)
    #expect(try await other.episodes(reaction: nil, openOnly: true, limit: 9).map(\.id) == ["e"])
    _ = try await counted(other)
    #expect(try await other.deliverAll(now: instant(5)) == ["0", "1", "2"])
    // Once more from the start, as a caller does that had no answer: nothing is doubled.
    #expect(try await other.record(QueueStage.episode("e"), queueing: entries) == 0)
    #expect(try await other.deliverAll(now: instant(9)) == [])
    let counts = try await counted(other)
    #expect(counts.accepted == 3 && counts.delivered == 3)
    await dying.close()
    await other.close()
  }

  @Test("adds to a promise that was not kept yet", arguments: [QueueStep.promised, .inserted])
  func twoPromises(_ step: QueueStep) async throws {
    let stage = try await stage()
    let dying = try await stage.open()
    let other = try await stage.open()
    dying.end(at: step)
    _ = try await dying.record(QueueStage.episode("e"), queueing: [QueueStage.entry("1")])
    let second = [QueueStage.entry("1"), QueueStage.entry("2", after: "key-1", created: 1)]
    _ = try await dying.record(QueueStage.episode("e", ended: 3), queueing: second)
    let merging = try #require(try await other.claim(owner: "w", now: instant(5), lease: .seconds(60)))
    #expect(merging.entry.id == "1")
    #expect(try await other.settle(merging, as: .delivered(receipt: ""), now: instant(5), adding: []))
    #expect(try await other.deliverAll(now: instant(5)) == ["2"])
    #expect(try await counted(other).accepted == 2)
    await dying.close()
    await other.close()
  }

  @Test("keeps several messages together without an episode", arguments: [QueueStep.promised, .inserted])
  func outbox(_ step: QueueStep) async throws {
    let stage = try await stage()
    let dying = try await stage.open()
    let other = try await stage.open()
    dying.end(at: step)
    #expect(try await dying.record(nil, queueing: [QueueStage.entry("1"), QueueStage.entry("2", created: 1)]) == 2)
    #expect(try await other.rescue([], now: instant(4)) == 0)
    #expect(try await counted(other).pending == 2)
    #expect(try await other.deliverAll(now: instant(5)) == ["1", "2"])
    await dying.close()
    await other.close()
  }

  @Test("hands alternates on although the settling process ended", arguments: [QueueStep.settled, .inserted])
  func settlement(_ step: QueueStep) async throws {
    let stage = try await stage()
    let dying = try await stage.open()
    let other = try await stage.open()
    _ = try await dying.record(nil, queueing: [QueueStage.entry("1", alternates: ["pager"])])
    let lease = try #require(try await dying.claim(owner: "w", now: instant(1), lease: .seconds(60)))
    dying.end(at: step)
    let isOurs = try await dying.settle(
      lease, as: .dead(answer: "550"), now: instant(2), adding: [QueueStage.entry("alt"), QueueStage.entry("alt2")])
    #expect(isOurs)
    #expect(try await other.deliverAll(now: instant(5)) == ["alt", "alt2"])
    #expect(try await other.queueEntry(id: "1")?.alternates == [])
    let counts = try await counted(other)
    #expect(counts.accepted == 3 && counts.dead == 1 && counts.delivered == 2)
    await dying.close()
    await other.close()
  }

  @Test("goes on with a chain that was left leased or half merged", arguments: [QueueStep.leased, .merged])
  func chain(_ step: QueueStep) async throws {
    let stage = try await stage()
    let dying = try await stage.open()
    let other = try await stage.open()
    let entries = [
      QueueStage.entry("firing", due: 500), QueueStage.entry("repeat", after: "key-firing", created: 1, due: 600),
      QueueStage.entry("resolved", after: "key-repeat", created: 2),
    ]
    #expect(try await dying.record(nil, queueing: entries) == 3)
    dying.end(at: step)
    await #expect(throws: StorageError.self) {
      try await dying.claim(owner: "dying", now: instant(5), lease: .seconds(60))
    }
    // Stranded: nobody has it before its lease is taken away.
    #expect(try await other.claim(owner: "w", now: instant(70), lease: .seconds(60)) == nil)
    #expect(try await other.takeBack(now: instant(70)) == 1)
    let lease = try #require(try await other.claim(owner: "w", now: instant(71), lease: .seconds(60)))
    #expect(lease.entry.id == "resolved" && lease.predecessor == .untold && lease.entry.epoch == 2)
    for id in ["firing", "repeat"] { #expect(try await other.queueEntry(id: id)?.state == .merged) }
    #expect(try await other.settle(lease, as: .delivered(receipt: ""), now: instant(72), adding: []))
    let counts = try await counted(other)
    #expect(counts.accepted == 3 && counts.merged == 2 && counts.delivered == 1)
    await dying.close()
    await other.close()
  }

  @Test("counts right whatever was left of counting", arguments: [QueueStep.tallied, .marked])
  func counting(_ step: QueueStep) async throws {
    let stage = try await stage()
    let dying = try await stage.open()
    let other = try await stage.open()
    _ = try await dying.record(nil, queueing: (0..<20).map { QueueStage.entry("\($0)") })
    dying.end(at: step)
    await #expect(throws: StorageError.self) { try await dying.rescue([], now: instant(1)) }
    #expect(try await counted(other).accepted == 20)
    _ = try await other.rescue([], now: instant(2))
    #expect(try await counted(other).accepted == 20)
    await dying.close()
    await other.close()
  }

  @Test("counts right whatever was left of pruning", arguments: [QueueStep.goingMarked, .tallied, .marked])
  func pruning(_ step: QueueStep) async throws {
    let stage = try await stage()
    let dying = try await stage.open()
    let other = try await stage.open()
    _ = try await dying.record(nil, queueing: (0..<20).map { QueueStage.entry("\($0)") })
    for number in 0..<10 {
      let lease = try #require(try await dying.claim(owner: "w", now: instant(1), lease: .seconds(60)))
      let settlement: Settlement = number % 2 == 0 ? .dead(answer: "no") : .delivered(receipt: "")
      #expect(try await dying.settle(lease, as: settlement, now: instant(2), adding: []))
    }
    dying.end(at: step)
    await #expect(throws: StorageError.self) { try await dying.pruneQueue(settledBefore: instant(100)) }
    let before = try await counted(other)
    #expect(before.accepted == 20 && before.dead == 5 && before.delivered == 5 && before.pending == 10)
    _ = try await other.pruneQueue(settledBefore: instant(100))
    #expect(try await other.queue(QueueQuery()).count == 10)
    #expect(try await counted(other) == before)
    await dying.close()
    await other.close()
  }

  @Test("shows an entry that vanished, and one that was never there")
  func vanished() async throws {
    let stage = try await stage()
    let store = try await stage.open()
    _ = try await store.record(nil, queueing: (0..<5).map { QueueStage.entry("\($0)") })
    _ = try await store.rescue([], now: instant(1))
    try await store.pool.run("losing an entry") { connection in
      _ = try connection.write(
        BSON { w in
          w.string("delete", "notifications")
          w.array("deletes") { w in
            w.document { w in
              w.document("q") { $0.string("_id", "3") }
              w.int32("limit", 1)
            }
          }
        })
    }
    #expect(try await store.queueCounts(now: instant(5)).imbalance == 1)
    await store.close()
  }
}
