internal import CSSH2
package import Logging
package import Model
package import Remote
internal import Threads

/// Makes SSH connections to one target.
package struct SSHConnector: Connector {
  package var endpoint: Connection.Endpoint
  /// Tried in order, once the host key is trusted.
  package var credentials: [Credential]
  package var hostKeys: HostKeyPolicy
  /// Most channels at once on a connection: 4 suits sshd (it allows 10), Dropbear bears 1 only.
  package var channels: Int
  package var configuration: SSHConfiguration
  /// The host to travel through; `nil`: straight.
  package var jump: JumpHost?
  /// The last attempt ended with the jump host not saying whether it reaches the target.
  private let wasLate = Locked(false)
  private let group: EventLoopGroup
  private let metrics: SSHMetrics
  private let touch: (any TouchAccount)?
  private let logger: Logger

  /// - Parameters:
  ///   - jump: a host to travel through: it looks the target's name up and connects to it. Host keys of both are checked,
  ///     and each is logged in to with its own credentials.
  ///   - group: shared by all connectors of the process.
  ///   - metrics: shared by all connectors of the process.
  ///   - touch: where what is done to this target is counted.
  package init(
    host: String, port: Int = 22, user: String, credentials: [Credential], hostKeys: HostKeyPolicy, channels: Int = 4,
    jump: JumpHost? = nil, configuration: SSHConfiguration = SSHConfiguration(), group: EventLoopGroup,
    metrics: SSHMetrics, touch: (any TouchAccount)? = nil, logger: Logger
  ) {
    endpoint = Connection.Endpoint(host: host, port: port, user: user)
    self.credentials = credentials
    self.hostKeys = hostKeys
    self.channels = channels
    self.jump = jump
    self.configuration = configuration
    self.group = group
    self.metrics = metrics
    self.touch = touch
    self.logger = logger
  }

  /// Opens and authenticates one connection; whoever gets it must close it.
  ///
  /// - Throws: ``RemoteError`` with the phase it failed in; `.closed` when the task was cancelled.
  package func connect() async throws(RemoteError) -> any Remote {
    try await connection()
  }

  /// As ``connect()``, with the room's own type.
  package func connection() async throws(RemoteError) -> Connection {
    guard let jump else { return try await connection(by: nil, at: "\(endpoint.host):\(endpoint.port)") }
    let isLate = wasLate.withLock { $0 }
    let outer = try await group.jumps.connection(to: jump, isLate: isLate)
    do throws(RemoteError) {
      // Those that the jump host did not reach before may take long, and must not keep the others waiting.
      let connection = try await connection(
        by: Passage(name: jump.name, outer: outer), at: (isLate ? "late through " : "through ") + jump.key)
      wasLate.withLock { $0 = false }
      return connection
    } catch {
      if error.phase == .connect, error.code == .timedOut {
        wasLate.withLock { $0 = true }
      } else if error.phase != .connect || error.rawCode == LIBSSH2_ERROR_CHANNEL_FAILURE {
        // It was reached, or the jump host has said that it is not. Anything else tells nothing new.
        wasLate.withLock { $0 = false }
      }
      throw error
    }
  }

  /// The new connection, or its failure, gives back what was reserved of the connection that it travels in.
  ///
  /// - Parameter address: what the gate counts by.
  private func connection(by passage: Passage?, at address: String) async throws(RemoteError) -> Connection {
    let began = EventLoop.now()
    do throws(RemoteError) {
      try await group.gate.enter(address)
      metrics.gateWaited(.nanoseconds(Int64(clamping: EventLoop.now() &- began)))
    } catch {
      await passage?.outer.leave()
      throw error
    }
    let loop = passage?.outer.loop ?? group.loop()
    let connection = Connection(
      loop: loop, group: group, endpoint: endpoint, credentials: credentials, hostKeys: hostKeys, channels: channels,
      passage: passage, configuration: configuration, metrics: ConnectionMetrics(metrics, touch: touch), logger: logger)
    let result: Result<Void, RemoteError> = await withTaskCancellationHandler {
      do throws(RemoteError) {
        try await connection.establish()
        return .success(())
      } catch {
        return .failure(error)
      }
    } onCancel: {
      loop.execute { connection.assumeIsolated { $0.cancelEstablishing() } }
    }
    var failure: RemoteError?
    if case .failure(let error) = result { failure = error }
    await group.gate.leave(address, failure)
    try result.get()
    return connection
  }
}

extension Connection {
  /// Ends an attempt whose caller no longer wants it; an open connection stays.
  func cancelEstablishing() {
    if state != .open { end(cancelled) }
  }
}
