internal import Model
internal import Testing

@Suite("What touches a target")
struct TouchTests {
  // MARK: The meter

  @Test("Each minute counts by itself, and the hour is their sum")
  func minutes() {
    var meter = TouchMeter()
    meter.note(.login, at: .seconds(5))
    meter.note(.channelOpened, at: .seconds(6))
    meter.note(.channelOpened, at: .seconds(7))
    meter.note(.command, at: .seconds(8))
    meter.note(.bytes(received: 1000, sent: 100), at: .seconds(59))
    meter.note(.channelClosed, at: .seconds(60))
    meter.note(.command, at: .seconds(61))
    meter.note(.command, at: .seconds(62))
    meter.note(.poll, at: .seconds(63))
    meter.note(.bytes(received: 10, sent: -5), at: .seconds(64))
    meter.note(.shed, at: .seconds(65))
    meter.note(.stretched, at: .seconds(66))

    var first = TouchUse()
    (first.logins, first.channelsOpened, first.mostChannels, first.commands) = (1, 2, 2, 1)
    (first.received, first.sent) = (1000, 100)
    var second = TouchUse()
    // Two channels were open when the minute began.
    (second.mostChannels, second.commands, second.polls, second.received) = (2, 2, 1, 10)
    (second.shed, second.stretched) = (1, 1)
    #expect(Self.minute(&meter, .seconds(119)) == TouchMinute(number: 1, use: second, previous: first, hasReader: true))
    #expect(Self.hour(&meter, .seconds(119)) == first + second)
    #expect(Self.hour(&meter, .seconds(119)).bytes == 1110)
    #expect(meter.channels == 1)
    // 30 ms for the login, 5 for each command, 0.3 for the poll.
    #expect(first.cpu == .milliseconds(35))
    #expect((first + second).cpu == .microseconds(45_300))
  }

  @Test("What is older than an hour is forgotten, and a clock that stands or leaps harms nothing")
  func forgets() {
    var meter = TouchMeter()
    meter.note(.command, at: .seconds(30))
    for minute in 1...59 { meter.note(.command, at: .seconds(minute * 60)) }
    #expect(Self.hour(&meter, .seconds(3599)).commands == 60)
    #expect(Self.hour(&meter, .seconds(3600)).commands == 59)
    #expect(Self.hour(&meter, .seconds(3660)).commands == 58)
    // Back in time: it counts for the newest minute.
    meter.note(.command, at: .seconds(10))
    #expect(Self.minute(&meter, .seconds(10)).use.commands == 1)
    #expect(Self.hour(&meter, .seconds(1_000_000)) == TouchUse())
    meter.note(.command, at: .seconds(1_000_000))
    #expect(Self.hour(&meter, .seconds(1_000_000)).commands == 1)
    #expect(Self.minute(&meter, .seconds(1_000_060)).previous.commands == 1)
    #expect(Self.minute(&meter, .seconds(1_000_060)).use.commands == 0)
  }

  @Test("The worst minute is the one that used most of what was scarcest")
  func worst() throws {
    var budget = TouchBudget()
    (budget.commands, budget.bytes) = (10, 1000)
    var meter = TouchMeter()
    let none = meter.worst(by: budget, at: .zero)
    #expect(none == nil)
    for _ in 0..<5 { meter.note(.command, at: .seconds(10)) }
    meter.note(.bytes(received: 800, sent: 100), at: .seconds(70))
    for _ in 0..<8 { meter.note(.command, at: .seconds(130)) }
    let found = meter.worst(by: budget, at: .seconds(200))
    let worst = try #require(found)
    #expect(worst.began == .seconds(60))
    #expect(worst.use.bytes == 900)
    #expect(budget.share(of: worst.use) == 0.9)
    // The hour moves on.
    let later = meter.worst(by: budget, at: .seconds(60 * 61))
    #expect(later?.began == .seconds(120))
    let quiet = meter.worst(by: budget, at: .seconds(60 * 70))
    #expect(quiet?.use == TouchUse())
  }

  @Test("A login's age is known for an hour")
  func loginAges() {
    var meter = TouchMeter()
    for second in [0, 100, 3000] { meter.note(.login, at: .seconds(second)) }
    #expect(meter.loginAges(at: .seconds(3000)) == [.seconds(3000), .seconds(2900), .zero])
    #expect(meter.loginAges(at: .seconds(3600)) == [.seconds(3500), .seconds(600)])
  }

  private static func hour(_ meter: inout TouchMeter, _ now: Duration) -> TouchUse { meter.hour(at: now) }
  private static func minute(_ meter: inout TouchMeter, _ now: Duration) -> TouchMinute { meter.minute(at: now) }

