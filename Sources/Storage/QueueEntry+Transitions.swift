package import FoundationEssentials
package import Model

/// The life of a queue entry, decided in one place for all stores. Each step changes the value; the store writes it.
extension QueueEntry {
  /// Bound on what a peer's answer may take in the ledger.
  package static let answerBytesBound = 512

  /// The entry as a store takes it in: pending, without a trace of another queue, its times in milliseconds.
  package var accepted: QueueEntry {
    var entry = self
    entry.state = .pending
    entry.owner = nil
    entry.lease_until = nil
    entry.delivered_at = nil
    entry.receipt = nil
    entry.created = StoredTime.stored(created)
    entry.updated = StoredTime.stored(updated)
    entry.next_at = StoredTime.stored(next_at)
    entry.attempts = attempts.suffix(Self.attemptsBound).map {
      Attempt(
        at: StoredTime.stored($0.at), outcome: $0.outcome, answer: $0.answer.prefix(bytes: Self.answerBytesBound))
    }
    return entry
  }

  package var isSettled: Bool { state == .delivered || state == .merged || state == .dead }

  /// By how much an entry's last change may lie ahead of the clock before the clock counts as set back. Machines that
  /// share a queue differ by less.
  package static let aheadBound: TimeInterval = 5

  /// Whether a worker may have it now. An entry that was last changed in the future is due at once: the clock was set
  /// back, and its `next_at` may be a day away.
  package func isDue(at now: Date) -> Bool {
    guard state == .pending else { return false }
    let instant = StoredTime.stored(now)
    return next_at <= instant || updated > instant.addingTimeInterval(Self.aheadBound)
  }

  package mutating func leased(by owner: String, now: Date, until: Date) {
    state = .leased
    self.owner = owner
    epoch += 1
    lease_until = StoredTime.stored(until)
    updated = StoredTime.stored(now)
  }

  /// Whether `lease` is still the right to this entry. Time is not asked: an expired lease counts until somebody else
  /// has taken the entry or given it back.
  package func isHeld(by lease: QueueLease) -> Bool {
    state == .leased && lease.entry.owner != nil && owner == lease.entry.owner && epoch == lease.entry.epoch
  }

  /// A lease is over at the instant it names.
  package func isStranded(at now: Date) -> Bool {
    guard state == .leased else { return false }
    return lease_until.map { $0 <= StoredTime.stored(now) } ?? true
  }

  /// Whether this, as it is stored now, is still what `lease` says of it, its end included.
  package func isUnchanged(since lease: QueueLease) -> Bool {
    isHeld(by: lease) && lease_until == lease.entry.lease_until
  }

  /// The entry as it goes to another store: what is in somebody's hands there is pending here.
  package var moved: QueueEntry {
    var entry = self
    if entry.state == .leased {
      entry.state = .pending
      entry.owner = nil
      entry.lease_until = nil
    }
    entry.created = StoredTime.stored(created)
    entry.updated = StoredTime.stored(updated)
    entry.next_at = StoredTime.stored(next_at)
    entry.delivered_at = delivered_at.map(StoredTime.stored)
    return entry
  }

  /// - Parameter hasOwnerEnded: see ``QueueLease/hasOwnerEnded``: the ledger says `crashed` then.
  package mutating func rescued(now: Date, hasOwnerEnded: Bool) {
    log(
      now: now, outcome: hasOwnerEnded ? "crashed" : "rescued",
      answer: "\(owner ?? "nobody") \(hasOwnerEnded ? "ended and " : "")left it unfinished")
    release(.pending, now: now)
  }

