import Foundation
import Model
import Storage
import Testing

@Suite("The queue when the time of day is set, in every store")
struct ClockContractTests {
  private let lease: Duration = .seconds(60)

  @Test("set back: nothing waits, and no lease of the living is lost", arguments: StoreKind.allCases, [3600.0, 86_400])
  func setBack(_ kind: StoreKind, _ step: Double) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    _ = try await store.record(
      nil, queueing: [entry("held"), entry("again", created: 1), entry("fresh", created: 2), entry("later", due: 900)])
    let held = try #require(try await store.claim(owner: "w", now: time(10), lease: lease))
    let again = try #require(try await store.claim(owner: "w", now: time(10), lease: lease))
    let settlement = Settlement.again(at: time(70), outcome: "again", answer: "451")
    #expect(try await store.settle(again, as: settlement, now: time(12), adding: []))
    #expect([held.entry.id, again.entry.id] == ["held", "again"])

    // Now it is `step` earlier.
    let now = time(13 - step)
    let load = try await store.queueLoad(now: now)
    #expect(load == QueueLoad(due: 3, leased: 1))
    #expect(try await store.queueCounts(now: now).due == 3)
    var order: [String] = []
    while let lease = try await store.claim(owner: "v", now: now, lease: lease) {
      order.append(lease.entry.id)
      #expect(lease.entry.updated == now)
      if order.count > 9 { break }
    }
    // In the order of their last change.
    #expect(order == ["later", "fresh", "again"])
    #expect(try await store.rescue(now: now) == 0)
    #expect(try await store.extend(held, until: now.addingTimeInterval(60)))
    #expect(try await store.settle(held, as: .delivered(receipt: "ok"), now: now, adding: []))
    let counts = try await store.queueCounts(now: now)
    #expect(counts.leased == 3 && counts.delivered == 1 && counts.imbalance == 0)
  }

  @Test("set back: a pause that begins afterwards is kept", arguments: StoreKind.allCases)
  func pauseAfterwards(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    _ = try await store.record(nil, queueing: [entry("1")])
    let first = try #require(try await store.claim(owner: "w", now: time(-3600), lease: lease))
    let again = Settlement.again(at: time(-3540), outcome: "again", answer: "451")
    #expect(try await store.settle(first, as: again, now: time(-3600), adding: []))
    #expect(try await store.claim(owner: "w", now: time(-3599), lease: lease) == nil)
    #expect(try await store.queueLoad(now: time(-3599)) == QueueLoad(due: 0, leased: 0))
    #expect(try await store.claim(owner: "w", now: time(-3540), lease: lease) != nil)
  }

  @Test("clocks that differ by seconds hurry nobody", arguments: StoreKind.allCases)
  func smallDifference(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    _ = try await store.record(nil, queueing: [entry("1", created: 5, due: 30)])
    #expect(try await store.claim(owner: "w", now: time(0), lease: lease) == nil)
    #expect(try await store.claim(owner: "w", now: time(-0.001), lease: lease)?.entry.id == "1")
  }

  @Test("set forward: no lease is lost, nothing is handed out twice", arguments: StoreKind.allCases, [3600.0, 86_400])
  func setForward(_ kind: StoreKind, _ step: Double) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    _ = try await store.record(nil, queueing: (0..<5).map { entry("\($0)") })
    var leases: [QueueLease] = []
    while let lease = try await store.claim(owner: "w", now: time(1), lease: lease) { leases.append(lease) }
    #expect(leases.count == 5)
    let now = time(1 + step)
    #expect(try await store.claim(owner: "v", now: now, lease: lease) == nil)
    #expect(try await store.heldLeases(limit: 9).count == 5)
    for lease in leases {
      #expect(try await store.settle(lease, as: .delivered(receipt: ""), now: now, adding: []))
    }
    #expect(try await store.queueCounts(now: now).delivered == 5)
  }
}
