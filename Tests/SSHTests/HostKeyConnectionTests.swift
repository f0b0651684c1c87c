internal import Foundation
internal import Logging
internal import Remote
internal import TestKit
internal import Testing
internal import Threads

@testable import SSH

/// What a server receives from us when its key is not the one we trust, told by a server that opens every packet.
@Suite(
  "Host keys before credentials",
  .enabled(
    if: FakeSSHServer.isAvailable || ProcessInfo.processInfo.environment["CI"] == "true", "needs python3"),
  .serialized)
struct HostKeyConnectionTests {
  private let directory: TemporaryDirectory
  private let group: EventLoopGroup
  private let metrics = SSHMetrics()
  /// One entry for each time a password was asked for.
  private let asked = EventLog<Int>()
  private let other = SampleKeys.ed25519(9)

  init() throws {
    directory = try TemporaryDirectory("mitm")
    group = try EventLoopGroup(count: 1, connects: .unlimited)
  }

  private func connector(_ server: FakeSSHServer, _ policy: HostKeyPolicy) -> SSHConnector {
    var configuration = SSHConfiguration()
    // The server does its arithmetic in Python, several connections at once.
    configuration.handshake = .seconds(60)
    let asked = asked
    let password = Credential.password {
      asked.append(1)
      return Array("secret".utf8)
    }
    return SSHConnector(
      host: "127.0.0.1", port: Int(server.port), user: "monitor", credentials: [password], hostKeys: policy,
      configuration: configuration, group: group, metrics: metrics,
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  /// The codes with which `count` connections end, four at a time.
  private func codes(_ count: Int, _ connector: SSHConnector) async -> [RemoteError.Code?] {
    await withTaskGroup(of: RemoteError.Code?.self) { group in
      let attempt: @Sendable () async -> RemoteError.Code? = {
        do throws(RemoteError) {
          await (try connector.connect()).close()
          return nil
        } catch {
          return error.code
        }
      }
      var codes: [RemoteError.Code?] = []
      for number in 0..<count {
        if number >= 4, let code = await group.next() { codes.append(code) }
        group.addTask { await attempt() }
      }
      for await code in group { codes.append(code) }
      return codes
    }
  }

  @Test("the server does see authentication packets, and the password is asked for, when its key is trusted")
  func control() async throws {
    let server = try await FakeSSHServer(seed: 7)
    let key = try #require(HostKey(blob: server.hostKey))
    let file = try directory.write("known_hosts", "[127.0.0.1]:\(server.port) \(SampleKeys.text(key))\n")
    let codes = await codes(2, connector(server, HostKeyPolicy(mode: .strict, knownHosts: [file], pin: nil)))
    #expect(codes == [.authenticationFailed, .authenticationFailed])
    let connections = try await server.connections(closed: 2)
    #expect(connections.count == 2)
    for connection in connections {
      #expect(connection.authenticationPackets >= 2 && connection.methods.contains("password"), "\(connection)")
    }
    #expect(asked.all.count >= 2)
    await server.stop()
  }

  @Test("in 100 connections to a server with a changed key not one authentication packet is sent")
  func changed() async throws {
    let server = try await FakeSSHServer(seed: 7)
    let file = try directory.write("known_hosts", "[127.0.0.1]:\(server.port) \(SampleKeys.text(other))\n")
    let codes = await codes(100, connector(server, HostKeyPolicy(mode: .accept_new, knownHosts: [file], pin: nil)))
    #expect(codes == Array(repeating: .hostKeyChanged, count: 100))
    try await expectSilence(server, connections: 100)
    #expect(try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n").count == 1)
    await server.stop()
  }

  @Test("nor to one whose key is unknown, revoked or not the pinned one")
  func refused() async throws {
    let server = try await FakeSSHServer(seed: 7)
    let key = try #require(HostKey(blob: server.hostKey))
    let name = "[127.0.0.1]:\(server.port)"
    let revoked = try directory.write(
      "revoked", "\(name) \(SampleKeys.text(key))\n@revoked * \(SampleKeys.text(key))\n")
    let known = try directory.write("known", "\(name) \(SampleKeys.text(key))\n")
    let policies: [(HostKeyPolicy, RemoteError.Code)] = [
      (HostKeyPolicy(mode: .strict, knownHosts: [], pin: nil), .hostKeyUnknown),
      (HostKeyPolicy(mode: .accept_new, knownHosts: [revoked], pin: nil), .hostKeyRevoked),
      (HostKeyPolicy(mode: .strict, knownHosts: [known], pin: other.fingerprint), .hostKeyChanged),
    ]
    for (policy, code) in policies {
      #expect(await codes(5, connector(server, policy)) == Array(repeating: code, count: 5))
    }
    try await expectSilence(server, connections: 15)
    await server.stop()
  }

  @Test("a scan fetches the host's key and sends nothing to log in, even to a host that is trusted")
  func scan() async throws {
    let server = try await FakeSSHServer(seed: 7)
    let key = try #require(HostKey(blob: server.hostKey))
    let file = try directory.write("known_hosts", "[127.0.0.1]:\(server.port) \(SampleKeys.text(key))\n")
    let test = self
    let store = TrustStore(
      knownHosts: [file],
      scan: TrustStore.scan(knownHosts: [file]) { policy, _, _ in test.connector(server, policy) })
    let result = try await store.scan(host: "127.0.0.1", port: Int(server.port))
    #expect(result.key == key)
    guard case .trusted = result.verdict else {
      Issue.record("\(result.verdict)")
      return
    }
    try await expectSilence(server, connections: 1)
    await server.stop()
  }

  private func expectSilence(_ server: FakeSSHServer, connections count: Int) async throws {
    let connections = try await server.connections(closed: count)
    #expect(connections.count == count)
    #expect(connections.reduce(0) { $0 + $1.authenticationPackets } == 0)
    for connection in connections {
      // The key exchange was done, so a password could have been sent. What was sent is at most the request for the
      // service, which libssh2 makes part of its handshake and which names nobody, and a farewell.
      #expect(connection.packets.prefix(2) == [20, 30], "\(connection)")
      #expect(connection.packetsAfterKeys.allSatisfy { $0 == 5 || $0 == 1 }, "\(connection)")
      #expect(connection.methods.isEmpty)
    }
    #expect(asked.all.isEmpty)
  }
}
