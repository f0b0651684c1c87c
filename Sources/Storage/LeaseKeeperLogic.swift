/// Every decision that keeping one lease takes, as a value: the time and the store's answers are parameters.
///
/// The rules: a lease is put by compare and set on what stood there. Taking it makes its epoch grow, renewing it its beat.
/// No clock is compared between machines: who wants a lease that somebody holds must have watched the same beat for the
/// whole time to live on its own clock, and only time during which the store answered counts. The holder trusts its
/// lease from *before* its last successful renewal was sent, so that a slow answer extends nothing. A lease without an
/// owner is free, and is taken at once.
package struct LeaseLogic: Sendable {
  package enum Step: Sendable, Hashable {
    /// Nothing to do before that time.
    case wait(until: Duration)
    /// Read the lease, then ``looked(_:sent:at:)``.
    case look
    /// Put it by compare and set, then ``answered(_:to:expecting:sent:at:)``.
    case put(Lease, expecting: Lease?)
  }

  /// Why a lease was lost.
  package enum Loss: String, Sendable, Hashable {
    /// Another owner has it.
    case taken
    /// Our own name has it with an epoch that is not ours.
    case replaced
    /// It is free, or not there any more.
    case gone
  }

  /// What an answer brought about.
  package enum Event: Sendable, Hashable {
    case nothing
    case renewed
    /// `from`: who held it until now; nil when it was free.
    case took(from: String?)
    case lost(Loss)
    /// On our own wish.
    case gaveBack
  }

  package let name: String
  package let owner: String
  /// Whether an owner is known to have ended: what it still holds is as good as free.
  package let hasEnded: @Sendable (String) -> Bool
  package let times: LeaseTimes
  /// Longest time to live of another's lease that is respected; a greater one is a mistake in the document.
  static let longestTTL = 600

  /// What stands in the store in our name as far as we know; nil while we hold nothing.
  package private(set) var mine: Lease?
  private var trustedUntil: Duration = .zero
  private var renewAt: Duration = .zero
  /// The epoch of the last lease that we tried to put: an answer that shows it in our name tells how that ended.
  private var attemptedEpoch: Int64?
  /// An epoch that the next renewal has to reach.
  private var neededEpoch: Int64 = 0
  /// The lease is to be given back, and left to others for so long.
  private var abstention: Duration?
  private var abstainsUntil: Duration = .zero

  private var hasAnswer = false
  private var seen: Lease?
  /// How long `seen` has been seen unchanged, of the time during which the store answered.
  private var seenFor: Duration = .zero
  /// Whether `seen` was seen to be renewed.
  private var hasMoved = false
  /// When the store last answered; nil after it failed to.
  private var answeredAt: Duration?
  private var lookAt: Duration = .zero
  /// What the last look allows us to put.
  private var intent: (lease: Lease, expecting: Lease?)?
  private var highestEpoch: Int64 = 0

  package init(
    name: String, owner: String, hasEnded: @escaping @Sendable (String) -> Bool = { _ in false },
    times: LeaseTimes = LeaseTimes()
  ) {
    self.name = name
    self.owner = owner
    self.hasEnded = hasEnded
    self.times = times
  }

  // MARK: What is, and what to do

  package func state(at now: Duration) -> LeaseState {
    if let mine { return now < trustedUntil ? .holding(epoch: mine.epoch) : .holdingUnconfirmed(epoch: mine.epoch) }
    guard hasAnswer else { return .unknown }
    return .standby(holder: seen.flatMap { $0.owner.isEmpty ? nil : $0.owner })
  }

  /// Whether another one has the lease and was alive when the store last answered: it was seen to renew it not long before.
  package var hasLivingHolder: Bool {
    mine == nil && seen?.owner.isEmpty == false && hasMoved && seenFor <= times.renewal + times.look * 2
  }

  /// When the state changes by itself; nil: it does not.
  package func trustEnd(at now: Duration) -> Duration? {
    mine != nil && now < trustedUntil ? trustedUntil : nil
  }

  package func step(at now: Duration) -> Step {
    if let mine {
      if now < renewAt { return .wait(until: renewAt) }
      if abstention != nil, let (free, held) = release { return .put(free, expecting: held) }
      var next = mine
      next.beat &+= 1
      next.epoch = max(mine.epoch, neededEpoch)
      next.ttl = ttlSeconds
      return .put(next, expecting: mine)
    }
    if let intent { return .put(intent.lease, expecting: intent.expecting) }
    return now < lookAt ? .wait(until: lookAt) : .look
  }

  /// The lease as it is given back, and what it replaces; nil while we hold nothing.
  package var release: (lease: Lease, expecting: Lease)? {
    guard let mine else { return nil }
    var free = mine
    free.owner = ""
    free.beat &+= 1
    return (free, mine)
  }

  /// Gives the lease back at once, so that another one can take it; only when nobody has for so long it is taken again.
  package mutating func giveBack(abstaining: Duration, at now: Duration) {
    guard mine != nil else { return }
    abstention = abstaining
    renewAt = min(renewAt, now)
  }

  /// Somebody doubts that the lease is ours: the store is asked at once.
  package mutating func doubt(at now: Duration) {
    if mine != nil { renewAt = min(renewAt, now) }
  }

  /// The store has seen a higher epoch than ours although the lease is ours (its document was deleted by hand): ours has
  /// to grow past it. How far is not known, so each call doubles it.
  package mutating func outbid(_ epoch: Int64, at now: Duration) {
    guard let mine, mine.epoch == epoch, epoch < 1 << 40 else { return }
    neededEpoch = epoch * 2 + 1
    renewAt = now
  }

  // MARK: Answers

  /// The store answered a look that was sent at `sent`.
  package mutating func looked(_ found: Lease?, sent: Duration, at now: Duration) {
    note(found)
    let answered = answeredAt
    answeredAt = now
    lookAt = sent + times.look
    guard mine == nil else { return }
    guard let found, !found.owner.isEmpty, !hasEnded(found.owner) else {
      see(found)
      intent = now < abstainsUntil ? nil : (taking(found), found)
      return
    }
    if found.owner == owner, found.epoch == attemptedEpoch {
      // We took it, and only the answer was lost. It counts once it is renewed: then it is known how old that is.
      seen = found
      var next = found
      next.beat &+= 1
      intent = (next, found)
      return
    }
    if found == seen {
      // A look may come late, but a long gap is one in which nobody looked.
      if let answered { seenFor += min(max(sent - answered, .zero), times.look * 3) }
    } else {
      see(found)
    }
    let needed = max(times.ttl, .seconds(min(max(found.ttl, 0), Self.longestTTL)))
    if seenFor >= needed { intent = (taking(found), found) }
  }

  /// The store answered a put that was sent at `sent`: `stands` is there now.
  package mutating func answered(
    _ stands: Lease?, to put: Lease, expecting expected: Lease?, sent: Duration, at now: Duration
  ) -> Event {
    note(stands)
    attemptedEpoch = put.epoch
    answeredAt = now
    intent = nil
    if put.owner.isEmpty, stands == put {
      let abstention = abstention ?? .zero
      lose(to: stands, at: now)
      abstainsUntil = now + abstention
      return .gaveBack
    }
    if stands == put {
      let had = mine
      mine = put
      trustedUntil = sent + times.trust
      renewAt = sent + times.renewal
      if had != nil { return .renewed }
      // Our own put whose answer had been lost is no change of hands that anybody else would see.
      let former = expected?.owner ?? ""
      return .took(from: former.isEmpty || former == owner || hasEnded(former) ? nil : former)
    }
    if let held = mine {
      if let stands, stands.owner == owner, stands.epoch == held.epoch || stands.epoch == put.epoch {
        // An earlier renewal came through without an answer. When is not known, so trust stays as it is.
        mine = stands
        renewAt = now
        return .nothing
      }
      lose(to: stands, at: now)
      return .lost(stands.map { $0.owner == owner ? .replaced : $0.owner.isEmpty ? .gone : .taken } ?? .gone)
    }
    see(stands)
    lookAt = now + times.look
    return .nothing
  }

  /// The store did not answer; whether it did what was asked is not known.
  package mutating func failed(_ step: Step, at now: Duration) {
    answeredAt = nil
    intent = nil
    if case .put(let lease, _) = step { attemptedEpoch = lease.epoch }
    if mine != nil { renewAt = now + times.look } else { lookAt = now + times.look }
  }

  /// The store took the lease back.
  package mutating func released(_ free: Lease, at now: Duration) { lose(to: free, at: now) }

  /// A release met a beat of our own whose answer had been lost. - Returns: whether it did; another try is in order then.
  package mutating func refound(_ stands: Lease?) -> Bool {
    guard let held = mine, let stands, stands.owner == owner,
      stands.epoch == held.epoch || stands.epoch == attemptedEpoch
    else { return false }
    mine = stands
    return true
  }

  // MARK: Helpers

  private mutating func lose(to stands: Lease?, at now: Duration) {
    mine = nil
    intent = nil
    attemptedEpoch = nil
    neededEpoch = 0
    abstention = nil
    see(stands)
    lookAt = now + times.look
  }

  private mutating func see(_ lease: Lease?) {
    hasMoved = lease != nil && seen?.owner == lease?.owner && seen?.epoch == lease?.epoch
    seen = lease
    seenFor = .zero
  }

  private mutating func note(_ lease: Lease?) {
    hasAnswer = true
    if let lease { highestEpoch = max(highestEpoch, lease.epoch) }
  }

  private func taking(_ found: Lease?) -> Lease {
    let epoch = max(highestEpoch, found?.epoch ?? 0)
    return Lease(
      name: name, owner: owner, epoch: epoch < .max ? epoch + 1 : epoch, beat: (found?.beat ?? 0) &+ 1, ttl: ttlSeconds)
  }

  private var ttlSeconds: Int { Int(clamping: times.ttl.components.seconds) }
}