  // MARK: Logins

  @Test("Half of an hour's logins come without a wait, the others are spread, and beyond the budget there is none")
  func loginWait() {
    var budget = TouchBudget()
    budget.logins = 4
    func wait(_ ages: Int...) -> (wait: Duration, isUsedUp: Bool) {
      budget.loginWait(ages: ages.map { .seconds($0) })
    }
    #expect(wait() == (.zero, false))
    #expect(wait(0) == (.zero, false))
    #expect(wait(0, 10) == (.zero, false))
    // One is left for the 3600 s until the oldest no longer counts.
    #expect(wait(0, 0, 0) == (.seconds(1800), false))
    #expect(wait(600, 600, 600) == (.seconds(900), false))
    #expect(wait(2400, 2400, 2400) == (.zero, false))
    #expect(wait(0, 100, 200, 300) == (.seconds(3300), true))
    // More than the budget, as after it was lowered: until all but three are an hour old.
    #expect(wait(0, 100, 200, 300, 400) == (.seconds(3300), true))
    #expect(wait(3600, 4000, 5000, 9000) == (.zero, false))
  }

  @Test("However often a target is lost, no hour has more logins than the budget", arguments: [1, 2, 3, 6, 20])
  func loginsStayWithin(_ limit: Int) {
    var budget = TouchBudget()
    budget.logins = limit
    var meter = TouchMeter()
    var logins: [Duration] = []
    var now: Duration = .zero
    // Lost a second after each login, and tried again as soon as the budget allows.
    while now < .seconds(5 * 3600) {
      let wait = budget.loginWait(ages: meter.loginAges(at: now)).wait
      if wait > .zero {
        now += max(wait, .milliseconds(1))
        continue
      }
      meter.note(.login, at: now)
      logins.append(now)
      now += .seconds(1)
    }
    for login in logins {
      #expect(logins.count { $0 > login - .seconds(3600) && $0 <= login } <= limit)
    }
    // It uses what it has: after the first hour at least half of the budget in each.
    #expect(logins.count { $0 > .seconds(3600) } >= limit * 2)
  }

  // MARK: Documents

