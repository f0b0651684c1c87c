internal import Model
internal import Testing

@Suite struct ReactionTargetReadingTests {
  private func read(_ fields: [String: Value], _ available: Availability = .everything) -> Reading<ReactionTarget> {
    ReactionTarget.read(document(.reaction_targets, fields), available: available)
  }

  @Test("Every field of a Range is read; the document's for, times and clear hold for metrics without their own")
  func range() {
    let reading = read([
      "reaction": "Range", "target": ["labels": ["role": "web"]],
      "metrics": [
        "Vitals.Disk": ["max": "90%", "field": "percent", "where": ["mount": "/"], "no_data": "alert"],
        "Vitals.CPU": ["max": 95, "for": "2m", "clear": ["max": 80], "times": ["n": 3, "last": 5]],
        "Vitals.RAM": ["min": "1GiB", "field": "available"], "Vitals.Swap": false,
      ], "severity": "critical", "for": "1m", "clear": ["max": 85], "no_data": "ok",
      "notify": ["ops", ["pager", "pager-backup"]],
      "repeat": "1h", "resolved": false, "runbook": "https://wiki/disk", "labels": ["team": "a"],
    ])
    var expected = ReactionTarget(
      id: "x", reaction: "Range", selector: .labels(["role": "web"]),
      conditions: [
        MetricCondition(
          metric: "Vitals.CPU", holdFor: .seconds(120), times: .init(n: 3, last: 5), clear: ["max": 80.0],
          limits: ["max": 95.0]),
        MetricCondition(
          metric: "Vitals.Disk", field: "percent", filter: ["mount": "/"], holdFor: .seconds(60), clear: ["max": 85.0],
          limits: ["max": 90.0], noData: .alert),
        MetricCondition(
          metric: "Vitals.RAM", field: "available", holdFor: .seconds(60), limits: ["min": 1_073_741_824.0]),
      ], severity: .critical, noData: .ok, notify: [["ops"], ["pager", "pager-backup"]], repeatInterval: .seconds(3600),
      sendsResolved: false, runbook: "https://wiki/disk")
    expected.labels = ["team": "a"]
    #expect(reading.value == expected)
    #expect(reading.problems == [])
  }

