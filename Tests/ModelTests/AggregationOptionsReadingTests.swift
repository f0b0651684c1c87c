internal import Model
internal import Testing

@Suite struct AggregationOptionsReadingTests {
  static let now = Availability(
    metrics: ["Vitals.CPU", "Vitals.RAM", "Vitals.Swap", "Vitals.Disk", "Connection", "Host"],
    reactions: ["Range", "Presence"], notifiers: ["email"])

  private func read(_ fields: [String: Value], _ available: Availability = now) -> Reading<AggregationOptions> {
    AggregationOptions.read(document(.aggregation_options, fields), available: available)
  }

  @Test("Metrics, limits and the bucket are read")
  func everything() {
    let reading = read([
      "target": ["labels": ["role": "web"]],
      "metrics": ["Vitals.CPU": ["interval": "5s"], "Vitals.RAM": nil, "Vitals.Disk": false],
      "limits": ["RT": 50, "hour": "24h"], "variable": "1m",
    ])
    #expect(
      reading.value
        == AggregationOptions(
          id: "x", selector: .labels(["role": "web"]),
          metrics: ["Vitals.CPU": ["interval": "5s"], "Vitals.RAM": [:], "Vitals.Disk": false],
          limits: ["RT": 50, "hour": "24h"], variable: .seconds(60)))
    #expect(reading.problems == [])
  }

  @Test("The nested form that a dotted update makes means the same, and is merged over the dotted one")
  func nested() {
    let reading = read([
      "metrics": ["Vitals": ["CPU": ["interval": 5], "RAM": nil], "Vitals.CPU": ["interval": "60s"], "POL": false]
    ])
    #expect(reading.value?.metrics["Vitals.CPU"] == ["interval": 5])
    #expect(reading.value?.metrics["Vitals.RAM"] == [:])
    #expect(reading.value?.metrics["POL.Port"] == false)
  }

  @Test("The older shape means the same")
  func older() {
    let reading = read([
      "metric": "Vitals.CPU", "target": "web-1",
      "options": ["limits": ["RT": 100, "variable": 3600], "variable": 300, "interval": "20s"],
    ])
    #expect(
      reading.value
        == AggregationOptions(
          id: "x", selector: .names(["web-1"]), metrics: ["Vitals.CPU": ["interval": "20s"]],
          limits: ["RT": 100, "variable": 3600], variable: .seconds(300)))
    #expect(reading.problems == [])
    #expect(
      lines(read(["options": ["interval": "x"], "metric": "Vitals.CPU"]).problems) == [
        "options.interval: expected a duration, found the text \"x\" (write 500ms, 10s, 5m, 2h or 7d; a plain number is seconds)"
      ])
  }

  @Test("An unknown metric and one that is not built yet are named, and the rest of the document counts")
  func undefined() {
    let reading = read(["metrics": ["Vitals.CPUU": [:], "Logs": ["files": 5], "Vitals.RAM": [:]]])
    #expect(
      lines(reading.problems) == [
        "metrics.Logs: Logs is not available in this version (available: Connection, Host, Vitals.CPU, Vitals.Disk, Vitals.RAM, Vitals.Swap)",
        "metrics.Vitals.CPUU: there is no metric \"Vitals.CPUU\" (did you mean Vitals.CPU?)",
      ])
    #expect(reading.hasRefusals)
    #expect(reading.value?.metrics.keys.sorted() == ["Logs", "Vitals.CPUU", "Vitals.RAM"])
  }

  static let refusals: [Refusal] = [
    .init(
      ["metrics": ["Vitals.CPU": ["interval": "10 seconds"]]],
      "metrics.Vitals.CPU.interval: expected a duration, found the text \"10 seconds\" (write 10s)"),
    .init(["metrics": ["Vitals": ["CPU": ["interval": 0]]]], "metrics.Vitals.CPU.interval: 0s is outside 100ms to 7d"),
    .init(
      ["metrics": ["Vitals.CPU": ["intervall": "5s"]]],
      "metrics.Vitals.CPU.intervall: unknown field \"intervall\" (did you mean interval?)"),
    .init(
      ["metrics": ["Vitals.CPU": 5]],
      "metrics.Vitals.CPU: expected options (a map), found the number 5 (write {} for the defaults, or false to switch it off)"
    ),
    .init(["metrics": ["a"]], "metrics: expected a map, found a list"),
    .init(
      ["limits": ["RT": "many"]],
      "limits.RT: expected a whole number from 1 to 1000000, found the text \"many\" (for example 100)"),
    .init(
      ["limits": ["minute": "1h"]], "limits.minute: unknown field \"minute\" (known: RT, day, event, hour, variable)"),
    .init(["variable": "5min"], "variable: expected a duration, found the text \"5min\" (write 5m)"),
    .init(["target": [:]], "target.labels: labels is missing (write labels: {role: web})"),
    .init(["target": []], "target: the list is empty (name targets, or write generic for all)"),
    .init(["target": ["a", "generic"]], "target[1]: generic means all targets (write target: generic)"),
    .init(
      ["target": 5],
      "target: expected a target's name, a list of names or labels, found the number 5 (for example web-1, [web-1, web-2], {labels: {role: web}} or generic)"
    ),
    .init(["options": [:]], "metric: metric is missing (write metric: Vitals.CPU)"),
    .init(
      ["metric": "Vitals.CPU", "metrics": [:]],
      "metrics: unknown field \"metrics\" (metric and options are the older shape; use one of the two)"),
    .init(
      [
        "metrics": [
          "POL.Port": [["port": 22], ["name": "a", "port": 99_999], ["name": "a", "port": 1, "from": "moon"]]
        ]
      ],
      "metrics.POL.Port[0].name: name is missing (several instances are told apart by name)",
      "metrics.POL.Port[2].name: the name \"a\" stands twice",
      "metrics.POL.Port[1].port: 99999 is outside 1 to 65535",
      "metrics.POL.Port[2].from: expected one of monitor, target, found the text \"moon\""),
    .init(["enabled": "off"], "enabled: expected true or false, found the text \"off\" (write false)"),
  ]

  @Test("Wrong options are refused with the path of the field", arguments: refusals)
  func refuses(_ refusal: Refusal) {
    let reading = read(refusal.fields, .everything)
    #expect(lines(reading.problems) == refusal.expected)
    #expect(reading.value == nil)
  }
}

