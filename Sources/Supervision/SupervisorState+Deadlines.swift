/// What follows when time has passed.
extension SupervisorState {
  /// - Parameter lastBeat: when the life of that generation last said that it is alive.
  mutating func deadlinesPassed(now: Duration, lastBeat: (UInt64) -> Duration?) -> [Action] {
    while let entry = deadlines.first, entry.deadline <= now {
      deadlines.removeFirst()
      guard let child = children[entry.key], child.deadline == entry.deadline else { continue }
      update(entry.key) { $0.deadline = nil }
      switch child.phase {
      case .starting(let cause):
        hang(child, limit: child.spec.startDeadline, cause, now: now)
      case .running:
        guard let heartbeat = child.spec.heartbeat else { break }
        let due = max(lastBeat(child.generation) ?? .zero, child.startedAt ?? .zero) + heartbeat
        if due > now { setDeadline(child.key, due) } else { hang(child, limit: heartbeat, nil, now: now) }
      case .stopping(let after):
        actions.append(.abandon(key: child.key, generation: child.generation, child: child.spec.id))
        settle(child.key, after, now: now)
      case .backingOff:
        if !isOpen { break }
        if strategy == .oneForOne {
          launch(child.key, .restart, now: now)
        } else {
          update(child.key) { $0.phase = .queued }
          if group == nil { group = GroupRestart(members: [child.key], stage: .resting) }
        }
      case .resting, .queued:
        break
      }
    }
    return proceed(now)
  }

  private mutating func hang(
    _ child: ChildRecord, limit: Duration, _ cause: ChildRecord.StartCause?, now: Duration
  ) {
    let error = cause == nil ? "hung: no beat within \(limit)" : "hung: its start took longer than \(limit)"
    update(child.key) { $0.phase = .stopping(.fail(cause, error)) }
    actions.append(.report(child: child.spec.id, .hung(limit: limit)))
    cancel(child.key, hasHung: true, now: now)
  }
}
