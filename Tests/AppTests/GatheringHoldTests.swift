@testable import App
import Logging
import Model
import Storage
import Testing

@Suite("Keeping services from gathering while a store is filled")
struct GatheringHoldTests {
  private static let times: LeaseTimes = {
    var times = LeaseTimes()
    (times.ttl, times.margin) = (.seconds(6), .seconds(1))
    (times.renewal, times.look) = (.milliseconds(200), .milliseconds(100))
    return times
  }()

  private func keeper(_ owner: String, _ store: MemoryStorage) -> LeaseKeeper {
    LeaseKeeper(
      Leadership.leaseName, owner: owner, storage: store, times: Self.times, clock: ContinuousClock(),
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, observe: { _ in })
  }

  private func awaitHolding(_ keeper: LeaseKeeper) async throws {
    let end = ContinuousClock.now + .seconds(30)
    while ContinuousClock.now < end {
      if case .holding = await keeper.state { return }
      try await Task.sleep(for: .milliseconds(20))
    }
    Issue.record("the lease was not taken")
  }

  @Test("a service that renews its lease is not disturbed, and the import is refused")
  func live() async throws {
    let store = MemoryStorage()
    let service = keeper("mon-1/a/1", store)
    let life = Task { try await service.run() }
    try await awaitHolding(service)
    var holders: [String] = []
    let error = await #expect(throws: OperationError.self) {
      _ = try await GatheringHold(store, times: Self.times) { holders.append($0) }
    }
    #expect(error?.code == .failed)
    #expect(error?.message.contains("another syscrap (mon-1/a/1) gathers into this store") == true)
    #expect(holders == ["mon-1/a/1"])
    try await awaitHolding(service)
    #expect(try await store.lease(Leadership.leaseName)?.owner == "mon-1/a/1")
    life.cancel()
    _ = try? await life.value
  }

  @Test("the lease of one that was killed runs out; until the end nobody else gathers, and then at once")
  func killed() async throws {
    let store = MemoryStorage()
    let left = Lease(name: Leadership.leaseName, owner: "mon-1/a/1", epoch: 7, beat: 3, ttl: 6)
    _ = try await store.replace(left, expecting: nil)
    var holders: [String] = []
    let hold = try await GatheringHold(store, times: Self.times) { holders.append($0) }
    #expect(holders == ["mon-1/a/1"])
    #expect(await hold.isHeld)
    #expect(try await store.lease(Leadership.leaseName)?.epoch == 8)
    // What the other one may still write is refused.
    let refused = await #expect(throws: StorageError.self) { try await store.raiseFence(to: 7) }
    #expect(refused?.code == .conflict)

    let next = keeper("mon-2/b/1", store)
    let life = Task { try await next.run() }
    try await Task.sleep(for: Self.times.ttl + .seconds(2))
    #expect(await next.state.epoch == nil)
    #expect(await hold.isHeld)
    await hold.end()
    try await awaitHolding(next)
    #expect(try await store.lease(Leadership.leaseName)?.epoch == 9)
    life.cancel()
    _ = try? await life.value
  }
}
