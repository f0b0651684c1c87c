internal import Model
internal import Remote

/// Decides which looks of a target's metrics are made, so that a minute's budget is never exceeded and a loaded target is
/// spared.
///
/// A value without a clock: the present minute is a parameter. Within a minute the budget is a hard end, which comes
/// earlier for what matters less. Minute after minute in which the budget was short, or the target loaded, the intervals
/// are stretched: each metric is then asked at every 2nd, 4th, 8th of its ticks, and because all ticks of a target count
/// from one moment, what is due together stays together. When it is over the intervals come back in the same steps.
///
/// ```
/// minute        1      2      3      4      5      6
/// budget        short  short  fits   fits   half   fits
/// every         1.     2.     4.     4.     4.     2. tick
/// ```
struct TouchGovernor: Sendable {
  /// What became of a look that was due.
  enum Verdict: Sendable, Hashable {
    case ask
    /// Not at this tick: only every `factor`-th is asked.
    case stretched
    case shed(Reason)
  }

  enum Reason: String, Sendable, Hashable {
    case commands, bytes, cpu, load
  }

  /// How a metric fares, for those who are told of changes.
  enum Standing: Sendable, Hashable {
    case normal
    case stretched(Int)
    case shed(Reason)
  }

  private struct Watch {
    var plan: MetricPlan
    var lastShed: (minute: Int, reason: Reason)?
    /// What was last told.
    var told = Standing.normal
  }

  /// Every 8th tick is asked at least, as long as the budget and the load allow a look at all.
  static let longestStretch = 8
  /// A loaded target counts as loaded until its load is below this part of the threshold.
  static let relief = 0.75
  /// A load that was told so many minutes ago says nothing any more.
  static let loadLasts = 10
  /// Intervals become shorter again when twice the last minute's use would stay below this part of the budget:
  /// less than what the least important may use.
  static let comfort = 0.75

  var budget: TouchBudget
  private(set) var factor = 1
  private(set) var isLoaded = false
  /// Load of one minute divided by cores.
  private(set) var load: Double?
  private var loadMinute = 0
  private var minute: Int?
  private var wasShort = false
  /// One for each wrapper.
  private var watched: [String: Watch] = [:]
  /// Asked and not yet answered, so perhaps not yet counted.
  private var readers = 0
  private var commands = 0
  private var bytes: Int64 = 0

  init(budget: TouchBudget = TouchBudget()) { self.budget = budget }

  /// How much of the budget each importance may use.
  static func share(_ importance: MetricCatalogue.Importance) -> Double {
    switch importance {
    case .low: 0.8
    case .normal: 0.9
    case .essential: 0.95
    }
  }

  /// A metric's look is due. After `.ask` the look must be ended by ``done(_:)``.
  /// - Parameters:
  ///   - tick: the number of the tick in the metric's own schedule; nil for a look that is not at a tick, such as the
  ///     first after a connection was made: that one is never stretched.
  mutating func decide(
    _ plan: MetricPlan, tick: Int64?, demand: TouchDemand, now: TouchMinute
  ) -> Verdict {
    roll(now)
    let importance = MetricCatalogue.importance(of: plan.metric)
    watched[plan.title, default: Watch(plan: plan)].plan = plan
    if isLoaded, importance == .low { return shed(plan, .load) }
    if let tick, factor > 1, tick % Int64(factor) != 0 { return .stretched }
    if let reason = shortage(demand, now, share: Self.share(importance)) {
      wasShort = true
      return shed(plan, reason)
    }
    if demand.readsFiles { readers += 1 }
    commands += demand.commands
    bytes += demand.bytes
    return .ask
  }

  /// A look that was asked has ended.
  mutating func done(_ demand: TouchDemand) {
    if demand.readsFiles { readers = max(0, readers - 1) }
    commands = max(0, commands - demand.commands)
    bytes = max(0, bytes - demand.bytes)
  }

  /// The target's load, as it told.
  mutating func note(load perCore: Double, now: TouchMinute) {
    roll(now)
    guard perCore.isFinite else { return }
    load = perCore
    loadMinute = now.number
    if perCore > budget.load {
      if !isLoaded { factor = max(factor, 2) }
      isLoaded = true
    } else if perCore <= budget.load * Self.relief {
      isLoaded = false
    }
  }

  /// What a metric's standing has become, if that is not what was told last.
  mutating func news(of plan: MetricPlan) -> Standing? {
    let standing = standing(of: plan.title)
    guard var watch = watched[plan.title], watch.told != standing else { return nil }
    watch.told = standing
    watched[plan.title] = watch
    return standing
  }

  mutating func forget(_ title: String) { watched[title] = nil }

  func standing(of title: String) -> Standing {
    if let shed = watched[title]?.lastShed, let minute, minute - shed.minute <= 1 { return .shed(shed.reason) }
    return factor > 1 ? .stretched(factor) : .normal
  }

  /// All metrics, in the order of their names.
  var standings: [(plan: MetricPlan, standing: Standing)] {
    watched.sorted { $0.key < $1.key }.map { ($0.value.plan, standing(of: $0.key)) }
  }

  private mutating func shed(_ plan: MetricPlan, _ reason: Reason) -> Verdict {
    watched[plan.title]?.lastShed = (minute ?? 0, reason)
    return .shed(reason)
  }

  /// What would run over, if this were asked too.
  private func shortage(_ demand: TouchDemand, _ now: TouchMinute, share: Double) -> Reason? {
    // Who comes while others read goes with them.
    let reads = readers > 0 || demand.readsFiles ? 1 : 0
    let isCommand = demand.commands > 0 || (demand.readsFiles && readers == 0 && !now.hasReader)
    let started = now.use.commands + commands + demand.commands + (now.hasReader ? 0 : reads)
    // What a budget cannot hold at all may still be asked once in a minute.
    let least = now.use.commands + commands == 0 ? started : 1
    if isCommand, Double(started) > max(Double(least), Double(budget.commands) * share) { return .commands }
    let moved = now.use.bytes + bytes + demand.bytes + TouchCost.frame * Int64(reads)
    if Double(moved) > Double(budget.bytes) * share { return .bytes }
    let spent =
      now.use.cpu + TouchCost.command * (started - now.use.commands) + TouchCost.poll * (now.hasReader ? reads : 0)
    return spent > budget.cpu * share ? .cpu : nil
  }

  private mutating func roll(_ now: TouchMinute) {
    guard let minute else {
      self.minute = now.number
      return
    }
    guard now.number > minute else { return }
    self.minute = now.number
    if isLoaded, now.number - loadMinute > Self.loadLasts { isLoaded = false }
    if wasShort || isLoaded {
      factor = min(factor * 2, Self.longestStretch)
    } else if factor > 1, budget.share(of: now.previous) * 2 <= Self.comfort {
      factor /= 2
    }
    wasShort = false
  }
}

extension TouchDemand {
  /// What these questions ask of a host.
  init(_ questions: [Question]) {
    self.init()
    for question in Set(questions) {
      switch question {
      case .read(_, let limit):
        readsFiles = true
        bytes += min(Int64(max(0, limit)), TouchCost.file) + 64
      case .run:
        commands += 1
        bytes += TouchCost.program
      }
    }
  }
}
