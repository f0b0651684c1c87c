internal import FoundationEssentials
internal import Model
internal import Remote
internal import Supervision
internal import TestKit
internal import Testing

@testable internal import Aggregation

@Suite("A target's worker", .timeLimit(.minutes(2)))
struct AggregatorTests {
  /// A rig whose one target is connected and has made its first looks.
  private func rig(
    _ host: ScriptedHost, metrics: [MetricPlan] = TargetRig.vitals, registry: MetricRegistry = .standard,
    known: HostFacts? = nil
  ) async throws -> TargetRig {
    let rig = TargetRig(registry: registry, connector: host)
    try await rig.want([TargetRig.target(metrics: metrics, known: known)])
    try await rig.settle(wrappers: metrics.count, due: metrics.count + 1)
    return rig
  }

  /// Advances to the next tick at which a metric has a sample. Other deadlines, of supervisors, lie between.
  private func tick(_ rig: TargetRig, _ metric: String = "Host", wrappers: Int, due: Int? = nil) async throws {
    let before = rig.story(metric).count
    for _ in 0..<10 where rig.story(metric).count == before {
      rig.clock.advance(to: try #require(rig.clock.nextDeadline))
      try await rig.settle(wrappers: wrappers, due: due)
    }
  }

  @Test("The first vitals come with one login and within 300 ms of it, files joined in one ask, commands apart")
  func firstSamples() async throws {
    let host = ScriptedHost(script: DebianHost.script())
    let rig = try await rig(host)
    #expect(rig.clock.now.offset <= .milliseconds(300))
    for metric in ["Vitals.CPU", "Vitals.RAM", "Vitals.Swap", "Vitals.Disk", "Host"] {
      #expect(rig.story(metric) == ["RT value"], "\(metric)")
    }
    #expect(rig.story("Connection") == ["event connected", "RT connected"])
    let asked = await host.asked
    let files = asked.filter { $0.allSatisfy { $0.path != nil } }
    #expect(files.count == 2)
    #expect(files.first.map { Set($0).count == $0.count && $0.count == 10 } == true, "\(files.first ?? [])")
    #expect(files.last?.compactMap(\.path) == ["/proc/stat", "/proc/loadavg"])
    #expect(asked.filter { $0.count == 1 && $0[0].path == nil }.count == 2)
    #expect(await host.connections == 1)
    let facts = try #require(rig.facts.all.last)
    #expect(rig.facts.all.count == 1)
    #expect(facts.os == "Debian GNU/Linux 12 (bookworm)")
    #expect(facts.disk == 10240)
    #expect(facts.pageSize == 4096)
    #expect(
      rig.children()
        == [
          "Connection for web-1", "Host for web-1", "Vitals.CPU for web-1", "Vitals.RAM for web-1",
          "Vitals.Swap for web-1", "Vitals.Disk for web-1",
        ].map { "\($0): running 0 s, 0 restarts" })
    await rig.stop()
  }

  @Test("At a tick all that is due is one ask, and every sample has its own (tag, n)")
  func ticks() async throws {
    let host = ScriptedHost(script: DebianHost.script())
    let rig = try await rig(host, metrics: Array(TargetRig.vitals.prefix(3)))
    for _ in 0..<5 {
      let before = await host.asked.count
      try await tick(rig, wrappers: 3, due: 4)
      #expect(await host.asked.count == before + 1)
    }
    #expect(rig.story("Vitals.RAM").count == 6)
    let stamps = rig.samples.all.map { "\($0.series) \($0.type) \($0.tag) \($0.n)" }
    #expect(Set(stamps).count == stamps.count)
    await rig.stop()
  }

