internal import Glibc
internal import HTTPTypes
internal import Hummingbird
internal import HummingbirdCore
package import Logging
package import Model
internal import NIOCore
internal import NIOPosix
internal import Supervision

/// The one listening socket: the HTTP API, the page, /healthz, /readyz and /metrics.
///
/// It knows nothing of how the service works; whatever it is asked it passes to ``Operations``.
package struct Gateway: Supervised {
  private let configuration: GatewayConfiguration
  private let operations: any Operations
  private let sessions: SessionBook
  private let onListening: @Sendable (_ url: String, _ oneTimeToken: String) async -> Void
  private let clock: any Clock<Duration>
  private let logger: Logger

  /// - Parameters:
  ///   - clock: for the ages of tokens and sessions, and for the signs of life in streams.
  ///   - onListening: called once the socket is bound, with the base URL and a token that opens one session.
  package init(
    _ configuration: GatewayConfiguration, operations: any Operations, logger: Logger,
    clock: any Clock<Duration> = ContinuousClock(),
    onListening: @escaping @Sendable (_ url: String, _ oneTimeToken: String) async -> Void = { _, _ in }
  ) {
    self.configuration = configuration
    self.operations = operations
    self.onListening = onListening
    self.clock = clock
    self.logger = logger
    sessions = SessionBook(sessionLife: configuration.sessionLife, now: Self.stopwatch(clock))
  }

  /// Listens and answers until cancelled. May be run again, on the same address, once it has ended; sessions stay good.
  ///
  /// When cancelled it takes no more requests, ends streams, gives answers under way ``GatewayConfiguration/grace``, and
  /// ends.
  package func run() async throws {
    let connections = ConnectionBook(limit: configuration.connectionLimit)
    let application = try application(connections)
    // Not a child task: cancelling it at once would cut off the answer that tells of the reload or the restart.
    let work = Task { try await application.run() }
    let grace = TimeAmount(configuration.grace)
    let result = await withTaskCancellationHandler {
      await work.result
    } onCancel: {
      connections.beginClosing()
      MultiThreadedEventLoopGroup.singleton.any().scheduleTask(in: grace) {
        connections.closeAll()
        work.cancel()
      }
    }
    try Task.checkCancellation()
    do {
      try result.get()
    } catch let error as IOError where error.errnoCode == EADDRINUSE {
      throw AddressTaken(address: configuration.address)
    }
  }

  /// Somebody else listens there.
  struct AddressTaken: Error, CustomStringConvertible {
    var address: GatewayConfiguration.Address
    var description: String {
      switch address {
      case .tcp(let host, let port):
        "\(host):\(port) is taken by another program: stop that one, or choose another address in http.listen"
      case .unix(let path): "\(path) is taken by another program: choose another path in http.listen"
      }
    }
  }

  private func application(_ connections: ConnectionBook) throws -> some ApplicationProtocol {
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
    let (listening, sessions, place, limits) = (onListening, sessions, configuration.address, configuration.limits)
    return Application(
      router: Routes(configuration: configuration, operations: operations, sessions: sessions, clock: clock).router(),
      server: .http1(
        configuration: .init(
          additionalChannelHandlers: [ConnectionGuard(book: connections, limits: limits)],
          httpDecoderConfiguration: .init(
            maxHeaderFieldSize: 16 << 10, maxHeaderListSize: 32 << 10, maxHeaderFieldCount: 100))),
      configuration: ApplicationConfiguration(address: address, serverName: "syscrap"),
      onServerRunning: { channel in
        ListeningSockets.closeOnExec()
        switch place {
        case .unix(let path):
          UnixSocketFile.restrict(path)
          await listening("unix:\(path)", await sessions.makeToken())
        case .tcp(let host, _):
          let port = channel.localAddress?.port ?? 0
          await listening("http://\(host.contains(":") ? "[\(host)]" : host):\(port)", await sessions.makeToken())
        }
        connections.listen(on: channel)
      },
      logger: quiet)
  }

  /// The time since now on that clock.
  private static func stopwatch(_ clock: some Clock<Duration>) -> @Sendable () -> Duration {
    let start = clock.now
    return { start.duration(to: clock.now) }
  }
}
