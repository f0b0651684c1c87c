import Model
import Storage
import Testing

@Suite("Rights that one instance at a time has, in every store")
struct LeaseContractTests {
  private func lease(
    _ name: String = "gathering", _ owner: String = "a", epoch: Int64 = 1, beat: Int64 = 0
  ) -> Lease {
    Lease(name: name, owner: owner, epoch: epoch, beat: beat, ttl: 30)
  }

  @Test("is taken where nothing stands, and only there", arguments: StoreKind.allCases)
  func taking(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    #expect(try await store.lease("gathering") == nil)
    #expect(try await store.replace(lease(), expecting: lease(beat: 7)) == nil)
    #expect(try await store.lease("gathering") == nil)
    #expect(try await store.replace(lease(), expecting: nil) == lease())
    #expect(try await store.replace(lease("gathering", "b"), expecting: nil) == lease())
    #expect(try await store.lease("gathering") == lease())
    #expect(try await store.lease("other") == nil)
    #expect(try await store.replace(lease("other", "b"), expecting: nil) == lease("other", "b"))
    #expect(try await store.lease("gathering") == lease())
    await fixture.store.close()
    let error = await #expect(throws: StorageError.self) { try await store.lease("gathering") }
    #expect(error?.code == .closed)
  }

  @Test("is renewed and changes hands only as it was seen last", arguments: StoreKind.allCases)
  func renewing(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    _ = try await store.replace(lease(), expecting: nil)
    #expect(try await store.replace(lease(beat: 1), expecting: lease()) == lease(beat: 1))
    let taken = lease("gathering", "b", epoch: 2)
    // Seen before the renewal: too late.
    #expect(try await store.replace(taken, expecting: lease()) == lease(beat: 1))
    #expect(try await store.replace(taken, expecting: lease(beat: 1)) == taken)
    #expect(try await store.replace(lease(beat: 2), expecting: lease(beat: 1)) == taken)
    #expect(try await store.lease("gathering") == taken)
  }

  @Test("goes to exactly one of sixteen who reach for it at once, through both handles", arguments: StoreKind.allCases)
  func contention(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let second = try await fixture.another?()
    let stores = [fixture.store, second].compactMap { $0 }
    var last: Lease?
    for round in 1...10 {
      let expected = last
      let winners = try await withThrowingTaskGroup(of: Lease?.self) { group in
        for number in 0..<16 {
          let mine = lease("gathering", "i\(number)", epoch: Int64(round))
          let store = stores[number % stores.count]
          group.addTask { try await store.replace(mine, expecting: expected) == mine ? mine : nil }
        }
        return try await group.reduce(into: [Lease]()) { if let lease = $1 { $0.append(lease) } }
      }
      #expect(winners.count == 1)
      last = winners.first
      #expect(try await fixture.store.lease("gathering") == last)
    }
    await second?.close()
    await fixture.store.close()
  }
}