  /// - Parameter handsOn: alternates were queued in the same step, so that none are left to try from here.
  package mutating func settled(_ settlement: Settlement, now: Date, handsOn: Bool) {
    if handsOn { alternates = [] }
    switch settlement {
    case .delivered(let receipt):
      log(now: now, outcome: "delivered", answer: receipt)
      release(.delivered, now: now)
      delivered_at = StoredTime.stored(now)
      self.receipt = receipt.prefix(bytes: Self.answerBytesBound)
    case .again(let at, let outcome, let answer):
      log(now: now, outcome: outcome, answer: answer)
      release(.pending, now: now)
      next_at = StoredTime.stored(at)
    case .dead(let answer):
      log(now: now, outcome: "gave_up", answer: answer)
      release(.dead, now: now)
    }
  }

  /// The entry with this id tells the news of this one. The ledger's last line says so: `merged`, and the id.
  package mutating func merged(into id: String, now: Date) {
    log(now: now, outcome: "merged", answer: id)
    release(.merged, now: now)
  }

  /// - Returns: false when it is neither pending nor dead.
  package mutating func retried(now: Date) -> Bool {
    guard state == .pending || state == .dead else { return false }
    release(.pending, now: now)
    next_at = StoredTime.stored(now)
    return true
  }

  /// - Returns: false when it is settled already.
  package mutating func dropped(reason: String, now: Date) -> Bool {
    guard !isSettled else { return false }
    log(now: now, outcome: "gave_up", answer: reason)
    release(.dead, now: now)
    return true
  }

  private mutating func release(_ state: State, now: Date) {
    self.state = state
    owner = nil
    lease_until = nil
    updated = StoredTime.stored(now)
  }

  private mutating func log(now: Date, outcome: String, answer: String) {
    // The first of all is kept: it says when the trouble began.
    while attempts.count >= Self.attemptsBound { attempts.remove(at: 1) }
    attempts.append(
      Attempt(at: StoredTime.stored(now), outcome: outcome, answer: answer.prefix(bytes: Self.answerBytesBound)))
  }
}

/// What stands before an entry that has `after`.
package enum PredecessorVerdict: Sendable, Hashable {
  /// It is in somebody's hands: come back later.
  case waits
  /// Go on; `takesIn` are pending and have to be merged into the entry in the same step, nearest first.
  case free(QueueLease.Predecessor, takesIn: [QueueEntry])
}

/// Decides what happens with the entries before one that is about to be claimed.
package enum PredecessorRules {
  /// How far back a chain (firing, repeats, resolved) is followed. What lies beyond is left alone.
  package static let chainBound = 64

  /// Walks from `entry` back along `after`.
  ///
  /// Pending ones, due or not, are taken in and the walk goes on behind them, so that old news never arrives after
  /// newer. A leased one makes the entry wait. A delivered or forgotten one ends the walk.
  /// - Parameter lookup: the entry with a key, as stored now.
  package static func verdict<Failure: Error>(
    for entry: QueueEntry, lookup: (String) throws(Failure) -> QueueEntry?
  ) throws(Failure) -> PredecessorVerdict {
    var takesIn: [QueueEntry] = []
    var seen: Set<String> = [entry.id]
    var heirs = seen
    var key = entry.after
    while let after = key, takesIn.count < chainBound, let found = try lookup(after), seen.insert(found.id).inserted {
      switch found.state {
      case .leased: return .waits
      case .pending:
        takesIn.append(found)
        heirs.insert(found.id)
        key = found.after
        continue
      case .dead: return .free(.untold, takesIn: takesIn)
      case .delivered: return .free(takesIn.isEmpty ? .none : .untold, takesIn: takesIn)
      case .merged:
        // Into this one, at an earlier try, or into one it takes in: the news is still to be told. Another heir has
        // its own retries and its own end.
        let heir = found.attempts.last.flatMap { $0.outcome == "merged" ? $0.answer : nil }
        let isOurs = heir.map(heirs.contains) ?? true
        return .free(isOurs || !takesIn.isEmpty ? .untold : .none, takesIn: takesIn)
      }
    }
    return .free(takesIn.isEmpty ? .none : .untold, takesIn: takesIn)
  }
}
