/// What a supervisor knows of one child.
struct ChildRecord {
  /// Why a child has no life and gets none by itself.
  enum Rest {
    case stopped, ignored, failed, finished
  }

  /// On whose behalf a start happens, which decides what its failure means.
  enum StartCause: Equatable {
    /// The supervisor comes up: failure ends the supervisor.
    case initial
    /// Somebody asked: failure goes to them; a new child is forgotten, an old one rests.
    case asked(isNew: Bool)
    /// After a failure: the next one is a failure like any other.
    case restart
  }

  /// What becomes of a child once it has stopped.
  enum AfterStop: Equatable {
    case rest
    case forget
    /// It takes its turn in the group that restarts.
    case queue
    /// Its specification was replaced: it starts again at once.
    case start
    /// It had hung: treated as an error, during its start or its run.
    case fail(StartCause?, String)
  }

  enum Phase: Equatable {
    /// No life; only a request, or a group's restart, leads on to `queued` or `starting`.
    case resting(Rest)
    /// Waits for its turn in an ordered start; then `starting`.
    case queued
    /// `start` runs; then `running`, `resting(.ignored)`, `stopping`, or a failure.
    case starting(StartCause)
    /// Then `stopping`, or the end of its life.
    case running
    /// Failed, waits until its deadline; then `starting` or `queued`.
    case backingOff
    /// Cancelled; ends by itself or is abandoned at its deadline.
    case stopping(AfterStop)
  }

  /// Also the order of the children: a later child has a greater key.
  let key: UInt64
  var spec: ChildSpec
  let isDynamic: Bool
  var phase = Phase.resting(.stopped)
  /// Of its present or last life; 0 before the first.
  var generation: UInt64 = 0
  /// The one thing it waits for: end of `start`, next beat, end of stop, or end of back-off.
  var deadline: Duration?
  var startedAt: Duration?
  var restarts = 0
  /// Failures in a row, for the back-off.
  var attempt = 0
  var lastError: String?
  /// Bounded by the tasks that wait in a call of their own; every one is answered when the supervisor ends.
  var startWaiters: [UInt64] = []
  var stopWaiters: [UInt64] = []

  init(key: UInt64, spec: ChildSpec, isDynamic: Bool) {
    self.key = key
    self.spec = spec
    self.isDynamic = isDynamic
  }

  var isAlive: Bool {
    switch phase {
    case .starting, .running, .stopping: true
    case .resting, .queued, .backingOff: false
    }
  }

  var isResting: Bool {
    if case .resting = phase { true } else { false }
  }

  var state: TreeNode.State {
    switch phase {
    case .resting(.stopped): .stopped
    case .resting(.ignored): .ignored
    case .resting(.failed): .failed
    case .resting(.finished): .finished
    case .queued: generation == 0 ? .starting : .restarting
    case .starting(.restart): .restarting
    case .starting: .starting
    case .running: .running
    case .backingOff: .backingOff
    case .stopping: .stopping
    }
  }

  var info: ChildInfo {
    ChildInfo(
      id: spec.id, digest: spec.digest, kind: spec.kind, restart: spec.restart, isSignificant: spec.isSignificant,
      isDynamic: isDynamic, state: state, restarts: restarts, lastError: lastError)
  }
}
