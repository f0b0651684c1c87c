internal import Testing

@testable internal import Aggregation

@Suite("Schedule")
struct ScheduleTests {
  private func ticks(_ target: String, _ interval: Duration, until end: Duration) -> [Duration] {
    let schedule = Schedule(target: target, interval: interval)
    var now: Duration = .milliseconds(-1)
    var ticks: [Duration] = []
    while true {
      now = schedule.next(after: now)
      if now > end { return ticks }
      ticks.append(now)
    }
  }

  @Test("Ticks are one interval apart, and those of a longer interval are among those of a shorter that divides it")
  func aligned() {
    let ten = ticks("web-1", .seconds(10), until: .seconds(600))
    let sixty = ticks("web-1", .seconds(60), until: .seconds(600))
    #expect(zip(ten, ten.dropFirst()).allSatisfy { $1 - $0 == .seconds(10) })
    #expect(ten.count == 60)
    #expect(sixty.count == 10)
    #expect(Set(sixty).isSubset(of: Set(ten)))
  }

  @Test("A thousand targets are spread over the interval, and each comes back to its place")
  func spread() {
    var tenths = [Int](repeating: 0, count: 10)
    for number in 0..<1000 {
      let first = Schedule(target: "web-\(number)", interval: .seconds(10)).next(after: .milliseconds(-1))
      tenths[Int(first.wholeMilliseconds / 1000)] += 1
      #expect(first == Schedule(target: "web-\(number)", interval: .seconds(10)).next(after: .milliseconds(-1)))
    }
    #expect(tenths.allSatisfy { (50...150).contains($0) }, "\(tenths)")
  }

  @Test("A tick is always later than now, the ticks left out are counted, and no interval is too short or too long")
  func edges() {
    let schedule = Schedule(target: "x", interval: .seconds(10))
    let first = schedule.next(after: .zero)
    #expect(schedule.next(after: first) == first + .seconds(10))
    #expect(schedule.skipped(from: first, to: first + .seconds(10)) == 0)
    #expect(schedule.skipped(from: first, to: first + .seconds(40)) == 3)
    for interval in [Duration.zero, .seconds(-5), .nanoseconds(1), .seconds(Int64.max)] {
      let schedule = Schedule(target: "x", interval: interval)
      #expect(schedule.interval >= Schedule.shortest)
      #expect(schedule.next(after: .seconds(5)) > .seconds(5))
      #expect(schedule.next(after: .seconds(Int64.max / 2)) > .zero)
    }
  }
}