  @Test("A budget is read from a target over that of options over the defaults, field by field")
  func merge() throws {
    let reading = Target.read(
      document(
        .targets, ["target": "web-1", "touch": ["logins": 2, "bytes": "4MiB", "channels": 2]], id: "web-1"))
    let target = try #require(reading.value)
    #expect(reading.problems == [])
    #expect(target.channels == 2)
    let generic = try #require(
      AggregationOptions.read(
        document(.aggregation_options, ["touch": ["logins": 3, "commands": 7, "cpu": "1s"]], id: "generic")
      ).value)
    let role = try #require(
      AggregationOptions.read(
        document(
          .aggregation_options, ["target": ["labels": ["role": "web"]], "touch": ["commands": 8, "load": 2.5]],
          id: "web")
      ).value)
    var web = target
    web.labels = ["role": "web"]
    let budget = AggregationPlan.merge(matching: [role, generic], target: web).touch
    var expected = TouchBudget()
    (expected.logins, expected.channels, expected.commands) = (2, 2, 8)
    (expected.bytes, expected.cpu, expected.load) = (4 << 20, .seconds(1), 2.5)
    #expect(budget == expected)
    #expect(TouchBudget(expected.value.fields ?? [:]) == expected)
    #expect(AggregationPlan.merge(matching: [role, generic], target: target).touch.commands == 7)
    #expect(AggregationPlan.merge(matching: [], target: Target(id: "x", name: "x", host: "x")).touch == TouchBudget())
  }

  static let refusals: [Refusal] = [
    .init(["touch": 5], "touch: expected a map, found the number 5"),
    .init(["touch": ["login": 5]], "touch.login: unknown field \"login\" (did you mean logins?)"),
    .init(["touch": ["cpu_ms": 5]], "touch.cpu_ms: unknown field \"cpu_ms\" (write cpu: 600ms)"),
    .init(["touch": ["logins": 0]], "touch.logins: 0 is outside 1 to 4000"),
    .init(["touch": ["channels": 65]], "touch.channels: 65 is outside 1 to 64"),
    .init(
      ["touch": ["commands": "many"]],
      "touch.commands: expected a whole number from 1 to 1000000, found text (for example 120)"),
    .init(["touch": ["bytes": 1024]], "touch.bytes: 1024 bytes is outside 65536 to 1099511627776"),
    .init(["touch": ["cpu": "1ms"]], "touch.cpu: 1ms is outside 50ms to 1h"),
    .init(
      ["touch": ["load": 0]],
      "touch.load: the load a core is a number from 0.1 to 100000 (for example 4; it is the load of one minute divided by the number of cores)"
    ),
  ]

  @Test("Nonsense in a budget refuses the document, with path, reason and hint", arguments: refusals)
  func refuses(_ refusal: Refusal) {
    let reading = Target.read(document(.targets, refusal.fields.merging(["target": "a"]) { $1 }))
    #expect(lines(reading.problems) == refusal.expected)
    #expect(reading.value == nil)
  }

  @Test("Channels are never more than the budget has, and stand in targets only")
  func channels() {
    let both = Target.read(document(.targets, ["target": "a", "channels": 8, "touch": ["channels": 2]]))
    #expect(both.value?.channels == 2)
    #expect(lines(both.problems) == ["~channels: 8 is more than touch.channels allows, which is 2 (2 count)"])
    let fewer = Target.read(document(.targets, ["target": "a", "channels": 1, "touch": ["channels": 2]]))
    #expect(fewer.value?.channels == 1)
    #expect(fewer.problems == [])
    let options = AggregationOptions.read(document(.aggregation_options, ["touch": ["channels": 2]]))
    #expect(options.value == nil)
    #expect(
      lines(options.problems) == [
        "touch.channels: unknown field \"channels\" (channels stand in the document of a target)"
      ])
  }

  // MARK: What cannot fit

  /// CPU and RAM read files, Disk runs a program.
  private static func demand(_ plan: MetricPlan) -> TouchDemand? {
    switch plan.metric {
    case "Vitals.Disk": TouchDemand(readsFiles: true, commands: 1, bytes: 6000)
    default: TouchDemand(readsFiles: true, bytes: 4000)
    }
  }

  @Test("What is due together is one request, and programs count each")
  func forecast() {
    func part(_ metric: String, _ interval: Duration) -> TouchForecast.Part {
      let plan = MetricPlan(metric: metric, interval: interval)
      return TouchForecast.Part(plan: plan, demand: Self.demand(plan) ?? TouchDemand())
    }
    let forecast = TouchForecast([
      part("Vitals.CPU", .seconds(10)), part("Vitals.RAM", .seconds(10)), part("Vitals.Swap", .seconds(15)),
      part("Vitals.Disk", .seconds(60)),
    ])
    // Six at 10 s and four at 15 s; those at 60 s are among them.
    #expect(forecast.polls == 10)
    #expect(forecast.commands == 1)
    // Ten frames, sixteen files, one table of disks.
    #expect(forecast.bytes == 5120 + 64_000 + 6000)
    #expect(forecast.cpu == .milliseconds(8))
  }

  private func problems(_ documents: Document..., level: Problem.Level = .refused) -> [String] {
    let (set, problems) = DocumentSet.read(documents)
    #expect(problems == [])
    return set.touchProblems(level, demand: Self.demand).map { "\($0.id) " + lines([$0])[0] }
  }

  @Test("A target whose metrics cannot fit is named with what is short and what would mend it")
  func cannotFit() {
    let metrics: Value = ["Vitals.CPU": ["interval": 10], "Vitals.Disk": ["interval": "200ms"]]
    let options = document(.aggregation_options, ["metrics": metrics], id: "generic")
    let fits = document(.targets, ["target": "a", "touch": ["commands": 300, "cpu": "2s", "bytes": "4MiB"]], id: "a")
    #expect(problems(options, fits) == [])
    #expect(
      problems(options, document(.targets, ["target": "b", "touch": ["cpu": "2s", "bytes": "4MiB"]], id: "b")) == [
        "b touch.commands: its metrics need 300 commands a minute, and the budget is 120; most of it is "
          + "Vitals.Disk every 200ms (gather Vitals.Disk every 1s or less often, or raise touch.commands to 300 or more)"
      ])
    #expect(
      problems(
        options, document(.targets, ["target": "c", "touch": ["commands": 300, "bytes": "4MiB"]], id: "c"),
        level: .warning) == [
          "c ~touch.cpu: its metrics need 1590ms of processor time a minute, and the budget is 600ms; most of it is Vitals.Disk every "
            + "200ms (gather Vitals.Disk every 1s or less often, or raise touch.cpu to 1590ms or more)"
        ])
    // A target that is switched off costs nothing.
    #expect(problems(options, document(.targets, ["target": "d", "enabled": false], id: "d")) == [])
    #expect(problems(document(.targets, ["target": "e"], id: "e")) == [])
  }
}
