internal import CSSH2
internal import Glibc
internal import Remote

extension SystemConnection {
  /// Puts a command in line for a session. `completion` is called exactly once, on the loop.
  @discardableResult
  func submit(_ job: Job, completion: @escaping (Result<CommandResult, RemoteError>) -> Void) -> MuxSession? {
    guard state == .open else {
      completion(.failure(goneError))
      return nil
    }
    guard queue.count < configuration.waiters else {
      completion(
        .failure(
          RemoteError(.tooManyChannels, phase: .channel, "\(queue.count) commands wait for a channel already.")))
      return nil
    }
    let session = MuxSession(
      line: job.line, isRead: job.isRead, input: job.input, deadline: job.deadline,
      outputLimit: max(0, job.outputLimit),
      errorLimit: max(0, job.errorLimit), completion: completion)
    queue.append(session)
    return session
  }

  /// Gives the caller its answer, once.
  func answer(_ session: MuxSession, _ result: Result<CommandResult, RemoteError>) {
    guard let completion = session.completion else { return }
    session.completion = nil
    loop.cancel(session.timer)
    session.timer = nil
    completion(result)
  }

  /// Answers with an error and gives the session up, whatever stage the command is in.
  func abort(_ session: MuxSession, _ error: RemoteError) {
    guard state == .open, !session.isAnswered else { return }
    answer(session, .failure(error))
    switch session.stage {
    case .queued:
      loop.cancel(session.stageTimer)
      queue.removeAll { $0 === session }
    case .opening: break  // The server must answer first; then it is given up.
    default: beginClose(session)
    }
    pump()
  }

  /// Starts the commands that may have a session.
  func pump() {
    guard !isPumping else { return }
    isPumping = true
    defer { isPumping = false }
    while state == .open, startNext() {}
  }

  private func startNext() -> Bool {
    guard let folder, !mustAwaitFree, !queue.isEmpty else { return false }
    let used = live.count { !$0.isAnswered }
    let closing = live.count - used
    let commands = live.count { !$0.isAnswered && !$0.isRead }
    // With a single session the server may not bear two at once, not even one that is still ending.
    guard (bound == 1 ? live.count : used) < bound, used + closing < 2 * max(bound, 2) else { return false }
    let mayCommand = bound == 1 || commands < bound - 1
    guard let index = queue.firstIndex(where: { mayCommand || $0.isRead }) else { return false }
    let session = queue.remove(at: index)
    loop.cancel(session.stageTimer)
    let code = session.connect(
      to: folder.socket, on: loop, onStop: { [self] in assumeIsolated { $0.end(nil) } },
      onEvent: { [self] in assumeIsolated { $0.advance(session) } })
    if code == EAGAIN {
      // The master has many requests to accept already.
      queue.insert(session, at: 0)
      limitWait(session)
      pause(.milliseconds(5))
      return false
    }
    guard code == 0 else {
      if code == ENOENT || code == ECONNREFUSED {
        // The master is about to end; its end answers.
        queue.insert(session, at: 0)
        limitWait(session)
        pause(.milliseconds(100))
        return false
      }
      answer(
        session,
        .failure(
          RemoteError(
            .tooManyChannels, phase: .channel,
            "No session can be asked of ssh: \(String(cString: strerror(code))).", rawCode: code)))
      return true
    }
    session.stage = .opening
    live.append(session)
    session.stageTimer = timer(configuration.channelOpen, session) { connection, _ in
      connection.metrics.deadPeer("channel_open")
      connection.end(
        RemoteError(
          .timedOut, phase: .channel,
          "The server did not answer a request for a channel within \(connection.configuration.channelOpen)."))
    }
    session.timer = timer(session.deadline, session) { connection, session in
      if session.isRead, session.stage == .running {
        // The files that were read before one hung are worth keeping.
        connection.answer(session, .success(session.result(isTruncated: true)))
        connection.beginClose(session)
        return connection.pump()
      }
      connection.abort(
        session, RemoteError(.timedOut, phase: .command, "The command did not end within \(session.deadline)."))
    }
    advance(session)
    return true
  }

  /// No session is asked for before the time is over.
  private func pause(_ time: Duration) {
    mustAwaitFree = true
    _ = loop.schedule(after: time) {
      self.assumeIsolated { connection in
        connection.mustAwaitFree = false
        connection.pump()
      }
    }
  }

  /// Nobody waits for a session for ever.
  func limitWait(_ session: MuxSession) {
    loop.cancel(session.stageTimer)
    session.stageTimer = timer(configuration.queueWait, session) { connection, session in
      connection.abort(
        session,
        RemoteError(
          .tooManyChannels, phase: .channel,
          "No channel became free within \(connection.configuration.queueWait); \(connection.bound) are allowed."))
    }
  }

