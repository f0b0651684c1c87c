import Foundation
import Model
import Storage
import TestKit
import Testing

@testable import MongoStorage

@Suite(
  "Messages that other programs queue", .enabled(if: MongoServer.isExpected, Comment(rawValue: MongoServer.absence)))
struct QueueForeignTests {
  private func bare(_ id: String?, _ body: (inout BSONWriter) -> Void) -> BSON {
    BSON { w in
      if let id { w.string("_id", id) } else { w.objectID("_id", .make()) }
      body(&w)
    }
  }

  @Test("are taken in as pending with the five basic fields alone, and delivered like any other")
  func delivered() async throws {
    let stage = QueueStage(try await MongoServer.shared())
    let store = try await stage.open()
    let other = try await stage.open()
    let id = BSONObjectID.make()
    try await store.put(
      BSON { w in
        w.objectID("_id", id)
        w.string("reaction", "backup")
        w.string("target", "db-1")
        w.string("type", "email")
        w.document("payload") { w in
          w.strings("to", ["a@example.org", "b@example.org"])
          w.string("subject", "backup failed")
          w.string("body", "see the log")
        }
        w.date("updated", instant(-9))
      })
    try await store.put(
      bare("text") { w in
        w.string("target", "db-1")
        w.string("type", "email")
        w.document("payload") { $0.string("to", "c@example.org") }
      })
    var found: [QueueEntry] = []
    for handle in [store, other] {
      let lease = try #require(try await handle.claim(owner: "w", now: instant(5), lease: .seconds(60)))
      found.append(lease.entry)
      #expect(try await handle.settle(lease, as: .delivered(receipt: "250"), now: instant(6), adding: []))
    }
    let first = try #require(found.first { $0.id == id.hex })
    #expect(first.reaction == "backup" && first.target == "db-1" && first.key == nil && first.kind == "notice")
    #expect(first.payload["to"] == ["a@example.org", "b@example.org"])
    #expect(first.created == instant(-9) && first.epoch == 1)
    #expect(found.contains { $0.id == "text" && $0.payload["to"] == "c@example.org" && $0.created == instant(5) })
    #expect(try await store.queueEntry(id: id.hex)?.state == .delivered)
    let counts = try await store.queueCounts(now: instant(7))
    #expect(counts.accepted == 2 && counts.delivered == 2 && counts.imbalance == 0)
    await store.close()
    await other.close()
  }

  @Test("are found by the hex of their ObjectId, for retry and drop")
  func byHand() async throws {
    let stage = QueueStage(try await MongoServer.shared())
    let store = try await stage.open()
    let id = BSONObjectID.make()
    try await store.put(
      BSON { w in
        w.objectID("_id", id)
        w.string("type", "email")
        w.document("payload") { _ in }
      })
    _ = try await store.rescue([], now: instant(1))
    #expect(try await store.drop(id: id.hex, reason: "not needed", now: instant(2)))
    #expect(try await store.queueEntry(id: id.hex)?.state == .dead)
    #expect(try await store.retry(id: id.hex, now: instant(3)))
    #expect(try await store.deliverAll(now: instant(3)) == [id.hex])
    #expect(try await store.queueCounts(now: instant(7)).imbalance == 0)
    await store.close()
  }

  @Test("are handed out with the reason where they make no sense, to be given up, and hold nobody up")
  func malformed() async throws {
    let stage = QueueStage(try await MongoServer.shared())
    let store = try await stage.open()
    let cases: [(id: String, BSON, says: String)] = [
      ("no payload", bare("no payload") { $0.string("type", "email") }, "`payload` is missing"),
      (
        "text payload",
        bare("text payload") { w in
          w.string("type", "email")
          w.string("payload", "hello")
        }, "`payload` has to be a map"
      ),
      ("no type", bare("no type") { w in w.document("payload") { _ in } }, "`type` is missing"),
      (
        "number type",
        bare("number type") { w in
          w.int("type", 5)
          w.document("payload") { _ in }
        }, "`type` has to be text"
      ),
      (
        "odd to",
        bare("odd to") { w in
          w.string("type", "email")
          w.document("payload") { $0.int("to", 7) }
        }, "`payload.to` has to be text"
      ),
      (
        "list target",
        bare("list target") { w in
          w.string("type", "email")
          w.strings("target", ["a", "b"])
          w.document("payload") { _ in }
        }, "`target` has to be text"
      ),
      (
        "own state",
        bare("own state") { w in
          w.string("type", "email")
          w.string("state", "new")
          w.document("payload") { _ in }
        }, "`state` has to be absent"
      ),
      (
        "half",  // pending by somebody's hand, with a time, and nothing else that counts
        bare("half") { w in
          w.string("state", "pending")
          w.date("next_at", instant(-100))
        }, "`type` is missing"
      ),
      (
        "odd epoch",
        bare("odd epoch") { w in
          w.string("state", "pending")
          w.date("next_at", instant(-100))
          w.double("epoch", 1.5)
          w.string("type", "email")
          w.document("payload") { _ in }
        }, "`epoch` has to be a whole number"
      ),
    ]
    for (_, document, _) in cases { try await store.put(document) }
    _ = try await store.record(nil, queueing: [QueueStage.entry("good")])
    #expect(try await store.deliverAll(now: instant(5)) == ["good"])
    for (id, _, says) in cases {
      let entry = try #require(try await store.queueEntry(id: id))
      #expect(entry.state == .dead, "\(id)")
      #expect(entry.attempts.last?.answer.contains(says) == true, "\(id): \(entry.attempts)")
    }
    let counts = try await store.queueCounts(now: instant(6))
    #expect(counts.accepted == cases.count + 1 && counts.dead == cases.count && counts.imbalance == 0)
    await store.close()
  }

