internal import Foundation
internal import Logging
internal import Storage
internal import TestKit
internal import Testing

/// Keepers over one store: a manual clock where time decides, the real one where only order does.
@Suite struct LeaseKeeperTests {
  /// One lease and how the store behaves.
  private actor Store: LeaseStorage {
    private(set) var standing: Lease?
    private var isAway = false
    private var isHeld = false
    private var waiting: [CheckedContinuation<Void, Never>] = []
    private(set) var puts = 0

    func lease(_ name: String) async throws(StorageError) -> Lease? {
      if isAway { throw StorageError(.unavailable, "away") }
      return standing
    }

    func replace(_ lease: Lease, expecting expected: Lease?) async throws(StorageError) -> Lease? {
      if isAway { throw StorageError(.unavailable, "away") }
      if standing == expected { standing = lease }
      puts += 1
      let answer = standing
      if isHeld { await withCheckedContinuation { waiting.append($0) } }
      return answer
    }

    func setAway(_ isAway: Bool) { self.isAway = isAway }
    /// Puts are done, but their answers are held back.
    func hold() { isHeld = true }
    func letGo() {
      isHeld = false
      let all = waiting
      waiting = []
      for one in all { one.resume() }
    }
    func put(_ lease: Lease?) { standing = lease }
  }

  private struct Instance {
    var keeper: LeaseKeeper
    var states: EventLog<LeaseState>
    var life: Task<Void, Never>

    init(_ owner: String, _ store: any LeaseStorage, _ clock: some Clock<Duration>, times: LeaseTimes = LeaseTimes()) {
      let states = EventLog<LeaseState>()
      let keeper = LeaseKeeper(
        "gathering", owner: owner, storage: store, times: times, clock: clock,
        logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, observe: { states.append($0) })
      self.keeper = keeper
      self.states = states
      life = Task { try? await keeper.run() }
    }

    func end() async {
      life.cancel()
      await life.value
    }
  }

  @Test("The first takes the lease, the second stands by and takes over when the first falls silent, not before")
  func takeover() async throws {
    let (store, clock) = (Store(), ManualClock())
    let first = Instance("a", store, clock)
    _ = try await first.states.first { $0 == .holding(epoch: 1) }
    let second = Instance("b", store, clock)
    _ = try await second.states.first { $0 == .standby(holder: "a") }
    for _ in 0..<60 {
      try await clock.sleepers(atLeast: 2)
      clock.advance(by: .seconds(1))
    }
    try await clock.sleepers(atLeast: 2)
    #expect(second.states.all == [.standby(holder: "a")])
    await first.end()
    var waited = 0
    while await second.keeper.state != .holding(epoch: 2) {
      try #require(waited < 60)
      try await clock.sleepers(atLeast: 1)
      clock.advance(by: .seconds(1))
      waited += 1
      // The keeper is asleep again, or holds it.
      try await clock.sleepers(atLeast: 1)
    }
    // Its last renewal was up to 8 s before its end, and its beat was seen up to 2 s later.
    #expect((20...34).contains(waited), "\(waited) s")
    await second.end()
  }

  @Test("A lease that is given back is taken at the next look")
  func resign() async throws {
    let (store, clock) = (Store(), ManualClock())
    let first = Instance("a", store, clock)
    _ = try await first.states.first { $0 == .holding(epoch: 1) }
    let second = Instance("b", store, clock)
    _ = try await second.states.first { $0 == .standby(holder: "a") }
    await first.end()
    #expect(await first.keeper.resign())
    #expect(await store.standing?.owner == "")
    #expect(first.states.all.last == .standby(holder: nil))
    try await clock.sleepers(atLeast: 1)
    clock.advance(by: .seconds(2))
    _ = try await second.states.first { $0 == .holding(epoch: 2) }
    await second.end()
  }

