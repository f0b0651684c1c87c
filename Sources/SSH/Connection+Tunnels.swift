internal import CSSH2
internal import Glibc
internal import Remote

// What a connection to a jump host does for the connections that travel in it.
extension Connection {
  // MARK: users

  /// Counts one more who is about to travel through this connection; each must ``leave()`` again.
  ///
  /// - Returns: false when the connection has ended, or opens no further tunnel: a new one is needed.
  func reserve() -> Bool {
    guard state == .open, !isRetired else { return false }
    users += 1
    loop.cancel(lingerTimer)
    lingerTimer = nil
    return true
  }

  /// Why this connection has ended by itself, if it has.
  var loss: RemoteError? { state == .ended ? endReason : nil }

  func leave() {
    users -= 1
    lingerWhileUnused()
  }

  /// Ends a connection that nobody travels through any more: after a while, in case somebody comes back.
  func lingerWhileUnused() {
    guard state == .open, users <= 0, lingerTimer == nil else { return }
    lingerTimer = loop.schedule(after: isRetired ? .zero : configuration.linger) {
      self.assumeIsolated { connection in
        connection.lingerTimer = nil
        if connection.users <= 0 { connection.goodbye() }
      }
    }
  }

  /// Opens no further tunnel from now on; those that are open stay until their connections end.
  func retire() {
    guard state == .open, !isRetired else { return }
    isRetired = true
    let waiting = tunnelQueue
    tunnelQueue = []
    for tunnel in waiting {
      loop.cancel(tunnel.stageTimer)
      settle(
        tunnel,
        .failure(
          RemoteError(
            .unreachable, phase: .connect,
            "The jump host \(tunnel.jump) still tries to reach another host; it is asked over a new connection next.")))
    }
    loop.cancel(lingerTimer)
    lingerTimer = nil
    lingerWhileUnused()
  }

  /// Ends the connection for all who travel through it.
  func dismiss(_ reason: RemoteError) { end(reason) }

  /// The socket below this connection and all that it travels in.
  var baseDescriptor: Int32 { passage?.outer.assumeIsolated { $0.baseDescriptor } ?? descriptor }

  // MARK: opening

  /// Puts a tunnel in line; its `opened` is told when it is open or cannot be had.
  func open(_ tunnel: Tunnel) {
    guard state == .open else { return settle(tunnel, .failure(loss(of: tunnel.jump))) }
    guard !isRetired, tunnels.count + tunnelQueue.count < configuration.tunnels else {
      let what =
        isRetired
        ? "is about to be left for a new connection."
        : "carries \(tunnels.count + tunnelQueue.count) connections already."
      return settle(
        tunnel,
        .failure(
          RemoteError(.tooManyChannels, phase: .connect, "The connection to the jump host \(tunnel.jump) " + what)))
    }
    tunnelQueue.append(tunnel)
    tunnel.stageTimer = loop.schedule(after: configuration.queueWait) {
      self.assumeIsolated { connection in
        connection.tunnelQueue.removeAll { $0 === tunnel }
        connection.settle(
          tunnel,
          .failure(
            RemoteError(
              .unreachable, phase: .connect,
              "The jump host \(tunnel.jump) had other hosts to reach first, for longer than \(connection.configuration.queueWait)."
            )))
      }
    }
    pumpSoon()
  }

  private func settle(_ tunnel: Tunnel, _ result: Result<Void, RemoteError>) {
    let opened = tunnel.opened
    tunnel.opened = nil
    opened?(result)
  }

  /// The inner connection has ended: what it still had to say is brought away, then the channel is closed.
  func release(_ tunnel: Tunnel) {
    guard !tunnel.isReleased else { return }
    tunnel.isReleased = true
    tunnel.opened = nil
    tunnel.completion = nil
    guard state == .open else { return }
    switch tunnel.stage {
    case .queued:
      loop.cancel(tunnel.stageTimer)
      tunnelQueue.removeAll { $0 === tunnel }
    case .running:
      limitClose(tunnel)
      pumpSoon()
    // The library must finish opening it; then it is closed.
    default: break
    }
  }

  // MARK: pump

  /// Runs ``pump()`` once what the loop does now is done, however often it is asked for until then.
  nonisolated func pumpSoon() {
    assumeIsolated { connection in
      guard !connection.isPumpAwaited, connection.state == .open else { return }
      connection.isPumpAwaited = true
      connection.loop.execute {
        self.assumeIsolated { connection in
          connection.isPumpAwaited = false
          connection.pump()
        }
      }
    }
  }

