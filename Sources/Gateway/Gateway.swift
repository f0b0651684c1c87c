internal import HTTPTypes
internal import Hummingbird
internal import HummingbirdCore
package import Logging
package import Model
internal import NIOCore
internal import Supervision

/// The one listening socket: the HTTP API, the page, /healthz, /readyz and /metrics.
///
/// It knows nothing of how the service works; whatever it is asked it passes to ``Operations``.
package struct Gateway: Supervised {
  private let configuration: GatewayConfiguration
  private let operations: any Operations
  private let sessions: SessionBook
  private let onListening: @Sendable (_ url: String) async -> Void
  private let logger: Logger

  /// - Parameter onListening: called with the base URL once the socket is bound.
  package init(
    _ configuration: GatewayConfiguration, operations: any Operations, logger: Logger,
    onListening: @escaping @Sendable (_ url: String) async -> Void = { _ in }
  ) {
    self.configuration = configuration
    self.operations = operations
    self.onListening = onListening
    self.logger = logger
    let start = ContinuousClock.now
    sessions = SessionBook(sessionLife: configuration.sessionLife) { ContinuousClock.now - start }
  }

  /// A token for the page's address that opens one session within ten minutes.
  package func oneTimeToken() async -> String { await sessions.makeToken() }

  package func run() async throws {
    var quiet = logger
    // Hummingbird tells of every connection at info.
    quiet.logLevel = max(logger.logLevel, .warning)
    let address: BindAddress
    switch configuration.address {
    case .tcp(let host, let port): address = .hostname(host, port: port)
    case .unix(let path):
      try UnixSocketFile.prepare(path)
      address = .unixDomainSocket(path: path)
    }
    let listening = onListening
    let place = configuration.address
    let application = Application(
      router: Routes(configuration: configuration, operations: operations, sessions: sessions).router(),
      configuration: ApplicationConfiguration(
        address: address, serverName: "syscrap",
        availableConnectionsDelegate: MaximumAvailableConnections(configuration.connectionLimit)),
      onServerRunning: { channel in
        switch place {
        case .unix(let path):
          UnixSocketFile.restrict(path)
          await listening("unix:\(path)")
        case .tcp(let host, _):
          let port = channel.localAddress?.port ?? 0
          await listening("http://\(host.contains(":") ? "[\(host)]" : host):\(port)")
        }
      },
      logger: quiet)
    try await application.run()
    try Task.checkCancellation()
  }
}
