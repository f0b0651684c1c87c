internal import FoundationEssentials
internal import Model
internal import Testing

@testable internal import Reactions

@Suite struct EpisodeMachineTests {
  static let key = ConditionKey(reaction: "r", target: "t", metric: "Vitals.CPU")
  static let start = Date(timeIntervalSince1970: 1_700_000_000)

  static func rule(
    _ change: (inout MetricCondition) -> Void = { _ in }, reaction: (inout ReactionTarget) -> Void = { _ in }
  ) -> EpisodeRule {
    var document = ReactionTarget(id: "r", reaction: "Range", selector: .generic)
    reaction(&document)
    var condition = MetricCondition(metric: "Vitals.CPU")
    change(&condition)
    return EpisodeRule(document, condition)
  }

  static func moment(_ seconds: Double, wall: Double? = nil) -> Moment {
    Moment(wall: start.addingTimeInterval(wall ?? seconds), uptime: .milliseconds(Int64(seconds * 1000)))
  }

  static func finding(_ verdict: Verdict) -> Finding { Finding(verdict: verdict, value: "v", limit: "l") }
  static let good = finding(.ok(hasCleared: true))
  static let bad = finding(.bad)
  static let unknown = finding(.unknown)

  /// Feeds (second, finding) pairs and returns what was announced, as `kind@second`.
  static func play(_ rule: EpisodeRule, _ steps: [(Double, Finding)]) -> [String] {
    var machine = EpisodeMachine(key: key, rule: rule)
    return steps.compactMap { second, finding in
      machine.consider(finding, at: moment(second)).map { "\(name($0.kind))@\(Int(second))" }
    }
  }

  static func name(_ kind: Announcement.Kind) -> String {
    switch kind {
    case .silent: "silent"
    case .firing: "firing"
    case .reminder(let n): "reminder\(n)"
    case .resolved: "resolved"
    }
  }

