internal import Model
internal import Remote
internal import Testing

@testable internal import Aggregation

@Suite("The touch budget's decisions")
struct TouchGovernorTests {
  private static let cpu = MetricPlan(metric: "Vitals.CPU", interval: .seconds(10))
  private static let swap = MetricPlan(metric: "Vitals.Swap", interval: .seconds(10))
  private static let disk = MetricPlan(metric: "Vitals.Disk", interval: .seconds(10))
  private static let host = MetricPlan(metric: "Host", interval: .seconds(10))
  private static let files = TouchDemand(readsFiles: true, bytes: 4000)
  private static let program = TouchDemand(commands: 1, bytes: 6000)

  private func minute(
    _ number: Int, commands: Int = 0, bytes: Int64 = 0, polls: Int = 0, previous: Int = 0, hasReader: Bool = true
  ) -> TouchMinute {
    var use = TouchUse()
    (use.commands, use.received, use.polls) = (commands, bytes, polls)
    var before = TouchUse()
    before.commands = previous
    return TouchMinute(number: number, use: use, previous: before, hasReader: hasReader)
  }

  private func budget(_ change: (inout TouchBudget) -> Void) -> TouchBudget {
    var budget = TouchBudget()
    change(&budget)
    return budget
  }

  @Test("While the budget lasts everything is asked, at every tick")
  func plenty() {
    var governor = TouchGovernor()
    for tick in 0..<100 {
      let now = minute(tick / 6, commands: 10, previous: 10)
      for plan in [Self.cpu, Self.swap, Self.host] {
        #expect(governor.decide(plan, tick: Int64(tick), demand: Self.files, now: now) == .ask)
        governor.done(Self.files)
      }
    }
    #expect(governor.factor == 1)
    #expect(governor.standings.allSatisfy { $0.standing == .normal })
  }

  @Test("What matters least is left out first, and what was asked is never more than the budget")
  func importance() {
    var verdicts: [String: Int] = [:]
    var governor = TouchGovernor(budget: budget { $0.commands = 20 })
    var asked = 0
    // One program after another, of all importances in turn.
    for _ in 0..<40 {
      for plan in [Self.swap, Self.disk, Self.host] {
        let verdict = governor.decide(plan, tick: 0, demand: Self.program, now: minute(1, commands: asked))
        if verdict == .ask {
          asked += 1
          verdicts[plan.metric, default: 0] = asked
          governor.done(Self.program)
        } else {
          #expect(verdict == .shed(.commands))
        }
      }
    }
    // The last that each was given: 80, 90 and 95 of a hundred.
    #expect(verdicts["Vitals.Swap"].map { $0 <= 16 } == true)
    #expect(verdicts["Vitals.Disk"].map { $0 > 16 && $0 <= 18 } == true)
    #expect(verdicts["Host"] == 19)
    #expect(asked == 19)
  }

  @Test("What is under way counts, although nothing of it is measured yet")
  func underWay() {
    var governor = TouchGovernor(budget: budget { $0.commands = 10 })
    let verdicts = (0..<20).map { _ in
      governor.decide(Self.host, tick: 0, demand: Self.program, now: minute(1))
    }
    #expect(verdicts.count { $0 == .ask } == 9)
    governor.done(Self.program)
    #expect(governor.decide(Self.host, tick: 0, demand: Self.program, now: minute(1)) == .ask)
  }

  @Test("Without a resident reader the request that all have in common is one command")
  func commonRequest() {
    var governor = TouchGovernor(budget: budget { $0.commands = 10 })
    // Nine were used; who comes first brings the tenth, which only others than the essential may not have.
    let now = minute(1, commands: 8, hasReader: false)
    #expect(governor.decide(Self.host, tick: 0, demand: Self.files, now: now) == .ask)
    #expect(governor.decide(Self.cpu, tick: 0, demand: Self.files, now: now) == .ask)
    #expect(governor.decide(Self.disk, tick: 0, demand: Self.program, now: now) == .shed(.commands))
    governor.done(Self.files)
    governor.done(Self.files)
    let next = minute(1, commands: 9, hasReader: false)
    #expect(governor.decide(Self.cpu, tick: 1, demand: Self.files, now: next) == .shed(.commands))
    // A reader costs no command.
    #expect(governor.decide(Self.cpu, tick: 1, demand: Self.files, now: minute(1, commands: 10)) == .ask)
  }

