internal import FoundationEssentials
internal import Model
internal import Remote
internal import TestKit
internal import Testing

@testable internal import Aggregation

@Suite("Keeping a target connected", .timeLimit(.minutes(2)))
struct ConnectionKeeperTests {
  /// When each event happened, in seconds: `state attempt @ second`.
  private func events(_ rig: TargetRig) -> [String] {
    rig.samples.all.filter { $0.series.metric == "Connection" && $0.type == .event }.map { sample in
      let second = sample.at.timeIntervalSince(TargetRig.start)
      return
        "\(sample.value?["state"]?.text ?? "?") \(sample.value?["attempt"]?.integer ?? -1) @ \(Int(second.rounded()))"
    }
  }

  /// Advances from deadline to deadline until so many events happened; the last leaves the target connected, or not.
  private func run(_ rig: TargetRig, untilEvents count: Int, connected: Bool = false) async throws {
    for _ in 0..<2000 {
      try await eventually("the next event, or all asleep") {
        // Not connected, the keeper's pause sleeps besides its tick.
        if rig.clock.sleeperCount == rig.asleep(wrappers: 0) + 1 { return true }
        return events(rig).count >= count
      }
      if events(rig).count >= count { break }
      try await rig.clock.settles(at: rig.asleep(wrappers: 0) + 1)
      rig.clock.advance(to: try #require(rig.clock.nextDeadline))
    }
    if connected {
      try await rig.settle(wrappers: 0)
    } else {
      try await rig.clock.settles(at: rig.asleep(wrappers: 0) + 1)
    }
  }

  @Test("An outage is tried again after 1, 2, 4 … seconds at most, never more than a minute apart")
  func backoff() async throws {
    let host = ScriptedHost(script: DebianHost.script())
    await host.refuseAll(RemoteError(.unreachable, phase: .connect, "no"))
    let rig = TargetRig(connector: host)
    try await rig.want([TargetRig.target(metrics: [])])
    try await run(rig, untilEvents: 9)
    #expect(
      events(rig) == [
        "failed 1 @ 0", "failed 2 @ 1", "failed 3 @ 3", "failed 4 @ 7", "failed 5 @ 15", "failed 6 @ 31",
        "failed 7 @ 63", "failed 8 @ 123", "failed 9 @ 183",
      ])
    await host.accept()
    try await run(rig, untilEvents: 10, connected: true)
    #expect(events(rig).last == "connected 10 @ 243")
    #expect(rig.children().allSatisfy { $0.hasSuffix("0 restarts") })
    await rig.stop()
  }

  @Test("A refused login is tried at most three times an hour, and says that it was refused")
  func refused() async throws {
    let host = ScriptedHost()
    await host.refuseAll(RemoteError(.authenticationFailed, phase: .authenticate, "the key was refused"))
    let rig = TargetRig(random: 0, connector: host)
    try await rig.want([TargetRig.target(metrics: [])])
    try await run(rig, untilEvents: 4)
    #expect(events(rig) == ["refused 1 @ 0", "refused 2 @ 60", "refused 3 @ 180", "refused 4 @ 3600"])
    #expect(await host.attempts == 4)
    // Somebody mended it and says so.
    await host.accept()
    await host.script(DebianHost.script())
    await rig.aggregator.reconnect("web-1")
    try await eventually("connected") { events(rig).last?.hasPrefix("connected 5") ?? false }
    await rig.stop()
  }

  @Test("The present state is said once an interval, so that its freshness shows")
  func present() async throws {
    let host = ScriptedHost(script: DebianHost.script())
    let rig = TargetRig(connector: host)
    let interval = MetricPlan(metric: "Connection", interval: .seconds(5))
    try await rig.want([TargetRig.target(metrics: [interval])])
    try await eventually("connected") { rig.story("Connection").count == 2 }
    try await rig.settle(wrappers: 0)
    while rig.clock.now.offset < .seconds(60) {
      rig.clock.advance(to: try #require(rig.clock.nextDeadline))
      try await rig.settle(wrappers: 0)
    }
    let states = rig.story("Connection").filter { $0 == "RT connected" }
    // The first by the event, then one each 5 s; the first interval may still have been the default one.
    #expect((11...14).contains(states.count), "\(states.count)")
    #expect(rig.story("Connection").filter { $0.hasPrefix("event") } == ["event connected"])
    await rig.stop()
    #expect(await host.connections == 1)
    await #expect(throws: RemoteError(.closed, phase: .connection, "The connection was closed.")) {
      try await host.ask([])
    }
  }

  @Test("A command finds the live connection, or at once why there is none")
  func remote() async throws {
    let host = ScriptedHost(script: DebianHost.script())
    let rig = TargetRig(connector: host)
    await #expect(throws: RemoteError.self) { try await rig.aggregator.remote(of: "web-1") }
    try await rig.want([TargetRig.target(metrics: [])])
    try await eventually("connected") { (try? await rig.aggregator.remote(of: "web-1")) != nil }
    let result = try await rig.aggregator.remote(of: "web-1").run(Command(["df", "-Pk", "/"]))
    #expect(result.status == 0)
    await rig.stop()
    await #expect(throws: RemoteError.self) { try await rig.aggregator.remote(of: "web-1") }
  }
}
