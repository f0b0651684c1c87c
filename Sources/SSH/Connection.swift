internal import CSSH2
internal import Glibc
internal import Logging
package import Remote
internal import Threads

/// One authenticated SSH connection: an actor on its event loop's thread.
///
/// A libssh2 session and its channels belong to one thread at a time; the actor's executor is that thread, so that no
/// call needs a lock and no event a hop. Commands are state machines (``Exec``) that ``pump()`` moves on after every
/// event; waiting callers hold a continuation each. Whoever made a connection must ``close()`` it: the loop keeps it
/// alive until it ends.
package actor Connection: Remote {
  /// Whom to reach.
  package struct Endpoint: Sendable, Hashable {
    package var host: String
    package var port: Int
    package var user: String
    package init(host: String, port: Int = 22, user: String) {
      self.host = host
      self.port = port
      self.user = user
    }
  }

  enum State { case new, establishing, open, ended }

  /// Its thread: a task that prefers it as its executor asks without a hop.
  nonisolated package let loop: EventLoop
  nonisolated package var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
  let group: EventLoopGroup
  let endpoint: Endpoint
  let credentials: [Credential]
  let hostKeys: HostKeyPolicy
  let configuration: SSHConfiguration
  let metrics: ConnectionMetrics
  let logger: Logger
  /// The connection that this one travels in, instead of a socket of its own.
  let passage: Passage?

  var state = State.new
  var endReason: RemoteError?
  var endWaiters: [UInt64: CheckedContinuation<RemoteError?, Never>] = [:]
  var descriptor: Int32 = -1
  var session: OpaquePointer?
  var context: UnsafeMutablePointer<SocketContext>?
  var known = ConnectionFacts(transport: "libssh2")
  var lastID: UInt64 = 0

  // While it is being made.
  var phase = RemoteError.Phase.resolve
  var phaseTimer: TimerQueue.ID?
  /// The address at hand has had its share of the time to connect.
  var isAddressLate = false
  var eventWaiter: CheckedContinuation<Void, Never>?
  /// Ends a wait for something outside (name lookup, key policy, key agent) when the connection ends.
  var abandonOutside: (() -> Void)?

  // Once it is open.
  /// Commands with a channel or about to get one.
  var live: [Exec] = []
  /// Commands that wait for a channel, first come first served; at most `configuration.waiters`.
  var queue: [Exec] = []
  /// The one command whose channel is being opened: the library keeps that state in the session.
  var opening: Exec?
  /// A packet that the send buffer took only in part belongs to this call; until it is through no other call may be
  /// made on the session.
  var turn: (exec: Exec, operation: Exec.Operation)?
  var isPumping = false
  /// The target's bound on channels, lowered when the server allows fewer.
  var bound: Int
  let configuredBound: Int
  /// The server has refused a channel: the next is asked for once one was freed.
  var mustAwaitFree = false
  /// When a channel was last freed, in the loop's nanoseconds.
  var lastFreed: UInt64 = 0
  var reader: ReaderState
  var lastReceived: UInt64 = 0
  var keepAliveSent: UInt64?
  var keepAliveTimer: TimerQueue.ID?
  /// The channel that stands in the socket's place, behind a jump host.
  var tunnel: Tunnel?

  // For the connections that travel in this one: see Connection+Tunnels.swift.
  /// Channels to other hosts; with those that wait at most `configuration.tunnels`.
  var tunnels: [Tunnel] = []
  /// Tunnels that wait to be opened, first come first served.
  var tunnelQueue: [Tunnel] = []
  /// Tunnels whose inner connection has to be told something after the present pump.
  var wakening: [Tunnel] = []
  var isPumpAwaited = false
  /// Who travels in this connection or is about to.
  var users = 0
  var lingerTimer: TimerQueue.ID?
  /// Opens no further tunnel, and ends with the last of its users.
  var isRetired = false

  var reportedReceived: UInt64 = 0
  var reportedSent: UInt64 = 0

  init(
    loop: EventLoop, group: EventLoopGroup, endpoint: Endpoint, credentials: [Credential], hostKeys: HostKeyPolicy,
    channels: Int, passage: Passage? = nil, configuration: SSHConfiguration, metrics: ConnectionMetrics,
    logger: Logger
  ) {
    self.loop = loop
    self.group = group
    self.endpoint = endpoint
    self.credentials = credentials
    self.hostKeys = hostKeys
    self.configuration = configuration
    self.metrics = metrics
    self.logger = logger
    reader = ReaderState(configuration.readers)
    self.passage = passage
    configuredBound = max(1, channels)
    bound = max(1, channels)
  }

  package var facts: ConnectionFacts {
    var facts = known
    facts.reader = reader.kind?.rawValue ?? ""
    if state == .open, let rtt = TCPSocket.roundTrip(descriptor) { facts.latency_ms = rtt }
    return facts
  }

  /// Returns when the connection has ended, with the reason; `nil` when we closed it, or the caller's task was cancelled.
  package func ended() async -> RemoteError? {
    if state == .ended { return endReason }
    let id = nextID()
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        if state == .ended || Task.isCancelled { return continuation.resume(returning: endReason) }
        endWaiters[id] = continuation
      }
    } onCancel: {
      loop.execute { self.assumeIsolated { $0.endWaiters.removeValue(forKey: id)?.resume(returning: nil) } }
    }
  }

  /// Says goodbye and ends the connection. What is in flight fails with `closed`. Needs no answer from the peer.
  package func close() async { goodbye() }

  func goodbye() {
    if state == .open, turn == nil, let session {
      libssh2_session_disconnect_ex(session, SSH_DISCONNECT_BY_APPLICATION, "closed", "")
    }
    end(nil)
  }

  func nextID() -> UInt64 {
    lastID &+= 1
    return lastID
  }

  /// What a call gets that comes after the end, or is in flight at that time.
  var goneError: RemoteError {
    guard let reason = endReason else {
      return RemoteError(.closed, phase: .connection, "The connection to \(endpoint.host) was closed by us.")
    }
    return RemoteError(reason.code, phase: .connection, reason.message, rawCode: reason.rawCode)
  }

  // MARK: the end

  /// Ends the connection: frees the session and the socket, answers everyone who waits. Idempotent.
  ///
  /// - Parameter reason: `nil` when we close it.
  func end(_ reason: RemoteError?) {
    guard state != .ended else { return }
    let wasOpen = state == .open
    state = .ended
    endReason = reason
    loop.cancel(phaseTimer)
    loop.cancel(keepAliveTimer)
    reportBytes()
    for exec in live + queue {
      loop.cancel(exec.timer)
      loop.cancel(exec.stageTimer)
    }
    releaseSocket()
    loseTunnels()
    passage?.outer.assumeIsolated { $0.leave() }
    if wasOpen { metrics.connectionEnded() }

    let waiting = live + queue
    live = []
    queue = []
    opening = nil
    turn = nil
    let error = goneError
    for exec in waiting {
      if exec.channel != nil { metrics.channelClosed() }
      exec.channel = nil
      answer(exec, .failure(error))
    }
    if let waiter = eventWaiter {
      eventWaiter = nil
      waiter.resume()
    }
    abandonOutside?()
    abandonOutside = nil
    let waiters = endWaiters
    endWaiters = [:]
    for waiter in waiters.values { waiter.resume(returning: reason) }
    if wasOpen {
      logger.debug(
        "SSH connection ended",
        metadata: ["ssh.host": "\(endpoint.host)", "ssh.reason": "\(reason?.message ?? "closed by us")"])
    }
  }

  /// Frees session, socket and context. The context says "dead" first, so that freeing never waits for the peer.
  func releaseSocket() {
    context?.pointee.isDead = true
    if descriptor >= 0 { loop.remove(descriptor) }
    if let session {
      // With a dead socket no call blocks; the bound only guards against a library that says otherwise for ever.
      var tries = 0
      while libssh2_session_free(session) == LIBSSH2_ERROR_EAGAIN && tries < 1000 { tries += 1 }
    }
    session = nil
    if descriptor >= 0 { Glibc.close(descriptor) }
    descriptor = -1
    context?.deallocate()
    context = nil
    if let tunnel {
      self.tunnel = nil
      passage?.outer.assumeIsolated { $0.release(tunnel) }
    }
  }

  func reportBytes() {
    guard let context else { return }
    // What travels in another connection is counted there for the process, and here for the target.
    metrics.bytes(
      received: context.pointee.received &- reportedReceived, sent: context.pointee.sent &- reportedSent,
      isInner: passage != nil)
    reportedReceived = context.pointee.received
    reportedSent = context.pointee.sent
  }

  // MARK: events

  func handle(_ events: UInt32) {
    guard let context else { return }
    let hangups = EPOLLRDHUP.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue
    if events & (EPOLLIN.rawValue | hangups) != 0 { context.pointee.isDry = false }
    if events & EPOLLIN.rawValue != 0 { lastReceived = EventLoop.now() }
    if events & hangups != 0 { context.pointee.hasHangup = true }
    if let waiter = eventWaiter {
      eventWaiter = nil
      waiter.resume()
    }
    guard state == .open else { return }
    pump()
    // Whoever reads has met the end by now; without a channel nobody reads.
    if state == .open, events & hangups != 0 { end(lostError()) }
  }

  /// Why the socket failed, as far as the system knows.
  func lostError(_ rawCode: Int32? = nil) -> RemoteError {
    if let tunnel {
      return RemoteError(
        .lost, phase: currentPhase, "\(endpoint.host) closed the connection through the jump host \(tunnel.jump).",
        rawCode: rawCode)
    }
    let code = TCPSocket.pendingError(descriptor) ?? context.flatMap { $0.pointee.errorNumber } ?? 0
    if code == ETIMEDOUT {
      metrics.deadPeer("user_timeout")
      return RemoteError(
        .lost, phase: currentPhase, "\(endpoint.host) does not acknowledge what we send: the path or the host is dead.",
        rawCode: rawCode)
    }
    let how =
      code == 0 ? "The server closed the connection." : "The connection broke: \(String(cString: strerror(code)))."
    return RemoteError(.lost, phase: currentPhase, how, rawCode: rawCode)
  }
}

extension Connection: EventHandler {
  nonisolated func ready(_ events: UInt32) {
    assumeIsolated { $0.handle(events) }
  }

  nonisolated func loopStops() {
    assumeIsolated { $0.end(nil) }
  }
}