  @Test("one bad sample fires, one good sample resolves")
  func simple() {
    #expect(
      Self.play(Self.rule(), [(0, Self.good), (10, Self.bad), (20, Self.bad), (30, Self.good), (40, Self.good)])
        == ["firing@10", "resolved@30"])
  }

  @Test("with `for` it must hold that long, and a good sample in between starts over")
  func holdFor() {
    let rule = Self.rule { $0.holdFor = .seconds(60) }
    #expect(
      Self.play(
        rule, [(0, Self.bad), (30, Self.bad), (50, Self.good), (60, Self.bad), (119, Self.bad), (120, Self.bad)])
        == ["silent@0", "silent@50", "silent@60", "firing@120"])
  }

  @Test("missing data never resolves, and does not fire by itself")
  func noDataKeep() {
    #expect(
      Self.play(Self.rule(), [(0, Self.unknown), (10, Self.bad), (20, Self.unknown), (500, Self.unknown)])
        == ["firing@10"])
  }

  @Test("no_data: alert turns missing data bad, no_data: ok turns it good")
  func noDataPolicies() {
    #expect(
      Self.play(Self.rule(reaction: { $0.noData = .alert }), [(0, Self.unknown), (10, Self.good)])
        == ["firing@0", "resolved@10"])
    #expect(
      Self.play(Self.rule(reaction: { $0.noData = .ok }), [(0, Self.bad), (10, Self.unknown)])
        == ["firing@0", "resolved@10"])
  }

  @Test("between the limit and the clear limit a firing condition goes on, a quiet one stays quiet")
  func hysteresis() {
    let between = Self.finding(.ok(hasCleared: false))
    #expect(
      Self.play(Self.rule(), [(0, between), (10, Self.bad), (20, between), (30, Self.good)]) == [
        "firing@10", "resolved@30",
      ])
  }

  @Test("N of M counts bad samples in the window")
  func times() {
    let rule = Self.rule { $0.times = .init(n: 3, last: 5) }
    #expect(
      Self.play(
        rule,
        [(0, Self.bad), (1, Self.good), (2, Self.bad), (3, Self.bad), (4, Self.good), (5, Self.good), (6, Self.good)]
      )
      .filter { !$0.hasPrefix("silent") } == ["firing@3", "resolved@5"])
  }

  @Test("a stepped wall clock fires nothing early and ends nothing")
  func clockStep() {
    var machine = EpisodeMachine(key: Self.key, rule: Self.rule { $0.holdFor = .seconds(60) })
    _ = machine.consider(Self.bad, at: Self.moment(0))
    #expect(machine.consider(Self.bad, at: Self.moment(10, wall: 86_400)) == nil)
    #expect(machine.state == .pending)
    #expect(machine.consider(Self.bad, at: Self.moment(60, wall: -86_400))?.kind == .firing)
  }

  @Test("reminders come after `repeat`, counted, and stop with the episode")
  func reminders() {
    var machine = EpisodeMachine(key: Self.key, rule: Self.rule(reaction: { $0.repeatInterval = .seconds(100) }))
    _ = machine.consider(Self.bad, at: Self.moment(0))
    #expect(machine.tick(at: Self.moment(99)) == nil)
    #expect(machine.tick(at: Self.moment(100))?.kind == .reminder(1))
    #expect(machine.tick(at: Self.moment(150)) == nil)
    #expect(machine.tick(at: Self.moment(200))?.kind == .reminder(2))
    #expect(machine.consider(Self.good, at: Self.moment(250))?.kind == .resolved)
    #expect(machine.tick(at: Self.moment(1000)) == nil)
  }

  @Test("an episode taken up from the store goes on: it fires no second time and resolves with its own start")
  func continued() throws {
    var first = EpisodeMachine(key: Self.key, rule: Self.rule())
    let firing = first.consider(Self.bad, at: Self.moment(0))
    let fired = try #require(firing).episode
    var second = EpisodeMachine(continuing: fired, rule: Self.rule(), at: Self.moment(600))
    #expect(second.consider(Self.bad, at: Self.moment(601)) == nil)
    let end = second.consider(Self.good, at: Self.moment(602))
    let resolved = try #require(end)
    #expect(resolved.kind == .resolved)
    #expect(resolved.episode.id == fired.id)
    #expect(resolved.episode.since == Self.start)
    #expect(resolved.episode.ended_at == Self.start.addingTimeInterval(602))
  }

  @Test("the same condition that began at the same time has the same id, another one has not")
  func identity() throws {
    func id(_ key: ConditionKey, _ second: Double) throws -> String {
      var machine = EpisodeMachine(key: key, rule: Self.rule())
      let announcement = machine.consider(Self.bad, at: Self.moment(second))
      return try #require(announcement).episode.id
    }
    var other = Self.key
    other.element = "/"
    #expect(try id(Self.key, 5) == id(Self.key, 5))
    #expect(Set([try id(Self.key, 5), try id(Self.key, 6), try id(other, 5)]).count == 3)
  }

  @Test("without `resolved` the end is stored but not said")
  func noResolved() {
    #expect(
      Self.play(Self.rule(reaction: { $0.sendsResolved = false }), [(0, Self.bad), (1, Self.good)])
        == ["firing@0", "silent@1"])
  }

  @Test("random verdicts: never resolved without firing, never two firings in one episode (seed in the message)")
  func invariants() {
    for seed in UInt64(1)...300 {
      var random = SplitMix(seed)
      let rule = Self.rule {
        $0.holdFor = .seconds(Int64(random.next() % 3) * 20)
        if random.next() % 3 == 0 { $0.times = .init(n: 2, last: 3) }
      } reaction: {
        $0.noData = NoDataPolicy.allCases[Int(random.next() % 3)]
      }
      var machine = EpisodeMachine(key: Self.key, rule: rule)
      var fired: Set<String> = []
      var resolved: Set<String> = []
      for step in 0..<100 {
        let finding = [Self.good, Self.bad, Self.unknown, Self.finding(.ok(hasCleared: false))][Int(random.next() % 4)]
        guard let announcement = machine.consider(finding, at: Self.moment(Double(step * 10))) else { continue }
        switch announcement.kind {
        case .firing: #expect(fired.insert(announcement.episode.id).inserted, "seed \(seed)")
        case .resolved:
          #expect(fired.contains(announcement.episode.id), "seed \(seed)")
          #expect(resolved.insert(announcement.episode.id).inserted, "seed \(seed)")
          if rule.noData == .keep { #expect(finding != Self.unknown, "seed \(seed)") }
        case .silent, .reminder: break
        }
      }
    }
  }
}

struct SplitMix {
  var state: UInt64
  init(_ seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
