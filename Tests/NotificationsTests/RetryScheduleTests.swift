import Foundation
import Model
import Notifications
import Storage
import TestKit
import Testing

@Suite struct RetryScheduleTests {
  @Test("the pauses are 5 s, 15 s, 1, 3, 10, 30 min, then hours")
  func pauses() {
    let schedule = RetrySchedule()
    let pauses = (1...9).map { schedule.pause(failures: $0, age: .zero, random: 0.5) }
    #expect(pauses == [5, 15, 60, 180, 600, 1800, 3600, 3600, 3600].map { .seconds($0) })
  }

  @Test(
    "chance takes or adds at most a fifth",
    arguments: [(0.0, 8.0), (0.25, 9.0), (0.75, 11.0), (1.0, 12.0), (.nan, 10.0), (-3, 8.0)])
  func jitter(random: Double, tenths: Double) throws {
    var schedule = RetrySchedule()
    schedule.pauses = [.seconds(10)]
    let pause = try #require(schedule.pause(failures: 1, age: .zero, random: random))
    #expect(abs(pause.inSeconds - tenths) < 1e-9)
  }

  @Test("what the peer asks for wins, from a second up to an hour")
  func requested() {
    let schedule = RetrySchedule()
    #expect(schedule.pause(failures: 1, age: .zero, requested: .seconds(90), random: 1) == .seconds(90))
    #expect(schedule.pause(failures: 9, age: .zero, requested: .seconds(86_400), random: 0) == .seconds(3600))
    #expect(schedule.pause(failures: 1, age: .zero, requested: .seconds(-5), random: 0.5) == .seconds(5))
    #expect(schedule.pause(failures: 9, age: .zero, requested: .zero, random: 0.5) == .seconds(3600))
  }

  @Test("a message that is 72 h old is given up, whatever the peer asks for")
  func lifetime() {
    let schedule = RetrySchedule()
    #expect(schedule.pause(failures: 80, age: .seconds(72 * 3600 - 1), random: 0.5) == .seconds(3600))
    #expect(schedule.pause(failures: 80, age: .seconds(72 * 3600), requested: .seconds(1), random: 0.5) == nil)
  }

  @Test("a channel that never answers is tried by the schedule for 72 h, then the message is a dead letter")
  func wholeLife() async throws {
    let office = Office { _, _ in .again(after: nil, answer: "connect: refused", isUnknown: false) }
    try await office.announce(.firing)
    try await office.work(until: 80 * 3600)
    let times = office.notifier.deliveries.all.map(\.at)
    let early = [0, 5, 20, 80, 260, 860, 2660]
    let hourly = Array(stride(from: 6260, to: 72 * 3600 + 3600, by: 3600))
    #expect(times == early + hourly)
    let entry = try #require(try await office.entries().first)
    #expect(entry.state == .dead)
    #expect(entry.attempts.count == QueueEntry.attemptsBound)
    #expect(entry.attempts.first?.at == Office.opening)
    #expect(entry.attempts.last?.answer.hasPrefix("given up after 3 d") == true)
    #expect(office.notices.all.map(\.source) == ["channel ops"])
  }
}
