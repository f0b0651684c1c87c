internal import CSSH2
internal import Glibc
internal import Remote

extension Connection {
  /// Puts a command in line for a channel. `completion` is called exactly once, on the loop.
  @discardableResult
  func submit(
    line: [UInt8], isRead: Bool, input: [UInt8], deadline: Duration, outputLimit: Int, errorLimit: Int,
    completion: @escaping (Result<CommandResult, RemoteError>) -> Void
  ) -> Exec? {
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
    let exec = Exec(
      id: nextID(), line: line, isRead: isRead, input: input, deadline: deadline, outputLimit: outputLimit,
      errorLimit: errorLimit, completion: completion)
    queue.append(exec)
    return exec
  }

  /// Gives the caller its answer, once.
  func answer(_ exec: Exec, _ result: Result<CommandResult, RemoteError>) {
    guard let completion = exec.completion else { return }
    exec.completion = nil
    loop.cancel(exec.timer)
    exec.timer = nil
    completion(result)
  }

  /// Answers with an error and gives the channel up, whatever stage the command is in.
  func abort(_ exec: Exec, _ error: RemoteError) {
    guard state == .open, !exec.isAnswered else { return }
    if let command = exec.handedOver { return cancel(command, error) }
    answer(exec, .failure(error))
    switch exec.stage {
    case .queued:
      loop.cancel(exec.stageTimer)
      queue.removeAll { $0 === exec }
    case .opening: break  // The library must finish opening it; then it is closed.
    default: beginClose(exec)
    }
    pump()
  }

  // MARK: pump

  /// Moves every command on as far as it goes without waiting. Called after every event, timer and new command.
  ///
  /// Reading one channel takes the other channels' packets off the socket, so an event never tells which channel moved:
  /// all are walked, again and again while bytes came in or something moved.
  func pump() {
    guard state == .open, !isPumping, let context else { return }
    isPumping = true
    defer { isPumping = false }
    do throws(RemoteError) {
      var again = true
      while again {
        let before = context.pointee.received
        again = try startNext()
        if try pumpTunnels() { again = true }
        for exec in live where try step(exec) { again = true }
        if live.contains(where: { $0.stage == .done }) { live.removeAll { $0.stage == .done } }
        if context.pointee.received != before { again = true }
      }
      wakeTunnels()
    } catch {
      isPumping = false
      end(error)
    }
  }

  /// One call of the library, if the session's write turn allows it.
  func attempt(_ exec: Exec, _ operation: Exec.Operation) -> Int {
    if let turn, turn.exec !== exec || turn.operation != operation { return Int(LIBSSH2_ERROR_EAGAIN) }
    let code = exec.perform(operation, into: loop.readBuffer)
    settleTurn(exec, operation, isBlocked: code == Int(LIBSSH2_ERROR_EAGAIN))
    return code
  }

  func settleTurn(_ exec: Exec, _ operation: Exec.Operation, isBlocked: Bool) {
    if isBlocked, let session, libssh2_session_block_directions(session) & LIBSSH2_SESSION_BLOCK_OUTBOUND != 0 {
      if turn == nil { turn = (exec, operation) }
    } else {
      turn = nil
    }
  }

  /// Moves one command on. Returns whether it moved so that others may go on, too.
  private func step(_ exec: Exec) throws(RemoteError) -> Bool {
    if let turn, turn.exec !== exec { return false }
    var moved = false
    // What was cut short must be finished first, even if the command has been given up meanwhile.
    if let turn, exec.stage == .closing, turn.operation != .close {
      _ = try check(attempt(exec, turn.operation))
      guard self.turn == nil else { return false }
      moved = true
    }
    if exec.stage == .opening { moved = try open(exec) || moved }
    if exec.stage == .starting { moved = try startUp(exec) || moved }
    if exec.stage == .running {
      if let reader = exec.reader {
        moved = try exchange(exec, reader) || moved
      } else {
        moved = try exchange(exec) || moved
      }
    }
    if exec.stage == .closing {
      guard try check(attempt(exec, .close)) != Int(LIBSSH2_ERROR_EAGAIN) else { return moved }
      exec.stage = .freeing
      moved = true
    }
    if exec.stage == .freeing {
      guard try check(attempt(exec, .free)) != Int(LIBSSH2_ERROR_EAGAIN) else { return moved }
      exec.channel = nil
      exec.stage = .done
      loop.cancel(exec.stageTimer)
      metrics.channelClosed()
      mustAwaitFree = false
      lastFreed = EventLoop.now()
      if bound < configuredBound, exec.isZombie { bound += 1 }
      reportBytes()
      moved = true
    }
    return moved
  }

  /// Passes what concerns one channel only; throws what means the end of the connection.
  func check(_ code: Int) throws(RemoteError) -> Int {
    switch Int32(truncatingIfNeeded: code) {
    case LIBSSH2_ERROR_EAGAIN, LIBSSH2_ERROR_CHANNEL_CLOSED, LIBSSH2_ERROR_CHANNEL_EOF_SENT,
      LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED, LIBSSH2_ERROR_CHANNEL_FAILURE, LIBSSH2_ERROR_CHANNEL_UNKNOWN,
      LIBSSH2_ERROR_CHANNEL_OUTOFORDER, LIBSSH2_ERROR_CHANNEL_WINDOW_EXCEEDED,
      LIBSSH2_ERROR_CHANNEL_PACKET_EXCEEDED, LIBSSH2_ERROR_INVAL:
      return code
    default:
      guard code < 0 else { return code }
      throw sessionError(Int32(clamping: code))
    }
  }