  @Test("with an epoch of text, no time or a person's copy of an entry are delivered all the same")
  func repaired() async throws {
    let stage = QueueStage(try await MongoServer.shared())
    let store = try await stage.open()
    func base(_ id: String, _ more: (inout BSONWriter) -> Void) -> BSON {
      bare(id) { w in
        w.string("state", "pending")
        w.string("type", "email")
        w.document("payload") { $0.string("to", "a@example.org") }
        more(&w)
      }
    }
    try await store.put(
      base("text epoch") { w in
        w.date("next_at", instant(-3))
        w.string("epoch", "one")
      })
    try await store.put(base("no time") { _ in })
    try await store.put(base("copy") { $0.date("next_at", instant(-2)) })
    #expect(try await Set(store.deliverAll(now: instant(5))) == ["text epoch", "no time", "copy"])
    let counts = try await store.queueCounts(now: instant(6))
    #expect(counts.accepted == 3 && counts.delivered == 3 && counts.imbalance == 0)
    await store.close()
  }

  @Test("with a state of their own are given up though the taking in has put it right, and go out after a retry")
  func ownState() async throws {
    let stage = QueueStage(try await MongoServer.shared())
    let store = try await stage.open()
    try await store.put(
      bare("n1") { w in
        w.string("type", "email")
        w.string("state", "new")
        w.document("payload") { _ in }
      })
    // Taken in by one process, claimed by another.
    _ = try await store.rescue([], now: instant(1))
    #expect(try await store.queueEntry(id: "n1")?.state == .pending)
    let other = try await stage.open()
    let lease = try #require(try await other.claim(owner: "w", now: instant(2), lease: .seconds(60)))
    let problem = try #require(lease.problem)
    #expect(problem.hasPrefix("not a message that can be delivered: `state` has to be absent"))
    #expect(try await other.settle(lease, as: .dead(answer: problem), now: instant(3), adding: []))
    #expect(try await store.retry(id: "n1", now: instant(4)))
    #expect(try await store.deliverAll(now: instant(5)) == ["n1"])
    #expect(try await store.queueCounts(now: instant(6)).imbalance == 0)
    await store.close()
    await other.close()
  }

  @Test(
    "with a number for an `_id` go by its digits, for delivery, retry and drop",
    arguments: [
      (BSONValue.int32(7), "7"), (.int64(-7), "-7"), (.double(7), "7"), (.double(1.5), "1.5"),
      (.int64(.max), "9223372036854775807"),
    ])
  func numberID(id: BSONValue, text: String) async throws {
    let stage = QueueStage(try await MongoServer.shared())
    let store = try await stage.open()
    for id in [id, .string("x"), .bool(true)] {
      try await store.put(
        BSON { w in
          w.value("_id", id)
          w.string("type", "email")
          w.document("payload") { _ in }
        })
    }
    #expect(try await Set(store.deliverAll(now: instant(1))) == [text, "x"])
    #expect(try await store.queueEntry(id: text)?.state == .delivered)
    try await store.put(
      BSON { w in
        w.value("_id", id == .int32(7) ? .int64(8) : .int32(8))
        w.string("type", "email")
        w.document("payload") { _ in }
      })
    _ = try await store.rescue([], now: instant(2))
    #expect(try await store.drop(id: "8", reason: "not needed", now: instant(2)))
    #expect(try await store.queueEntry(id: "8")?.state == .dead)
    #expect(try await store.queueEntry(id: "8.0") == nil)
    #expect(try await store.queueEntry(id: "08") == nil)
    #expect(try await store.retry(id: "8", now: instant(3)))
    #expect(try await store.deliverAll(now: instant(4)) == ["8"])
    #expect(try await store.queueCounts(now: instant(5)).imbalance == 0)
    await store.close()
  }

  @Test("with an `_id` that has no words are given up, and nobody gets them by an empty id")
  func oddID() async throws {
    let stage = QueueStage(try await MongoServer.shared())
    let store = try await stage.open()
    for id in [BSONValue.document(BSON { $0.int("a", 1) }), .binary(subtype: 0, [1]), .double(.infinity), .string("")] {
      try await store.put(
        BSON { w in
          w.value("_id", id)
          w.string("type", "email")
          w.document("payload") { _ in }
        })
    }
    #expect(try await store.deliverAll(now: instant(5)) == [])
    let dead = try await store.queue(QueueQuery(states: [.dead]))
    #expect(dead.count == 4)
    #expect(dead.allSatisfy { $0.attempts.last?.answer.contains("`_id` has to be text") == true })
    #expect(try await store.queueEntry(id: "") == nil)
    #expect(try await store.retry(id: "", now: instant(6)) == false)
    #expect(try await store.drop(id: "", reason: "", now: instant(6)) == false)
    await store.close()
  }
}
