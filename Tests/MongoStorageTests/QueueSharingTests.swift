import Foundation
import Logging
import Model
import Storage
import TestKit
import Testing

@testable import MongoStorage

@Suite("The queue of several instances", .enabled(if: MongoServer.isExpected, Comment(rawValue: MongoServer.absence)))
struct QueueSharingTests {
  @Test(
    "gives each of 2,000 entries to exactly one of two handles, and the account adds up all the time",
    arguments: [MongoServer.Kind.replicaSet(1), .standalone])
  func exactlyOnce(_ kind: MongoServer.Kind) async throws {
    let stage = QueueStage(try await MongoServer.shared(kind))
    let handles = [try await stage.open(threads: 4), try await stage.open(threads: 4)]
    for start in stride(from: 0, to: 2000, by: 500) {
      let entries = (start..<(start + 500)).map { QueueStage.entry("\($0)", created: Double($0)) }
      #expect(try await handles[0].record(nil, queueing: entries) == 500)
    }
    let isDone = Flag()
    async let watched = Self.watch(handles[1], until: isDone)
    let claimed = try await withThrowingTaskGroup(of: [String].self) { group in
      for worker in 0..<8 {
        group.addTask { try await handles[worker % 2].deliverAll("w\(worker)", now: instant(3000)) }
      }
      return try await group.reduce(into: []) { $0 += $1 }
    }
    isDone.set()
    let imbalances = try await watched
    #expect(claimed.count == 2000 && Set(claimed).count == 2000)
    #expect(imbalances.allSatisfy { $0 == 0 })
    let counts = try await handles[0].queueCounts(now: instant(3000))
    #expect(counts.accepted == 2000 && counts.delivered == 2000 && counts.imbalance == 0)
    for handle in handles { await handle.close() }
  }

  /// Counts, brings the tally on and counts again, beside the others' work.
  private static func watch(_ store: MongoStorage, until isDone: Flag) async throws -> [Int] {
    var imbalances: [Int] = []
    while !isDone.isSet {
      imbalances.append(try await store.queueCounts(now: instant(3000)).imbalance)
      _ = try await store.rescue([], now: instant(3000))
    }
    return imbalances
  }

  @Test("never hands out a chain out of order, whoever claims")
  func chains() async throws {
    let stage = QueueStage(try await MongoServer.shared())
    let handles = [try await stage.open(threads: 4), try await stage.open(threads: 4)]
    // Firing, two repeats, resolved: all due at once, for 40 conditions.
    var entries: [QueueEntry] = []
    for chain in 0..<40 {
      for step in 0..<4 {
        entries.append(
          QueueStage.entry(
            "\(chain)-\(step)", after: step == 0 ? nil : "key-\(chain)-\(step - 1)",
            created: Double((chain * 7 + step * 13) % 50)))
      }
    }
    #expect(try await handles[0].record(nil, queueing: entries) == 160)
    let told = try await withThrowingTaskGroup(of: Void.self) { group in
      let told = Told()
      for worker in 0..<6 {
        group.addTask {
          var misses = 0
          while misses < 20 {
            guard
              let lease = try await handles[worker % 2].claim(
                owner: "w\(worker)", now: instant(100), lease: .seconds(60))
            else {
              misses += 1
              continue
            }
            misses = 0
            told.begin(lease.entry.id)
            told.end(lease.entry.id)
            let isOurs = try await handles[worker % 2].settle(
              lease, as: .delivered(receipt: ""), now: instant(100), adding: [])
            try #require(isOurs)
          }
        }
      }
      try await group.waitForAll()
      return told
    }
    #expect(told.violations == [])
    let counts = try await handles[0].queueCounts(now: instant(100))
    #expect(counts.accepted == 160 && counts.delivered + counts.merged == 160 && counts.imbalance == 0)
    // Whatever was merged names an entry that was told.
    for entry in try await handles[0].queue(QueueQuery(states: [.merged])) {
      let heir = try #require(entry.attempts.last?.answer)
      #expect(try await handles[0].queueEntry(id: heir)?.state == .delivered)
    }
    for handle in handles { await handle.close() }
  }