  /// An error of the session: the connection has ended, whichever call met it.
  func sessionError(_ code: Int32) -> RemoteError {
    switch code {
    case LIBSSH2_ERROR_SOCKET_SEND, LIBSSH2_ERROR_SOCKET_RECV, LIBSSH2_ERROR_SOCKET_DISCONNECT,
      LIBSSH2_ERROR_SOCKET_NONE, LIBSSH2_ERROR_SOCKET_TIMEOUT:
      return lostError(code)
    default:
      if context.map({ $0.pointee.isAtEnd || $0.pointee.errorNumber != 0 }) == true { return lostError(code) }
      return RemoteError(
        .protocolError, phase: .connection, "The SSH session failed: \(libraryMessage()).", rawCode: code)
    }
  }

  /// The library's words for its last error.
  func libraryMessage() -> String {
    guard let session else { return "no session" }
    var text: UnsafeMutablePointer<CChar>?
    var length: Int32 = 0
    libssh2_session_last_error(session, &text, &length, 0)
    guard let text, length > 0 else { return "unknown error" }
    return String(decoding: UnsafeRawBufferPointer(start: text, count: Int(min(length, 256))), as: UTF8.self)
  }

  // MARK: opening

  /// Starts the next command that may have a channel.
  private func startNext() throws(RemoteError) -> Bool {
    guard opening == nil, turn == nil, !queue.isEmpty else { return false }
    // A reader at rest holds the only channel that the server allows.
    if bound == 1, let exec = reader.channel?.exec, live.count == 1, live[0] === exec, retireReader() { return true }
    guard !mustAwaitFree else { return false }
    var used = 0
    var commands = 0
    var closing = 0
    for exec in live {
      if exec.isAnswered {
        closing += 1
      } else {
        used += 1
        if !exec.isRead { commands += 1 }
      }
    }
    // With a single channel the server may not bear two at once, not even one that is still closing.
    if bound == 1 { used += closing }
    guard used < bound, used + closing < 2 * max(bound, 2) else { return false }
    let mayCommand = bound == 1 || commands < bound - 1
    guard let index = queue.firstIndex(where: { mayCommand || $0.isRead }) else { return false }
    let exec = queue.remove(at: index)
    exec.stage = .opening
    opening = exec
    live.append(exec)
    loop.cancel(exec.stageTimer)
    exec.stageTimer = timer(configuration.channelOpen, exec) { connection, _ in
      connection.metrics.deadPeer("channel_open")
      connection.end(
        RemoteError(
          .timedOut, phase: .channel,
          "The server did not answer a request for a channel within \(connection.configuration.channelOpen)."))
    }
    exec.timer = timer(exec.deadline, exec) { connection, exec in
      if exec.isRead, exec.stage == .running, let session = connection.session {
        // The files that were read before one hung are worth keeping.
        connection.answer(exec, .success(exec.result(in: session, isTruncated: true)))
        connection.beginClose(exec)
        return connection.pump()
      }
      connection.abort(
        exec, RemoteError(.timedOut, phase: .command, "The command did not end within \(exec.deadline)."))
    }
    return true
  }

  private func open(_ exec: Exec) throws(RemoteError) -> Bool {
    guard let session, turn == nil || turn?.operation == .open else { return false }
    let channel = libssh2_channel_open_ex(session, "session", 7, configuration.window, 32_768, nil, 0)
    let code = channel == nil ? libssh2_session_last_errno(session) : 0
    settleTurn(exec, .open, isBlocked: code == LIBSSH2_ERROR_EAGAIN)
    if let channel {
      opening = nil
      loop.cancel(exec.stageTimer)
      exec.channel = channel
      exec.stage = .starting
      metrics.channelOpened(waited: EventLoop.now() &- exec.queuedAt)
      if exec.isAnswered { beginClose(exec) }
      return true
    }
    if code == LIBSSH2_ERROR_EAGAIN { return false }
    opening = nil
    loop.cancel(exec.stageTimer)
    guard code == LIBSSH2_ERROR_CHANNEL_FAILURE else { throw sessionError(code) }
    try refuse(exec)
    return true
  }