  /// Moves all tunnels on, each by at most what its queues hold, so that none keeps the others waiting.
  func pumpTunnels() throws(RemoteError) -> Bool {
    if tunnels.isEmpty && tunnelQueue.isEmpty { return false }
    var moved = beginNextTunnel()
    var isDone = false
    for tunnel in tunnels {
      if try step(tunnel) { moved = true }
      if tunnel.stage == .done { isDone = true }
    }
    if isDone { tunnels.removeAll { $0.stage == .done } }
    return moved
  }

  /// Tells the connections inside what has happened for them. Called at the pump's end: they may close tunnels.
  func wakeTunnels() {
    if wakening.isEmpty { return }
    let tunnels = wakening
    wakening = []
    for tunnel in tunnels {
      let news = tunnel.news
      tunnel.news = 0
      if !tunnel.isReleased { tunnel.inner.assumeIsolated { $0.handle(news) } }
    }
  }

  private func tell(_ tunnel: Tunnel, _ events: UInt32) {
    if tunnel.isReleased { return }
    if tunnel.news == 0 { wakening.append(tunnel) }
    tunnel.news |= events
  }

  private func beginNextTunnel() -> Bool {
    guard opening == nil, turn == nil, !tunnelQueue.isEmpty else { return false }
    let tunnel = tunnelQueue.removeFirst()
    tunnel.stage = .opening
    opening = tunnel
    tunnels.append(tunnel)
    loop.cancel(tunnel.stageTimer)
    tunnel.stageTimer = loop.schedule(after: configuration.connect) {
      self.assumeIsolated { $0.isLate(tunnel) }
    }
    return true
  }

  /// The jump host does not say whether it reaches a host: for that long nobody else can be let through, because the
  /// library keeps the opening in the session. So this connection opens no more, and ends when nobody is left in it.
  private func isLate(_ tunnel: Tunnel) {
    guard state == .open, tunnel.stage == .opening else { return }
    settle(
      tunnel,
      .failure(
        RemoteError(
          .timedOut, phase: .connect,
          "The jump host \(tunnel.jump) does not reach \(tunnel.host):\(tunnel.port) within \(configuration.connect)."))
    )
    retire()
  }

  /// Moves one tunnel on. Returns whether it moved so that others may go on, too.
  private func step(_ tunnel: Tunnel) throws(RemoteError) -> Bool {
    if let turn, turn.exec !== tunnel { return false }
    var moved = false
    // What was cut short must be finished first, even if the tunnel has been given up meanwhile.
    if let turn, tunnel.stage == .closing, turn.operation != .close {
      _ = try check(attempt(tunnel, turn.operation))
      guard self.turn == nil else { return false }
      moved = true
    }
    if tunnel.stage == .opening { moved = try finishOpening(tunnel) || moved }
    if tunnel.stage == .running { moved = try transfer(tunnel) || moved }
    if tunnel.stage == .closing {
      guard try check(attempt(tunnel, .close)) != Int(LIBSSH2_ERROR_EAGAIN) else { return moved }
      tunnel.stage = .freeing
      moved = true
    }
    if tunnel.stage == .freeing {
      guard try check(attempt(tunnel, .free)) != Int(LIBSSH2_ERROR_EAGAIN) else { return moved }
      tunnel.channel = nil
      tunnel.stage = .done
      loop.cancel(tunnel.stageTimer)
      metrics.channelClosed()
      moved = true
    }
    return moved
  }

  private func finishOpening(_ tunnel: Tunnel) throws(RemoteError) -> Bool {
    guard let session, turn == nil || turn?.operation == .open else { return false }
    let request = tunnel.request
    let channel = request.withUnsafeBytes {
      libssh2_channel_open_ex(
        session, "direct-tcpip", 12, configuration.tunnelWindow, 32_768,
        $0.baseAddress?.assumingMemoryBound(to: CChar.self), UInt32(clamping: $0.count))
    }
    let code = channel == nil ? libssh2_session_last_errno(session) : 0
    settleTurn(tunnel, .open, isBlocked: code == LIBSSH2_ERROR_EAGAIN)
    if code == LIBSSH2_ERROR_EAGAIN { return false }
    opening = nil
    loop.cancel(tunnel.stageTimer)
    if let channel {
      tunnel.channel = channel
      metrics.channelOpened(waited: EventLoop.now() &- tunnel.queuedAt)
      tunnel.stage = .running
      if tunnel.isReleased { beginClose(tunnel) } else { settle(tunnel, .success(())) }
      return true
    }
    guard code == LIBSSH2_ERROR_CHANNEL_FAILURE else { throw sessionError(code) }
    tunnel.stage = .done
    settle(tunnel, .failure(refusal(of: tunnel)))
    return true
  }

