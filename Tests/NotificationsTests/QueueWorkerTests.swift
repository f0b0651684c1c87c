import Foundation
import Model
import Notifications
import Storage
import TestKit
import Testing

@Suite struct QueueWorkerTests {
  typealias Delivery = ScriptedNotifier.Delivery

  private func told(_ office: Office) -> [String] {
    office.notifier.deliveries.all.map { "\($0.at) \($0.channel) \($0.kind)" }
  }

  @Test("a channel that fails for a minute is joined by the next, and goes on trying")
  func alternatesAfterAMinute() async throws {
    let office = Office { _, options in
      options.id == "ops" ? .again(after: nil, answer: "451 greylisted", isUnknown: false) : .delivered(receipt: "ok")
    }
    try await office.announce(.firing, notify: [["ops", "pager"]])
    try await office.work(until: 300)
    #expect(
      told(office) == [
        "0 ops firing", "5 ops firing", "20 ops firing", "60 ops firing", "60 pager firing", "240 ops firing",
      ])
    let entries = try await office.entries()
    #expect(entries.map(\.option) == ["ops", "pager"])
    #expect(entries.map(\.state) == [.pending, .delivered])
    #expect(
      entries.map { $0.attempts.map(\.outcome) } == [["again", "again", "again", "again", "again"], ["delivered"]])
  }

  @Test("a failure for good hands on at once, along the whole list")
  func alternatesAtOnce() async throws {
    let office = Office([
      Office.channel("ops", to: "a@example.org"), Office.channel("off", to: "o@example.org", enabled: false),
      Office.channel("pager", to: ["p@example.org", "q@example.org"]), Office.channel("boss", to: "b@example.org"),
    ]) { _, options in
      options.id == "boss" ? .delivered(receipt: "ok") : .gaveUp(answer: "550 no such user")
    }
    try await office.announce(.firing, notify: [["ops", "off", "gone", "pager", "boss"]])
    try await office.work(until: 1)
    #expect(told(office) == ["0 ops firing", "0 pager firing", "0 pager firing", "0 boss firing"])
    #expect(try await office.entries().map(\.state) == [.dead, .dead, .dead, .delivered])
    // One for each channel; the limit of one an hour is SelfNotices'.
    #expect(office.notices.all.map(\.source) == ["channel ops", "channel pager", "channel pager"])
    #expect(try await office.storage.queueCounts(now: office.now).imbalance == 0)
  }

  @Test("a try that hangs hands on after a minute, while it still runs")
  func alternatesDuringHang() async throws {
    let office = Office { _, options in
      guard options.id == "ops" else { return .delivered(receipt: "ok") }
      // Until it is broken off.
      await Doorbell().wait(after: 0)
      return .again(after: nil, answer: "hung", isUnknown: true)
    }
    try await office.announce(.firing, notify: [["ops", "pager"]])
    let hanging = Task { try await office.worker("a").deliverNext() }
    // The lease's keeper and the guard of the deadline.
    for _ in 0..<3 {
      try await office.clock.sleepers(atLeast: 2)
      office.clock.advance(by: .seconds(20))
    }
    try await office.clock.sleepers(atLeast: 2)
    #expect(try await office.worker("b").deliverNext())
    #expect(told(office) == ["0 ops firing", "60 pager firing"])
    #expect(try await office.entries().map(\.state) == [.leased, .delivered])
    // The guard ends what does not end by itself: 120 s and 5 s of grace.
    for _ in 0..<4 {
      try await office.clock.sleepers(atLeast: 1)
      office.clock.advance(by: .seconds(20))
    }
    #expect(try await hanging.value)
    let attempt = try #require(try await office.entries().first?.attempts.last)
    #expect(attempt.outcome == "unknown")
    #expect(attempt.answer == "no answer within 2 min")
  }

  @Test("what is over already is not handed on as firing: no channel hears of a beginning without an end")
  func overBeforeAlternates() async throws {
    let office = Office { _, options in
      options.id == "ops" ? .again(after: nil, answer: "451 later", isUnknown: false) : .delivered(receipt: "ok")
    }
    try await office.announce(.firing, notify: [["ops", "pager"]])
    let held = try #require(try await office.storage.claim(owner: "slow", now: office.now, lease: .seconds(60)))
    office.clock.advance(by: .seconds(30))
    try await office.announce(.resolved, notify: [["ops", "pager"]])
    // The firing's own try ends late; its resolved waits behind it.
    office.clock.advance(by: .seconds(29))
    let again = Settlement.again(at: office.now, outcome: "again", answer: "451 later")
    #expect(try await office.storage.settle(held, as: again, now: office.now, adding: []))
    try await office.work(until: 300)
    #expect(told(office).filter { $0.contains("pager") } == ["119 pager resolved"])
    let entries = try await office.entries()
    #expect(
      entries.map { "\($0.option ?? "") \($0.kind) \($0.state)" } == [
        "ops firing merged", "ops resolved pending", "pager resolved delivered",
      ])
  }

  @Test("a failure for good while documents cannot be read keeps its alternates for later")
  func alternatesUnknown() async throws {
    struct Away: Error {}
    let office = Office { _, options in
      options.id == "ops" ? .gaveUp(answer: "550 no") : .delivered(receipt: "ok")
    }
    try await office.announce(.firing, notify: [["ops", "pager"]])
    var context = office.context
    let options = try await office.directory.options()
    let reads = EventLog<Int>()
    context.directory.options = {
      reads.append(1)
      // The way out is found; who comes next is not.
      if reads.all.count == 2 { throw Away() }
      return options
    }
    #expect(try await QueueWorker(context, owner: "w").deliverNext())
    #expect(try await office.entries().map(\.state) == [.pending])
    try await office.work(until: 10)
    #expect(told(office) == ["0 ops firing", "5 ops firing", "5 pager firing"])
    #expect(try await office.entries().map(\.state) == [.dead, .delivered])
  }

  @Test("a resolved whose firing never left becomes one message that tells of both")
  func merged() async throws {
    let office = Office { entry, _ in
      entry.kind == "firing"
        ? .again(after: nil, answer: "connect: refused", isUnknown: false) : .delivered(receipt: "ok")
    }
    try await office.announce(.firing)
    try await office.work(until: 725)
    try await office.announce(.resolved)
    try await office.work(until: 90_000)
    let last = try #require(office.notifier.deliveries.all.last)
    #expect(last.predecessor == .untold)
    #expect(
      last.subject
        == "[RESOLVED] Vitals.Disk /var on web-1 was outside its limits from 2026-11-21 08:15:00 UTC to 2026-11-21 08:27:05 UTC (12 min 5 s)"
    )
    #expect(office.notifier.deliveries.all.count { $0.kind == "resolved" } == 1)
    #expect(try await office.entries().map(\.state) == [.merged, .delivered])
  }

  @Test("firing comes before resolved, both arrive once")
  func order() async throws {
    let office = Office()
    try await office.announce(.firing)
    try await office.work(until: 725)
    try await office.announce(.resolved)
    try await office.work(until: 90_000)
    #expect(
      office.notifier.deliveries.all.map(\.subject) == [
        "[FIRING critical] Vitals.Disk /var on web-1: 93.1 % (limit: at most 90 %)",
        "[RESOLVED] Vitals.Disk /var on web-1 after 12 min 5 s: back within its limits",
      ])
  }

  @Test("a worker that lost its lease cannot settle, and nothing is counted twice")
  func leaseLost() async throws {
    let office = Office()
    try await office.announce(.firing)
    let late = try #require(try await office.storage.claim(owner: "late", now: office.now, lease: .seconds(60)))
    office.clock.advance(by: .seconds(61))
    #expect(try await office.worker("quick").deliverNext() == false)
    #expect(try await office.storage.rescue(now: office.now) == 1)
    #expect(try await office.worker("quick").deliverNext())
    #expect(
      try await office.storage.settle(late, as: .delivered(receipt: "late"), now: office.now, adding: []) == false)
    let counts = try await office.storage.queueCounts(now: office.now)
    #expect([counts.accepted, counts.delivered, counts.imbalance] as [Int] == [1, 1, 0])
    let entry = try #require(try await office.entries().first)
    #expect(entry.receipt == "250 ok")
    #expect(entry.attempts.map(\.outcome) == ["rescued", "delivered"])
  }

  @Test("a try whose lease is taken away is broken off and does not count")
  func leaseTakenDuringTry() async throws {
    let office = Office { _, _ in
      await Doorbell().wait(after: 0)
      return .delivered(receipt: "too late")
    }
    try await office.announce(.firing)
    let id = try #require(try await office.entries().first?.id)
    let work = Task { try await office.worker("slow").deliverNext() }
    try await office.clock.sleepers(atLeast: 2)
    // A person gives the message up meanwhile.
    #expect(try await office.storage.drop(id: id, reason: "not needed", now: office.now))
    office.clock.advance(by: .seconds(20))
    #expect(try await work.value)
    let entry = try #require(try await office.storage.queueEntry(id: id))
    #expect(entry.state == .dead)
    #expect(entry.attempts.map(\.answer) == ["not needed"])
    #expect(try await office.storage.queueCounts(now: office.now).imbalance == 0)
  }

  @Test("the lease of a long delivery is extended at each third")
  func extended() async throws {
    let office = Office { _, _ in
      await Doorbell().wait(after: 0)
      return .again(after: nil, answer: "broken off", isUnknown: false)
    }
    try await office.announce(.firing)
    let work = Task { try await office.worker().deliverNext() }
    for _ in 0..<5 {
      try await office.clock.sleepers(atLeast: 2)
      office.clock.advance(by: .seconds(20))
    }
    try await office.clock.sleepers(atLeast: 2)
    #expect(try await office.storage.rescue(now: office.now) == 0)
    #expect(try await office.entries().first?.lease_until == Office.opening.addingTimeInterval(160))
    work.cancel()
    try await office.clock.sleepers(atLeast: 3)
    office.clock.advance(by: .seconds(8))
    #expect(try await work.value)
    let entry = try #require(try await office.entries().first)
    #expect(entry.state == .pending)
    #expect(entry.next_at == office.now)
    #expect(entry.attempts.map(\.outcome) == ["unknown"])
  }

  @Test("leases that only ran out, because the store did not answer, say nothing against a message")
  func unanswered() async throws {
    let office = Office()
    try await office.announce(.firing)
    for _ in 0..<5 {
      _ = try #require(try await office.storage.claim(owner: "unheard", now: office.now, lease: .seconds(60)))
      office.clock.advance(by: .seconds(70))
      #expect(try await office.storage.rescue(now: office.now) == 1)
    }
    try await office.work(until: 400)
    let entry = try #require(try await office.entries().first)
    #expect(entry.attempts.map(\.outcome) == Array(repeating: "rescued", count: 5) + ["delivered"])
  }

  @Test("a message that ended the process twice is quarantined, and a person can release it")
  func poison() async throws {
    let office = Office()
    try await office.announce(.firing, notify: [["ops", "pager"]])
    for round in 0..<2 {
      var lease = try #require(
        try await office.storage.claim(owner: "dies \(round)", now: office.now, lease: .seconds(60)))
      lease.hasOwnerEnded = true
      #expect(try await office.storage.rescue([lease], now: office.now) == 1)
      // A claim whose answer was lost in between says nothing for or against it.
      _ = try await office.storage.claim(owner: "unheard", now: office.now, lease: .seconds(60))
      office.clock.advance(by: .seconds(70))
      #expect(try await office.storage.rescue(now: office.now) == 1)
    }
    try await office.work(until: 300)
    #expect(office.notifier.deliveries.all.isEmpty)
    let entry = try #require(try await office.entries().first)
    #expect(entry.state == .dead)
    #expect(entry.attempts.map(\.outcome) == ["crashed", "rescued", "crashed", "rescued", "gave_up"])
    #expect(entry.attempts.last?.answer.hasPrefix("quarantined") == true)
    #expect(office.notices.all.count == 1)
    #expect(try await office.storage.retry(id: entry.id, now: office.now))
    try await office.work(until: 400)
    #expect(try await office.entries().map(\.state) == [.delivered])
  }

  @Test("a message that another program queued goes out by the nearest channel of its type")
  func bare() async throws {
    let office = Office([
      Office.channel("b", to: "x@example.org"), Office.channel("a", to: "x@example.org"),
      Office.channel("role", to: "x@example.org", selector: .labels(["role": "web"])),
      Office.channel("own", to: "x@example.org", selector: .names(["web-1"]), enabled: false),
    ])
    for target in ["web-1", "unknown"] {
      let entry = QueueEntry(
        id: target, key: nil, reaction: "mine", target: target, type: "email",
        payload: ["from": "me@example.org", "to": "you@example.org", "subject": "Hello", "body": "World"],
        created: office.now)
      #expect(try await office.storage.record(nil, queueing: [entry]) == 1)
    }
    try await office.work(until: 1)
    #expect(office.notifier.deliveries.all.map { "\($0.channel) \($0.subject)" } == ["role Hello", "a Hello"])
    #expect(try await office.entries().map(\.state) == [.delivered, .delivered])
  }

  @Test("a list of recipients is served one by one: a bad address harms nobody else")
  func bareList() async throws {
    let office = Office { entry, _ in
      (entry.payload["to"]?.text ?? entry.payload["to"]?.elements?.first?.text) == "bad@example.org"
        ? .gaveUp(answer: "550 no such user") : .delivered(receipt: "ok")
    }
    for (id, first) in [("one", "a@example.org"), ("two", "bad@example.org")] {
      let others: [Value] = ["b@example.org", "bad@example.org", "c@example.org"]
      let entry = QueueEntry(
        id: id, key: nil, reaction: "mine", target: "web-1", type: "email",
        payload: ["from": "me@example.org", "to": .array([.string(first)] + others), "subject": "Hi", "body": "x"],
        created: office.now)
      _ = try await office.storage.record(nil, queueing: [entry])
    }
    try await office.work(until: 1)
    let entries = try await office.entries()
    #expect(entries.count { $0.state == .delivered } == 5)
    #expect(entries.count { $0.state == .dead } == 2)
    #expect(try await office.storage.queueCounts(now: office.now).imbalance == 0)
  }

  @Test("a message nothing can send is a dead letter with a problem", arguments: ["pigeon", "email"])
  func noWay(type: String) async throws {
    let office = Office([Office.channel("x", to: "x@example.org", selector: .names(["db-1"]))])
    let entry = QueueEntry(
      id: "n1", key: nil, reaction: "mine", target: "web-1", type: type, payload: ["subject": "Hello"],
      created: office.now)
    _ = try await office.storage.record(nil, queueing: [entry])
    try await office.work(until: 1)
    #expect(try await office.entries().map(\.state) == [.dead])
    #expect(office.problems.all.map { "\($0.kind) \($0.id)" } == ["notifications n1"])
    #expect(office.notices.all.count == 1)
  }

  @Test("a channel whose document is gone or off hands on at once", arguments: [true, false])
  func documentGone(isOff: Bool) async throws {
    let office = Office()
    try await office.announce(.firing, notify: [["ops", "pager"]])
    let left = Office.channel("pager", to: "p@example.org")
    let ops = Office.channel("ops", to: "a@example.org", enabled: false)
    var context = office.context
    context.directory.options = { isOff ? [ops, left] : [left] }
    let worker = QueueWorker(context, owner: "w")
    while try await worker.deliverNext() {}
    #expect(try await office.entries().map { "\($0.option ?? "") \($0.state)" } == ["ops dead", "pager delivered"])
  }

  @Test("while documents cannot be read nothing is given up")
  func documentsAway() async throws {
    struct Away: Error {}
    let office = Office()
    try await office.announce(.firing)
    var context = office.context
    context.directory.options = { throw Away() }
    #expect(try await QueueWorker(context, owner: "w").deliverNext())
    let entry = try #require(try await office.entries().first)
    #expect(entry.state == .pending)
    #expect(entry.attempts.map(\.outcome) == ["deferred"])
    try await office.work(until: 10)
    #expect(told(office) == ["5 ops firing"])
  }

  @Test("while no document is known at all a message waits for some looks, then it is a dead letter")
  func noDocuments() async throws {
    let office = Office([])
    let entry = QueueEntry(
      id: "n1", key: nil, reaction: "mine", target: "web-1", type: "email", payload: ["subject": "Hello"],
      created: office.now)
    _ = try await office.storage.record(nil, queueing: [entry])
    try await office.work(until: 60)
    let settled = try #require(try await office.entries().first)
    #expect(settled.state == .dead)
    #expect(settled.attempts.map(\.outcome) == ["deferred", "deferred", "deferred", "gave_up"])
  }

  @Test("what the peer asks for holds for the whole channel and for no other, and is at most an hour")
  func quiet() async throws {
    let office = Office { entry, options in
      options.id == "ops" && entry.attempts.isEmpty && entry.episode == "e1"
        ? .again(after: .seconds(86_400), answer: "429", isUnknown: false) : .delivered(receipt: "ok")
    }
    try await office.announce(.firing, Office.episode(id: "e1"))
    try await office.announce(.firing, Office.episode(id: "e2"))
    try await office.announce(.firing, Office.episode(id: "e3"), notify: [["pager"]])
    try await office.work(until: 7000)
    #expect(told(office) == ["0 ops firing", "0 pager firing", "3600 ops firing", "3601 ops firing"])
  }

  @Test("ten thousand messages queued while nobody delivers: none is lost")
  func tenThousand() async throws {
    let office = Office()
    await withTaskGroup(of: Int.self) { group in
      for part in 0..<10 {
        group.addTask {
          var new = 0
          for number in 0..<1000 {
            let episode = Office.episode(id: "\(part)-\(number)")
            let announcement = Announcement(kind: .firing, episode: episode, notify: [["ops"]], at: office.now)
            new += (try? await office.router.route(announcement)) ?? 0
          }
          return new
        }
      }
      var new = 0
      for await count in group { new += count }
      #expect(new == 10_000)
    }
    let counts = try await office.storage.queueCounts(now: office.now)
    #expect([counts.accepted, counts.pending, counts.due, counts.imbalance] as [Int] == [10_000, 10_000, 10_000, 0])
    for _ in 0..<3 { #expect(try await office.worker().deliverNext()) }
    #expect(try await office.storage.queueCounts(now: office.now).delivered == 3)
  }

  @Test("accepted = delivered + merged + dead + pending + leased, whatever happens", arguments: [1, 2, 3, 4])
  func conservation(seed: UInt64) async throws {
    let dice = Dice(seed: seed)
    let office = Office(random: 0.3) { _, options in
      switch dice.roll(options.id == "ops" ? 4 : 6) {
      case 0: .gaveUp(answer: "550 no")
      case 1: .again(after: nil, answer: "451 later", isUnknown: false)
      case 2: .again(after: .seconds(7), answer: "lost reply", isUnknown: true)
      default: .delivered(receipt: "ok")
      }
    }
    var expected: Set<String> = []
    for round in 0..<200 {
      let id = "e\(dice.roll(25))"
      let kinds: [Announcement.Kind] = [.firing, .firing, .reminder(dice.roll(3) + 1), .resolved]
      let kind = kinds[dice.roll(4)]
      try await office.announce(kind, Office.episode(id: id), notify: [["ops", "pager"]])
      // The end of what nobody heard of is told to nobody.
      if kind != .resolved { expected.insert(id) }
      switch dice.roll(5) {
      case 0: _ = try await office.storage.claim(owner: "dies", now: office.now, lease: .seconds(60))
      case 1: office.clock.advance(by: .seconds(Int64(dice.roll(200))))
      case 2: _ = try await office.storage.rescue(now: office.now)
      default: for _ in 0..<dice.roll(4) { _ = try await office.worker("w\(round)").deliverNext() }
      }
      #expect(try await office.storage.queueCounts(now: office.now).imbalance == 0)
    }
    // In the end nobody waits: the dead give back what they hold, and 4 days are more than the schedule's 72 h.
    office.clock.advance(by: .seconds(60))
    _ = try await office.storage.rescue(now: office.now)
    let start = Int(office.clock.now.offset.inSeconds)
    try await office.work(until: start + 4 * 86_400)
    let counts = try await office.storage.queueCounts(now: office.now)
    #expect([counts.pending, counts.leased, counts.imbalance] as [Int] == [0, 0, 0])
    #expect(Set(try await office.entries().compactMap(\.episode)) == expected)
    // Each message has one key and was taken at most once, but for those whose answer was lost.
    let taken = try await office.entries().filter { $0.state == .delivered }
    #expect(Set(taken.compactMap(\.key)).count == taken.count)
  }
}

/// A repeatable source of chance (SplitMix64).
final class Dice: @unchecked Sendable {
  // Sendable is true: the state is only touched under the lock.
  private let lock = NSLock()
  private var state: UInt64
  init(seed: UInt64) { state = seed }
  func roll(_ sides: Int) -> Int {
    lock.withLock {
      state &+= 0x9E37_79B9_7F4A_7C15
      var z = state
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return Int((z ^ (z >> 31)) % UInt64(sides))
    }
  }
}