  @Test("refuses a second open episode of a condition, and news in the name of a lower fence")
  func fences() async throws {
    let stage = QueueStage(try await MongoServer.shared())
    let old = try await stage.open()
    let new = try await stage.open()
    #expect(try await old.record(QueueStage.episode("a"), queueing: [QueueStage.entry("1")]) == 1)
    let second = await #expect(throws: StorageError.self) {
      try await old.record(QueueStage.episode("b"), queueing: [QueueStage.entry("2")])
    }
    #expect(second?.code == .conflict)
    _ = try await old.record(QueueStage.episode("c", element: "/var"), queueing: [])
    try await new.raiseFence(to: 7)
    let fenced = await #expect(throws: StorageError.self) {
      try await old.record(QueueStage.episode("a", ended: 5), queueing: [QueueStage.entry("3")])
    }
    #expect(fenced?.code == .conflict)
    _ = try await new.record(QueueStage.episode("a", ended: 6), queueing: [QueueStage.entry("4", created: 1)])
    // Ended: the condition may begin anew, by whoever has the fence.
    _ = try await new.record(QueueStage.episode("b"), queueing: [])
    #expect(try await new.deliverAll(now: instant(9)) == ["1", "4"])
    #expect(try await new.queueEntry(id: "3") == nil)
    await old.close()
    await new.close()
  }

  @Test("an instance whose clock is ahead keeps its pauses: the other does not take its messages before their time")
  func differentClocks() async throws {
    let stage = QueueStage(try await MongoServer.shared())
    let ahead = try await stage.open()
    let other = try await stage.open()
    _ = try await ahead.record(nil, queueing: [QueueStage.entry("1"), QueueStage.entry("2", created: 1)])
    // Both have worked for a while; one clock is an hour ahead.
    func early(_ seconds: Double) -> Date { instant(seconds) }
    func late(_ seconds: Double) -> Date { instant(3600 + seconds) }
    #expect(try await other.queueLoad(now: early(5)).due == 2)
    for id in ["1", "2"] {
      let lease = try #require(try await ahead.claim(owner: "a", now: late(10), lease: .seconds(60)))
      #expect(lease.entry.id == id)
      let again = Settlement.again(at: late(70), outcome: "again", answer: "451")
      #expect(try await ahead.settle(lease, as: again, now: late(11), adding: []))
    }
    for second in stride(from: 12.0, to: 60, by: 3) {
      #expect(try await other.claim(owner: "b", now: early(second), lease: .seconds(60)) == nil)
      #expect(try await other.queueLoad(now: early(second)).due == 0)
      #expect(try await ahead.claim(owner: "a", now: late(second), lease: .seconds(60)) == nil)
    }
    // One that starts now cannot know whose clock was set, and tries what it finds once.
    let fresh = try await stage.open()
    let lease = try #require(try await fresh.claim(owner: "c", now: early(61), lease: .seconds(60)))
    let again = Settlement.again(at: early(121), outcome: "again", answer: "451")
    #expect(try await fresh.settle(lease, as: again, now: early(62), adding: []))
    #expect(try await fresh.claim(owner: "c", now: early(63), lease: .seconds(60))?.entry.id == "2")
    #expect(try await fresh.claim(owner: "c", now: early(64), lease: .seconds(60)) == nil)
    for handle in [ahead, other, fresh] { await handle.close() }
  }

  @Test("goes on after somebody dropped the collection: its indexes are made again, and keys are unique as before")
  func droppedCollection() async throws {
    let stage = QueueStage(try await MongoServer.shared())
    let store = try await stage.open()
    _ = try await store.record(nil, queueing: [QueueStage.entry("1")])
    try await stage.server.python("db.notifications.drop()", database: store.database)
    _ = try await store.record(nil, queueing: [QueueStage.entry("2")])
    #expect(try await store.claim(owner: "w", now: instant(9), lease: .seconds(60))?.entry.id == "2")
    #expect(try await store.record(nil, queueing: [QueueStage.entry("3", key: "key-2")]) == 0)
    #expect(try await store.nextDue() == nil)
    await store.close()
  }

  @Test("every write that is a promise says majority and journal, and every command how long it may take")
  func safety() async throws {
    // A server of its own: all that comes to it is logged.
    let server = try await MongoServer.start(.replicaSet(1))
    let stage = QueueStage(server)
    let store = try await stage.open()
    try await server.python("db.command('profile', 0, slowms=-1)", database: store.database)
    _ = try await store.record(QueueStage.episode("a"), queueing: [QueueStage.entry("1"), QueueStage.entry("2")])
    let lease = try #require(try await store.claim(owner: "w", now: instant(9), lease: .seconds(60)))
    #expect(try await store.extend(lease, until: instant(90)))
    #expect(try await store.settle(lease, as: .delivered(receipt: ""), now: instant(10), adding: []))
    let second = try #require(try await store.claim(owner: "w", now: instant(11), lease: .seconds(60)))
    #expect(try await store.rescue([second], now: instant(99)) == 1)
    _ = try await store.drop(id: "2", reason: "", now: instant(99))
    _ = try await store.pruneQueue(settledBefore: instant(5000))
    let right = Lease(name: "gathering", owner: "a", epoch: 1, beat: 0, ttl: 30)
    #expect(try await store.replace(right, expecting: nil) == right)
    try await store.raiseFence(to: 2)
    let target = Document(kind: .targets, id: "box", fields: ["target": "box"])
    _ = try await store.put([target])
    _ = try await store.delete(.targets, id: "box")
    let lines = try await stage.server.python(
      #"""
      db.command("profile", 0, slowms=100)
      seen = set()
      for line in client().admin.command("getLog", "global")["log"]:
          facts = json.loads(line).get("attr", {})
          command = facts.get("command", {})
          if facts.get("type") != "command" or facts.get("appName") != "syscrap" or "$db" not in command: continue
          name = next(iter(command))
          if command["$db"] != db.name or name in ("getMore", "killCursors"): continue
          seen.add(name)
          if not command.get("maxTimeMS"): print("without time:", command)
          concern = command.get("writeConcern", {})
          if name in ("insert", "update", "delete", "findAndModify"):
              if concern.get("w") != "majority" or concern.get("j") is not True: print("unsafe:", command)
      print("seen", *sorted(seen))
      """#, database: store.database)
    #expect(lines.count == 1, "\(lines)")
    for name in ["aggregate", "delete", "find", "findAndModify", "insert", "update"] {
      #expect(lines.last?.contains(" " + name) == true, "\(lines)")
    }
    await store.close()
    await server.end()
  }

  @Test("a claim goes along its index, without a sort and without looking at anything else")
  func plan() async throws {
    let stage = QueueStage(try await MongoServer.shared())
    let store = try await stage.open()
    for start in stride(from: 0, to: 3000, by: 500) {
      _ = try await store.record(
        nil, queueing: (start..<(start + 500)).map { QueueStage.entry("\($0)", created: Double($0)) })
    }
    let lines = try await stage.server.python(
      """
      now = datetime.datetime(2026, 11, 21, 9, 0, 0)
      claim = {"findAndModify": "notifications", "query": {"state": "pending", "next_at": {"$lte": now}},
               "sort": {"next_at": 1, "created": 1, "sequence": 1}, "update": {"$set": {"state": "leased"}}}
      for more in ({}, {"hint": "claim"}):
          found = db.command("explain", {**claim, **more}, verbosity="executionStats")
          stage, names = found["queryPlanner"]["winningPlan"], []
          while stage:
              names.append(stage["stage"] + (" " + stage["indexName"] if "indexName" in stage else ""))
              stage = stage.get("inputStage")
          stats = found["executionStats"]
          print(" < ".join(names), stats["totalKeysExamined"], stats["totalDocsExamined"])
      """, database: store.database)
    let plan = lines.filter { $0.contains("IXSCAN") || $0.contains("SCAN") }
    #expect(plan.count == 2)
    for line in plan { #expect(line.hasPrefix("UPDATE") && line.hasSuffix("FETCH < IXSCAN claim 1 1"), "\(line)") }
    await store.close()
  }

  @Test("measures its claims beside bare ones")
  func figures() async throws {
    let stage = QueueStage(try await MongoServer.shared())
    let store = try await stage.open()
    let figures = try await store.measureClaims(entries: 300, claimers: 4)
    print("claims: \(figures)")
    #expect(figures.claimsPerSecond > 0 && figures.deliveriesPerSecond > 0 && figures.bareClaimsPerSecond > 0)
    #expect(try await store.queueCounts(now: Date()).imbalance == 0)
    await store.close()
  }
}

/// Set once, seen by all.
final class Flag: @unchecked Sendable {
  // Sendable is true: `value` is only touched under `lock`.
  private let lock = NSLock()
  private var value = false
  var isSet: Bool { lock.withLock { value } }
  func set() { lock.withLock { value = true } }
}

/// What is being delivered and what was: `chain-step`. No step may begin while or after a later one of its chain.
private final class Told: @unchecked Sendable {
  // Sendable is true: everything is only touched under `lock`.
  private let lock = NSLock()
  private var active: [Substring: Set<Int>] = [:]
  private var latest: [Substring: Int] = [:]
  private var found: [String] = []

  var violations: [String] { lock.withLock { found } }

  func begin(_ id: String) {
    lock.withLock {
      let (chain, step) = Self.parts(id)
      if (latest[chain] ?? -1) >= step { found.append("\(id) after \(latest[chain] ?? -1)") }
      if active[chain]?.isEmpty == false { found.append("\(id) while \(active[chain] ?? [])") }
      latest[chain] = max(latest[chain] ?? -1, step)
      active[chain, default: []].insert(step)
    }
  }

  func end(_ id: String) {
    lock.withLock {
      let (chain, step) = Self.parts(id)
      active[chain]?.remove(step)
    }
  }

  private static func parts(_ id: String) -> (Substring, Int) {
    let parts = id.split(separator: "-")
    return (parts.first ?? "", Int(parts.last ?? "") ?? -1)
  }
}
