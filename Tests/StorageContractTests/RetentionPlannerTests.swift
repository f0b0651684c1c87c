import Foundation
import Model
import Storage
import Testing

@Suite("The retention planner")
struct RetentionPlannerTests {
  private let cpu = Series(target: "a", metric: "Vitals.CPU")
  private let ram = Series(target: "b", metric: "Vitals.RAM")

  private func samples(_ series: Series, _ count: Int, type: SampleType = .realTime) -> [Sample] {
    (0..<count).map { Sample(series: series, type: type, at: time(), n: $0, value: 1) }
  }

  private func limits(_ cap: Int) -> (String) -> HistoryLimits {
    { _ in
      var limits = HistoryLimits()
      limits.realTime = cap
      return limits
    }
  }

  @Test("prunes a history at first sight, and again only after a tenth of its cap")
  func byCount() {
    var planner = RetentionPlanner()
    let rule = RetentionRule(cpu, type: .realTime, keep: .newest(100))
    let plan = (0..<24).map { _ in planner.rules(after: samples(cpu, 1), limits: limits(100), now: time()) }
    #expect(plan.enumerated().filter { $0.element == [rule] }.map(\.offset) == [0, 11, 22])
    #expect(plan.count { $0 == [] } == 21)
    #expect(planner.rules(after: samples(cpu, 50), limits: limits(100), now: time()) == [rule])
    // A smaller cap counts at once, a larger one needs nothing.
    let smaller = RetentionRule(cpu, type: .realTime, keep: .newest(5))
    #expect(planner.rules(after: samples(cpu, 1), limits: limits(5), now: time()) == [smaller])
    #expect(planner.rules(after: samples(cpu, 1), limits: limits(100), now: time()) == [])
    #expect(planner.rules(after: [], limits: limits(100), now: time()) == [])
  }

  @Test("asks each target for its own limits and keeps histories apart")
  func perTarget() {
    var planner = RetentionPlanner()
    let both = samples(cpu, 2) + samples(ram, 2) + samples(cpu, 1, type: .event)
    let rules = planner.rules(after: both, limits: { limits($0 == "a" ? 3 : 9)("") }, now: time())
    #expect(
      rules == [
        RetentionRule(cpu, type: .realTime, keep: .newest(3)), RetentionRule(ram, type: .realTime, keep: .newest(9)),
        RetentionRule(cpu, type: .event, keep: .newest(1000)),
      ])
    #expect(planner.historyCount == 3)
  }

  @Test("checks ages at most once a minute, whatever the clock does")
  func byAge() {
    var planner = RetentionPlanner()
    func rules(_ type: SampleType, _ seconds: Double) -> [RetentionRule] {
      planner.rules(after: samples(cpu, 1, type: type), limits: limits(1), now: time(seconds))
    }
    func rule(_ type: SampleType, _ seconds: Double) -> [RetentionRule] {
      [RetentionRule(cpu, type: type, keep: .since(time(seconds)))]
    }
    #expect(rules(.variable, 0) == rule(.variable, -3600))
    #expect(rules(.hour, 1) == rule(.hour, 1 - 72 * 3600))
    #expect(rules(.day, 2) == rule(.day, 2 - 30 * 86_400))
    #expect(rules(.variable, 59.9) == [])
    #expect(rules(.variable, 60) == rule(.variable, 60 - 3600))
    #expect(rules(.variable, 30) == rule(.variable, 30 - 3600))
    #expect(rules(.variable, 31) == [])
  }

  @Test("gives a rule that failed to run again")
  func forgetting() {
    var planner = RetentionPlanner()
    let first = planner.rules(after: samples(cpu, 1), limits: limits(10), now: time())
    #expect(planner.rules(after: samples(cpu, 1), limits: limits(10), now: time()) == [])
    planner.forget(first)
    #expect(planner.rules(after: samples(cpu, 1), limits: limits(10), now: time()) == first)
  }
}