  /// Moves one command on as far as it goes without waiting.
  func advance(_ session: MuxSession) {
    guard state == .open, session.stage != .done, session.stage != .queued else { return }
    if session.stage == .opening, !session.send() { session.closeControl() }
    for message in session.messages() {
      switch message {
      case .hello:
        guard session.isAsking else { continue }
        answer(session, .success(session.result(isTruncated: false)))
        free(session)
        return pump()
      case .opened where session.stage == .opening:
        loop.cancel(session.stageTimer)
        session.isOpen = true
        session.stage = .running
        metrics.channelOpened(waited: EventLoop.now() &- session.queuedAt)
        metrics.commandStarted()
        if session.isAnswered { beginClose(session) }
      case .refused(let reason) where session.stage == .opening:
        refuse(session, reason)
        return pump()
      case .exited(let status): session.status = status
      case .opened, .refused, .nonsense:
        return end(
          RemoteError(.protocolError, phase: .connection, "The system's ssh does not answer as its protocol says."))
      }
    }
    if session.stage == .running {
      session.feed()
      let (count, isWhole) = session.collect()
      metrics.bytes(received: UInt64(count), sent: 0)
      if !isWhole {
        answer(session, .success(session.result(isTruncated: true)))
        beginClose(session)
      }
    }
    guard session.hasControlEnded else { return }
    switch session.stage {
    case .opening: masterFails()
    case .running where session.hasOutputEnded: complete(session)
    case .closing: free(session)
    default: break
    }
    pump()
  }

  /// The command has ended, or the connection has.
  private func complete(_ session: MuxSession) {
    guard session.status == nil else {
      answer(session, .success(session.result(isTruncated: false)))
      return free(session)
    }
    let words = "exec request failed on channel"
    if String(decoding: session.errors.prefix(100), as: UTF8.self).hasPrefix(words) {
      answer(session, .failure(RemoteError(.refusedByPolicy, phase: .channel, "The server refuses to run a command.")))
      return free(session)
    }
    // Ended by a signal, of which the master tells nothing; or the master itself is ending. Only one that lives says hello.
    guard !session.isAsking, let folder,
      session.askWhetherAlive(
        at: folder.socket, on: loop, onStop: { [self] in assumeIsolated { $0.end(nil) } },
        onEvent: { [self] in assumeIsolated { $0.advance(session) } })
    else { return masterFails() }
  }

  /// The master no longer serves: its end, which says why, is awaited for a moment.
  private func masterFails() {
    loop.cancel(phaseTimer)
    phaseTimer = loop.schedule(after: .seconds(2)) {
      self.assumeIsolated { connection in
        connection.end(
          RemoteError(.lost, phase: .connection, "The system's ssh no longer serves \(connection.endpoint.host)."))
      }
    }
  }

  /// The server allows no further session: with others in use it has shown us its bound, and the command waits.
  private func refuse(_ session: MuxSession, _ reason: String) {
    loop.cancel(session.timer)
    loop.cancel(session.stageTimer)
    live.removeAll { $0 === session }
    session.reset()
    guard !session.isAnswered else { return }
    session.refusals += 1
    // sshd counts a session for a moment after it has confirmed its end: ask again soon, that is not its bound.
    let isFresh = EventLoop.now() &- lastFreed < 500_000_000
    if isFresh, session.refusals < 6 {
      pause(.milliseconds(2 << session.refusals))
    } else if live.isEmpty {
      return answer(
        session,
        .failure(
          RemoteError(
            .tooManyChannels, phase: .channel,
            "The server refuses a channel although none is open (\(reason)); see MaxSessions in its sshd_config.")))
    } else {
      let usable = live.count { !$0.isZombie }
      guard usable > 0 else {
        queue.insert(session, at: 0)
        return end(
          RemoteError(
            .lost, phase: .connection,
            "Every channel that the server allows is held by a command that was given up and still runs there."))
      }
      bound = max(1, min(bound, usable))
      mustAwaitFree = true
    }
    queue.insert(session, at: 0)
    limitWait(session)
  }

  /// Gives the session up; the caller has its answer. A command that does not end in time keeps its slot there: with a
  /// single slot, or too many of them, the connection ends.
  private func beginClose(_ session: MuxSession) {
    session.stage = .closing
    session.closeStreams()
    loop.cancel(session.stageTimer)
    session.stageTimer = timer(configuration.channelClose, session) { connection, session in
      guard session.stage == .closing else { return }
      session.isZombie = true
      let zombies = connection.live.count { $0.isZombie }
      if connection.bound == 1 || zombies > connection.bound {
        connection.end(
          RemoteError(
            .lost, phase: .connection,
            "The server did not confirm the close of a channel within \(connection.configuration.channelClose): "
              + "a command that was given up may still run there."))
      }
    }
  }

  private func free(_ session: MuxSession) {
    loop.cancel(session.stageTimer)
    if session.isOpen { metrics.channelClosed() }
    session.finish()
    live.removeAll { $0 === session }
    mustAwaitFree = false
    lastFreed = EventLoop.now()
    if bound < configuredBound, session.isZombie { bound += 1 }
  }

  private func timer(
    _ delay: Duration, _ session: MuxSession,
    _ body: @escaping @Sendable (isolated SystemConnection, MuxSession) -> Void
  ) -> TimerQueue.ID {
    loop.schedule(after: delay) {
      // The timer runs on the loop's thread, which is this actor's.
      self.assumeIsolated { body($0, session) }
    }
  }
}