@Suite struct AggregationPlanTests {
  private let target = Target(id: "w", name: "web-1", host: "h", labels: ["role": "web", "az": "1"])

  private func options(
    _ id: String, _ selector: TargetSelector, _ metrics: [String: Value], limits: [String: Value] = [:],
    variable: Duration? = nil
  )
    -> AggregationOptions
  {
    AggregationOptions(id: id, selector: selector, metrics: metrics, limits: limits, variable: variable)
  }

  @Test("Without a matching document there are no metrics, and the limits are the defaults")
  func nothing() {
    let other = options("o", .names(["db-1"]), ["Vitals.CPU": [:]])
    #expect(AggregationPlan.merge(matching: [other], target: target) == AggregationPlan())
    #expect(AggregationPlan.merge(matching: [], target: target).limits.realTime == 100)
  }

  @Test("Own before a list of names before labels before generic, map by map, in whatever order they come")
  func precedence() {
    let layers = [
      options("own", .names(["web-1"]), ["Vitals.CPU": ["a": 5]], limits: ["RT": 5]),
      options(
        "list", .names(["web-1", "web-2"]), ["Vitals.CPU": ["a": 4, "b": 4], "Vitals.Swap": false],
        limits: ["RT": 4, "hour": "4h"]),
      options(
        "two", .labels(["role": "web", "az": "1"]), ["Vitals.CPU": ["a": 3, "b": 3, "c": 3], "Vitals.Disk": [:]],
        variable: .seconds(60)),
      options(
        "one", .labels(["role": "web"]), ["Vitals.CPU": ["a": 2, "b": 2, "c": 2, "d": 2], "Vitals.Disk": false]),
      options(
        "generic", .generic,
        ["Vitals.CPU": ["a": 1, "b": 1, "c": 1, "d": 1, "interval": "30s"], "Vitals.Swap": [:], "Vitals.RAM": [:]],
        limits: ["RT": 1, "hour": "1h", "event": 7], variable: .seconds(10)),
    ]
    var limits = HistoryLimits()
    limits.realTime = 5
    limits.hour = .seconds(4 * 3600)
    limits.event = 7
    let expected = AggregationPlan(
      metrics: [
        MetricPlan(metric: "Vitals.CPU", interval: .seconds(30), options: ["a": 5, "b": 4, "c": 3, "d": 2]),
        MetricPlan(metric: "Vitals.Disk", interval: .seconds(60)),
        MetricPlan(metric: "Vitals.RAM", interval: .seconds(10)),
      ], limits: limits, variable: .seconds(60))
    #expect(AggregationPlan.merge(matching: layers, target: target) == expected)
    #expect(AggregationPlan.merge(matching: layers.reversed(), target: target) == expected)
  }

  @Test("Instances become one wrapper each; a list replaces an inherited one; Connection and Host are no wrappers")
  func instances() {
    let plan = AggregationPlan.merge(
      matching: [
        options(
          "a", .generic, ["POL.Port": [["name": "x", "port": 1]], "Connection": [:], "Host": [:], "Nonsense": [:]]),
        options(
          "b", .names(["web-1"]),
          ["POL.Port": [["name": "ssh", "port": 22, "interval": "5s"], ["name": "db", "port": 5432]]]),
      ], target: target)
    #expect(
      plan.metrics == [
        MetricPlan(metric: "Nonsense", interval: .seconds(10)),
        MetricPlan(metric: "POL.Port", name: "ssh", interval: .seconds(5), options: ["port": 22]),
        MetricPlan(metric: "POL.Port", name: "db", interval: .seconds(10), options: ["port": 5432]),
      ])
  }

  @Test("Disabled documents do not count, and unreadable values leave the default")
  func robust() {
    var disabled = options("d", .generic, ["Vitals.CPU": [:]])
    disabled.isEnabled = false
    let broken = options(
      "b", .generic, ["Vitals.RAM": ["interval": .double(.nan)], "Vitals.Disk": 5],
      limits: ["RT": .int(.max), "hour": "never", "day": .double(.infinity)])
    let plan = AggregationPlan.merge(matching: [disabled, broken], target: target)
    #expect(plan == AggregationPlan(metrics: [MetricPlan(metric: "Vitals.RAM", interval: .seconds(10))]))
  }
}
