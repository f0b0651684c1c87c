/// Every decision of a supervisor; knows no task, no clock and no lock.
///
/// Each mutating function takes what happened and the time, and returns what is to be done, in order. The decisions are
/// spread over: requests (`+Requests`), ends of lives (`+Ends`), deadlines (`+Deadlines`), ordered stop and
/// group restart (`+Order`).
struct SupervisorState {
  /// How a run ends.
  enum Outcome: Equatable {
    /// Somebody asked for it.
    case stopped
    /// Significant children have ended.
    case autoShutdown
    case failed(SupervisorError)
  }

  enum Mode: Equatable {
    /// Before the first run; then `booting`.
    case idle
    /// The first children start, in order; then `up` or `stopping`.
    case booting
    case up
    /// The children stop; then `ended`.
    case stopping(Outcome)
    /// May be begun again, with the children it was made with.
    case ended(Outcome)
  }

  enum Action {
    case start(key: UInt64, generation: UInt64, ChildSpec)
    case cancel(generation: UInt64)
    /// The fence falls though the life goes on.
    case revoke(generation: UInt64)
    case abandon(key: UInt64, generation: UInt64, child: String)
    case answer(waiter: UInt64, SupervisorError?)
    /// `child` nil: the supervisor itself.
    case report(child: String?, SupervisionEvent.Kind)
    case becameUp
    case finish(Outcome)
  }

  /// How a life ended.
  enum Exit {
    case normal
    /// It threw `CancellationError`.
    case cancelled
    case failed(String)
  }

  let name: String
  var strategy: Strategy
  var intensity: Intensity
  var autoShutdown: AutoShutdown
  var maximumChildren: Int?

  var mode = Mode.idle
  var children: [UInt64: ChildRecord] = [:]
  var keys: [String: UInt64] = [:]
  /// Those whose row in the tree is out of date.
  var changed: Set<UInt64> = []
  var actions: [Action] = []
  var deadlines = DeadlineQueue()
  var recentRestarts = RestartWindow()
  var group: GroupRestart?
  var ending: OrderedStop?
  var random: SplitMix64
  private var lastKey: UInt64 = 0
  /// Never starts again, so that a late word from an earlier run finds nobody.
  private var lastGeneration: UInt64 = 0

  init(
    name: String, strategy: Strategy, intensity: Intensity, autoShutdown: AutoShutdown, maximumChildren: Int?,
    seed: UInt64
  ) {
    self.name = name
    self.strategy = strategy
    self.intensity = intensity
    self.autoShutdown = autoShutdown
    self.maximumChildren = maximumChildren
    random = SplitMix64(seed: seed)
  }

  /// Whether children may still be started.
  var isOpen: Bool { mode == .booting || mode == .up }

  /// The next time at which `deadlinesPassed` may have something to do; at times earlier than needed.
  var nextDeadline: Duration? { deadlines.first?.deadline }

  // MARK: The supervisor's own life

  mutating func begin(_ specs: [ChildSpec], now: Duration) throws(SupervisorError) -> [Action] {
    try check(specs)
    changed.formUnion(children.keys)
    children = [:]
    keys = [:]
    deadlines = DeadlineQueue()
    recentRestarts = RestartWindow()
    ending = nil
    mode = .booting
    var members: Set<UInt64> = []
    for spec in specs {
      let key = insert(spec, isDynamic: false)
      update(key) { $0.phase = .queued }
      members.insert(key)
    }
    group = GroupRestart(members: members, stage: .resting)
    return proceed(now)
  }

  mutating func stop(now: Duration) -> [Action] {
    beginEnding(.stopped, now: now)
    return proceed(now)
  }

  /// Nothing was started yet, and the figures are refused before anything is.
  private func check(_ specs: [ChildSpec]) throws(SupervisorError) {
    try check(intensity)
    var ids: Set<String> = []
    for spec in specs {
      try spec.check(below: autoShutdown)
      if !ids.insert(spec.id).inserted {
        throw .badSpecification(child: spec.id, "its id is given twice; give a name that is unique among its siblings")
      }
    }
    if let maximumChildren, specs.count > maximumChildren { throw .tooManyChildren(maximumChildren) }
  }

  func check(_ intensity: Intensity) throws(SupervisorError) {
    let problem =
      Bounds.problem(of: intensity.period, "intensity.period")
      ?? (intensity.restarts < 0 ? "intensity.restarts is \(intensity.restarts); give 0 or more" : nil)
    if let problem {
      throw SupervisorError(.badSpecification, "bad specification of supervisor \"\(name)\": \(problem)")
    }
  }