  @Test("Bytes and processor time are ends as well")
  func otherEnds() {
    var governor = TouchGovernor(budget: budget { $0.bytes = 65_536 })
    #expect(
      governor.decide(Self.cpu, tick: 0, demand: Self.files, now: minute(1, bytes: 60_000)) == .shed(.bytes))
    #expect(governor.decide(Self.cpu, tick: 0, demand: Self.files, now: minute(1, bytes: 30_000)) == .ask)
    var other = TouchGovernor(budget: budget { ($0.cpu, $0.commands) = (.milliseconds(100), 1000) })
    #expect(other.decide(Self.cpu, tick: 0, demand: Self.program, now: minute(1, commands: 18)) == .shed(.cpu))
    #expect(other.decide(Self.cpu, tick: 0, demand: Self.program, now: minute(1, commands: 16)) == .ask)
  }

  @Test("Minute after minute that is short the intervals are doubled up to eight, and come back step by step")
  func stretches() {
    var governor = TouchGovernor(budget: budget { $0.commands = 10 })
    var factors: [Int] = []
    func look(_ number: Int, commands: Int, previous: Int) {
      // Tick 0 is one of every 8, so that the budget decides.
      let verdict = governor.decide(
        Self.host, tick: 0, demand: Self.program, now: minute(number, commands: commands, previous: previous))
      if verdict == .ask { governor.done(Self.program) }
      factors.append(governor.factor)
    }
    for number in 1...6 { look(number, commands: 10, previous: 10) }
    #expect(factors == [1, 2, 4, 8, 8, 8])
    // Not short any more, but twice as much would be.
    factors = []
    look(7, commands: 5, previous: 10)
    look(8, commands: 5, previous: 5)
    #expect(factors == [8, 8])
    factors = []
    for number in 9...12 { look(number, commands: 2, previous: 3) }
    #expect(factors == [4, 2, 1, 1])
  }

  @Test("A look that is more than the whole budget is asked as the first of a minute, and not a second time in it")
  func large() {
    var governor = TouchGovernor(budget: budget { $0.commands = 1 })
    let two = TouchDemand([.run(Command(["df"])), .run(Command(["ls"]))])
    #expect(governor.decide(Self.host, tick: 0, demand: two, now: minute(1, commands: 0)) == .ask)
    #expect(governor.decide(Self.host, tick: 0, demand: two, now: minute(1, commands: 0)) == .shed(.commands))
    governor.done(two)
    #expect(governor.decide(Self.host, tick: 0, demand: two, now: minute(1, commands: 2)) == .shed(.commands))
  }

  @Test(
    "Stretched, every metric of one interval is asked at the same ticks, and the first look after an outage at once")
  func staysTogether() {
    var governor = TouchGovernor()
    governor.note(load: 100, now: minute(1))
    #expect(governor.factor == 2)
    var asked: [String: [Int64]] = [:]
    for tick in Int64(0)..<8 {
      for plan in [Self.cpu, Self.disk, Self.host]
      where governor.decide(plan, tick: tick, demand: Self.files, now: minute(1)) == .ask {
        asked[plan.metric, default: []].append(tick)
        governor.done(Self.files)
      }
    }
    #expect(asked == ["Vitals.CPU": [0, 2, 4, 6], "Vitals.Disk": [0, 2, 4, 6], "Host": [0, 2, 4, 6]])
    #expect(governor.decide(Self.cpu, tick: nil, demand: Self.files, now: minute(1)) == .ask)
  }

  @Test("A loaded target is spared: the least important is left out at once, the rest thinned; both come back after it")
  func load() {
    var governor = TouchGovernor(budget: budget { $0.load = 4 })
    func decide(_ plan: MetricPlan, _ number: Int, tick: Int64 = 0) -> TouchGovernor.Verdict {
      let verdict = governor.decide(plan, tick: tick, demand: Self.files, now: minute(number))
      if verdict == .ask { governor.done(Self.files) }
      return verdict
    }
    governor.note(load: 4, now: minute(1))
    #expect(decide(Self.swap, 1, tick: 1) == .ask)
    governor.note(load: 4.1, now: minute(1))
    #expect(decide(Self.swap, 1) == .shed(.load))
    #expect(decide(Self.cpu, 1, tick: 1) == .stretched)
    #expect(decide(Self.cpu, 1, tick: 2) == .ask)
    governor.note(load: 5, now: minute(2))
    governor.note(load: 5, now: minute(3))
    #expect(governor.factor == 8)
    // Not yet below three quarters.
    governor.note(load: 3.5, now: minute(4))
    #expect(decide(Self.swap, 4) == .shed(.load))
    governor.note(load: 2.9, now: minute(4))
    #expect(decide(Self.swap, 4) == .ask)
    #expect(
      [5, 6, 7].map { number in
        _ = decide(Self.cpu, number); return governor.factor
      } == [4, 2, 1])
    // What nobody hears of any more is no reason for ever.
    governor.note(load: 9, now: minute(8))
    #expect(decide(Self.swap, 18) == .shed(.load))
    #expect(decide(Self.swap, 19) == .ask)
    governor.note(load: .nan, now: minute(19))
    #expect(!governor.isLoaded)
  }

  @Test("Each change of a metric's standing is told once, and a shortage in every minute is one change")
  func news() {
    var governor = TouchGovernor(budget: budget { ($0.load, $0.commands) = (4, 1000) })
    var told: [String] = []
    func look(_ number: Int) {
      let verdict = governor.decide(Self.swap, tick: 0, demand: Self.files, now: minute(number))
      if verdict == .ask { governor.done(Self.files) }
      if let news = governor.news(of: Self.swap) { told.append("\(number) \(news.word)") }
    }
    look(1)
    #expect(told == [])
    for number in 2...9 {
      governor.note(load: 5, now: minute(number))
      look(number)
      look(number)
    }
    #expect(told == ["2 shed"])
    governor.note(load: 0, now: minute(9))
    for number in 9...14 { look(number) }
    // Shed until a whole minute went by without; then the intervals come back.
    #expect(told == ["2 shed", "11 stretched", "12 normal"], "\(told)")
    governor.forget("Vitals.Swap")
    #expect(governor.standings.isEmpty)
  }

  @Test("A metric's demand is what its questions ask, equal ones once")
  func demand() throws {
    let df = Command(["df"])
    let demand = TouchDemand([.read(path: "/a", limit: 100), .read(path: "/a", limit: 100), .run(df), .run(df)])
    #expect(demand == TouchDemand(readsFiles: true, commands: 1, bytes: 164 + TouchCost.program))
    #expect(TouchDemand([]) == TouchDemand())
    let registry = MetricRegistry.standard
    #expect(registry.demand(of: Self.disk)?.commands == 1)
    #expect(registry.demand(of: Self.cpu).map { $0.commands == 0 && $0.readsFiles } == true)
    #expect(registry.demand(of: Self.host)?.commands == 0)
    #expect(registry.demand(of: MetricPlan(metric: "Connection", interval: .seconds(1))) == nil)
    #expect(registry.demand(of: MetricPlan(metric: "Nonsense", interval: .seconds(1))) == nil)
  }

  @Test("All vitals at ten seconds fit the budget that nobody changed, ten times over")
  func defaults() {
    let plan = AggregationPlan(metrics: TargetRig.vitals)
    let forecast = plan.touchForecast { MetricRegistry.standard.demand(of: $0) }
    #expect(forecast.polls == 6)
    #expect(forecast.commands == 1)
    let budget = TouchBudget()
    #expect(forecast.commands * 10 <= Double(budget.commands))
    #expect(forecast.bytes * 10 <= Double(budget.bytes), "\(forecast.bytes)")
    #expect(forecast.cpu * 10 <= budget.cpu)
    // So do all vitals at every second.
    let dense = AggregationPlan(
      metrics: TargetRig.vitals.map { MetricPlan(metric: $0.metric, interval: .seconds(1)) })
    let often = dense.touchForecast { MetricRegistry.standard.demand(of: $0) }
    #expect(often.commands <= Double(budget.commands) && often.bytes <= Double(budget.bytes) && often.cpu <= budget.cpu)
  }
}
