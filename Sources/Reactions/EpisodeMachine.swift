package import FoundationEssentials
package import Model

/// The life of one condition, decided without doing anything: takes a verdict and the time, says what to announce.
///
/// Invariants: a resolved is only announced after its firing was; missing data never resolves; an interval never
/// follows the wall clock.
package struct EpisodeMachine: Sendable {
  /// - `unknown`: nothing was seen yet. Goes to ok, pending or firing.
  /// - `ok`: within limits. Goes to pending or firing.
  /// - `pending`: bad, but not for long enough. Goes to firing, or back to ok.
  /// - `firing`: announced. Goes to ok, with a resolved message.
  package private(set) var state: ConditionState = .unknown
  /// Set while pending or firing.
  package private(set) var episode: Episode?

  package let key: ConditionKey
  private let rule: EpisodeRule
  private var badSince: Duration = .zero
  private var announcedAt: Duration = .zero
  private var storedAt: Duration = .zero
  /// The last verdicts for N of M, newest last; at most `times.last`.
  private var window: [Bool] = []
  /// The sample that was considered last: the same one, seen again, decides nothing.
  private var lastStamp: SampleStamp?

  package init(key: ConditionKey, rule: EpisodeRule) {
    self.key = key
    self.rule = rule
  }

  /// Continues an open episode from the store, after a restart or an edit.
  package init(continuing episode: Episode, rule: EpisodeRule, at now: Moment) {
    key = episode.key
    self.rule = rule
    self.episode = episode
    state = episode.state
    badSince = now.uptime - .seconds(Self.age(since: episode.since, now))
    announcedAt = now.uptime - .seconds(Self.age(since: episode.announced_at ?? episode.fired_at ?? episode.since, now))
    storedAt = now.uptime
  }

  /// Takes what was considered before this life began, oldest first, so that N of M counts on; decides nothing.
  package mutating func remember(_ finding: Finding) {
    guard rule.times != nil, let isBad = isBad(finding.verdict) else { return }
    _ = note(isBad)
  }

  private func isBad(_ verdict: Verdict) -> Bool? {
    switch verdict {
    case .bad: true
    case .ok: false
    case .unknown:
      switch rule.noData {
      case .keep: nil
      case .alert: true
      case .ok: false
      }
    }
  }

  /// Takes one finding. - Returns: what to announce, or nil when nothing has to be stored.
  /// - Parameter stamp: the sample it was made from; nil where there was none (silence).
  package mutating func consider(_ finding: Finding, stamp: SampleStamp? = nil, at now: Moment) -> Announcement? {
    if let stamp {
      if stamp == lastStamp { return nil }
      lastStamp = stamp
    }
    guard let isBad = isBad(finding.verdict) else { return nil }
    // Between the limit and the clear limit a firing condition goes on firing, a quiet one stays quiet.
    if case .ok(hasCleared: false) = finding.verdict, state == .firing { return moveOn(finding, at: now) }
    let meetsTimes = note(isBad)
    if isBad || (meetsTimes && state == .firing) { return turnBad(finding, meetsTimes: meetsTimes, at: now) }
    // N of M: one good sample among the bad ones decides nothing yet.
    if state == .pending, window.contains(true) { return nil }
    return turnGood(finding, at: now)
  }

  /// Whatever is due by time alone: a reminder.
  package mutating func tick(at now: Moment) -> Announcement? {
    guard state == .firing, var open = episode, rule.repeatInterval > .zero,
      now.uptime - announcedAt >= rule.repeatInterval
    else { return nil }
    open.repeats += 1
    return announce(.reminder(open.repeats), open, at: now)
  }

  /// When ``tick(at:)`` has something to do next; nil: never.
  package var nextReminder: Duration? {
    state == .firing && rule.repeatInterval > .zero ? announcedAt + rule.repeatInterval : nil
  }

  /// Ends an open episode because nobody checks it any more.
  package mutating func retire(reason: String, at now: Moment) -> Announcement? {
    guard var open = episode else { return nil }
    let wasFiring = state == .firing
    open.state = .ok
    open.ended_at = now.wall
    open.end_reason = reason
    state = .unknown
    episode = nil
    return Announcement(
      kind: wasFiring && rule.sendsResolved ? .resolved : .silent, episode: open, notify: rule.notify, at: now.wall)
  }

  // MARK: Steps

  /// - Returns: whether enough of the last verdicts are bad.
  private mutating func note(_ isBad: Bool) -> Bool {
    guard let times = rule.times else { return isBad }
    window.append(isBad)
    if window.count > times.last { window.removeFirst(window.count - times.last) }
    return window.count(where: { $0 }) >= times.n
  }

  private mutating func turnBad(_ finding: Finding, meetsTimes: Bool, at now: Moment) -> Announcement? {
    switch state {
    case .firing: return moveOn(finding, at: now)
    case .unknown, .ok:
      badSince = now.uptime
      var opened = Episode(
        id: Self.identity(key, now.wall), key: key, severity: rule.severity, state: .pending, since: now.wall,
        value: finding.value, limit: finding.limit)
      opened.runbook = rule.runbook
      opened.labels = rule.labels
      if rule.holdFor <= .zero, meetsTimes { return fire(opened, finding, at: now) }
      state = .pending
      return announce(.silent, opened, at: now)
    case .pending:
      guard let open = episode else { return nil }
      if meetsTimes, now.uptime - badSince >= rule.holdFor { return fire(open, finding, at: now) }
      return nil
    }
  }

  private mutating func fire(_ opened: Episode, _ finding: Finding, at now: Moment) -> Announcement {
    var open = opened
    open.state = .firing
    open.severity = rule.severity
    open.fired_at = now.wall
    open.value = finding.value
    open.limit = finding.limit
    state = .firing
    return announce(.firing, open, at: now)
  }

  private mutating func turnGood(_ finding: Finding, at now: Moment) -> Announcement? {
    switch state {
    case .unknown, .ok:
      state = .ok
      return nil
    case .pending, .firing:
      guard var open = episode else { return nil }
      let wasFiring = state == .firing
      open.state = .ok
      open.ended_at = now.wall
      open.value = finding.value
      open.limit = finding.limit
      state = .ok
      episode = nil
      window.removeAll()
      return Announcement(
        kind: wasFiring && rule.sendsResolved ? .resolved : .silent, episode: open, notify: rule.notify, at: now.wall)
    }
  }

  /// Still firing: the newest value is kept, and stored now and then.
  private mutating func moveOn(_ finding: Finding, at now: Moment) -> Announcement? {
    guard var open = episode else { return nil }
    open.value = finding.value
    open.limit = finding.limit
    episode = open
    guard now.uptime - storedAt >= Self.storeInterval else { return nil }
    return announce(.silent, open, at: now)
  }

  private mutating func announce(_ kind: Announcement.Kind, _ changed: Episode, at now: Moment) -> Announcement {
    var open = changed
    if kind != .silent {
      open.announced_at = now.wall
      announcedAt = now.uptime
    }
    storedAt = now.uptime
    episode = open
    return Announcement(kind: kind, episode: open, notify: rule.notify, at: now.wall)
  }

  /// How often the newest value of a firing episode is stored.
  private static let storeInterval: Duration = .seconds(60)

  /// Never negative: a wall clock that was stepped back does not make an episode younger than now.
  private static func age(since: Date, _ now: Moment) -> Double { max(0, now.wall.timeIntervalSince(since)) }

  /// The same condition that began at the same time has the same id, so that a step repeated after a crash is no new news.
  private static func identity(_ key: ConditionKey, _ since: Date) -> String {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    let milliseconds = Int64(min(max(since.timeIntervalSince1970 * 1000, 0), 1e15))
    for field in [key.reaction, key.target, key.metric, key.name ?? "\u{1}", key.element ?? "\u{1}", "\(milliseconds)"]
    {
      for byte in field.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
      hash = (hash ^ 0) &* 0x100_0000_01b3
    }
    let hex = String(hash, radix: 16)
    return String(Instant.tag(since)) + "-" + String(repeating: "0", count: 16 - hex.count) + hex
  }
}

/// Which sample, within its series: two are the same when both figures are.
package struct SampleStamp: Sendable, Hashable {
  package var at: Date
  package var n: Int

  package init(_ sample: Sample) {
    at = sample.at
    n = sample.n
  }
}

/// What of a reaction's document an episode has to know.
package struct EpisodeRule: Sendable, Hashable {
  package var severity: Severity
  package var holdFor: Duration
  package var times: MetricCondition.Times?
  package var noData: NoDataPolicy
  package var repeatInterval: Duration
  package var sendsResolved: Bool
  package var notify: [[String]]?
  package var runbook: String?
  package var labels: [String: String]

  package init(_ reaction: ReactionTarget, _ condition: MetricCondition) {
    severity = reaction.severity
    holdFor = condition.holdFor
    times = condition.times
    noData = condition.noData ?? reaction.noData
    repeatInterval = reaction.repeatInterval
    sendsResolved = reaction.sendsResolved
    notify = reaction.notify
    runbook = reaction.runbook
    labels = reaction.labels
  }
}
