/// Keeps a supervisor's dynamic children equal to what is desired.
///
/// Each round reads the desired children, starts what is missing, gives what changed its digest a new life, stops and
/// forgets what is surplus, starts again what is present but dead, and leaves the rest alone. Nothing that goes wrong
/// ends it: a failing read keeps what runs, and each failure is reported.
package actor Populator: Supervised {
  /// When a round takes place.
  package enum Form: Sendable, Equatable {
    /// Every `step`, and on every poke.
    case looper(step: Duration)
    /// Only on a poke.
    case receiver
    /// Never; what is there stays.
    case stationary
  }

  package struct Settings: Sendable, Equatable {
    package var form: Form
    /// After so many rounds the life is done; nil: never.
    package var maximumLoops: Int?

    package init(form: Form = .looper(step: .seconds(30)), maximumLoops: Int? = nil) {
      self.form = form
      self.maximumLoops = maximumLoops
    }
  }

  /// How many children are started or stopped at once; a slow one holds up only its place.
  package static let parallelChanges = 64

  private let supervisor: Supervisor
  private let surroundings: Surroundings
  private let desired: @Sendable () async throws -> [ChildSpec]
  private var settings: Settings
  private var isPoked = false
  private var bell: OneShot<Void>?
  /// Rounds completed in this run.
  package private(set) var loops = 0

  /// - Parameters:
  ///   - supervisor: whose dynamic children these are. It may be restarted; the populator waits for it to be up.
  ///   - settings: default: a round every 30 s.
  ///   - surroundings: its clock, and the observer that hears `populationFailed`.
  ///   - desired: reads the children that should be there.
  package init(
    of supervisor: Supervisor, settings: Settings = Settings(), surroundings: Surroundings,
    desired: @escaping @Sendable () async throws -> [ChildSpec]
  ) {
    self.supervisor = supervisor
    self.settings = settings
    self.surroundings = surroundings
    self.desired = desired
  }

  /// Asks for a round as soon as possible. Pokes during a round become one more round.
  package func poke() {
    isPoked = true
    ring()
  }

  /// Takes effect at once; a round under way is finished first.
  package func update(_ settings: Settings) {
    self.settings = settings
    ring()
  }

  private func ring() { bell?.fulfil(.success(())) }

  package func run() async throws {
    loops = 0
    let timeline = Timeline(surroundings.clock)
    /// When the last round began; nil makes the first round of a looper due at once.
    var last: Duration?
    while settings.maximumLoops.map({ loops < $0 }) ?? true {
      try Task.checkCancellation()
      if isDue(last, now: timeline.now()) {
        isPoked = false
        last = timeline.now()
        try await populate()
        loops += 1
      } else {
        try await wait(timeline, since: last)
      }
    }
  }

  private func isDue(_ last: Duration?, now: Duration) -> Bool {
    switch settings.form {
    case .stationary: false
    case .receiver: isPoked
    case .looper(let step): isPoked || last.map { now - $0 >= step } ?? true
    }
  }

  /// Until the step is over, somebody pokes, or the settings change.
  private func wait(_ timeline: Timeline, since last: Duration?) async throws {
    let bell = OneShot<Void>()
    self.bell = bell
    defer { self.bell = nil }
    var timer: Task<Void, Never>?
    if case .looper(let step) = settings.form, let last {
      let limit = min(max(step, .milliseconds(1)), Bounds.longest)
      timer = Task.detached {
        do { try await timeline.sleep(last + limit) } catch { return }
        bell.fulfil(.success(()))
      }
    }
    defer { timer?.cancel() }
    try await bell.cancellableValue()
  }

  /// One round.
  /// - Throws: only `CancellationError`, when this life is to end.
  private func populate() async throws {
    try await supervisor.ready()
    let plan: PopulationPlan
    do {
      let desired = try await desired()
      plan = PopulationPlan(desired: desired, present: await supervisor.children())
    } catch {
      try Task.checkCancellation()
      return report("the desired children could not be read: \(error)")
    }
    for id in plan.duplicates { report("\"\(id)\" is desired twice; the first one counts") }
    let supervisor = supervisor
    // Surplus first, so that their places are free below a maximum of children.
    await change(plan.remove) { id in
      do { try await supervisor.removeChild(id) } catch let error as SupervisorError where error.code == .unknownChild {
        // A temporary child has gone with its life meanwhile.
      }
    }
    await change(plan.replace) { try await supervisor.replace($0) }
    await change(plan.restart) { try await supervisor.restartChild($0) }
    await change(plan.start) { try await supervisor.startChild($0) }
    try Task.checkCancellation()
  }

  private func change<Item: Sendable>(
    _ items: [Item], _ body: @escaping @Sendable (Item) async throws -> Void
  ) async {
    await withTaskGroup(of: String?.self) { group in
      var waiting = items.makeIterator()
      func next() {
        guard let item = waiting.next() else { return }
        group.addTask {
          do { try await body(item) } catch { return Task.isCancelled ? nil : "\(error)" }
          return nil
        }
      }
      for _ in 0..<Self.parallelChanges { next() }
      while let problem = await group.next() {
        if let problem { report(problem) }
        next()
      }
    }
  }

  private func report(_ problem: String) {
    let event = SupervisionEvent(path: surroundings.path, kind: .populationFailed(error: problem))
    event.log(to: surroundings.logger)
    surroundings.observe(event)
  }
}
