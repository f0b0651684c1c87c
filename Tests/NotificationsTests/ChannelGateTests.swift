import Foundation
import Model
import Notifications
import TestKit
import Testing

@Suite struct ChannelGateTests {
  private let clock = ManualClock()
  private var now: @Sendable () -> Date {
    { [clock] in Office.opening.addingTimeInterval(clock.now.offset.inSeconds) }
  }

  @Test("a full channel lets the next wait a second, then puts messages back at once until a place is free")
  func stuck() async throws {
    let gate = ChannelGate(limit: 2, clock: clock, now: now)
    #expect(await gate.enter("ops", deadline: .seconds(120)) == .go(1))
    #expect(await gate.enter("ops", deadline: .seconds(60)) == .go(2))
    let third = Task { await gate.enter("ops", deadline: .seconds(60)) }
    try await clock.sleepers(atLeast: 1)
    clock.advance(by: .seconds(1))
    let reason = "the channel is busy with 2 deliveries"
    #expect(await third.value == .later(Office.opening.addingTimeInterval(31), reason: reason))
    // Stuck: nobody waits any more; the clock stands still here.
    #expect(
      await gate.enter("ops", deadline: .seconds(60)) == .later(Office.opening.addingTimeInterval(31), reason: reason))
    #expect(await gate.enter("pager", deadline: .seconds(60)) == .go(3))
    await gate.leave(1, channel: "ops")
    #expect(await gate.enter("ops", deadline: .seconds(60)) == .go(4))
  }

  @Test("who waits gets the place that becomes free")
  func handsOver() async throws {
    let gate = ChannelGate(limit: 1, clock: clock, now: now)
    #expect(await gate.enter("ops", deadline: .seconds(120)) == .go(1))
    let second = Task { await gate.enter("ops", deadline: .seconds(60)) }
    try await clock.sleepers(atLeast: 1)
    await gate.leave(1, channel: "ops")
    #expect(await second.value == .go(2))
  }

  @Test("a rate lets so many go at once, and gives each of the others a time of its own")
  func rate() async throws {
    let gate = ChannelGate(limit: 100, clock: clock, now: now)
    let rate = try #require(DeliveryRate("3/m"))
    func returns(_ count: Int) async -> [Int] {
      var seconds: [Int] = []
      for _ in 0..<count {
        switch await gate.enter("ops", deadline: .seconds(60), rate: rate) {
        case .go: seconds.append(0)
        case .later(let date, _): seconds.append(Int(date.timeIntervalSince(Office.opening).rounded()))
        }
      }
      return seconds
    }
    #expect(await returns(6) == [0, 0, 0, 20, 40, 60])
    #expect(await gate.enter("pager", deadline: .seconds(60)) == .go(4))
    clock.advance(by: .seconds(20))
    #expect(await returns(2) == [0, 80])
    clock.advance(by: .seconds(600))
    #expect(await returns(4) == [0, 0, 0, 640])
  }

  static let rates: [(Value, Int, Double)] = [
    ("10/m", 10, 60), ("5/s", 5, 1), ("100/h", 100, 3600), (30, 30, 60), (0.5, 1, 120),
  ]

  @Test("rates are written as messages in a time", arguments: rates)
  func isRate(value: Value, count: Int, seconds: Double) {
    #expect(DeliveryRate(value) == DeliveryRate(count: count, period: .seconds(seconds)))
  }

  static let noRates: [Value] = ["0/m", "10", "10/d", "-1/m", "/m", 0, -3, .double(.nan), .null]

  @Test("what is no rate is none", arguments: noRates)
  func isNone(value: Value) {
    #expect(DeliveryRate(value) == nil)
  }

  @Test("a clock that was set back does not prolong a quiet beyond an hour")
  func clockStep() async {
    let time = EventLog<Date>()
    time.append(Office.opening)
    let gate = ChannelGate(limit: 1, clock: clock) { time.all.last ?? Office.opening }
    #expect(await gate.enter("ops", deadline: .seconds(60)) == .go(1))
    await gate.leave(1, channel: "ops", quietFor: .seconds(600))
    #expect(
      await gate.enter("ops", deadline: .seconds(60))
        == .later(Office.opening.addingTimeInterval(600), reason: "the channel asked to wait"))
    time.append(Office.opening.addingTimeInterval(-86_400))
    #expect(await gate.enter("ops", deadline: .seconds(60)) == .go(2))
  }
}

@Suite struct DoorbellTests {
  @Test("a ring between looking and waiting is not lost")
  func notLost() async {
    let bell = Doorbell()
    let seen = bell.count
    bell.ring()
    await bell.wait(after: seen)
    #expect(bell.count == 1)
  }

  @Test("a ring wakes everybody, long before the limit")
  func wakesAll() async throws {
    let bell = Doorbell()
    let clock = ManualClock()
    let waiters = (0..<8).map { _ in Task { await bell.wait(after: 0, atMost: .seconds(3600), clock: clock) } }
    try await clock.sleepers(atLeast: 8)
    bell.ring()
    for waiter in waiters { await waiter.value }
    #expect(clock.sleeperCount == 0)
  }

  @Test("the limit and cancellation end a wait")
  func ends() async throws {
    let bell = Doorbell()
    let clock = ManualClock()
    let limited = Task { await bell.wait(after: 0, atMost: .seconds(1), clock: clock) }
    try await clock.sleepers(atLeast: 1)
    clock.advance(by: .seconds(1))
    await limited.value
    let cancelled = Task { await bell.wait(after: 0, atMost: .seconds(1), clock: clock) }
    cancelled.cancel()
    await cancelled.value
    #expect(bell.count == 0)
  }
}
