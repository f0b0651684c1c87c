package import Logging
package import Model
package import Remote

/// Makes SSH connections to one target.
package struct SSHConnector: Connector {
  package var endpoint: Connection.Endpoint
  /// Tried in order, once the host key is trusted.
  package var credentials: [Credential]
  package var hostKeys: HostKeyPolicy
  /// Most channels at once on a connection: 4 suits sshd (it allows 10), Dropbear bears 1 only.
  package var channels: Int
  package var configuration: SSHConfiguration
  private let group: EventLoopGroup
  private let metrics: SSHMetrics
  private let touch: (any TouchAccount)?
  private let logger: Logger

  /// - Parameters:
  ///   - group: shared by all connectors of the process.
  ///   - metrics: shared by all connectors of the process.
  ///   - touch: where what is done to this target is counted.
  package init(
    host: String, port: Int = 22, user: String, credentials: [Credential], hostKeys: HostKeyPolicy, channels: Int = 4,
    configuration: SSHConfiguration = SSHConfiguration(), group: EventLoopGroup, metrics: SSHMetrics,
    touch: (any TouchAccount)? = nil, logger: Logger
  ) {
    endpoint = Connection.Endpoint(host: host, port: port, user: user)
    self.credentials = credentials
    self.hostKeys = hostKeys
    self.channels = channels
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
    let loop = group.loop()
    let connection = Connection(
      loop: loop, group: group, endpoint: endpoint, credentials: credentials, hostKeys: hostKeys, channels: channels,
      configuration: configuration, metrics: ConnectionMetrics(metrics, touch: touch), logger: logger)
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
