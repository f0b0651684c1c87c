package import Logging

/// Starts, watches, restarts and stops its children, as Erlang/OTP's supervisor does, without being held up by any.
///
/// Starts, lives and stops of children run in tasks of their own; the supervisor's turn only decides
/// (``SupervisorState``) and hands out. What differs from OTP: a child that failed may rest before it is started again
/// (``Backoff``); a child may be found hung (``ChildSpec/heartbeat``); and since a task cannot be killed, a child that is
/// deaf to cancellation is fenced, abandoned and counted (``Fence``, ``ZombieCounter``).
///
/// The children it is made with start one after the other and stop in reverse order. Children added at run time are
/// dynamic: they start and stop in parallel, and are forgotten when the supervisor ends. It may be run again after its
/// run has ended.
package actor Supervisor: Branch {
  package nonisolated let name: String
  let surroundings: Surroundings
  let timeline: Timeline
  private let specs: [ChildSpec]
  private let board = TreeBoard()

  var state: SupervisorState
  /// By generation; as many as there are children with a life.
  private var lives: [UInt64: Life] = [:]
  /// Generations that were abandoned and have not ended.
  private var zombies: Set<UInt64> = []
  /// Callers that wait; each is one task.
  private var waiters: [UInt64: OneShot<Void>] = [:]
  private var lastWaiter: UInt64 = 0
  private var awaitingUp: [UInt64: OneShot<Void>] = [:]
  private var timer: (task: Task<Void, Never>, deadline: Duration)?
  private var end: OneShot<SupervisorState.Outcome>?
  /// Tells the runs apart, so that the cancellation of an earlier one does not stop a later one.
  private var runNumber: UInt64 = 0
  private var upSince: Duration?

  /// - Parameters:
  ///   - name: what people read in the tree.
  ///   - strategy: whom a failed child takes along. Default: nobody.
  ///   - intensity: how many restarts are borne before this supervisor fails itself. Default: 3 in 5 s.
  ///   - autoShutdown: whether it ends when significant children have ended. Default: never.
  ///   - maximumChildren: how many children, alive or not, it may have; nil: as many as are asked for.
  ///   - children: those it starts with, in this order.
  ///   - surroundings: a nested supervisor takes its ``ChildContext/surroundings``.
  package init(
    _ name: String, strategy: Strategy = .oneForOne, intensity: Intensity = Intensity(),
    autoShutdown: AutoShutdown = .never, maximumChildren: Int? = nil, children: [ChildSpec] = [],
    surroundings: Surroundings
  ) {
    self.name = name
    self.surroundings = surroundings.path.isEmpty ? surroundings.below(name) : surroundings
    timeline = Timeline(surroundings.clock)
    specs = children
    state = SupervisorState(
      name: name, strategy: strategy, intensity: intensity, autoShutdown: autoShutdown,
      maximumChildren: maximumChildren, seed: surroundings.seed)
    let node = TreeNode(name: name, id: name, kind: .supervisor, state: .stopped)
    board.show(own: .init(node: node), changed: [])
  }

  /// A root with surroundings of its own.
  package init(
    _ name: String, strategy: Strategy = .oneForOne, intensity: Intensity = Intensity(),
    autoShutdown: AutoShutdown = .never, maximumChildren: Int? = nil, children: [ChildSpec] = [],
    clock: any Clock<Duration>, logger: Logger
  ) {
    self.init(
      name, strategy: strategy, intensity: intensity, autoShutdown: autoShutdown, maximumChildren: maximumChildren,
      children: children, surroundings: Surroundings(clock: clock, logger: logger))
  }

  /// Starts the children and looks after them until it is cancelled or stopped, or significant children have ended.
  /// All children have ended, or were abandoned, when it returns or throws.
  /// - Throws: ``SupervisorError``: `intensityExceeded`, `startFailed`, `badSpecification`, `tooManyChildren`, or
  ///   `alreadyRunning`.
  package func run() async throws {
    if end != nil { throw SupervisorError.alreadyRunning(name) }
    let actions = try state.begin(specs, now: timeline.now())
    let end = OneShot<SupervisorState.Outcome>()
    self.end = end
    runNumber += 1
    let run = runNumber
    perform(actions)
    let outcome = try await withTaskCancellationHandler {
      try await end.value()
    } onCancel: {
      // Only carries the word into this actor; the run it speaks of waits above.
      Task { await self.stop(run: run) }
    }
    if case .failed(let error) = outcome { throw error }
  }

  /// Stops the children and ends the run, as its cancellation would. Returns at once.
  package func stop() { stop(run: runNumber) }

  private func stop(run: UInt64) {
    if run == runNumber { perform(state.stop(now: timeline.now())) }
  }

  /// Waits until the first children have started; at once when they have.
  /// - Throws: `CancellationError` when the waiting task is cancelled.
  package func ready() async throws {
    if state.mode == .up { return }
    let (id, waiter) = makeWaiter()
    awaitingUp[id] = waiter
    defer { awaitingUp[id] = nil }
    try await waiter.cancellableValue()
  }

  /// The tree from here down, as it is now. Waits for no child and for no supervisor.
  package nonisolated func snapshot() -> TreeNode { board.snapshot(now: timeline.now()) }

  // MARK: Children at run time

  /// Adds a dynamic child and waits until it has started or said that there is nothing to do.
  /// - Throws: ``SupervisorError``: `startFailed` (the child is forgotten), `badSpecification`, `alreadyPresent`,
  ///   `alreadyStarted`, `tooManyChildren`, `terminated`, `isRestarting` (its group failed meanwhile and takes it along),
  ///   `notRunning`; `CancellationError` when the caller is cancelled, while the start goes on.
  package func startChild(_ spec: ChildSpec) async throws {
    try await request { state, waiter, now throws(SupervisorError) in try state.add(spec, waiter: waiter, now: now) }
  }

  /// Stops a child and waits until it has ended or was abandoned. A temporary child is forgotten; another rests, and
  /// starts again by ``restartChild(_:)`` or with its group.
  /// - Throws: ``SupervisorError``: `unknownChild`; `CancellationError` as ``startChild(_:)``.
  package func terminateChild(_ id: String) async throws {
    try await request { state, waiter, now throws(SupervisorError) in
      try state.terminate(id, isForgotten: false, waiter: waiter, now: now)
    }
  }

  /// Stops a child, waits as ``terminateChild(_:)``, and forgets it.
  /// - Throws: as ``terminateChild(_:)``.
  package func removeChild(_ id: String) async throws {
    try await request { state, waiter, now throws(SupervisorError) in
      try state.terminate(id, isForgotten: true, waiter: waiter, now: now)
    }
  }

  /// Starts a child that has no life, and waits for it.
  /// - Throws: ``SupervisorError``: `unknownChild`, `alreadyStarted`, `isRestarting`, `startFailed` (the child stays,
  ///   without a life), `terminated`, `notRunning`; `CancellationError` as ``startChild(_:)``.
  package func restartChild(_ id: String) async throws {
    try await request { state, waiter, now throws(SupervisorError) in
      try state.restart(id, waiter: waiter, now: now)
    }
  }

  /// Forgets a child that has no life.
  /// - Throws: ``SupervisorError``: `unknownChild`, `alreadyStarted`, `isRestarting`.
  package func deleteChild(_ id: String) throws {
    perform(try state.delete(id, now: timeline.now()))
  }

  /// Changes a child's specification, known by its `id`. With an equal digest its life goes on under the new rules;
  /// with another it is stopped and started anew in its place, which counts as no restart. In the middle of its group's
  /// restart the call returns at once, and the child starts with the new specification when its turn comes.
  /// - Throws: ``SupervisorError``: `unknownChild`, `badSpecification`, `startFailed` (the child stays, without a life),
  ///   `terminated`, `notRunning`; `CancellationError` as ``startChild(_:)``.
  package func replace(_ spec: ChildSpec) async throws {
    try await request { state, waiter, now throws(SupervisorError) in
      try state.replace(spec, waiter: waiter, now: now)
    }
  }

  /// Changes the rules of this supervisor; nil leaves one as it is. Lives go on.
  /// - Throws: ``SupervisorError`` `badSpecification`, and nothing was changed.
  package func reconfigure(
    strategy: Strategy? = nil, intensity: Intensity? = nil, autoShutdown: AutoShutdown? = nil
  ) throws {
    perform(
      try state.reconfigure(
        strategy: strategy, intensity: intensity, autoShutdown: autoShutdown, now: timeline.now()))
  }

  package func count() -> ChildCount { state.childCount }

  /// In the order of their start.
  package func children() -> [ChildInfo] {
    state.children.sorted { $0.key < $1.key }.map(\.value.info)
  }

  private func request(
    _ decide: (inout SupervisorState, UInt64, Duration) throws(SupervisorError) -> [SupervisorState.Action]
  ) async throws {
    let (id, waiter) = makeWaiter()
    let actions = try decide(&state, id, timeline.now())
    waiters[id] = waiter
    defer { waiters[id] = nil }
    perform(actions)
    try await waiter.cancellableValue()
  }

  private func makeWaiter() -> (UInt64, OneShot<Void>) {
    lastWaiter += 1
    return (lastWaiter, OneShot())
  }

  // MARK: Acting

  private func perform(_ actions: [SupervisorState.Action]) {
    for action in actions { perform(action) }
    show()
    setTimer()
  }

  private func perform(_ action: SupervisorState.Action) {
    switch action {
    case .start(let key, let generation, let spec):
      lives[generation] = Life(key: key, generation: generation, spec: spec, supervisor: self)
    case .cancel(let generation):
      lives[generation]?.task.cancel()
    case .revoke(let generation):
      lives[generation]?.context.fence.revoke()
    case .abandon(_, let generation, let child):
      lives.removeValue(forKey: generation)?.context.fence.revoke()
      zombies.insert(generation)
      let count = surroundings.zombies.add()
      report(child, .abandoned(zombies: count))
      if surroundings.zombies.isOverLimit { report(child, .zombieLimit(zombies: count)) }
    case .answer(let id, let error):
      waiters[id]?.fulfil(error.map { .failure($0) } ?? .success(()))
    case .report(let child, let kind):
      report(child, kind)
    case .becameUp:
      upSince = timeline.now()
      for waiter in awaitingUp.values { waiter.fulfil(.success(())) }
    case .finish(let outcome):
      upSince = nil
      timer?.task.cancel()
      timer = nil
      end?.fulfil(.success(outcome))
      end = nil
    }
  }

  private func report(_ child: String?, _ kind: SupervisionEvent.Kind) {
    let event = SupervisionEvent(path: surroundings.path + (child.map { [$0] } ?? []), kind: kind)
    event.log(to: surroundings.logger)
    surroundings.observe(event)
  }

  private func show() {
    let changed = state.changed.map { key in (key, state.children[key].map(row)) }
    state.changed.removeAll(keepingCapacity: changed.count <= 64)
    var node = TreeNode(name: name, id: name, kind: .supervisor, state: .stopped, zombies: zombies.count)
    switch state.mode {
    case .idle, .ended(.stopped): node.state = .stopped
    case .booting: node.state = .starting
    case .up: node.state = .running
    case .stopping: node.state = .stopping
    case .ended(.autoShutdown): node.state = .finished
    case .ended(.failed(let error)):
      node.state = .failed
      node.lastError = error.message
    }
    board.show(own: .init(node: node, startedAt: upSince), changed: changed)
  }

  private func row(_ child: ChildRecord) -> TreeBoard.Row {
    let node = TreeNode(
      name: child.spec.name, id: child.spec.id, kind: child.spec.kind, state: child.state, restarts: child.restarts,
      lastError: child.lastError)
    return .init(node: node, startedAt: child.startedAt, branch: lives[child.generation]?.branch)
  }

  // MARK: Time

  /// One sleeping task a supervisor, whatever the number of its children.
  private func setTimer() {
    guard end != nil, let deadline = state.nextDeadline else { return }
    if let timer, timer.deadline <= deadline { return }
    timer?.task.cancel()
    let timeline = timeline
    let task = Task.detached { [weak self] in
      do { try await timeline.sleep(deadline) } catch { return }
      await self?.timerFired(deadline)
    }
    timer = (task, deadline)
  }

  private func timerFired(_ deadline: Duration) {
    // A timer that was replaced may still have fired; what is due then is due all the same.
    if timer?.deadline == deadline { timer = nil }
    perform(
      state.deadlinesPassed(now: timeline.now()) { generation in lives[generation]?.context.pulse.lastBeat })
  }

  // MARK: Words from the children's tasks

  func started(_ key: UInt64, _ generation: UInt64, branch: (any Branch)?) {
    lives[generation]?.branch = branch
    perform(state.started(key, generation, now: timeline.now()))
  }

  func ignored(_ key: UInt64, _ generation: UInt64) {
    buried(generation)
    perform(state.ignored(key, generation, now: timeline.now()))
  }

  func exited(_ key: UInt64, _ generation: UInt64, _ exit: SupervisorState.Exit) {
    buried(generation)
    perform(state.exited(key, generation, exit, now: timeline.now()))
  }

  private func buried(_ generation: UInt64) {
    lives.removeValue(forKey: generation)?.context.fence.revoke()
    if zombies.remove(generation) != nil { surroundings.zombies.remove() }
  }
}
