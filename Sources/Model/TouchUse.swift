/// What was done to a target in some time.
package struct TouchUse: Sendable, Hashable {
  package var logins = 0
  package var channelsOpened = 0
  /// Most channels open at once.
  package var mostChannels = 0
  /// Programs started there.
  package var commands = 0
  /// Requests to a resident reader.
  package var polls = 0
  package var received: Int64 = 0
  package var sent: Int64 = 0
  /// Looks that were left out because the budget was used up or the target loaded.
  package var shed = 0
  /// Looks that were left out because intervals are stretched.
  package var stretched = 0

  package init() {}

  /// Both directions.
  package var bytes: Int64 { received &+ sent }

  /// Estimated by ``TouchCost``.
  package var cpu: Duration {
    TouchCost.login * logins + TouchCost.command * commands + TouchCost.poll * polls
  }

  package static func + (a: TouchUse, b: TouchUse) -> TouchUse {
    var sum = a
    sum.logins += b.logins
    sum.channelsOpened += b.channelsOpened
    sum.mostChannels = max(a.mostChannels, b.mostChannels)
    sum.commands += b.commands
    sum.polls += b.polls
    sum.received &+= b.received
    sum.sent &+= b.sent
    sum.shed += b.shed
    sum.stretched += b.stretched
    return sum
  }
}

/// One thing that touched a target, or that did not on its budget's account.
package enum TouchEvent: Sendable, Hashable {
  /// A credential was accepted.
  case login
  case channelOpened
  case channelClosed
  /// A program was started in a channel.
  case command
  /// A resident reader was asked.
  case poll
  /// Came and went on the wire since the last of these.
  case bytes(received: Int64, sent: Int64)
  case shed
  case stretched
}

/// The present minute of a target, for whoever decides what is asked next.
package struct TouchMinute: Sendable, Hashable {
  /// Counts up with each minute.
  package var number: Int
  package var use: TouchUse
  /// The minute before.
  package var previous: TouchUse
  /// Whether files are read by a resident reader, as far as the last hour shows.
  package var hasReader: Bool

  package init(number: Int = 0, use: TouchUse = .init(), previous: TouchUse = .init(), hasReader: Bool = false) {
    self.number = number
    self.use = use
    self.previous = previous
    self.hasReader = hasReader
  }
}

/// Where what touches one target is noted and read. May be called from any thread; never waits for long.
package protocol TouchAccount: Sendable {
  func note(_ event: TouchEvent)
  var minute: TouchMinute { get }
  /// How long ago each login of the last hour was.
  var loginAges: [Duration] { get }
}

/// Counts nothing: for hosts without a budget.
package struct NoTouchAccount: TouchAccount {
  package init() {}
  package func note(_ event: TouchEvent) {}
  package var minute: TouchMinute { TouchMinute() }
  package var loginAges: [Duration] { [] }
}

/// Counts what touches one target, minute by minute over the last hour. A value without a clock: time is a parameter,
/// counted from any fixed moment that only moves forward.
package struct TouchMeter: Sendable, Hashable {
  /// Minutes that are kept, the present one among them.
  package static let minutes = 60
  /// Most logins whose time is kept; the newest win. Above the largest budget.
  package static let loginBound = 4096

  /// A ring: minute `n` stands at `n % minutes`.
  private var uses = [TouchUse](repeating: TouchUse(), count: minutes)
  private var newest = 0
  private var first: Int?
  /// Channels open now.
  package private(set) var channels = 0
  private var logins: [Duration] = []

  package init() {}

  package mutating func note(_ event: TouchEvent, at now: Duration) {
    let number = advance(to: now)
    if first == nil { first = number }
    let place = number % Self.minutes
    switch event {
    case .login:
      uses[place].logins += 1
      logins = Array((logins.filter { now - $0 < .seconds(3600) } + [now]).suffix(Self.loginBound))
    case .channelOpened:
      channels += 1
      uses[place].channelsOpened += 1
      uses[place].mostChannels = max(uses[place].mostChannels, channels)
    case .channelClosed: channels = max(0, channels - 1)
    case .command: uses[place].commands += 1
    case .poll: uses[place].polls += 1
    case .bytes(let received, let sent):
      uses[place].received &+= max(0, received)
      uses[place].sent &+= max(0, sent)
    case .shed: uses[place].shed += 1
    case .stretched: uses[place].stretched += 1
    }
  }

  package mutating func minute(at now: Duration) -> TouchMinute {
    let number = advance(to: now)
    let previous = number > 0 ? uses[(number - 1) % Self.minutes] : TouchUse()
    return TouchMinute(
      number: number, use: uses[number % Self.minutes], previous: previous, hasReader: uses.contains { $0.polls > 0 })
  }

  /// The last hour, the present minute included.
  package mutating func hour(at now: Duration) -> TouchUse {
    _ = advance(to: now)
    return uses.reduce(TouchUse(), +)
  }

  /// The minute of the last hour that used most of a budget, and when it began; nil before anything was noted.
  package mutating func worst(by budget: TouchBudget, at now: Duration) -> (began: Duration, use: TouchUse)? {
    let number = advance(to: now)
    guard let first else { return nil }
    var worst: (number: Int, share: Double)?
    for candidate in max(first, number - Self.minutes + 1)...number {
      let share = budget.share(of: uses[candidate % Self.minutes])
      // Of equals the newest.
      if share >= worst?.share ?? 0 { worst = (candidate, share) }
    }
    return worst.map { (.seconds($0.number * 60), uses[$0.number % Self.minutes]) }
  }

  package func loginAges(at now: Duration) -> [Duration] {
    logins.map { max(.zero, now - $0) }.filter { $0 < .seconds(3600) }
  }

  /// Empties the minutes that have passed since the newest.
  /// - Returns: the present minute's number.
  private mutating func advance(to now: Duration) -> Int {
    let number = max(newest, Int(clamping: now.components.seconds / 60))
    if number - newest >= Self.minutes {
      for place in uses.indices { uses[place] = TouchUse() }
    } else {
      var next = newest + 1
      while next <= number {
        uses[next % Self.minutes] = TouchUse()
        next += 1
      }
    }
    // Channels that stay open count in each minute.
    if number > newest { uses[number % Self.minutes].mostChannels = channels }
    newest = number
    return number
  }
}
