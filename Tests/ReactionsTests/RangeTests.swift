internal import FoundationEssentials
internal import Model
internal import Testing

@testable internal import Reactions

@Suite struct RangeTests {
  static let at = Date(timeIntervalSince1970: 1_700_000_000)

  static func sample(_ value: Value, metric: String = "Vitals.CPU") -> Sample {
    Sample(series: Series(target: "web-1", metric: metric), at: at, value: value)
  }

  @Test(
    "a number is judged against min and max, and equal to a bound is inside",
    arguments: [
      (["max": 90.0] as [String: Value], 90.0, Verdict.ok(hasCleared: true)),
      (["max": 90.0], 90.000001, .bad),
      (["max": 90], -1.0, .ok(hasCleared: true)),
      (["min": 10], 10.0, .ok(hasCleared: true)),
      (["min": 10], 9.999, .bad),
      (["min": 10, "max": 20], 15.0, .ok(hasCleared: true)),
      (["min": 10, "max": 20], 21.0, .bad),
      (["max": 90], Double.nan, .unknown),
      (["max": 90], Double.infinity, .bad),
      ([:], 5.0, .ok(hasCleared: true)),
    ])
  func bounds(limits: [String: Value], number: Double, expected: Verdict) {
    let condition = MetricCondition(metric: "Vitals.CPU", limits: limits)
    let findings = Range().findings(in: Self.sample(["percent": .double(number)]), for: condition)
    #expect(findings.map(\.verdict) == [expected])
    #expect(findings.map(\.element) == [nil])
  }

  @Test("a missing field, text, and a failed gathering are unknown, never OK")
  func missing() {
    let condition = MetricCondition(metric: "Vitals.CPU", limits: ["max": 90])
    #expect(Range().findings(in: Self.sample(["other": 1]), for: condition).map(\.verdict) == [.unknown])
    #expect(Range().findings(in: Self.sample(["percent": "x"]), for: condition).map(\.verdict) == [.unknown])
    let failed = Sample(series: Series(target: "web-1", metric: "Vitals.CPU"), at: Self.at, error: "no answer")
    #expect(
      Range().findings(in: failed, for: condition)
        == [Finding(verdict: .unknown, value: "no answer", limit: "at most 90 %")])
  }

  @Test("every element of a list is a finding of its own, and `where` chooses among them")
  func elements() {
    let disks: Value = [
      ["mount": "/", "percent": 50.0], ["mount": "/var", "percent": 95.55], ["mount": "/data", "percent": nil],
    ]
    let all = MetricCondition(metric: "Vitals.Disk", limits: ["max": 90])
    #expect(
      Range().findings(in: Self.sample(disks, metric: "Vitals.Disk"), for: all) == [
        Finding(element: "/", verdict: .ok(hasCleared: true), value: "50 %", limit: "at most 90 %"),
        Finding(element: "/var", verdict: .bad, value: "95.6 %", limit: "at most 90 %"),
        Finding(element: "/data", verdict: .unknown, value: "no percent", limit: "at most 90 %"),
      ])
    let root = MetricCondition(metric: "Vitals.Disk", filter: ["mount": "/"], limits: ["max": 90])
    #expect(Range().findings(in: Self.sample(disks, metric: "Vitals.Disk"), for: root).map(\.element) == ["/"])
  }

  @Test("between the limit and the clear limit a value is inside but not cleared")
  func hysteresis() {
    let condition = MetricCondition(metric: "Vitals.CPU", clear: ["max": 80], limits: ["max": 95])
    let verdicts = [96.0, 90, 80, 79].map {
      Range().findings(in: Self.sample(["percent": .double($0)]), for: condition)[0].verdict
    }
    #expect(verdicts == [.bad, .ok(hasCleared: false), .ok(hasCleared: true), .ok(hasCleared: true)])
  }

  @Test("values are said with the unit that their field implies")
  func words() {
    #expect(Quantity.text(93.14, field: "percent") == "93.1 %")
    #expect(Quantity.text(1536.0, field: "used") == "1.5 KiB")
    #expect(Quantity.text(0.5, field: "load1") == "0.5")
    #expect(Quantity.text(7325.0, field: "uptime_seconds") == "2 h 2 min")
    #expect(Quantity.text(12.34, field: "latency_ms") == "12.3 ms")
    #expect(Quantity.text(.nan, field: "percent") == "not a number")
    #expect(Quantity.text(.milliseconds(300)) == "300 ms")
    #expect(Quantity.text(.seconds(90_061)) == "1 d 1 h")
  }
}

@Suite struct PresenceTests {
  @Test(
    "Connection is present when it is connected, and the finding says where it failed",
    arguments: [
      (["state": "connected"] as Value, Verdict.ok(hasCleared: true), "connected"),
      (["state": "failed", "phase": "connect", "error": "refused"] as Value, .bad, "failed at connect: refused"),
      (["state": "lost"] as Value, .bad, "lost"),
    ])
  func connection(value: Value, verdict: Verdict, text: String) {
    let findings = Presence().findings(
      in: RangeTests.sample(value, metric: "Connection"), for: MetricCondition(metric: "Connection"))
    #expect(findings == [Finding(verdict: verdict, value: text, limit: "connected")])
  }

  @Test("a file must exist, a port must be open, any other metric must have its headline")
  func others() {
    func verdict(_ metric: String, _ value: Value) -> Verdict {
      Presence().findings(in: RangeTests.sample(value, metric: metric), for: MetricCondition(metric: metric))[0].verdict
    }
    #expect(verdict("POL.File", ["exists": true]) == .ok(hasCleared: true))
    #expect(verdict("POL.File", ["exists": false]) == .bad)
    #expect(verdict("POL.Port", ["open": false, "error": "refused"]) == .bad)
    #expect(verdict("Vitals.CPU", ["percent": 3.0]) == .ok(hasCleared: true))
  }

  @Test("silence is bad after max_age, else after three intervals")
  func silence() {
    #expect(Presence().silenceLimit(for: MetricCondition(metric: "X"), interval: .seconds(10)) == .seconds(30))
    let condition = MetricCondition(metric: "X", limits: ["max_age": 45.0])
    #expect(Presence().silenceLimit(for: condition, interval: .seconds(10)) == .seconds(45))
    #expect(Presence().silence(for: condition, lasting: .seconds(61)).value == "no value for 1 min 1 s")
  }
}
