import Foundation
import Logging
import Model
import SQLiteStorage
import Storage
import TestKit
import Testing

/// Lets some steps through, and holds the next one until it is opened.
private actor Turnstile: Blade {
  private var left: Int
  private var isOpen = false
  private var held: [CheckedContinuation<Void, Never>] = []
  private var watchers: [CheckedContinuation<Void, Never>] = []

  init(after count: Int) { left = count }

  func pass() async {
    if isOpen { return }
    if left > 0 {
      left -= 1
      return
    }
    await withCheckedContinuation {
      held.append($0)
      for watcher in watchers { watcher.resume() }
      watchers = []
    }
  }

  /// Returns when somebody is held.
  func arrival() async {
    if held.isEmpty { await withCheckedContinuation { watchers.append($0) } }
  }

  func open() {
    isOpen = true
    for one in held { one.resume() }
    held = []
  }
}

extension SwitchedStore {
  fileprivate func pass(through turnstile: Turnstile) { guillotine = turnstile }
}

@Suite struct JournalTests {
  @Test("while the store answers nothing is journaled")
  func present() async throws {
    let bench = try JournalBench()
    let storage = try await bench.open()
    try await storage.append([sample(1)])
    #expect(try await storage.record(nil, queueing: [entry("a"), entry("b")]) == 2)
    #expect(try await storage.record(nil, queueing: [entry("a")]) == 0)
    let status = await storage.status
    #expect(status == StoreStatus(condition: .present, outage: nil, journal: JournalSize()))
    #expect(try await bench.stored() == [1])
    await storage.close()
  }

  @Test("while it is away everything is accepted at once, and brought to it later in order, each once")
  func outage() async throws {
    let bench = try JournalBench()
    let storage = try await bench.open()
    await bench.store.turn(.away)
    for n in 0..<20 {
      try await storage.append([sample(2 * n), sample(2 * n + 1)])
      if n % 3 == 0 {
        let (episode, entries) = firing("e\(n)")
        #expect(try await storage.record(episode, queueing: entries) == 1)
      }
    }
    let away = await storage.status
    #expect(away.condition == .away)
    #expect(away.outage?.reason == "switched off")
    #expect([away.journal.operations, away.journal.samples, away.journal.entries] as [Int] == [27, 40, 7])
    await #expect(throws: StorageError.self) { try await storage.documents(.targets) }
    #expect(try await bench.stored().isEmpty)

    await bench.store.turn(.present)
    await storage.whenPresent(within: .seconds(20))
    let back = await storage.status
    #expect(back.condition == .present)
    #expect(back.outage?.until != nil)
    #expect(back.outage?.samples == 40)
    #expect(back.outage?.entries == 7)
    #expect(back.outage?.refused == 0)
    #expect(back.journal == JournalSize())
    #expect(try await bench.stored() == Array(0..<40))
    #expect(try await bench.queued() == (0..<20).filter { $0 % 3 == 0 }.map { "e\($0)/0" })
    #expect(try await bench.store.inner.episodes(reaction: nil, openOnly: true, limit: 100).count == 7)
    // In the order of their acceptance, samples that follow each other in one step.
    var order: [String] = []
    for call in await bench.store.calls { order += call.what }
    var expected: [String] = []
    for n in 0..<20 { expected += ["\(2 * n)", "\(2 * n + 1)"] + (n % 3 == 0 ? ["e\(n)/0"] : []) }
    #expect(order == expected)
    await storage.close()
  }

  @Test("what comes while the journal is brought back goes to its end and overtakes nothing")
  func tail() async throws {
    var bench = try JournalBench()
    bench.configuration.batch = 1
    let storage = try await bench.open()
    await bench.store.turn(.away)
    for n in 0..<50 { try await storage.append([sample(n)]) }
    await bench.store.turn(.present)
    for n in 50..<300 {
      try await storage.append([sample(n)])
      _ = try await storage.record(nil, queueing: [entry("m\(n)", created: Double(n))])
    }
    await storage.whenPresent(within: .seconds(30))
    #expect(await storage.status.condition == .present)
    let order = await bench.store.calls.flatMap(\.what)
    var expected: [String] = []
    for n in 0..<300 { expected += n < 50 ? ["\(n)"] : ["\(n)", "m\(n)"] }
    #expect(order == expected)
    #expect(try await bench.stored() == Array(0..<300))
    await storage.close()
  }

