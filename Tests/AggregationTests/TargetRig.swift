internal import FoundationEssentials
internal import Logging
internal import Model
internal import Remote
internal import Supervision
internal import TestKit

@testable internal import Aggregation

/// An "Aggregator" supervisor with the targets a test wants, on a clock that the test advances.
final class TargetRig: Sendable {
  let clock: ManualClock
  let samples = EventLog<Sample>()
  let facts = EventLog<HostFacts>()
  let problems = EventLog<Problem>()
  let aggregator: Aggregator
  let supervisor: Supervisor
  private let life: Task<Void, any Error>

  static let start = Date(timeIntervalSince1970: 1_795_238_700)

  /// - Parameters:
  ///   - outlet: called after a sample was noted.
  init(
    registry: MetricRegistry = .standard, random: Double = 1, clock: ManualClock = ManualClock(),
    connector: any Connector, touch: any TouchAccount = NoTouchAccount(),
    outlet: @escaping @Sendable () async -> Void = {}
  ) {
    self.clock = clock
    aggregator = Aggregator(
      AggregationSettings(
        registry: registry, connector: { _ in connector },
        outlet: { [samples] new in
          for sample in new { samples.append(sample) }
          await outlet()
        },
        report: { [facts] _, new in facts.append(new) }, problem: { [problems] in problems.append($0) },
        touch: { _ in touch },
        now: { [clock] in Self.start.addingTimeInterval(clock.now.offset / .seconds(1)) }, random: { random }))
    let supervisor = Supervisor(
      "Aggregator", clock: clock, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    self.supervisor = supervisor
    life = Task { try await supervisor.run() }
  }

  deinit { life.cancel() }

  /// As a populator would; new targets start, present ones stay.
  @discardableResult
  func want(_ targets: [AggregationTarget]) async throws -> [ChildSpec] {
    try await supervisor.ready()
    let specs = await aggregator.children(for: targets)
    let present = await supervisor.children()
    for child in present where !specs.contains(where: { $0.id == child.id }) {
      try await supervisor.terminateChild(child.id)
      try await supervisor.deleteChild(child.id)
    }
    for spec in specs {
      if let child = present.first(where: { $0.id == spec.id }) {
        if child.digest != spec.digest { try await supervisor.replace(spec) }
      } else {
        try await supervisor.startChild(spec)
      }
    }
    return specs
  }

  /// How many are asleep when nothing is due: the worker's supervisor, who minds slow neighbours, the keeper's
  /// tick, Host, and the wrappers; and the supervisor above, which watches the deadline of the worker's start for 30 s.
  func asleep(wrappers: Int) -> Int { 4 + wrappers + (clock.now.offset < .seconds(30) ? 1 : 0) }

  /// Lets who has asked be answered, and the processors be looked at twice, until all sleep until their next ticks.
  ///
  /// - Parameter due: how many, with Host, ask together first; nil: whoever comes.
  func settle(_ target: String = "web-1", wrappers: Int, due: Int? = nil) async throws {
    let departures = EventLog<Int>()
    try await eventually("all sleep until their next tick, \(asleep(wrappers: wrappers)) of \(clock.sleeperCount)") {
      guard let asker = await self.aggregator.worker(of: target)?.shared.asker else { return false }
      let gathered = await asker.gatheredCount
      if gathered > 0 {
        if departures.all.isEmpty, let due, gathered < due { return false }
        // Others who are due at this moment have time to come.
        guard await self.isCalm({ await asker.gatheredCount }) else { return false }
        departures.append(gathered)
        self.clock.advance(by: Asker.window)
        return false
      }
      let expected = self.asleep(wrappers: wrappers)
      guard self.clock.sleeperCount == expected, await self.isCalm({ self.clock.sleeperCount }) else { return false }
      guard self.clock.sleeperCount == expected else { return false }
      guard let next = self.clock.nextDeadline, next <= self.clock.now.advanced(by: Vitals.CPU.warmUp) else {
        return true
      }
      self.clock.advance(to: next)
      return false
    }
  }

  /// Whether a figure stays the same while others have many turns.
  private func isCalm(_ figure: @Sendable () async -> Int) async -> Bool {
    let first = await figure()
    for _ in 0..<300 {
      await Task.yield()
      if await figure() != first { return false }
    }
    return true
  }

  func stop() async {
    life.cancel()
    _ = await life.result
  }

  /// The worker's children: name, state and age in seconds.
  func children(_ target: String = "web-1") -> [String] {
    let worker = supervisor.snapshot().children.first { $0.id == "Aggregator for \(target)" }
    return (worker?.children ?? []).map { child in
      "\(child.name): \(child.state.rawValue) \(Int(child.ageSeconds ?? -1)) s, \(child.restarts) restarts"
    }
  }

  /// RT and event samples of a metric: `type state-or-value-or-error`.
  func story(_ metric: String) -> [String] {
    samples.all.filter { $0.series.metric == metric }.map { sample in
      let what = sample.error.map { "error \($0)" } ?? sample.value?["state"]?.text ?? "value"
      return "\(sample.type.rawValue) \(what)"
    }
  }

  static func target(
    _ name: String = "web-1", metrics: [MetricPlan], host: String = "192.0.2.1", known: HostFacts? = nil,
    touch: TouchBudget = TouchBudget()
  ) -> AggregationTarget {
    AggregationTarget(
      target: Target(id: name, name: name, host: host), plan: AggregationPlan(metrics: metrics, touch: touch),
      known: known)
  }

  static let vitals = ["Vitals.CPU", "Vitals.RAM", "Vitals.Swap", "Vitals.Disk"].map {
    MetricPlan(metric: $0, interval: $0 == "Vitals.Disk" ? .seconds(60) : .seconds(10))
  }
}

/// A host that answers as a Debian 12 does; its processors move on with each reading.
enum DebianHost {
  static func script(bootID: @escaping @Sendable () -> Int = { 0 }) -> ScriptedHost.Script {
    let reads = EventLog<Void>()
    return { question in
      switch question {
      case .read("/proc/stat", _):
        reads.append(())
        let ticks = reads.all.count * 100
        return content("cpu \(ticks) 0 0 \(ticks)\ncpu0 \(ticks) 0 0 \(ticks)\nbtime 1795237101\n")
      case .read("/proc/sys/kernel/random/boot_id", _): return content(MetricTests.boots[bootID()] + "\n")
      case .read(let path, _):
        let name = "debian-12-" + path.dropFirst().split(separator: "/").joined(separator: "-")
        let names = [name, path == "/etc/os-release" ? "debian-12-os-release" : name]
        guard let capture = names.lazy.compactMap({ captures[$0] }).first else {
          return .failed(RemoteError(.protocolError, phase: .command, "\(path): No such file or directory"))
        }
        return content(capture)
      case .run(let command):
        let output =
          command.arguments.first == "df" ? "Filesystem x\n/dev/vda 10 1 9 10% /\n" : captures["coreutils-9.1-df"]
        return .result(CommandResult(status: 0, output: Array((output ?? "").utf8)))
      }
    }
  }

  private static func content(_ text: String) -> Answer { .content(Array(text.utf8), isTruncated: false) }
}
