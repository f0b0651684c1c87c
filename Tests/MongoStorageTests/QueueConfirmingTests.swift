import Foundation
import Model
import Storage
import TestKit
import Testing

@testable import MongoStorage

/// A process ends, or loses the gathering, between storing a new episode and looking whether it still has it.
@Suite(
  "New episodes while the gathering changes hands",
  .enabled(if: MongoServer.isExpected, Comment(rawValue: MongoServer.absence)))
struct QueueConfirmingTests {
  /// Two handles, the first of which ends in the midst of each new episode from now on.
  private func stage() async throws -> (dying: MongoStorage, other: MongoStorage) {
    let stage = QueueStage(try await MongoServer.shared())
    let dying = try await stage.open()
    try await dying.raiseFence(to: 1)
    return (dying, try await stage.open())
  }

  private func open(_ store: MongoStorage) async throws -> [String] {
    try await store.episodes(reaction: nil, openOnly: true, limit: 9).map(\.id)
  }

  private func interrupted(_ store: MongoStorage, _ id: String, entries: [String]) async {
    store.end(at: .proposed)
    await #expect(throws: (any Error).self) {
      try await store.record(QueueStage.episode(id), queueing: entries.map { QueueStage.entry($0) })
    }
    store.queueMemory.interrupt(nil)
  }

  @Test("one that was left unconfirmed is finished by whoever looks, where nobody else has the gathering")
  func left() async throws {
    let (dying, other) = try await stage()
    await interrupted(dying, "e", entries: ["1"])
    #expect(try await other.queueCounts(now: instant(5)).accepted == 0)
    #expect(try await other.deliverAll(now: instant(5)) == ["1"])
    #expect(try await open(other) == ["e"])
    await interrupted(dying, "silent", entries: [])
    _ = try await other.rescue([], now: instant(5))
    // The caller tries again, as it does after every failure.
    #expect(try await dying.record(QueueStage.episode("e"), queueing: [QueueStage.entry("1")]) == 0)
    let counts = try await other.queueCounts(now: instant(5))
    #expect(counts.accepted == 1 && counts.delivered == 1 && counts.imbalance == 0)
    await dying.close()
    await other.close()
  }

  @Test("one that was stored before the fence rose is the new holder's, with its messages")
  func before() async throws {
    let (dying, other) = try await stage()
    await interrupted(dying, "e", entries: ["1"])
    try await other.raiseFence(to: 2)
    #expect(try await open(other) == ["e"])
    #expect(try await other.deliverAll(now: instant(5)) == ["1"])
    #expect(try await open(other) == ["e"])
    // Its end is the new holder's alone.
    await #expect(throws: StorageRefusal.fenced("the episode e")) {
      try await dying.record(QueueStage.episode("e", ended: 5), queueing: [])
    }
    await dying.close()
    await other.close()
  }

  @Test(
    "one that was stored after the fence rose is taken back by whoever looks, and blocks nothing", arguments: [0, 2])
  func after(_ entries: Int) async throws {
    let (dying, other) = try await stage()
    try await other.raiseFence(to: 2)
    await interrupted(dying, "e", entries: (0..<entries).map { "\($0)" })
    #expect(try await open(other) == ["e"])
    _ = try await other.rescue([], now: instant(5))
    #expect(try await open(other) == [])
    #expect(try await other.deliverAll(now: instant(5)) == [])
    let left = try await other.episodes(reaction: nil, openOnly: false, limit: 9)
    #expect(left.map(\.end_reason) == [Episode.supersededReason])
    await #expect(throws: StorageRefusal.fenced("the episode e")) {
      try await dying.record(QueueStage.episode("e"), queueing: [QueueStage.entry("9")])
    }
    #expect(try await other.record(QueueStage.episode("f"), queueing: [QueueStage.entry("f")]) == 1)
    #expect(try await other.deliverAll(now: instant(5)) == ["f"])
    #expect(try await other.queueCounts(now: instant(5)).imbalance == 0)
    await dying.close()
    await other.close()
  }

  @Test("write conflicts and snapshots that are gone are the server's trouble of the moment, not a refusal")
  func conflicts() {
    for code in [112, 246] as [Int32] {
      let error = MongoFailure(code: code, message: "m").storageError(doing: "d", place: "p")
      #expect(error.code == .unavailable && !StorageRefusal.isFinal(error))
    }
    let duplicate = MongoFailure(code: 11000, message: "m").storageError(doing: "d", place: "p")
    #expect(duplicate.code == .conflict && !StorageRefusal.isFinal(duplicate))
    #expect(StorageRefusal.isFinal(StorageRefusal.fenced("e")))
  }
}