  @Test("What is left out has the contract's defaults")
  func defaults() {
    let reading = read(["reaction": "Presence", "metrics": ["Connection": nil]])
    #expect(
      reading.value
        == ReactionTarget(
          id: "x", reaction: "Presence", selector: .generic, conditions: [MetricCondition(metric: "Connection")],
          severity: .warning, noData: .keep, notify: nil, repeatInterval: .seconds(4 * 3600), sendsResolved: true))
    #expect(reading.problems == [])
  }

  @Test("Presence takes a list of metrics, and max_age becomes seconds")
  func presence() {
    #expect(
      read(["reaction": "Presence", "metrics": ["Connection", "Vitals.CPU"]]).value?.conditions
        == [MetricCondition(metric: "Connection"), MetricCondition(metric: "Vitals.CPU")])
    #expect(
      read(["reaction": "Presence", "metrics": ["Vitals.CPU": ["max_age": "1m30s"]]]).value?.conditions
        == [MetricCondition(metric: "Vitals.CPU", limits: ["max_age": 90.0])])
  }

  @Test("Regexp and Composed are read")
  func others() {
    #expect(
      read(["reaction": "Regexp", "metrics": ["Logs": ["match": "a|b", "absent": "c"]]]).value?.conditions
        == [MetricCondition(metric: "Logs", limits: ["match": "a|b", "absent": "c"])])
    #expect(
      read(["reaction": "Composed", "of": ["a": "disk", "b": "cpu"], "when": "a and not b"]).value?.composition
        == ["of": ["a": "disk", "b": "cpu"], "when": "a and not b"])
  }

  @Test("The older shape is read, with metrics named whole or by their last part")
  func older() {
    let reading = read([
      "reaction": "Range",
      "options": ["metrics": ["Vitals.CPU", "Vitals.RAM"], "cpu_max": 90, "Vitals.RAM_min": 5, "vitals_ram_max": 95],
    ])
    #expect(
      reading.value?.conditions
        == [
          MetricCondition(metric: "Vitals.CPU", limits: ["max": 90.0]),
          MetricCondition(metric: "Vitals.RAM", limits: ["min": 5.0, "max": 95.0]),
        ])
    #expect(reading.problems == [])
    #expect(
      lines(
        read(["reaction": "Range", "options": ["metrics": ["Vitals.CPU"], "cpux_max": 90, "cpu_max": 1]]).problems)
        == ["options.cpux_max: unknown field \"cpux_max\" (did you mean cpu_max?)"])
  }

  @Test("An unknown reaction is refused by name, and its document is there for a harmless child")
  func unknownReaction() {
    let reading = read(["reaction": "Rnage", "metrics": ["Vitals.CPU": ["most": 5, "for": "1m"]]])
    #expect(lines(reading.problems) == ["reaction: there is no reaction \"Rnage\" (did you mean Range?)"])
    #expect(reading.hasRefusals)
    #expect(
      reading.value?.conditions
        == [MetricCondition(metric: "Vitals.CPU", holdFor: .seconds(60), limits: ["most": 5])])
  }

  @Test("A reaction and a metric that are not built yet are said to be so")
  func unavailable() {
    let now = Availability(metrics: ["Vitals.CPU"], reactions: ["Range"], notifiers: [])
    #expect(
      lines(read(["reaction": "Regexp", "metrics": ["Logs": ["match": "a"]]], now).problems) == [
        "reaction: Regexp is not available in this version (available: Range)",
        "metrics.Logs: Logs is not available in this version (available: Vitals.CPU)",
      ])
    let partly = read(["reaction": "Range", "metrics": ["Vitals.CPU": ["max": 1], "Vitals.CPUs": ["max": 1]]], now)
    #expect(
      lines(partly.problems) == ["metrics.Vitals.CPUs: there is no metric \"Vitals.CPUs\" (did you mean Vitals.CPU?)"])
    #expect(partly.value?.conditions.map(\.metric) == ["Vitals.CPU", "Vitals.CPUs"])
  }

  private static func range(_ limits: [String: Value], metric: String = "Vitals.CPU") -> [String: Value] {
    ["reaction": "Range", "metrics": [metric: .object(limits)]]
  }

  static let refusals: [Refusal] = [
    .init([:], "reaction: reaction is missing (write reaction: Range)"),
    .init(["reaction": "Range"], "metrics: no metric is named (write metrics: {Vitals.CPU: {max: 90}})"),
    .init(["reaction": "Presence", "metrics": [:]], "metrics: no metric is named (write metrics: {Connection: {}})"),
    .init(range([:]), "metrics.Vitals.CPU: neither min nor max is given (write max: 90)"),
    .init(range(["max": "lots"]), "metrics.Vitals.CPU.max: expected a number, found the text \"lots\""),
    .init(
      range(["max": "90"]), "metrics.Vitals.CPU.max: expected a number, found the text \"90\" (write it without quotes)"
    ),
    .init(range(["max": .double(.nan)]), "metrics.Vitals.CPU.max: expected a number, found the number nan"),
    .init(range(["max": .double(.infinity)]), "metrics.Vitals.CPU.max: expected a number, found the number inf"),
    .init(range(["min": 9, "max": 1]), "metrics.Vitals.CPU.min: min 9 is greater than max 1"),
    .init(range(["max": 90, "maxx": 1]), "metrics.Vitals.CPU.maxx: unknown field \"maxx\" (did you mean max?)"),
    .init(
      range(["max": 90, "max_age": "1m"]),
      "metrics.Vitals.CPU.max_age: unknown field \"max_age\" (max_age belongs to Presence)"),
    .init(
      range(["max": 90, "clear": ["max": 95]]),
      "metrics.Vitals.CPU.clear.max: 95 is outside the limit max: 90 (clear is the stricter limit that ends the episode)"
    ),
    .init(
      range(["max": 90, "clear": ["min": 5]]),
      "metrics.Vitals.CPU.clear.min: there is no min that it could clear (write min beside clear)"),
    .init(
      range(["max": 90, "clear": [:]]),
      "metrics.Vitals.CPU.clear: neither min nor max is given (write clear: {max: 80})"),
    .init(
      range(["max": 90, "field": "percnt"]),
      "metrics.Vitals.CPU.field: Vitals.CPU has no field \"percnt\" (did you mean percent?)"),
    .init(
      range(["max": 9, "field": "mount"], metric: "Vitals.Disk"),
      "metrics.Vitals.Disk.field: Range needs a number, Vitals.Disk's mount is text (numbers: available, inodes, inodes_percent, inodes_used, percent, size, used)"
    ),
    .init(
      range(["max": 9], metric: "Connection"),
      "metrics.Connection: Range needs a number, Connection's state is none (name one with field: attempt, latency_ms; or use Presence or Regexp)"
    ),
    .init(
      range(["max": 9, "where": ["mnt": "/"]], metric: "Vitals.Disk"),
      "metrics.Vitals.Disk.where.mnt: Vitals.Disk has no field \"mnt\" (did you mean mount?)"),
    .init(
      range(["max": 9, "where": ["mount": ["/"]]], metric: "Vitals.Disk"),
      "metrics.Vitals.Disk.where.mount: expected text, a number or true/false, found a list"),
    .init(
      range(["max": 9, "times": ["n": 5, "last": 3]]),
      "metrics.Vitals.CPU.times.n: 5 of the last 3 samples can never be bad (n is at most last)"),
    .init(range(["max": 9, "times": ["n": 5]]), "metrics.Vitals.CPU.times.last: last is missing (write last: 5)"),
    .init(
      range(["max": 9, "for": "soon"]),
      "metrics.Vitals.CPU.for: expected a duration, found the text \"soon\" (write 500ms, 10s, 5m, 2h or 7d; a plain number is seconds)"
    ),
    .init(
      range(["max": 9, "severity": "info"]),
      "metrics.Vitals.CPU.severity: unknown field \"severity\" (it stands beside metrics, not inside)"),
    .init(
      ["reaction": "Range", "max": 90, "metrics": ["Vitals.CPU": ["max": 1]]],
      "max: unknown field \"max\" (it belongs to a metric: metrics: {Vitals.CPU: {…}})"),
    .init(
      range(["max": 1]).merging(["severity": "fatal"]) { $1 },
      "severity: expected one of info, warning, critical, found the text \"fatal\""),
    .init(
      range(["max": 1]).merging(["severity": "crit"]) { $1 },
      "severity: expected one of info, warning, critical, found the text \"crit\" (did you mean critical?)"),
    .init(
      range(["max": 1]).merging(["no_data": "Keep"]) { $1 },
      "no_data: expected one of keep, alert, ok, found the text \"Keep\" (did you mean keep?)"),
    .init(
      range(["max": 1]).merging(["resolved": "yes"]) { $1 },
      "resolved: expected true or false, found the text \"yes\" (write true)"),
    .init(
      range(["max": 1]).merging(["notify": [["a", 5]]]) { $1 },
      "notify[0][1]: expected text, found the number 5 (write it in quotes: \"5\")"),
    .init(
      range(["max": 1]).merging(["notify": ["a", []]]) { $1 },
      "notify[1]: the list is empty (for example [ops, [pager, pager-backup]])"),
    .init(
      range(["max": 1]).merging(["notify": 5]) { $1 },
      "notify: expected a list of notification_options, found the number 5 (for example [ops, [pager, pager-backup]])"),
    .init(range(["max": 1]).merging(["of": ["a": "b"]]) { $1 }, "of: only Composed has of"),
    .init(
      ["reaction": "Regexp", "metrics": ["Logs": [:]]],
      "metrics.Logs: neither match nor absent is given (write match: 'error|panic')"),
    .init(["reaction": "Presence", "clear": ["max": 1], "metrics": ["Connection"]], "clear: only Range has clear"),
    .init(
      ["reaction": "Composed", "metrics": ["Connection"]],
      "metrics: Composed has no metrics (write of: {a: <reaction id>} and when: a)",
      "of: of is missing (write of: {a: disk-full, b: disk-busy})", "when: when is missing (write when: a and not b)"),
    .init(
      ["reaction": "Range", "options": ["metrics": ["Vitals.CPU"]], "metrics": ["Vitals.CPU": ["max": 1]]],
      "options: options is the older shape of metrics (use one of the two)"),
  ]

  @Test("A wrong reaction is refused with path, reason and hint", arguments: refusals)
  func refuses(_ refusal: Refusal) {
    let reading = read(refusal.fields)
    #expect(lines(reading.problems) == refusal.expected)
    #expect(reading.value == nil)
  }

  @Test("A bound that is no percentage is warned of")
  func warns() {
    let reading = read(Self.range(["max": 900]))
    #expect(lines(reading.problems) == ["~metrics.Vitals.CPU.max: 900 is no percentage (percentages are 0 to 100)"])
    #expect(reading.value?.conditions.first?.limits == ["max": 900.0])
    #expect(read(Self.range(["max": 100])).problems == [])
    #expect(read(Self.range(["max": 0])).problems == [])
  }
}
