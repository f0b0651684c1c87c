package import Logging
package import Model
package import Remote

/// Makes connections to one target through the system's `ssh` program, for what libssh2 cannot do.
///
/// It goes by the same ``HostKeyPolicy``, never asks anything, and takes no passwords: they could be given to the
/// program only where others can see them.
package struct SystemSSHConnector: Connector {
  package var endpoint: Connection.Endpoint
  package var credentials: [Credential]
  /// An OpenSSH certificate of the key that is offered; `nil`: the one beside the key, if there is one.
  package var certificateFile: String?
  /// An ssh_config file that the program reads, for ProxyCommand, Kerberos and the like; `nil`: none, not even the system's.
  package var configurationFile: String?
  package var hostKeys: HostKeyPolicy
  /// Most sessions at once.
  package var channels: Int
  package var configuration: SSHConfiguration
  package var client: SystemClient
  private let group: EventLoopGroup
  private let metrics: SSHMetrics
  private let touch: (any TouchAccount)?
  private let logger: Logger

  package init(
    host: String, port: Int = 22, user: String, credentials: [Credential], certificateFile: String? = nil,
    configurationFile: String? = nil, hostKeys: HostKeyPolicy, channels: Int = 4,
    configuration: SSHConfiguration = SSHConfiguration(), client: SystemClient = .standard, group: EventLoopGroup,
    metrics: SSHMetrics, touch: (any TouchAccount)? = nil, logger: Logger
  ) {
    endpoint = Connection.Endpoint(host: host, port: port, user: user)
    self.credentials = credentials
    self.certificateFile = certificateFile
    self.configurationFile = configurationFile
    self.hostKeys = hostKeys
    self.channels = channels
    self.configuration = configuration
    self.client = client
    self.group = group
    self.metrics = metrics
    self.touch = touch
    self.logger = logger
  }

  /// Opens and authenticates one connection; whoever gets it must close it. After a failure no process is left.
  package func connect() async throws(RemoteError) -> any Remote { try await connection() }

  /// As ``connect()``, with the room's own type.
  package func connection() async throws(RemoteError) -> SystemConnection {
    let address = "\(endpoint.host):\(endpoint.port)"
    let began = EventLoop.now()
    try await group.gate.enter(address)
    metrics.gateWaited(.nanoseconds(Int64(clamping: EventLoop.now() &- began)))
    let loop = group.loop()
    let connection = SystemConnection(
      loop: loop, endpoint: endpoint, credentials: credentials, certificateFile: certificateFile,
      configurationFile: configurationFile, hostKeys: hostKeys, channels: channels, configuration: configuration,
      client: client, metrics: ConnectionMetrics(metrics, touch: touch), logger: logger)
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
