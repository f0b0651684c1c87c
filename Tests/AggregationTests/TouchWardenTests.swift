internal import Foundation
internal import Model
internal import Remote
internal import TestKit
internal import Testing

@testable internal import Aggregation

@Suite("A target within its budget", .timeLimit(.minutes(2)))
struct TouchWardenTests {
  /// Counts by a test's clock.
  private final class Account: TouchAccount, @unchecked Sendable {
    // Sendable is true: `meter` is only touched while `lock` is held.
    private let lock = NSLock()
    private var meter = TouchMeter()
    private let clock: ManualClock
    init(_ clock: ManualClock) { self.clock = clock }

    func note(_ event: TouchEvent) { lock.withLock { meter.note(event, at: clock.now.offset) } }
    var minute: TouchMinute { lock.withLock { meter.minute(at: clock.now.offset) } }
    var loginAges: [Duration] { lock.withLock { meter.loginAges(at: clock.now.offset) } }
    var hour: TouchUse { lock.withLock { meter.hour(at: clock.now.offset) } }
  }

  /// A host whose logins and requests are counted.
  private struct Metered: Connector {
    let host: ScriptedHost
    let account: Account
    func connect() async throws(RemoteError) -> any Remote {
      let remote = try await host.connect()
      account.note(.login)
      return remote
    }
  }

  @Test("When an hour's logins are used up the next waits until one of them is an hour old, and says why")
  func logins() async throws {
    let clock = ManualClock()
    let account = Account(clock)
    let host = ScriptedHost(script: DebianHost.script())
    var budget = TouchBudget()
    budget.logins = 2
    let rig = TargetRig(
      random: 0, clock: clock, connector: Metered(host: host, account: account), touch: account)
    try await rig.want([TargetRig.target(metrics: [], touch: budget)])
    try await rig.settle(wrappers: 0)
    await host.end()
    try await eventually("a second login at once") { await host.connections == 2 }
    try await rig.settle(wrappers: 0)
    await host.end()
    try await eventually("the second loss") { rig.story("Connection").filter { $0 == "event lost" }.count == 2 }
    let loss = try #require(rig.samples.all.last { $0.series.metric == "Connection" && $0.type == .event })
    let text = try #require(loss.value?["error"]?.text)
    #expect(text.hasSuffix("; the next login waits 1h for touch.logins, the budget of logins an hour"), "\(text)")
    // Nothing shortens that.
    await rig.aggregator.reconnect("web-1")
    while clock.now.offset < .seconds(3599) {
      try await clock.settles(at: rig.asleep(wrappers: 0) + 1)
      #expect(await host.connections == 2)
      clock.advance(to: try #require(clock.nextDeadline))
    }
    for _ in 0..<10 where await host.connections == 2 {
      try await eventually("the next deadline, or connected") {
        if clock.sleeperCount == rig.asleep(wrappers: 0) + 1 { return true }
        return await host.connections == 3
      }
      if await host.connections == 2 { clock.advance(to: try #require(clock.nextDeadline)) }
    }
    try await eventually("connected") { await host.connections == 3 }
    #expect(clock.now.offset >= .seconds(3600) && clock.now.offset <= .seconds(3620), "\(clock.now.offset)")
    await rig.stop()
  }

  @Test("On a loaded host the least important metric stops and the others are thinned, both as events, and come back")
  func load() async throws {
    let clock = ManualClock()
    let account = Account(clock)
    let host = ScriptedHost(script: DebianHost.script())
    await host.file("/proc/loadavg", "90.00 1.00 1.00 1/1 1\n")
    let rig = TargetRig(clock: clock, connector: Metered(host: host, account: account), touch: account)
    let metrics = Array(TargetRig.vitals[1...2])
    try await rig.want([TargetRig.target(metrics: metrics)])
    try await rig.settle(wrappers: 2, due: 3)
    func pass(_ span: Duration) async throws {
      let end = clock.now.advanced(by: span)
      while let next = clock.nextDeadline, next <= end {
        clock.advance(to: next)
        try await rig.settle(wrappers: 2)
      }
    }
    func told(_ metric: String) -> [String] {
      rig.samples.all.filter { $0.series.metric == metric && $0.type == .event }.map { sample in
        [sample.value?["touch"]?.text, sample.value?["why"]?.text, sample.value?["factor"]?.integer.map(String.init)]
          .compactMap { $0 }.joined(separator: " ")
      }
    }
    try await pass(.seconds(300))
    #expect(told("Vitals.Swap") == ["shed load"])
    #expect(told("Vitals.RAM") == ["stretched 2", "stretched 4", "stretched 8"])
    // 30 ticks in 300 s; at a stretch of eight, one in 80 s.
    let looks = rig.story("Vitals.RAM").count { $0 == "RT value" }
    #expect(looks >= 4 && looks <= 10, "\(looks)")
    #expect(account.hour.shed > 20)
    #expect(account.hour.stretched > 20)
    let state = try #require(await rig.aggregator.touchState(of: "web-1"))
    #expect(state["loaded"] == true)
    #expect(state["metrics"]?["Vitals.Swap"] == ["every": "1m20s", "state": "shed", "why": "load"])
    #expect(state["metrics"]?["Vitals.RAM"] == ["every": "1m20s", "state": "stretched"])

    await host.file("/proc/loadavg", "0.10 1.00 1.00 1/1 1\n")
    try await pass(.seconds(360))
    #expect(told("Vitals.RAM").last == "normal")
    #expect(told("Vitals.Swap").last == "normal")
    let before = rig.story("Vitals.Swap").count
    try await pass(.seconds(60))
    #expect(rig.story("Vitals.Swap").count - before == 6)
    #expect(await host.connections == 1)
    await rig.stop()
  }
}