  @Test("while the journal is brought back, the status says in words how much of it is left")
  func backlog() async throws {
    var bench = try JournalBench()
    bench.configuration.batch = 1
    let storage = try await bench.open()
    #expect(await storage.status.backlog == nil)
    await bench.store.turn(.away)
    for n in 0..<5 { try await storage.append([sample(n)]) }
    _ = try await storage.record(nil, queueing: [entry("a"), entry("b")])
    #expect(await storage.status.backlog == nil)
    // Before and after each write: it stops before the fourth.
    let turnstile = Turnstile(after: 6)
    await bench.store.pass(through: turnstile)
    await bench.store.turn(.present)
    await turnstile.arrival()
    #expect(
      await storage.status.backlog == """
        the journal is being brought to the store: 2 samples and 2 messages are left, the oldest of \
        \(Instant.format(try #require(await storage.status.journal.oldest)))
        """)
    await turnstile.open()
    await storage.whenPresent(within: .seconds(20))
    #expect(await storage.status.backlog == nil)
    await storage.close()
  }

  @Test("what the store refuses for good is set aside and counted, and holds nothing up")
  func refused() async throws {
    let bench = try JournalBench()
    let journal = try await bench.journal()
    let storage = try await bench.open(journal)
    await bench.store.turn(.away)
    try await storage.append((0..<10).map { sample($0) })
    let (episode, entries) = firing("fenced")
    _ = try await storage.record(episode, queueing: entries)
    _ = try await storage.record(nil, queueing: [entry("free")])
    await bench.store.refuse { what in
      what.contains("7") || what == ["fenced/0"] ? StorageRefusal.fenced("it") : nil
    }
    await bench.store.turn(.present)
    await storage.whenPresent(within: .seconds(20))
    #expect(try await bench.stored() == [0, 1, 2, 3, 4, 5, 6, 8, 9])
    #expect(try await bench.queued() == ["free"])
    let status = await storage.status
    #expect(status.outage?.refused == 2)
    #expect(status.journal.refused == 2)
    #expect(status.journal.operations == 0)
    let aside = try await journal.refused().map(\.operation)
    #expect(aside == [.append([sample(7)]), .record(episode, entries, fence: 0)])
    await storage.close()
  }

  @Test("a sample that fails for no known reason is tried five times, then set aside")
  func poison() async throws {
    let bench = try JournalBench()
    let storage = try await bench.open()
    await bench.store.turn(.away)
    for n in 1...3 {
      try await storage.append([sample(n)])
      _ = try await storage.record(nil, queueing: [entry("\(n)")])
    }
    let tries = EventLog<Int>()
    await bench.store.refuse { what in
      guard what == ["2"], tries.all.count < 5 else { return nil }
      tries.append(1)
      return StorageError(.internalError, "a trap", rawCode: 8000)
    }
    await bench.store.turn(.present)
    await storage.whenPresent(within: .seconds(20))
    #expect(tries.all.count == 5)
    #expect(try await bench.stored() == [1, 3])
    #expect(try await bench.queued() == ["1", "2", "3"])
    #expect(await storage.status.journal.refused == 1)
    await storage.close()
  }

  @Test(
    "a message waits for as long as the store fails for any reason but a refusal of our own",
    arguments: [
      StorageError(.internalError, "a trap", rawCode: 8000), StorageError(.corrupt, "a schema", rawCode: 121),
      StorageError(.conflict, "somebody writes it now", rawCode: 112),
    ])
  func patience(_ error: StorageError) async throws {
    let bench = try JournalBench()
    let storage = try await bench.open()
    await bench.store.turn(.away)
    for id in ["a", "b", "c"] {
      let (episode, entries) = firing(id)
      _ = try await storage.record(episode, queueing: entries)
    }
    let tries = EventLog<Int>()
    await bench.store.refuse { what in
      guard what == ["b/0"], tries.all.count < 23 else { return nil }
      tries.append(1)
      return error
    }
    await bench.store.turn(.present)
    await storage.whenPresent(within: .seconds(20))
    #expect(tries.all.count == 23)
    #expect(try await bench.queued() == ["a/0", "b/0", "c/0"])
    #expect(Set(try await storage.episodes(reaction: nil, openOnly: true, limit: 9).map(\.id)) == ["a", "b", "c"])
    #expect(await storage.status.journal.refused == 0)
    await storage.close()
  }

  @Test("while the store answers and only refuses one operation, whatever needs an answer alone goes on")
  func hindered() async throws {
    let bench = try JournalBench()
    let storage = try await bench.open()
    await bench.store.turn(.away)
    for id in ["a", "b"] {
      let (episode, entries) = firing(id)
      _ = try await storage.record(episode, queueing: entries)
    }
    let tries = EventLog<Int>()
    await bench.store.refuse { what in
      guard what == ["b/0"] else { return nil }
      tries.append(1)
      return StorageError(.corrupt, "Document failed validation", rawCode: 121)
    }
    await bench.store.turn(.present)
    while tries.all.count < 10 { try await Task.sleep(for: .milliseconds(1)) }
    let lease = try #require(try await storage.claim(owner: "w", now: time(1), lease: .seconds(60)))
    #expect(lease.entry.id == "a/0")
    // For as long as many more tries take.
    var count = 0
    while tries.all.count < 40 {
      #expect(try await storage.extend(lease, until: time(60 + Double(count))))
      #expect(await storage.status.condition == .replaying)
      count += 1
      try await Task.sleep(for: .milliseconds(1))
    }
    #expect(await storage.status.backlog?.hasSuffix("does not take it: Document failed validation") == true)
    #expect(try await storage.settle(lease, as: .delivered(receipt: "ok"), now: time(2), adding: []))
    // It goes away for good, and is back and mended.
    await bench.store.turn(.away)
    while await storage.status.condition != .away { try await Task.sleep(for: .milliseconds(1)) }
    await bench.store.refuse(nil)
    await bench.store.turn(.present)
    await storage.whenPresent(within: .seconds(20))
    #expect(await storage.status.hindrance == nil)
    #expect(try await bench.queued() == ["a/0", "b/0"])
    await storage.close()
  }

  @Test("closing waits for one step of the replay, not for all that waits, and nothing is lost or doubled")
  func closing() async throws {
    let bench = try JournalBench()
    let storage = try await bench.open()
    await bench.store.turn(.away)
    for n in 0..<100 { _ = try await storage.record(nil, queueing: [entry("m\(n)", created: Double(n))]) }
    // Before and after each write: it stops before the fourth.
    let turnstile = Turnstile(after: 6)
    await bench.store.pass(through: turnstile)
    await bench.store.turn(.present)
    await turnstile.arrival()
    let closing = Task { await storage.close() }
    while await !storage.isClosing() { await Task.yield() }
    await turnstile.open()
    await closing.value
    #expect(await bench.store.calls.count == 4)
    let next = try await bench.open()
    await next.whenPresent(within: .seconds(20))
    #expect(try await bench.queued() == (0..<100).map { "m\($0)" })
    #expect(await bench.store.calls.count == 100)
    await next.close()
  }

  @Test("closing in the middle of refused samples sets none of them aside twice")
  func closingAmongRefused() async throws {
    let bench = try JournalBench()
    let storage = try await bench.open()
    await bench.store.turn(.away)
    try await storage.append((0..<64).map { sample($0) })
    let turnstile = Turnstile(after: 10)
    await bench.store.refuse { what in what.contains("7") || what.contains("9") ? StorageRefusal.fenced("it") : nil }
    await bench.store.pass(through: turnstile)
    await bench.store.turn(.present)
    await turnstile.arrival()
    let closing = Task { await storage.close() }
    while await !storage.isClosing() { await Task.yield() }
    await turnstile.open()
    await closing.value
    let next = try await bench.open()
    await next.whenPresent(within: .seconds(20))
    #expect(try await bench.stored() == (0..<64).filter { $0 != 7 && $0 != 9 })
    #expect(await next.status.journal.refused == 2)
    await next.close()
  }

  @Test("a store that is full is no refusal: everything waits until it has room")
  func full() async throws {
    let bench = try JournalBench()
    let storage = try await bench.open()
    await bench.store.turn(.away)
    _ = try await storage.record(nil, queueing: [entry("a")])
    let tries = EventLog<Int>()
    await bench.store.refuse { _ in
      tries.append(1)
      return tries.all.count < 20 ? StorageError(.full, "no room") : nil
    }
    await bench.store.turn(.present)
    await storage.whenPresent(within: .seconds(20))
    #expect(try await bench.queued() == ["a"])
    #expect(await storage.status.journal.refused == 0)
    await storage.close()
  }

  @Test("a store that hangs holds a caller up for its patience, the next ones not at all, and is asked by one prober")
  func hanging() async throws {
    let clock = ManualClock()
    var bench = try JournalBench()
    bench.clock = clock
    let storage = try await bench.open()
    await bench.store.turn(.hanging)
    let first = Task { try await storage.record(nil, queueing: [entry("first")]) }
    try await clock.sleepers(atLeast: 1)
    clock.advance(by: .seconds(3))
    #expect(try await first.value == 1)
    // Time stands still: none of these waits for anything.
    for n in 0..<100 { try await storage.append([sample(n)]) }
    await #expect(throws: StorageError.self) { try await storage.claim(owner: "w", now: time(), lease: .seconds(60)) }
    await #expect(throws: StorageError.self) { try await storage.latest(load, type: .realTime) }
    #expect(await bench.store.heldCount == 2)
    // The try that was given up takes effect first, and is not done twice.
    await bench.store.turn(.present)
    await storage.whenPresentByEvents()
    #expect(try await bench.queued() == ["first"])
    #expect(try await bench.stored() == Array(0..<100))
    #expect(await bench.store.mostProbes == 1)
    #expect(await bench.store.calls.prefix(2).map(\.what) == [["first"], ["first"]])
    await storage.close()
  }

  @Test("a question that fails alone does not turn the store away")
  func suspicion() async throws {
    let bench = try JournalBench()
    let storage = try await bench.open()
    await bench.store.turn(.hanging)
    let reading = Task { try await storage.documents(.targets) }
    while await bench.store.heldCount == 0 { await Task.yield() }
    await bench.store.turn(.away)
    await #expect(throws: StorageError.self) { try await reading.value }
    await bench.store.turn(.present)
    try await storage.append([sample(1)])
    await storage.whenPresent(within: .seconds(20))
    #expect(try await bench.stored() == [1])
    await storage.close()
  }

  @Test("a start while the store is away succeeds; what an earlier process accepted is brought there when it comes")
  func restart() async throws {
    let bench = try JournalBench()
    let before = try await bench.open()
    await bench.store.turn(.away)
    try await before.append([sample(1)])
    let (episode, entries) = firing("e")
    _ = try await before.record(episode, queueing: entries)
    await before.close()

    let isThere = EventLog<Bool>()
    let store = bench.store
    let after = try await bench.open(opening: { () async throws(StorageError) -> any WholeStorage in
      guard !isThere.all.isEmpty else { throw StorageError(.unavailable, "no server") }
      return store
    })
    #expect(await after.status.condition == .away)
    #expect(await after.status.outage?.entries == 1)
    await #expect(throws: StorageError.self) {
      try await after.episodes(reaction: nil, openOnly: true, limit: 10)
    }
    try await after.append([sample(2)])
    await bench.store.turn(.present)
    isThere.append(true)
    await after.whenPresent(within: .seconds(20))
    #expect(try await after.episodes(reaction: nil, openOnly: true, limit: 10).map(\.id) == ["e"])
    #expect(try await bench.stored() == [1, 2])
    #expect(try await bench.queued() == ["e/0"])
    await after.close()
  }

  @Test("what makes no use of waiting is thrown at the start, and the journal is left alone")
  func wrongStore() async throws {
    let bench = try JournalBench()
    await #expect(throws: StorageError(.corrupt, "another program's")) {
      try await bench.open(opening: { () async throws(StorageError) -> any WholeStorage in
        throw StorageError(.corrupt, "another program's")
      })
    }
    let again = try await bench.open()
    await again.close()
  }

  @Test("what an earlier process accepted is written in its name, and a new name waits until that is done")
  func fences() async throws {
    let bench = try JournalBench()
    let before = try await bench.open()
    try await before.raiseFence(to: 7)
    await bench.store.turn(.away)
    let (episode, entries) = firing("e")
    _ = try await before.record(episode, queueing: entries)
    await #expect(throws: StorageError.self) { try await before.raiseFence(to: 8) }
    await before.close()

    await bench.store.turn(.present)
    let after = try await bench.open()
    await after.whenPresent(within: .seconds(20))
    try await after.raiseFence(to: 8)
    #expect(await bench.store.fences == [7, 7, 8])
    await after.close()

    // Another instance has gathered meanwhile: the name is not raised, each episode is decided by itself.
    await bench.store.turn(.away)
    let last = try await bench.open()
    try await last.append([sample(1)])
    await last.close()
  }

  @Test("with another instance's fence in the store the replay goes on without raising one")
  func foreignFence() async throws {
    let bench = try JournalBench()
    let before = try await bench.open()
    try await before.raiseFence(to: 7)
    await bench.store.turn(.away)
    for id in ["a", "b"] {
      let (episode, entries) = firing(id)
      _ = try await before.record(episode, queueing: entries)
    }
    await before.close()
    await bench.store.seeFence(9)
    await bench.store.turn(.present)
    let after = try await bench.open()
    await after.whenPresent(within: .seconds(20))
    #expect(await bench.store.fences == [7])
    #expect(try await bench.queued() == ["a/0", "b/0"])
    await after.close()
  }

  @Test("who was told of an episode can be said while the store is away, where it is certain")
  func recall() async throws {
    let bench = try JournalBench()
    let storage = try await bench.open()
    let (known, told) = firing("known")
    _ = try await storage.record(known, queueing: told)
    var (handed, first) = firing("handed")
    first[0].alternates = ["pager"]
    _ = try await storage.record(handed, queueing: first)
    handed.value = "94 %"
    var continued = firing("continued").0
    continued.value = "94 %"
    _ = try await storage.record(continued, queueing: [])
    await bench.store.turn(.away)
    try await storage.append([sample(1)])
    var (late, lateTold) = firing("late")
    lateTold[0].alternates = ["pager"]
    _ = try await storage.record(late, queueing: lateTold)
    late.value = "99 %"

    let any: any Storage = storage
    #expect(try await any.entries(telling: "known").map(\.key) == ["key-known/0"])
    #expect(try await any.entries(telling: "late").map(\.key) == ["key-late/0"])
    // Its alternate may have been queued by anybody; of the other the beginning was not seen here.
    for id in ["handed", "continued", "unheard"] {
      await #expect(throws: StorageError.self) { try await any.entries(telling: id) }
    }
    await bench.store.turn(.present)
    await storage.whenPresent(within: .seconds(20))
    #expect(try await any.entries(telling: "late").map(\.id) == ["late/0"])
    await storage.close()
  }
}

extension JournaledStorage {
  fileprivate func isClosing() async -> Bool {
    do throws(StorageError) {
      _ = try await documentRevision()
      return false
    } catch {
      return error.code == .closed
    }
  }

  /// Waits for the store's presence without any clock.
  func whenPresentByEvents() async {
    while await status.condition != .present { await Task.yield() }
  }
}
