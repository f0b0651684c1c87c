/// What others ask of a supervisor. Each request carries a waiter, who is answered once it is done.
extension SupervisorState {
  mutating func add(_ spec: ChildSpec, waiter: UInt64, now: Duration) throws(SupervisorError) -> [Action] {
    guard isOpen else { throw .notRunning(name) }
    try spec.check(below: autoShutdown)
    if let key = keys[spec.id], let child = children[key] {
      throw child.isAlive ? .alreadyStarted(spec.id) : .alreadyPresent(spec.id)
    }
    if let maximumChildren, children.count >= maximumChildren { throw .tooManyChildren(maximumChildren) }
    let key = insert(spec, isDynamic: true)
    update(key) { $0.startWaiters = [waiter] }
    launch(key, .asked(isNew: true), now: now)
    return proceed(now)
  }

  /// The specification stays, unless the child is temporary or is to be forgotten.
  mutating func terminate(
    _ id: String, isForgotten: Bool, waiter: UInt64, now: Duration
  ) throws(SupervisorError) -> [Action] {
    guard let key = keys[id], let child = children[key] else { throw .unknownChild(id) }
    for other in child.startWaiters { actions.append(.answer(waiter: other, .terminated(id))) }
    update(key) {
      $0.startWaiters = []
      $0.stopWaiters.append(waiter)
    }
    let after: ChildRecord.AfterStop = isForgotten || child.spec.restart == .temporary ? .forget : .rest
    if case .stopping(let before) = child.phase {
      if before != .forget { update(key) { $0.phase = .stopping(after) } }
    } else if child.isResting && after == .rest {
      update(key) { $0.stopWaiters = [] }
      actions.append(.answer(waiter: waiter, nil))
    } else {
      _ = beginStop(key, after: after, now: now)
    }
    return proceed(now)
  }

  mutating func restart(_ id: String, waiter: UInt64, now: Duration) throws(SupervisorError) -> [Action] {
    guard isOpen else { throw .notRunning(name) }
    guard let key = keys[id], let child = children[key] else { throw .unknownChild(id) }
    switch child.phase {
    case .starting, .running, .stopping: throw .alreadyStarted(id)
    case .queued, .backingOff: throw .isRestarting(id)
    case .resting: break
    }
    update(key) { $0.startWaiters = [waiter] }
    launch(key, .asked(isNew: false), now: now)
    return proceed(now)
  }

  mutating func delete(_ id: String, now: Duration) throws(SupervisorError) -> [Action] {
    guard let key = keys[id], let child = children[key] else { throw .unknownChild(id) }
    switch child.phase {
    case .starting, .running, .stopping: throw .alreadyStarted(id)
    case .queued, .backingOff: throw .isRestarting(id)
    case .resting: remove(key)
    }
    return proceed(now)
  }

  /// An equal digest changes only how the life that goes on is looked after; another one gives it a new life.
  mutating func replace(_ spec: ChildSpec, waiter: UInt64, now: Duration) throws(SupervisorError) -> [Action] {
    guard isOpen else { throw .notRunning(name) }
    try spec.check(below: autoShutdown)
    guard let key = keys[spec.id], let child = children[key] else { throw .unknownChild(spec.id) }
    if child.spec.digest == spec.digest {
      update(key) { $0.spec = spec }
      if child.phase == .running { setDeadline(key, spec.heartbeat.map { now + $0 }) }
      actions.append(.answer(waiter: waiter, nil))
      return proceed(now)
    }
    update(key) {
      $0.attempt = 0
      $0.lastError = nil
    }
    if isWaitingForGroup(child) {
      // It starts with the new specification when its turn comes.
      update(key) {
        $0.spec = spec
        if $0.phase == .backingOff { $0.phase = .queued }
      }
      if child.phase == .backingOff { setDeadline(key, nil) }
      actions.append(.answer(waiter: waiter, nil))
      return proceed(now)
    }
    update(key) { $0.startWaiters.append(waiter) }
    // The old life is stopped as its own specification says.
    switch child.phase {
    case .resting, .backingOff, .queued:
      update(key) { $0.spec = spec }
      launch(key, .asked(isNew: false), now: now)
    case .starting, .running:
      _ = beginStop(key, after: .start, now: now)
    case .stopping:
      update(key) { $0.phase = .stopping(.start) }
    }
    update(key) { $0.spec = spec }
    return proceed(now)
  }

  private func isWaitingForGroup(_ child: ChildRecord) -> Bool {
    switch child.phase {
    case .queued, .stopping(.queue): true
    case .backingOff: group?.members.contains(child.key) == true
    case .resting, .starting, .running, .stopping: false
    }
  }

  /// Changes the rules; lives go on. Refused when a child would no longer fit.
  mutating func reconfigure(
    strategy: Strategy?, intensity: Intensity?, autoShutdown: AutoShutdown?, now: Duration
  ) throws(SupervisorError) -> [Action] {
    if let intensity { try check(intensity) }
    if let autoShutdown {
      for child in children.values { try child.spec.check(below: autoShutdown) }
      self.autoShutdown = autoShutdown
    }
    if let intensity { self.intensity = intensity }
    if let strategy { self.strategy = strategy }
    return proceed(now)
  }

  var childCount: ChildCount {
    var count = ChildCount(specs: children.count, active: 0, supervisors: 0, workers: 0)
    for child in children.values {
      if child.isAlive { count.active += 1 }
      if child.spec.kind == .supervisor { count.supervisors += 1 } else { count.workers += 1 }
    }
    return count
  }
}