  /// What the jump host says for not letting one connection through.
  private func refusal(of tunnel: Tunnel) -> RemoteError {
    let place = "\(tunnel.host):\(tunnel.port)"
    let words = libraryMessage()
    if words.contains("administratively prohibited") {
      return RemoteError(
        .refusedByPolicy, phase: .connect,
        "The jump host \(tunnel.jump) does not let us through to \(place) (administratively prohibited): see AllowTcpForwarding and "
          + "PermitOpen in its sshd_config, and `restrict` or `permitopen` before our key in authorized_keys there.",
        rawCode: LIBSSH2_ERROR_CHANNEL_FAILURE)
    }
    let why =
      words.contains("connect failed")
      ? "cannot connect to \(place): nothing listens there, or that name or network is not known there."
      : "does not connect to \(place): \(words)."
    return RemoteError(
      .unreachable, phase: .connect, "The jump host \(tunnel.jump) " + why, rawCode: LIBSSH2_ERROR_CHANNEL_FAILURE)
  }

  private func transfer(_ tunnel: Tunnel) throws(RemoteError) -> Bool {
    var moved = false
    while !tunnel.outgoing.isEmpty {
      let code = try check(attempt(tunnel, .write))
      if code == Int(LIBSSH2_ERROR_EAGAIN) || code == 0 { break }
      moved = true
      // A far end that has closed takes nothing more; reading tells the connection inside.
      tunnel.outgoing.removeFirst(code < 0 ? tunnel.outgoing.count : code)
      tell(tunnel, EPOLLOUT.rawValue)
    }
    if tunnel.isReleased {
      guard turn == nil, tunnel.outgoing.isEmpty else { return moved }
      beginClose(tunnel)
      return true
    }
    while tunnel.incoming.room >= Tunnel.least {
      let code = try check(attempt(tunnel, .readOutput))
      guard code > 0 else { break }
      moved = true
      _ = tunnel.incoming.append(UnsafeRawBufferPointer(rebasing: loop.readBuffer.prefix(code)))
      tell(tunnel, EPOLLIN.rawValue)
    }
    if !tunnel.isAtEnd, turn == nil, let channel = tunnel.channel, libssh2_channel_eof(channel) == 1 {
      tunnel.isAtEnd = true
      tell(tunnel, EPOLLIN.rawValue | EPOLLRDHUP.rawValue)
    }
    return moved
  }

  // MARK: closing

  private func beginClose(_ tunnel: Tunnel) {
    tunnel.stage = .closing
    limitClose(tunnel)
  }

  /// A jump host that neither takes the rest nor confirms the close in time keeps a dead channel. It may keep 16 of
  /// them; then the connection opens no more.
  private func limitClose(_ tunnel: Tunnel) {
    loop.cancel(tunnel.stageTimer)
    tunnel.stageTimer = loop.schedule(after: configuration.channelClose) {
      self.assumeIsolated { connection in
        guard connection.state == .open, tunnel.stage != .done else { return }
        if tunnel.stage == .running, connection.turn?.exec !== tunnel {
          // The rest cannot be brought away.
          tunnel.outgoing.removeFirst(tunnel.outgoing.count)
          connection.beginClose(tunnel)
          return connection.pump()
        }
        tunnel.isZombie = true
        if connection.tunnels.count(where: \.isZombie) > 16 { connection.retire() }
      }
    }
  }

  // MARK: the end

  /// Ends the connections inside when this one has ended.
  func loseTunnels() {
    loop.cancel(lingerTimer)
    let lost = tunnels + tunnelQueue
    tunnels = []
    tunnelQueue = []
    wakening = []
    for tunnel in lost {
      loop.cancel(tunnel.stageTimer)
      if tunnel.channel != nil { metrics.channelClosed() }
      tunnel.channel = nil
      if tunnel.isReleased { continue }
      // When we stop ourselves, nothing was lost.
      let reason = endReason == nil ? nil : loss(of: tunnel.jump)
      tunnel.inner.assumeIsolated { inner in
        inner.end(
          reason.map { RemoteError($0.code, phase: inner.currentPhase, $0.message, rawCode: $0.rawCode) })
      }
    }
  }

  /// Why the connections inside have ended, or cannot begin.
  private func loss(of jump: String) -> RemoteError {
    RemoteError(
      .lost, phase: .connection,
      "The jump host \(jump) was lost: \(endReason?.message ?? "the connection to it was closed.")",
      rawCode: endReason?.rawCode)
  }

  /// Where an end that comes now finds this connection.
  var currentPhase: RemoteError.Phase { state == .establishing ? phase : .connection }
}
