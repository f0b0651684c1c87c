internal import CSSH2
internal import Glibc
internal import Logging
package import Remote
internal import Threads

/// One authenticated connection that the system's `ssh` holds: a master process, and its sessions over its socket.
///
/// An actor on its event loop's thread, as ``Connection`` is. Commands are sessions that are asked of the master by its
/// own protocol (PROTOCOL.mux), with a socket for each of stdin, stdout and stderr: no further process is started for
/// them. Whoever made a connection must ``close()`` it: the loop keeps it alive until it ends.
///
/// Unlike ``Connection`` it does not learn the name of the signal that ended a command; such a result has neither
/// status nor signal.
package actor SystemConnection: Remote {
  /// `new` → `establishing` → `open` → `ended`; from each to `ended`.
  enum State { case new, establishing, open, ended }

  /// How the master's login ended.
  enum Login {
    case ready
    /// The client refused the host's key, which is this one.
    case refusedHostKey(HostKey)
    case failed(RemoteError)
  }

  nonisolated let loop: EventLoop
  nonisolated package var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
  let endpoint: Connection.Endpoint
  let credentials: [Credential]
  let certificateFile: String?
  let configurationFile: String?
  let hostKeys: HostKeyPolicy
  let configuration: SSHConfiguration
  let client: SystemClient
  let metrics: ConnectionMetrics
  let logger: Logger

  var state = State.new
  var endReason: RemoteError?
  var endWaiters: [UInt64: CheckedContinuation<RemoteError?, Never>] = [:]
  var lastID: UInt64 = 0

  var master: ChildProcess?
  var folder: ControlFolder?
  var log = MasterLog(nonce: "")
  /// Whoever waits until the master process is no more; each of them is a caller of ours.
  var goneWaiters: [CheckedContinuation<Void, Never>] = []

  // While it is being made.
  var phase = RemoteError.Phase.connect
  var phaseTimer: TimerQueue.ID?
  var loginWaiter: CheckedContinuation<Login, Never>?
  var shownKey: HostKey?
  var connectStarted: UInt64 = 0

  // Once it is open.
  /// Commands with a session or about to get one.
  var live: [MuxSession] = []
  /// Commands that wait for a session, first come first served; at most `configuration.waiters`.
  var queue: [MuxSession] = []
  /// The target's bound on sessions, lowered when the server allows fewer.
  var bound: Int
  let configuredBound: Int
  /// The server has refused a session: the next is asked for once one was freed.
  var mustAwaitFree = false
  /// When a session was last freed, in the loop's nanoseconds.
  var lastFreed: UInt64 = 0
  var isPumping = false

  init(
    loop: EventLoop, endpoint: Connection.Endpoint, credentials: [Credential], certificateFile: String?,
    configurationFile: String?, hostKeys: HostKeyPolicy, channels: Int, configuration: SSHConfiguration,
    client: SystemClient, metrics: ConnectionMetrics, logger: Logger
  ) {
    self.loop = loop
    self.endpoint = endpoint
    self.credentials = credentials
    self.certificateFile = certificateFile
    self.configurationFile = configurationFile
    self.hostKeys = hostKeys
    self.configuration = configuration
    self.client = client
    self.metrics = metrics
    self.logger = logger
    configuredBound = max(1, channels)
    bound = max(1, channels)
  }

  /// As the client tells it; `latency_ms` is the time that the TCP connection took.
  package var facts: ConnectionFacts { log.facts(latency) }
  var latency = 0.0

  /// The master's process; `nil` when it is no more.
  var masterIdentifier: Int32? { master?.identifier }

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

  /// Ends the connection and its process. What is in flight fails with `closed`. Returns when the process is no more:
  /// it is killed when it has not ended after half a second.
  package func close() async {
    end(nil)
    await gone()
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

  /// Ends the connection: asks the master to end, answers everyone who waits. Idempotent.
  ///
  /// - Parameter reason: `nil` when we close it.
  func end(_ reason: RemoteError?) {
    guard state != .ended else { return }
    let wasOpen = state == .open
    state = .ended
    endReason = reason
    loop.cancel(phaseTimer)
    if wasOpen { metrics.connectionEnded() }
    let waiting = live + queue
    live = []
    queue = []
    let error = goneError
    for session in waiting {
      loop.cancel(session.timer)
      loop.cancel(session.stageTimer)
      if session.isOpen { metrics.channelClosed() }
      session.finish()
      answer(session, .failure(error))
    }
    if let master { master.terminate() } else { removeFolder() }
    if let waiter = loginWaiter {
      loginWaiter = nil
      waiter.resume(returning: .failed(reason ?? error))
    }
    let waiters = endWaiters
    endWaiters = [:]
    for waiter in waiters.values { waiter.resume(returning: reason) }
    if wasOpen {
      logger.debug(
        "SSH connection ended",
        metadata: ["ssh.host": "\(endpoint.host)", "ssh.reason": "\(reason?.message ?? "closed by us")"])
    }
  }

  /// Returns when no process of this connection is left.
  func gone() async {
    while master != nil { await withCheckedContinuation { goneWaiters.append($0) } }
  }

  /// The master's process has ended and was waited for.
  func masterEnded(_ status: Int32) {
    master = nil
    removeFolder()
    let waiters = goneWaiters
    goneWaiters = []
    for waiter in waiters { waiter.resume() }
    switch state {
    case .establishing:
      guard let waiter = loginWaiter else { return }
      loginWaiter = nil
      if log.refusedHostKey, let shownKey {
        waiter.resume(returning: .refusedHostKey(shownKey))
      } else {
        waiter.resume(returning: .failed(log.failure(phase, endpoint: endpoint, status: status)))
      }
    case .open:
      metrics.deadPeer("ssh_ended")
      end(log.failure(.connection, endpoint: endpoint, status: status))
    case .new, .ended: break
    }
  }

  func removeFolder() {
    folder?.remove()
    folder = nil
  }
}

extension MasterLog {
  fileprivate func facts(_ latency: Double) -> ConnectionFacts {
    var facts = facts
    facts.latency_ms = latency
    return facts
  }
}