  @Test("A target that nobody answers for has a worker at once, with all its children, and says why")
  func unreachable() async throws {
    let host = ScriptedHost()
    let reason = RemoteError(.unreachable, phase: .connect, "nobody listens on port 22")
    await host.refuseAll(reason)
    let rig = TargetRig(connector: host)
    try await rig.want([TargetRig.target(metrics: Array(TargetRig.vitals.prefix(1)))])
    // The keeper's pause besides its tick, and two wrappers that wait for a connection or their tick.
    try await rig.clock.settles(at: rig.asleep(wrappers: 1) + 1)
    #expect(
      rig.children().map { $0.prefix { $0 != ":" } } == [
        "Connection for web-1", "Host for web-1", "Vitals.CPU for web-1",
      ])
    #expect(rig.story("Connection") == ["event failed", "RT failed"])
    let value = try #require(rig.samples.all.first?.value)
    #expect(
      value == [
        "state": "failed", "phase": "connect", "error": "nobody listens on port 22", "attempt": 1, "latency_ms": 0.0,
      ])
    for _ in 0..<40 {
      rig.clock.advance(by: .milliseconds(500))
      try await rig.clock.settles(at: rig.asleep(wrappers: 1) + 1)
    }
    let errors = rig.story("Vitals.CPU")
    #expect(
      errors == Array(repeating: "RT error not connected: connect: nobody listens on port 22", count: errors.count))
    // 20 s at an interval of 10 s: at once, and once an interval.
    #expect((2...3).contains(errors.count), "\(errors.count)")
    await host.accept()
    await host.script(DebianHost.script())
    await rig.aggregator.reconnect("web-1")
    try await rig.settle(wrappers: 1)
    #expect(rig.story("Vitals.CPU").last == "RT value")
    #expect(await host.connections == 1)
    await rig.stop()
  }

  @Test("After the connection is lost there are events and error samples, and samples resume with one new login")
  func lost() async throws {
    let host = ScriptedHost(script: DebianHost.script())
    let rig = try await rig(host, metrics: Array(TargetRig.vitals.dropFirst().prefix(1)))
    await host.refuse(RemoteError(.unreachable, phase: .connect, "no"), times: 4)
    await host.end()
    try await rig.clock.settles(at: rig.asleep(wrappers: 1) + 1)
    #expect(rig.story("Connection") == ["event connected", "RT connected", "event lost", "RT lost"])
    // The host takes no connection after 1, 2, 4 and 8 s more, and does after another 16 s.
    let lost = rig.clock.now
    for second in [1, 3, 7, 15] {
      while rig.clock.now < lost.advanced(by: .seconds(second)) {
        rig.clock.advance(to: try #require(rig.clock.nextDeadline))
        try await rig.clock.settles(at: rig.asleep(wrappers: 1) + 1)
      }
    }
    while rig.clock.now < lost.advanced(by: .seconds(31)) {
      rig.clock.advance(to: min(try #require(rig.clock.nextDeadline), lost.advanced(by: .seconds(31))))
      let isDue = rig.clock.now == lost.advanced(by: .seconds(31))
      if !isDue { try await rig.clock.settles(at: rig.asleep(wrappers: 1) + 1) }
    }
    try await eventually("connected") { await host.connections == 2 }
    try await rig.settle(wrappers: 1)
    let events = rig.story("Connection").filter { $0.hasPrefix("event") }
    #expect(
      events == ["event connected", "event lost"] + Array(repeating: "event failed", count: 4) + ["event connected"])
    // One error an interval, and a value at once when there is a connection again.
    let story = rig.story("Vitals.RAM")
    #expect(story.first == "RT value" && story.last == "RT value")
    #expect((3...4).contains(story.count - 2), "\(story)")
    #expect(story.dropFirst().dropLast().allSatisfy { $0.hasPrefix("RT error not connected: connect") }, "\(story)")
    #expect(await host.connections == 2)
    #expect(rig.children().allSatisfy { $0.hasSuffix("0 restarts") })
    await rig.stop()
  }

  @Test("An edited plan gives a new life to the changed wrapper only; the connection and the others go on")
  func edit() async throws {
    let host = ScriptedHost(script: DebianHost.script())
    var metrics = Array(TargetRig.vitals.dropFirst().prefix(2))
    let rig = try await rig(host, metrics: metrics)
    rig.clock.advance(by: .milliseconds(10))
    try await rig.clock.settles(at: rig.asleep(wrappers: 2))
    rig.clock.advance(to: .init(offset: .seconds(3)))
    try await rig.settle(wrappers: 2)
    metrics[0].interval = .seconds(5)
    try await rig.want([TargetRig.target(metrics: metrics)])
    try await eventually("replaced") { rig.children().contains("Vitals.RAM for web-1: running 0 s, 0 restarts") }
    #expect(
      rig.children() == [
        "Connection for web-1: running 3 s, 0 restarts", "Host for web-1: running 3 s, 0 restarts",
        "Vitals.RAM for web-1: running 0 s, 0 restarts", "Vitals.Swap for web-1: running 3 s, 0 restarts",
      ])
    try await rig.settle(wrappers: 2)
    // Switched off, and another added.
    try await rig.want([TargetRig.target(metrics: [TargetRig.vitals[2], TargetRig.vitals[3]])])
    try await eventually("swapped") { rig.children().count == 4 && !rig.children()[2].contains("RAM") }
    try await rig.settle(wrappers: 2)
    #expect(
      rig.children().map { $0.prefix { $0 != ":" } }.suffix(2) == ["Vitals.Swap for web-1", "Vitals.Disk for web-1"])
    // No metrics at all.
    try await rig.want([TargetRig.target(metrics: [])])
    try await eventually("none") { rig.children().count == 2 }
    #expect(await host.connections == 1)
    // Another host: everything anew.
    try await rig.want([TargetRig.target(metrics: [], host: "192.0.2.2")])
    try await eventually("reconnected") { await host.connections == 2 }
    // Not wanted: gone.
    try await rig.want([])
    #expect(rig.supervisor.snapshot().children.isEmpty)
    await rig.stop()
  }

  @Test("An unknown metric stands in the tree, is reported with the nearest name, and harms no sibling")
  func undefined() async throws {
    let host = ScriptedHost(script: DebianHost.script())
    let bogus = MetricPlan(metric: "Vitals.Rum", interval: .seconds(10))
    let rig = TargetRig(connector: host)
    try await rig.want([TargetRig.target(metrics: [bogus, TargetRig.vitals[1]])])
    try await rig.settle(wrappers: 2)
    #expect(rig.story("Vitals.RAM") == ["RT value"])
    #expect(rig.children().contains("Undefined Vitals.Rum for web-1: running 0 s, 0 restarts"))
    #expect(
      rig.problems.all == [
        Problem(
          kind: "aggregation_options", id: "web-1", path: "metrics.Vitals.Rum",
          reason: "there is no metric \"Vitals.Rum\"", hint: "did you mean Vitals.RAM?")
      ])
    await rig.stop()
  }

  @Test("A reboot is one event, also when it happened while the service was away")
  func reboot() async throws {
    let boot = EventLog<Void>()
    let host = ScriptedHost(script: DebianHost.script(bootID: { boot.all.isEmpty ? 0 : 1 }))
    var known = HostFacts()
    known.bootID = MetricTests.boots[1]
    let rig = try await rig(host, metrics: [], known: known)
    #expect(rig.story("Host") == ["event value", "RT value"])
    boot.append(())
    for _ in 0..<3 { try await tick(rig, wrappers: 0) }
    let events = rig.samples.all.filter { $0.series.metric == "Host" && $0.type == .event }
    #expect(events.map { $0.value?["previous_boot_id"]?.text } == [MetricTests.boots[1], MetricTests.boots[0]])
    #expect(rig.story("Host").filter { $0 == "RT value" }.count == 4)
    #expect(rig.facts.all.map(\.bootID) == [MetricTests.boots[0], MetricTests.boots[1]])
    await rig.stop()
  }

  @Test("A df that hangs leaves the other vitals alone, and is not started again meanwhile")
  func hungDisk() async throws {
    let script = DebianHost.script()
    let host = GatedHost { script($0) ?? .failed(RemoteError(.protocolError, phase: .command, "?")) }
    var disk = try DiskTests.disk()
    let df = try #require(disk.questions(nil).last)
    await host.hold(df)
    let rig = TargetRig(connector: host)
    try await rig.want([
      TargetRig.target(metrics: [TargetRig.vitals[1], MetricPlan(metric: "Vitals.Disk", interval: .seconds(10))])
    ])
    // Vitals.Disk does not sleep: it waits for its answer.
    try await rig.settle(wrappers: 1)
    for _ in 0..<3 { try await tick(rig, "Vitals.RAM", wrappers: 1) }
    #expect(rig.story("Vitals.RAM") == Array(repeating: "RT value", count: 4))
    #expect(rig.story("Vitals.Disk") == [])
    #expect(await host.asked.filter { $0 == [df] }.count == 1)
    await host.release()
    try await rig.settle(wrappers: 2)
    #expect(rig.story("Vitals.Disk") == ["RT value"])
    await rig.stop()
  }

  @Test("While the outlet is stuck nothing is asked and nobody is taken for hung; then it goes on")
  func slowOutlet() async throws {
    let host = ScriptedHost(script: DebianHost.script())
    let gate = Link()
    let rig = TargetRig(connector: host) { await gate.connected(after: 0) }
    try await rig.want([TargetRig.target(metrics: [TargetRig.vitals[1]])])
    // The keeper, Host and the metric wait with their first samples. Asleep: who minds them, the supervisor, and for
    // 30 s the one above.
    try await eventually("both have asked") {
      await rig.aggregator.worker(of: "web-1")?.shared.asker.gatheredCount == 2
    }
    rig.clock.advance(by: Asker.window)
    try await eventually("stuck") { rig.samples.all.count == 4 }
    try await rig.clock.settles(at: 3)
    let asked = await host.asked.count
    for _ in 0..<20 {
      rig.clock.advance(by: .seconds(10))
      try await rig.clock.settles(at: rig.clock.now.offset < .seconds(30) ? 3 : 2)
    }
    #expect(await host.asked.count == asked)
    #expect(rig.children().allSatisfy { $0.hasSuffix("running 200 s, 0 restarts") }, "\(rig.children())")
    await gate.up(host, at: .zero)
    try await rig.settle(wrappers: 1)
    let before = await host.asked.count
    try await tick(rig, wrappers: 1)
    #expect(await host.asked.count == before + 1)
    await rig.stop()
  }

  @Test("A metric that saves on change writes once for a constant value, and a new metric is one type")
  func savesOnChange() async throws {
    let host = ScriptedHost(script: DebianHost.script())
    await host.file("/motd", "hello")
    let plan = MetricPlan(metric: "Test.Motd", interval: .seconds(10), options: ["path": "/motd"])
    let rig = try await rig(host, metrics: [plan], registry: MetricRegistry([Motd.self]))
    for _ in 0..<3 { try await tick(rig, wrappers: 1, due: 2) }
    #expect(rig.story("Test.Motd") == ["RT value"])
    await host.file("/motd", "good bye")
    try await tick(rig, wrappers: 1, due: 2)
    #expect(rig.samples.all.filter { $0.series.metric == "Test.Motd" }.map(\.value) == ["hello", "good bye"])
    await rig.stop()
  }
}

/// Saves a file's text when it changed.
private struct Motd: Metric {
  static let name = "Test.Motd"
  static let options: Set<String> = ["path"]
  private let path: String
  private var last: Value?

  init(plan: MetricPlan) throws(MetricRefused) {
    guard let path = plan.options["path"]?.text else { throw MetricRefused(path: "path", reason: "is missing") }
    self.path = path
  }

  var needs: [Question] { [.read(path: path)] }

  mutating func questions(_ host: HostFacts?) -> [Question] { needs }

  mutating func gathered(from answers: [Answer], at moment: Moment) -> [Gathered] {
    guard case .content(let bytes, _)? = answers.first else { return [.error("\(path) could not be read")] }
    let value: Value = .string(String(decoding: bytes, as: UTF8.self))
    defer { last = value }
    return [value == last ? .unchanged : .value(value)]
  }
}
