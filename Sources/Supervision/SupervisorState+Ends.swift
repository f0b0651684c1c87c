/// What follows when a life begins or ends.
extension SupervisorState {
  mutating func started(_ key: UInt64, _ generation: UInt64, now: Duration) -> [Action] {
    guard let child = children[key], child.generation == generation, case .starting = child.phase else {
      return proceed(now)
    }
    update(key) {
      $0.phase = .running
      $0.startedAt = now
      $0.startWaiters = []
    }
    setDeadline(key, child.spec.heartbeat.map { now + $0 })
    for waiter in child.startWaiters { actions.append(.answer(waiter: waiter, nil)) }
    return proceed(now)
  }

  /// `start` said that there is nothing to do.
  mutating func ignored(_ key: UInt64, _ generation: UInt64, now: Duration) -> [Action] {
    guard let child = children[key], child.generation == generation else { return proceed(now) }
    switch child.phase {
    case .starting:
      rest(key, .ignored)
      if child.spec.restart == .temporary { remove(key) }
    case .stopping(let after):
      settle(key, after, now: now)
    default: break
    }
    return proceed(now)
  }

  mutating func exited(_ key: UInt64, _ generation: UInt64, _ exit: Exit, now: Duration) -> [Action] {
    guard let child = children[key], child.generation == generation else { return proceed(now) }
    switch child.phase {
    case .stopping(let after):
      settle(key, after, now: now)
    case .starting(let cause):
      startFailed(key, cause, exit.error ?? "was cancelled while it started", now: now)
    case .running:
      lifeEnded(key, exit, now: now)
    case .resting, .queued, .backingOff:
      break  // abandoned before; the counter of zombies hears of it elsewhere
    }
    return proceed(now)
  }

  mutating func startFailed(_ key: UInt64, _ cause: ChildRecord.StartCause, _ error: String, now: Duration) {
    guard let child = children[key] else { return }
    update(key) { $0.lastError = error }
    guard isOpen else { return rest(key, .failed) }
    switch cause {
    case .initial:
      rest(key, .failed)
      let failure = SupervisorError.startFailed(child: child.spec.id, error)
      actions.append(.report(child: nil, .escalated(error: failure.message)))
      beginEnding(.failed(failure), now: now)
    case .asked(let isNew):
      rest(key, .failed)
      if isNew || child.spec.restart == .temporary { remove(key) }
    case .restart:
      fail(key, error, now: now)
    }
  }

  mutating func lifeEnded(_ key: UInt64, _ exit: Exit, now: Duration) {
    guard let child = children[key] else { return }
    let error = exit.error
    update(key) {
      if let error { $0.lastError = error }
      if let startedAt = $0.startedAt, now - startedAt >= $0.spec.backoff.resetAfter { $0.attempt = 0 }
    }
    guard isOpen else { return rest(key, error == nil ? .finished : .failed) }
    let restarts =
      switch child.spec.restart {
      case .permanent: true
      case .transient: error != nil
      case .temporary: false
      }
    if restarts { return fail(key, error ?? exit.reason, now: now) }
    rest(key, error == nil ? .finished : .failed)
    if let error { actions.append(.report(child: child.spec.id, .gaveUp(error: error))) }
    if child.spec.restart == .temporary { remove(key) }
    if child.spec.isSignificant { significantChildEnded(now: now) }
  }

  private mutating func significantChildEnded(now: Duration) {
    switch autoShutdown {
    case .never: return
    case .anySignificant: break
    case .allSignificant:
      if children.values.contains(where: { $0.spec.isSignificant && !$0.isResting }) { return }
    }
    beginEnding(.autoShutdown, now: now)
  }

  /// A child that is to be restarted: within the budget by the strategy, beyond it not at all.
  private mutating func fail(_ key: UInt64, _ error: String, now: Duration) {
    guard let child = children[key] else { return }
    if recentRestarts.add(now, period: intensity.period) > intensity.restarts {
      let failure = SupervisorError.intensityExceeded(child: child.spec.id, lastError: error, intensity: intensity)
      rest(key, .failed)
      actions.append(.report(child: nil, .escalated(error: failure.message)))
      beginEnding(.failed(failure), now: now)
      return
    }
    let delay = child.spec.backoff.delay(attempt: child.attempt, using: &random)
    update(key) {
      $0.restarts += 1
      $0.attempt += 1
      $0.startedAt = nil
    }
    actions.append(.report(child: child.spec.id, .restarted(error: error, restarts: child.restarts + 1)))
    if strategy != .oneForOne {
      restartGroup(with: key, delay: delay, now: now)
    } else if delay > .zero {
      update(key) { $0.phase = .backingOff }
      setDeadline(key, now + delay)
    } else {
      launch(key, .restart, now: now)
    }
  }
}

extension SupervisorState.Exit {
  /// What it threw; nil when its end was no failure.
  var error: String? {
    if case .failed(let error) = self { error } else { nil }
  }

  /// For a permanent child, whose every end is one too many.
  var reason: String {
    switch self {
    case .normal: "it returned, though it is permanent"
    case .cancelled: "it was cancelled, though its supervisor did not ask for it"
    case .failed(let error): error
    }
  }
}
