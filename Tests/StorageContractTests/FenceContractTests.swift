import Model
import Storage
import Testing

@Suite("Fences, in every store")
struct FenceContractTests {
  private func episode(_ id: String, element: String = "/") -> Episode {
    Episode(
      id: id, key: ConditionKey(reaction: "r", target: "t", metric: "M", element: element), severity: .warning,
      state: .firing, since: time(), value: "93.1 %", limit: "at most 90 %")
  }

  private func ended(_ episode: Episode) -> Episode {
    var copy = episode
    copy.state = .ok
    copy.ended_at = time(60)
    return copy
  }

  private func code(_ body: () async throws -> Void) async -> StorageError.Code? {
    do {
      try await body()
      return nil
    } catch {
      return (error as? StorageError)?.code
    }
  }

  @Test("only rise", arguments: StoreKind.allCases)
  func rising(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    try await store.raiseFence(to: 1)
    try await store.raiseFence(to: 3)
    try await store.raiseFence(to: 3)
    #expect(await code { try await store.raiseFence(to: 2) } == .conflict)
    // What was refused has changed nothing.
    _ = try await fixture.store.record(episode("e"), queueing: [])
    #expect(try await fixture.store.episodes(reaction: nil, openOnly: true, limit: 9) == [episode("e")])
    await fixture.store.close()
    #expect(await code { try await store.raiseFence(to: 4) } == .closed)
  }

  @Test(
    "refuse the writes of who has lost its lease, and the messages that came with them", arguments: StoreKind.allCases)
  func refusing(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    guard let another = fixture.another else { return }
    let old = fixture.store
    let new = try await another()
    try await old.raiseFence(to: 1)
    _ = try await old.record(episode("open"), queueing: [])
    _ = try await old.record(ended(episode("ended", element: "/a")), queueing: [])
    try await new.raiseFence(to: 2)
    // Marked at once, before the new one has written anything.
    let refused = await code { _ = try await old.record(ended(episode("open")), queueing: [entry("1", key: "k")]) }
    #expect(refused == .conflict)
    #expect(try await new.queueEntry(id: "1") == nil)
    #expect(try await new.episodes(reaction: nil, openOnly: true, limit: 9) == [episode("open")])
    #expect(await code { try await old.raiseFence(to: 1) } == .conflict)
    _ = try await new.record(ended(episode("open")), queueing: [entry("2", key: "k")])
    #expect(await code { _ = try await old.record(episode("open"), queueing: []) } == .conflict)
    // Messages that no episode decides about are everybody's.
    #expect(try await old.record(nil, queueing: [entry("3", key: "k3")]) == 1)
    let counts = try await new.queueCounts(now: time())
    #expect(counts.accepted == 2 && counts.imbalance == 0)
    await new.close()
    await old.close()
  }

  @Test(
    "refuse an episode that begins in the name of a lower fence, open or ended, and its messages",
    arguments: StoreKind.allCases)
  func beginning(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    guard let another = fixture.another else { return }
    let old = fixture.store
    let new = try await another()
    let unnamed = try await another()
    try await old.raiseFence(to: 1)
    _ = try await old.record(ended(episode("over", element: "/o")), queueing: [])
    try await new.raiseFence(to: 2)
    for (n, store) in [old, unnamed].enumerated() {
      for round in 0..<2 {
        let (open, over) = (episode("a\(n)"), ended(episode("b\(n)", element: "/b")))
        let first = await code { _ = try await store.record(open, queueing: [entry("a\(n)\(round)")]) }
        let second = await code { _ = try await store.record(over, queueing: [entry("b\(n)\(round)")]) }
        #expect(first == .conflict && second == .conflict)
      }
      let silent = await code { _ = try await store.record(episode("c\(n)", element: "/c"), queueing: []) }
      #expect(silent == .conflict)
      // Nor does one come back to life that had ended before.
      let revived = episode("over", element: "/o")
      #expect(await code { _ = try await store.record(revived, queueing: [entry("o\(n)")]) } == .conflict)
    }
    for store in [old, new] { _ = try await store.rescue([], now: time()) }
    #expect(try await new.episodes(reaction: nil, openOnly: true, limit: 9) == [])
    #expect(try await new.queue(QueueQuery(limit: 9)) == [])
    let counts = try await new.queueCounts(now: time())
    #expect(counts.accepted == 0 && counts.imbalance == 0)
    // Who has the fence opens what the others were refused.
    #expect(try await new.record(episode("a"), queueing: [entry("1", key: "k")]) == 1)
    #expect(try await new.record(episode("c", element: "/c"), queueing: []) == 0)
    #expect(
      Set(try await new.episodes(reaction: nil, openOnly: true, limit: 9)) == [
        episode("a"), episode("c", element: "/c"),
      ])
    for store in [unnamed, new, old] { await store.close() }
  }

  @Test("one condition has one open episode", arguments: StoreKind.allCases)
  func oneOpen(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    _ = try await store.record(episode("first"), queueing: [entry("1", key: "k1")])
    let second = await code { _ = try await store.record(episode("second"), queueing: [entry("2", key: "k2")]) }
    #expect(second == .conflict)
    #expect(try await store.queueEntry(id: "2") == nil)
    #expect(try await store.queueCounts(now: time()).accepted == 1)
    // The same one again, another condition, and an ended one of the same: all are welcome.
    var moved = episode("first")
    moved.repeats = 2
    _ = try await store.record(moved, queueing: [])
    _ = try await store.record(episode("other", element: "/var"), queueing: [])
    _ = try await store.record(ended(episode("before")), queueing: [])
    #expect(
      Set(try await store.episodes(reaction: nil, openOnly: true, limit: 9)) == [
        moved, episode("other", element: "/var"),
      ])
    // One that ended must not come back to life beside the open one.
    #expect(await code { _ = try await store.record(episode("before"), queueing: []) } == .conflict)
    _ = try await store.record(ended(moved), queueing: [])
    _ = try await store.record(episode("second"), queueing: [entry("2", key: "k2")])
    #expect(try await store.queueEntry(id: "2") != nil)
  }
}