  @Test("A store that is away makes the lease unconfirmed, not lost; when it is back it is confirmed again")
  func away() async throws {
    let (store, clock) = (Store(), ManualClock())
    let first = Instance("a", store, clock)
    _ = try await first.states.first { $0 == .holding(epoch: 1) }
    await store.setAway(true)
    for _ in 0..<120 {
      try await clock.sleepers(atLeast: 1)
      clock.advance(by: .seconds(1))
    }
    try await clock.sleepers(atLeast: 1)
    #expect(first.states.all == [.holding(epoch: 1), .holdingUnconfirmed(epoch: 1)])
    await store.setAway(false)
    clock.advance(by: .seconds(2))
    _ = try await first.states.first(from: 2) { $0 == .holding(epoch: 1) }
    await first.end()
  }

  @Test("Trust ends while a renewal is under way, and its late success does not bring it back")
  func slowRenewal() async throws {
    let (store, clock) = (Store(), ManualClock())
    let first = Instance("a", store, clock)
    _ = try await first.states.first { $0 == .holding(epoch: 1) }
    await store.hold()
    try await clock.sleepers(atLeast: 1)
    clock.advance(by: .seconds(8))
    // Asleep now: only what watches trust.
    while await store.puts < 2 { await Task.yield() }
    try await clock.sleepers(atLeast: 1)
    clock.advance(by: .seconds(14))
    _ = try await first.states.first { $0 == .holdingUnconfirmed(epoch: 1) }
    clock.advance(by: .seconds(20))
    await store.letGo()
    // The answer to a put of second 8 came in second 42; the next one is sent at once and counts.
    _ = try await first.states.first(from: 2) { $0 == .holding(epoch: 1) }
    #expect(await store.puts == 3)
    await first.end()
  }

  @Test("When the store answers and somebody else has it, that is said at once; so when somebody doubts")
  func lost() async throws {
    let (store, clock) = (Store(), ManualClock())
    let first = Instance("a", store, clock)
    _ = try await first.states.first { $0 == .holding(epoch: 1) }
    await store.put(Lease(name: "gathering", owner: "b", epoch: 2, beat: 9, ttl: 30))
    try await clock.sleepers(atLeast: 1)
    await first.keeper.doubt()
    _ = try await first.states.first { $0 == .standby(holder: "b") }
    #expect(clock.now.offset == .zero)
    await first.end()
    #expect(await first.keeper.resign())
    #expect(await store.standing?.owner == "b")
  }

  @Test("Of five that compete one holds it at any time, and it goes on whoever stops")
  func competing() async throws {
    let store = Store()
    var times = LeaseTimes()
    (times.ttl, times.margin, times.renewal, times.look) = (
      .seconds(2), .milliseconds(500), .milliseconds(200), .milliseconds(20)
    )
    var instances = (0..<5).map { Instance("i\($0)", store, ContinuousClock(), times: times) }
    var epochs: [Int64] = []
    for _ in 0..<5 {
      var holder: Int?
      while holder == nil {
        for (index, instance) in instances.enumerated() where await instance.keeper.state.epoch != nil {
          holder = index
        }
        await Task.yield()
      }
      let held = await store.standing
      let mine = try #require(holder)
      #expect(await instances[mine].keeper.state.epoch == held?.epoch)
      epochs.append(held?.epoch ?? 0)
      let gone = instances.remove(at: mine)
      await gone.end()
      #expect(await gone.keeper.resign())
    }
    #expect(epochs == [1, 2, 3, 4, 5])
    #expect(await store.standing?.owner == "")
  }

  @Test("Starting and stopping again and again never ends with two holders or none")
  func startStop() async throws {
    let store = Store()
    for round in 0..<200 {
      let (one, two) = (
        Instance("one", store, ContinuousClock()), Instance("two", store, ContinuousClock())
      )
      if round % 3 == 0 { await Task.yield() }
      if round % 2 == 0 {
        async let first = one.states.first { $0.epoch != nil }
        async let second = two.states.first { $0 != .unknown }
        _ = try await second
        if await two.keeper.state.epoch == nil { _ = try await first }
      }
      await one.end()
      await two.end()
      let held = [await one.keeper.state.epoch, await two.keeper.state.epoch].compactMap { $0 }
      #expect(held.count <= 1)
      await one.keeper.resign()
      await two.keeper.resign()
      // A cancelled life may leave a put behind that it never heard of; everything else is free.
      let owner = await store.standing?.owner ?? ""
      #expect(owner.isEmpty, "round \(round): \(owner)")
    }
  }
}