  mutating func beginEnding(_ outcome: Outcome, now: Duration) {
    guard isOpen else { return }
    mode = .stopping(outcome)
    group = nil
    var plan = OrderedStop()
    for key in children.keys.sorted() {
      guard let child = children[key] else { continue }
      for waiter in child.startWaiters { actions.append(.answer(waiter: waiter, .notRunning(name))) }
      update(key) { $0.startWaiters = [] }
      if !child.isDynamic {
        plan.sequence.append(key)
      } else if beginStop(key, after: .rest, now: now) {
        plan.outstanding.insert(key)
      }
    }
    ending = plan
  }

  /// Goes on with what is in progress, and hands out what is to be done.
  mutating func proceed(_ now: Duration) -> [Action] {
    if case .stopping(let outcome) = mode {
      if advanceEnding(now) {
        mode = .ended(outcome)
        for child in children.values {
          for waiter in child.stopWaiters { actions.append(.answer(waiter: waiter, nil)) }
          for waiter in child.startWaiters { actions.append(.answer(waiter: waiter, .notRunning(name))) }
        }
        actions.append(.finish(outcome))
      }
    } else if isOpen {
      advanceGroup(now)
    }
    defer { actions.removeAll(keepingCapacity: actions.capacity <= 64) }
    return actions
  }

  // MARK: Records

  mutating func insert(_ spec: ChildSpec, isDynamic: Bool) -> UInt64 {
    lastKey += 1
    children[lastKey] = ChildRecord(key: lastKey, spec: spec, isDynamic: isDynamic)
    keys[spec.id] = lastKey
    changed.insert(lastKey)
    return lastKey
  }

  mutating func remove(_ key: UInt64) {
    guard let child = children.removeValue(forKey: key) else { return }
    keys[child.spec.id] = nil
    changed.insert(key)
    for waiter in child.stopWaiters { actions.append(.answer(waiter: waiter, nil)) }
    for waiter in child.startWaiters { actions.append(.answer(waiter: waiter, .terminated(child.spec.id))) }
  }

  /// Changes a record in place.
  mutating func update(_ key: UInt64, _ change: (inout ChildRecord) -> Void) {
    guard let index = children.index(forKey: key) else { return }
    change(&children.values[index])
    changed.insert(key)
  }

  mutating func setDeadline(_ key: UInt64, _ deadline: Duration?) {
    update(key) { $0.deadline = deadline }
    guard let deadline else { return }
    deadlines.insert(.init(deadline: deadline, key: key))
    if deadlines.count > 2 * children.count + 64 {
      deadlines.compact { [children] in children[$0.key]?.deadline == $0.deadline }
    }
  }

  mutating func launch(_ key: UInt64, _ cause: ChildRecord.StartCause, now: Duration) {
    guard let spec = children[key]?.spec else { return }
    lastGeneration += 1
    let generation = lastGeneration
    update(key) {
      $0.phase = .starting(cause)
      $0.generation = generation
      $0.startedAt = nil
    }
    setDeadline(key, now + spec.startDeadline)
    actions.append(.start(key: key, generation: generation, spec))
  }

  /// The child has no life now and gets none by itself. Answers whoever waits for its end, and for its start.
  mutating func rest(_ key: UInt64, _ rest: ChildRecord.Rest) {
    guard let child = children[key] else { return }
    update(key) {
      $0.phase = .resting(rest)
      $0.deadline = nil
      $0.startedAt = nil
      $0.startWaiters = []
      $0.stopWaiters = []
    }
    for waiter in child.stopWaiters { actions.append(.answer(waiter: waiter, nil)) }
    let error: SupervisorError? =
      switch rest {
      case .ignored: nil
      case .failed: .startFailed(child: child.spec.id, child.lastError ?? "its life ended")
      case .stopped, .finished: .terminated(child.spec.id)
      }
    for waiter in child.startWaiters { actions.append(.answer(waiter: waiter, error)) }
  }
}

/// A small generator that a seed repeats; the standard one cannot be seeded.
struct SplitMix64: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var bits = state
    bits = (bits ^ (bits >> 30)) &* 0xbf58_476d_1ce4_e5b9
    bits = (bits ^ (bits >> 27)) &* 0x94d0_49bb_1331_11eb
    return bits ^ (bits >> 31)
  }
}
