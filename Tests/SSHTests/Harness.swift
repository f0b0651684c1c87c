import Foundation
import Glibc
import Logging
import Remote
import TestKit
import Testing

@testable import SSH

/// A server, loops and connectors for one test.
struct Harness: Sendable {
  let server: SSHServer
  let group: EventLoopGroup
  let metrics: SSHMetrics
  let knownHosts: String

  /// Runs `body` with a server; afterwards everything is stopped, and no connection or channel may be left.
  static func with(
    options: [String] = [], addresses: [String] = ["127.0.0.1"], connects: ConnectGate.Limits = .unlimited,
    _ body: @Sendable (Harness) async throws -> Void
  ) async throws {
    let group = try EventLoopGroup(connects: connects)
    let metrics = SSHMetrics()
    do {
      try await SSHServer.with(options: options, addresses: addresses) { server in
        try await body(
          Harness(
            server: server, group: group, metrics: metrics, knownHosts: try await server.knownHostsFile()))
      }
    } catch {
      await group.stop()
      throw error
    }
    await group.stop()
    #expect(metrics.openConnections == 0)
    #expect(metrics.openChannels == 0)
  }

  func connector(
    host: String = "127.0.0.1", port: Int? = nil, channels: Int = 4, user: String? = nil,
    credentials: [Credential]? = nil, configuration: SSHConfiguration = SSHConfiguration()
  ) -> SSHConnector {
    SSHConnector(
      host: host, port: port ?? Int(server.port), user: user ?? server.user,
      credentials: credentials ?? [.keyFile(server.clientKey())],
      hostKeys: HostKeyPolicy(mode: .strict, knownHosts: [knownHosts], pin: nil), channels: channels,
      configuration: configuration, group: group, metrics: metrics, logger: Logger(label: "test"))
  }

  /// Runs `body` with an open connection and closes it.
  func connected<Result: Sendable>(
    channels: Int = 4, credentials: [Credential]? = nil, configuration: SSHConfiguration = SSHConfiguration(),
    _ body: @Sendable (Connection) async throws -> Result
  ) async throws -> Result {
    let connection = try await connector(channels: channels, credentials: credentials, configuration: configuration)
      .connection()
    do {
      let result = try await body(connection)
      await connection.close()
      return result
    } catch {
      await connection.close()
      throw error
    }
  }
}

/// Bytes that repeat with no period a buffer could have.
func pattern(_ count: Int) -> [UInt8] {
  var state: UInt32 = 1
  return (0..<count).map { _ in
    state = state &* 1_664_525 &+ 1_013_904_223
    return UInt8(truncatingIfNeeded: state >> 24)
  }
}

/// How many sockets of this process are connected to a loopback port.
func openSockets(to port: UInt16) -> Int {
  let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
  return names.compactMap { Int32($0) }.count { descriptor in
    var address = sockaddr_in()
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let code = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(descriptor, $0, &length) }
    }
    return code == 0 && address.sin_family == sa_family_t(AF_INET) && UInt16(bigEndian: address.sin_port) == port
  }
}

/// What a throwing call threw, as a ``RemoteError``.
func failure(_ body: () async throws -> some Any) async -> RemoteError? {
  do {
    _ = try await body()
    return nil
  } catch {
    return error as? RemoteError
  }
}
