/// The most that monitoring may cost a target, as its documents declare it under `touch`.
///
/// A minute is one of the service's own, counted from its start; an hour is the hour before now.
package struct TouchBudget: Sendable, Hashable {
  /// Logins in an hour. A login that failed is none: those have a pace of their own.
  package var logins = 20
  /// SSH channels at once: the target's `channels`.
  package var channels = 4
  /// Programs started on the target in a minute.
  package var commands = 120
  /// Bytes in both directions in a minute, as they are on the wire.
  package var bytes: Int64 = 2 << 20
  /// The target's processor time in a minute, as ``TouchCost`` estimates it.
  package var cpu: Duration = .milliseconds(600)
  /// The load of one minute, divided by the number of cores, above which a target counts as loaded.
  package var load = 8.0

  package init() {}

  /// How much of the budget of a minute was used, by what is scarcest; 1 is all of it.
  package func share(of use: TouchUse) -> Double {
    max(
      Double(use.commands) / Double(max(1, commands)), Double(use.bytes) / Double(max(1, bytes)),
      use.cpu / max(cpu, .milliseconds(1)))
  }

  /// How long the next login has to wait.
  ///
  /// The first half of an hour's logins costs no wait. The other half is spread over the rest of the hour, so that an
  /// unsteady host is seen again and again and not for the last time; beyond the budget there is none.
  /// - Parameter ages: how long ago each login of the last hour was, in any order.
  /// - Returns: the wait, and whether the budget is used up, so that nothing may shorten the wait.
  package func loginWait(ages: [Duration]) -> (wait: Duration, isUsedUp: Bool) {
    let hour: Duration = .seconds(3600)
    let ages = ages.filter { $0 < hour && $0 >= .zero }.sorted()
    let limit = max(1, logins)
    if ages.count >= limit { return (hour - ages[limit - 1], true) }
    guard ages.count > limit / 2, let newest = ages.first, let oldest = ages.last else { return (.zero, false) }
    let pace = (hour - oldest) / (limit - ages.count + 1)
    return (max(.zero, pace - newest), false)
  }
}

/// What one thing costs on the target where it is not measured, rounded up from what was measured on small machines.
package enum TouchCost {
  /// sshd's key exchange, the check of a key, and the start of a session.
  package static let login: Duration = .milliseconds(30)
  /// A fork, a shell, and a small program such as df.
  package static let command: Duration = .milliseconds(5)
  /// The resident reader reads the files of one request.
  package static let poll: Duration = .microseconds(300)
  /// Bytes of a request and of the answer's frame, with what SSH adds.
  package static let frame: Int64 = 512
  /// Most bytes that a small file is expected to have; those under /proc have seldom more.
  package static let file: Int64 = 4096
  /// Bytes of a command: its channel's opening and end, and its output.
  package static let program: Int64 = 6144
}

/// What one look of a metric asks of the target.
package struct TouchDemand: Sendable, Hashable {
  /// Files are read, by the request that all metrics that are due have in common.
  package var readsFiles: Bool
  package var commands: Int
  /// Without the frame of the common request.
  package var bytes: Int64

  package init(readsFiles: Bool = false, commands: Int = 0, bytes: Int64 = 0) {
    self.readsFiles = readsFiles
    self.commands = commands
    self.bytes = bytes
  }
}

/// What a target's metrics cost in a minute if each is gathered at its interval.
///
/// Files are read by a resident reader, which is no command. Where a host has none, each request is one, and the
/// intervals are stretched until they fit.
package struct TouchForecast: Sendable, Hashable {
  package struct Part: Sendable, Hashable {
    package var plan: MetricPlan
    package var demand: TouchDemand
    /// Looks in a minute.
    package var looks: Double { 60 / max(0.1, plan.interval.secondsValue) }
    package var commands: Double { looks * Double(demand.commands) }
    package var bytes: Double { looks * Double(demand.bytes) }

    package init(plan: MetricPlan, demand: TouchDemand) {
      self.plan = plan
      self.demand = demand
    }
  }

  package var parts: [Part]
  package init(_ parts: [Part]) { self.parts = parts }

  /// Requests for files in a minute: what is due together is one. Ticks of an interval that is a multiple of another
  /// are among the ticks of that one.
  package var polls: Double {
    var intervals: [Duration] = []
    for interval in Set(parts.filter(\.demand.readsFiles).map(\.plan.interval)).sorted()
    where !intervals.contains(where: { Self.divides($0, interval) }) { intervals.append(interval) }
    return intervals.reduce(0) { $0 + 60 / max(0.1, $1.secondsValue) }
  }

  package var commands: Double { parts.reduce(0) { $0 + $1.commands } }
  package var bytes: Double { parts.reduce(polls * Double(TouchCost.frame)) { $0 + $1.bytes } }
  package var cpu: Duration { TouchCost.poll * polls + TouchCost.command * commands }

  private static func divides(_ small: Duration, _ large: Duration) -> Bool {
    // Intervals are whole milliseconds.
    let (a, b) = ((small.secondsValue * 1000).rounded(), (large.secondsValue * 1000).rounded())
    return a >= 1 && b.truncatingRemainder(dividingBy: a) == 0
  }
}
