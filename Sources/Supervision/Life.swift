/// The task of one child from its start to its end.
struct Life {
  let context: ChildContext
  let task: Task<Void, Never>
  /// The child's own part of the tree, once it has started.
  var branch: (any Branch)?

  /// Starts it. The supervisor owns the task: it cancels it, and lets go of it only at its end or by abandoning it.
  init(key: UInt64, generation: UInt64, spec: ChildSpec, supervisor: Supervisor) {
    let context = ChildContext(
      fence: Fence(generation: generation), surroundings: supervisor.surroundings.below(spec.id),
      pulse: Pulse(supervisor.timeline))
    self.context = context
    // Detached: a child inherits neither priority nor task-locals of whoever asked for it.
    task = Task.detached(executorPreference: spec.executor) {
      let exit: SupervisorState.Exit
      do {
        guard let life = try await spec.start(context) else { return await supervisor.ignored(key, generation) }
        if !Task.isCancelled {
          await supervisor.started(key, generation, branch: life as? any Branch)
          try await life.run()
        }
        exit = .normal
      } catch is CancellationError {
        exit = .cancelled
      } catch {
        exit = .failed(Self.text(of: error))
      }
      await supervisor.exited(key, generation, exit)
    }
  }

  /// Errors come from anywhere: what is kept of one is bounded.
  private static func text(of error: any Error) -> String { String("\(error)".prefix(500)) }
}