  /// The server allows no further channel: with others in use it has shown us its bound, and the command waits.
  private func refuse(_ exec: Exec) throws(RemoteError) {
    exec.stage = .done
    loop.cancel(exec.timer)
    guard !exec.isAnswered else { return }
    let others = live.filter { $0 !== exec && $0.stage != .done }
    exec.refusals += 1
    // sshd counts a channel for a moment after it has confirmed its end: ask again soon, that is not its bound.
    let isFresh = EventLoop.now() &- lastFreed < 500_000_000
    if isFresh, exec.refusals < 6 {
      mustAwaitFree = true
      _ = loop.schedule(after: .milliseconds(2 << exec.refusals)) {
        self.assumeIsolated { connection in
          connection.mustAwaitFree = false
          connection.pump()
        }
      }
    } else if others.isEmpty {
      return answer(
        exec,
        .failure(
          RemoteError(
            .tooManyChannels, phase: .channel,
            "The server refuses a channel although none is open (\(libraryMessage())); see MaxSessions in its "
              + "sshd_config.",
            rawCode: LIBSSH2_ERROR_CHANNEL_FAILURE)))
    } else {
      // The reader holds its channel for as long as it lives: it makes room, but for dead ones it cannot.
      let usable = others.count { !$0.isZombie }
      let working = others.count { !$0.isZombie && $0.reader == nil }
      guard working > 0 || usable == others.count else {
        throw RemoteError(
          .lost, phase: .connection,
          "Every channel that the server allows is held by a command that was given up and still runs there.")
      }
      bound = max(1, min(bound, usable))
      mustAwaitFree = true
    }
    live.removeAll { $0 === exec }
    exec.stage = .queued
    queue.insert(exec, at: 0)
    limitWait(exec)
  }

  /// Nobody waits for a channel for ever.
  func limitWait(_ exec: Exec) {
    exec.stageTimer = timer(configuration.queueWait, exec) { connection, exec in
      connection.abort(
        exec,
        RemoteError(
          .tooManyChannels, phase: .channel,
          "No channel became free within \(connection.configuration.queueWait); \(connection.bound) are allowed."))
    }
  }

  private func startUp(_ exec: Exec) throws(RemoteError) -> Bool {
    let code = try check(attempt(exec, .start))
    if code == Int(LIBSSH2_ERROR_EAGAIN) { return false }
    guard code == 0 else {
      answer(
        exec,
        .failure(
          RemoteError(
            .refusedByPolicy, phase: .channel, "The server refuses to run a command (\(libraryMessage())).",
            rawCode: Int32(clamping: code))))
      beginClose(exec)
      return true
    }
    exec.stage = .running
    metrics.commandStarted()
    return true
  }

  // MARK: data

  private func exchange(_ exec: Exec) throws(RemoteError) -> Bool {
    var moved = false
    while exec.inputOffset < exec.input.count {
      let code = try check(attempt(exec, .write))
      if code == Int(LIBSSH2_ERROR_EAGAIN) || code == 0 { break }
      moved = true
      // A command that ends without reading its input is no failure.
      exec.inputOffset = code < 0 ? exec.input.count : exec.inputOffset + code
    }
    if exec.inputOffset >= exec.input.count, !exec.hasSentEOF,
      try check(attempt(exec, .sendEOF)) != Int(LIBSSH2_ERROR_EAGAIN)
    {
      exec.hasSentEOF = true
      moved = true
    }
    for isError in [false, true] {
      var code: Int
      repeat {
        code = try check(attempt(exec, isError ? .readErrors : .readOutput))
        guard code > 0 else { break }
        moved = true
        let bytes = UnsafeRawBufferPointer(rebasing: loop.readBuffer.prefix(code))
        guard exec.keep(bytes, isError: isError) else {
          if let session { answer(exec, .success(exec.result(in: session, isTruncated: true))) }
          beginClose(exec)
          return true
        }
      } while code > 0
    }
    guard turn == nil, let session, let channel = exec.channel, libssh2_channel_eof(channel) == 1 else { return moved }
    // The exit status comes after the end of file, before the close.
    guard try check(attempt(exec, .waitClosed)) != Int(LIBSSH2_ERROR_EAGAIN) else { return moved }
    answer(exec, .success(exec.result(in: session, isTruncated: false)))
    beginClose(exec)
    return true
  }

  // MARK: closing

  /// Closes the channel; the caller has its answer. A server that does not confirm in time keeps a dead channel, which
  /// costs a slot there: with a single slot, or too many of them, the connection ends.
  func beginClose(_ exec: Exec) {
    exec.stage = .closing
    loop.cancel(exec.stageTimer)
    exec.stageTimer = timer(configuration.channelClose, exec) { connection, exec in
      guard exec.stage != .done else { return }
      exec.isZombie = true
      let zombies = connection.live.count { $0.isZombie }
      // A command waits for a channel, and nothing is left that would free one.
      let isStuck = connection.mustAwaitFree && connection.live.allSatisfy { $0.isZombie || $0.reader != nil }
      if connection.bound == 1 || connection.turn?.exec === exec || zombies > connection.bound || isStuck {
        connection.end(
          RemoteError(
            .lost, phase: .connection,
            "The server did not confirm the close of a channel within \(connection.configuration.channelClose): "
              + "a command that was given up may still run there."))
      }
    }
  }

  private func timer(
    _ delay: Duration, _ exec: Exec, _ body: @escaping @Sendable (isolated Connection, Exec) -> Void
  ) -> TimerQueue.ID {
    loop.schedule(after: delay) {
      // The timer runs on the loop's thread, which is this actor's.
      self.assumeIsolated { body($0, exec) }
    }
  }
}
