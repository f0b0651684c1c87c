/// A stop in reverse order of the start; dynamic children, already under way in parallel, first.
struct OrderedStop {
  /// Still to be stopped, the next one last.
  var sequence: [UInt64] = []
  /// Those being stopped; the sequence goes on when the last of them has ended.
  var outstanding: Set<UInt64> = []
}

/// The restart of several siblings in order; also the first start of them all.
struct GroupRestart {
  enum Stage {
    /// Until none is alive; then `resting`.
    case stopping(OrderedStop)
    /// Until no member rests after its failure; then `starting`.
    case resting
    /// One after the other: `remaining`, the next one last, after `current` has started.
    case starting(remaining: [UInt64], current: UInt64?)
  }

  var members: Set<UInt64>
  var stage: Stage
  /// Members whose failure brought this about; they may be resting.
  var triggers: Set<UInt64> = []
}

extension SupervisorState {
  /// Cancels the child, or only changes what is to follow when it is being stopped already.
  /// - Returns: whether its end is to be waited for; if not, `after` has been done.
  mutating func beginStop(_ key: UInt64, after: ChildRecord.AfterStop, now: Duration) -> Bool {
    guard let child = children[key] else { return false }
    if after == .queue && !child.startWaiters.isEmpty {
      // The group may take long to come up, or never: nobody waits for that.
      update(key) { $0.startWaiters = [] }
      for waiter in child.startWaiters { actions.append(.answer(waiter: waiter, .isRestarting(child.spec.id))) }
    }
    switch child.phase {
    case .starting, .running:
      update(key) { $0.phase = .stopping(after) }
      cancel(key, now: now)
      return true
    case .stopping(.rest), .stopping(.forget):
      // Asked for by name: stands above what the group wants.
      return true
    case .stopping:
      update(key) { $0.phase = .stopping(after) }
      return true
    case .resting, .queued, .backingOff:
      switch after {
      case .rest: if !child.isResting { rest(key, .stopped) }
      case .forget: remove(key)
      case .queue:
        update(key) { $0.phase = .queued }
        setDeadline(key, nil)
      case .start: launch(key, .asked(isNew: false), now: now)
      case .fail: break
      }
      return false
    }
  }

  /// Tells the life to end, and sets the time at which it is abandoned.
  /// - Parameter hasHung: then it is not waited for without limit.
  mutating func cancel(_ key: UInt64, hasHung: Bool = false, now: Duration) {
    guard let child = children[key] else { return }
    actions.append(.cancel(generation: child.generation))
    switch child.spec.shutdown {
    case .deadline(let limit):
      setDeadline(key, now + limit)
    case .brutal:
      actions.append(.revoke(generation: child.generation))
      setDeadline(key, now + Shutdown.brutalGrace)
    case .unlimited:
      setDeadline(key, hasHung ? now + .seconds(5) : nil)
    }
  }

  /// The child has ended or was abandoned: what was waiting for that may go on.
  mutating func settle(_ key: UInt64, _ after: ChildRecord.AfterStop, now: Duration) {
    if case .stopping(var plan) = group?.stage {
      group?.stage = .resting
      plan.outstanding.remove(key)
      group?.stage = .stopping(plan)
    }
    ending?.outstanding.remove(key)
    setDeadline(key, nil)
    switch after {
    case .forget: remove(key)
    case _ where !isOpen: rest(key, .stopped)
    case .rest: rest(key, .stopped)
    case .queue: update(key) { $0.phase = .queued }
    case .start: launch(key, .asked(isNew: false), now: now)
    case .fail(let cause?, let error): startFailed(key, cause, error, now: now)
    case .fail(nil, let error): lifeEnded(key, .failed(error), now: now)
    }
  }

  /// - Returns: whether all have stopped.
  mutating func advanceEnding(_ now: Duration) -> Bool {
    guard var plan = ending else { return true }
    ending = nil
    advance(&plan, now: now) { _ in .rest }
    ending = plan
    return plan.outstanding.isEmpty
  }

  private mutating func advance(
    _ plan: inout OrderedStop, now: Duration, after: (ChildRecord) -> ChildRecord.AfterStop
  ) {
    while plan.outstanding.isEmpty, let key = plan.sequence.popLast() {
      guard let child = children[key] else { continue }
      if beginStop(key, after: after(child), now: now) { plan.outstanding.insert(key) }
    }
  }

  private static func afterGroupStop(_ child: ChildRecord) -> ChildRecord.AfterStop {
    child.spec.restart == .temporary ? .forget : .queue
  }

  /// A failed child takes its siblings along. What is under way already is widened: a restarted member that fails, or
  /// one that fails to start, begins the stop anew.
  mutating func restartGroup(with trigger: UInt64, delay: Duration, now: Duration) {
    update(trigger) { $0.phase = delay > .zero ? .backingOff : .queued }
    setDeadline(trigger, delay > .zero ? now + delay : nil)
    let affected = strategy == .oneForAll ? Set(children.keys) : Set(children.keys.filter { $0 >= trigger })
    let members = (group?.members ?? []).union(affected)
    let triggers = (group?.triggers ?? []).union([trigger])
    // Members outside `affected` that have come up again stay; those whose stop was still ahead are stopped all the same.
    var doomed = affected
    if case .stopping(let plan) = group?.stage { doomed.formUnion(plan.sequence) }
    var plan = OrderedStop()
    for key in members.sorted() {
      guard let child = children[key], !triggers.contains(key) || child.isAlive else { continue }
      if case .stopping = child.phase {
        _ = beginStop(key, after: Self.afterGroupStop(child), now: now)
        plan.outstanding.insert(key)
      } else if !doomed.contains(key) {
        continue
      } else if !child.isDynamic {
        plan.sequence.append(key)
      } else if beginStop(key, after: Self.afterGroupStop(child), now: now) {
        plan.outstanding.insert(key)
      }
    }
    group = GroupRestart(members: members, stage: .stopping(plan), triggers: triggers)
  }

  mutating func advanceGroup(_ now: Duration) {
    while let current = group {
      switch current.stage {
      case .stopping(var plan):
        group?.stage = .resting
        advance(&plan, now: now, after: Self.afterGroupStop)
        if !plan.outstanding.isEmpty {
          group?.stage = .stopping(plan)
          return
        }
      case .resting:
        if current.triggers.contains(where: { children[$0]?.phase == .backingOff }) { return }
        if current.members.contains(where: isBeingStarted) { return }
        let queued = current.members.filter { children[$0]?.phase == .queued }
        group?.stage = .starting(remaining: queued.sorted(by: >), current: nil)
      case .starting(var remaining, let starting):
        if let starting, isBeingStarted(starting) { return }
        group?.stage = .resting
        while let last = remaining.last, children[last]?.phase != .queued { remaining.removeLast() }
        guard let next = remaining.popLast() else {
          group = nil
          if mode == .booting {
            mode = .up
            actions.append(.becameUp)
          }
          return
        }
        group?.stage = .starting(remaining: remaining, current: next)
        launch(next, mode == .booting ? .initial : .restart, now: now)
        return
      }
    }
  }

  private func isBeingStarted(_ key: UInt64) -> Bool {
    switch children[key]?.phase {
    case .starting, .stopping(.fail(_?, _)): true
    default: false
    }
  }
}
