/// How one child is started, watched, stopped and restarted.
///
/// Its identity is `id` together with `digest`: an equal `id` with another `digest` is the same child with other content,
/// and ``Supervisor/replace(_:)`` gives it a new life.
package struct ChildSpec: Sendable {
  package enum Kind: String, Sendable, Codable {
    case worker
    case supervisor
  }

  /// Unique among siblings, not empty.
  package var id: String
  /// A digest of what the child was made from; empty when it never changes.
  package var digest: String
  /// What people read in the tree; the `id` unless given.
  package var name: String
  package var kind: Kind
  package var restart: Restart
  package var shutdown: Shutdown
  /// Not with ``Restart/permanent``, and only below a supervisor whose ``AutoShutdown`` is not `never`.
  package var isSignificant: Bool
  package var backoff: Backoff
  /// A child that does not call ``ChildContext/beat()`` within this time, counted from its start, has hung: it is
  /// stopped and restarted as after an error. Nil: not watched.
  package var heartbeat: Duration?
  /// `start` has hung when it takes longer. Default 30 s.
  package var startDeadline: Duration
  /// Where the child's tasks run; nil: the cooperative pool. For a child that may block its thread.
  package var executor: (any TaskExecutor)?
  /// Makes the life. Nil means that there is nothing to do ("ignore"): the specification stays, without a life.
  /// Runs outside the supervisor's turn. Success means "is trying", not "is connected".
  package var start: @Sendable (ChildContext) async throws -> (any Supervised)?

  /// - Parameter shutdown: nil: 5 s for a worker, unlimited for a supervisor.
  package init(
    id: String, digest: String = "", name: String? = nil, kind: Kind = .worker, restart: Restart = .permanent,
    shutdown: Shutdown? = nil, isSignificant: Bool = false, backoff: Backoff = .none, heartbeat: Duration? = nil,
    startDeadline: Duration = .seconds(30), executor: (any TaskExecutor)? = nil,
    start: @escaping @Sendable (ChildContext) async throws -> (any Supervised)?
  ) {
    self.id = id
    self.digest = digest
    self.name = name ?? id
    self.kind = kind
    self.restart = restart
    self.shutdown = shutdown ?? (kind == .supervisor ? .unlimited : .standard)
    self.isSignificant = isSignificant
    self.backoff = backoff
    self.heartbeat = heartbeat
    self.startDeadline = startDeadline
    self.executor = executor
    self.start = start
  }

  /// Refuses what could never work, with what is wrong and what would be right.
  /// - Throws: ``SupervisorError`` with the code `badSpecification`.
  func check(below autoShutdown: AutoShutdown) throws(SupervisorError) {
    if let problem = problem(below: autoShutdown) { throw .badSpecification(child: id, problem) }
  }

  private func problem(below autoShutdown: AutoShutdown) -> String? {
    if id.isEmpty { return "its id is empty; give a name that is unique among its siblings" }
    if isSignificant && restart == .permanent {
      return "it is significant and permanent; a significant child must be transient or temporary"
    }
    if isSignificant && autoShutdown == .never {
      return "it is significant, but its supervisor's autoShutdown is never; set anySignificant or allSignificant"
    }
    if case .deadline(let limit) = shutdown,
      let problem = Bounds.problem(of: limit, "the shutdown deadline", isZeroAllowed: true)
    {
      return problem
    }
    return Bounds.problem(of: heartbeat, "heartbeat") ?? Bounds.problem(of: startDeadline, "startDeadline")
      ?? backoff.problem
  }
}
