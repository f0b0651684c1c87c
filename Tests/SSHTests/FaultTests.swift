import Foundation
import Glibc
import Logging
import Remote
import TestKit
import Testing

@testable import SSH

@Suite("Peers that die", .serialized, .enabled(if: SSHServer.isAvailable, "openssh-server is missing"))
struct FaultTests {
  @Test("When the server's processes are killed, what is in flight fails and the connection tells why")
  func killed() async throws {
    try await Harness.with { harness in
      let connection = try await harness.connector().connection()
      #expect(openSockets(to: harness.server.port) == 1)
      let reason = Task { await connection.ended() }
      let running = Task { await failure { try await connection.run(Command(["sleep", "30"])) } }
      _ = try await connection.run(Command(["true"]))
      let killed = await harness.server.killSessions()
      #expect(killed > 0)
      let end = await reason.value
      #expect(end?.code == .lost)
      #expect(end?.phase == .connection)
      let error = await running.value
      #expect(error?.phase == .connection)
      #expect(error?.code == .lost)
      #expect(openSockets(to: harness.server.port) == 0)
      let after = await failure { try await connection.ask([.read(path: "/proc/uptime")]) }
      #expect(after?.phase == .connection)
    }
  }

  @Test("An idle connection notices its server's end without being asked")
  func idleEnd() async throws {
    try await Harness.with { harness in
      let connection = try await harness.connector().connection()
      let reason = Task { await connection.ended() }
      await harness.server.killSessions()
      let end = await reason.value
      #expect(end?.code == .lost)
    }
  }

  @Test("A connection that we close ended for no reason")
  func closed() async throws {
    try await Harness.with { harness in
      let connection = try await harness.connector().connection()
      let running = Task { await failure { try await connection.run(Command(["sleep", "30"])) } }
      _ = try await connection.run(Command(["true"]))
      await connection.close()
      await connection.close()
      #expect(await connection.ended() == nil)
      let error = await running.value
      #expect(error?.code == .closed)
      #expect(error?.phase == .connection)
    }
  }

  @Test("Stopping the loops ends their connections")
  func loopStop() async throws {
    try await Harness.with { harness in
      let connection = try await harness.connector().connection()
      await harness.group.stop()
      #expect(await connection.ended() == nil)
      let after = await failure { try await connection.run(Command(["true"])) }
      #expect(after?.code == .closed)
    }
  }

  @Test("A server that is frozen, though its kernel still acknowledges, is found dead by keep-alive")
  func frozen() async throws {
    var configuration = SSHConfiguration()
    configuration.keepAlive = .seconds(2)
    try await Harness.with { [configuration] harness in
      let connection = try await harness.connector(configuration: configuration).connection()
      _ = try await connection.run(Command(["true"]))
      await harness.server.signalSessions(SIGSTOP)
      let end = await connection.ended()
      await harness.server.signalSessions(SIGCONT)
      #expect(end?.code == .lost)
      #expect(end?.message.contains("not even an answer to a keep-alive") == true)
    }
  }

  @Test("A living idle server answers keep-alives and stays connected")
  func idleAndAlive() async throws {
    var configuration = SSHConfiguration()
    configuration.keepAlive = .seconds(2)
    try await Harness.with(options: ["LogLevel DEBUG3"]) { [configuration] harness in
      try await harness.connected(configuration: configuration) { connection in
        let asked: @Sendable (String) -> Bool = { $0.contains("keepalive@libssh2.org") }
        let first = try await harness.server.log.first(within: .seconds(15), where: asked)
        _ = try await harness.server.log.first(from: first.position + 1, within: .seconds(15), where: asked)
        #expect(await connection.state == .open)
        let result = try await connection.run(Command(["echo", "alive"]))
        #expect(result.output == Array("alive\n".utf8))
      }
    }
  }

  @Test(
    "A path that swallows packets is found dead, idle or with data in flight",
    .enabled(if: BlackHole.isAvailable, "needs root and nft"), arguments: [false, true])
  func halfOpen(inFlight: Bool) async throws {
    var configuration = SSHConfiguration()
    // In flight only the kernel's time limit can find it, idle only the keep-alive or its unacknowledged packet.
    configuration.userTimeout = .seconds(2)
    configuration.keepAlive = inFlight ? .seconds(60) : .seconds(2)
    let address = "127.9.\(Int.random(in: 1...250)).\(Int.random(in: 1...250))"
    try await Harness.with(addresses: [address]) { [configuration] harness in
      let connection = try await harness.connector(host: address, configuration: configuration).connection()
      _ = try await connection.run(Command(["true"]))
      let hole = try await BlackHole(address)
      let running = Task {
        inFlight ? await failure { try await connection.run(Command(["echo", "lost"])) } : nil
      }
      let end = await connection.ended()
      let error = await running.value
      try await hole.close()
      #expect(end?.code == .lost)
      #expect(end?.phase == .connection)
      if inFlight {
        #expect(error?.phase == .connection)
        #expect(end?.message.contains("does not acknowledge") == true)
      }
    }
  }

  @Test(
    "A path that swallows packets from the start ends in the phase connect",
    .enabled(if: BlackHole.isAvailable, "needs root and nft"))
  func unreachable() async throws {
    var configuration = SSHConfiguration()
    configuration.connect = .milliseconds(700)
    let address = "127.9.\(Int.random(in: 1...250)).\(Int.random(in: 1...250))"
    try await Harness.with(addresses: [address]) { [configuration] harness in
      let hole = try await BlackHole(address)
      let error = await failure { try await harness.connector(host: address, configuration: configuration).connect() }
      try await hole.close()
      #expect(error?.phase == .connect)
      #expect(error?.code == .timedOut)
    }
  }
}

/// Drops every packet to and from one loopback address, with an nftables table of its own.
struct BlackHole: Sendable {
  let table: String

  /// Whether packets can be dropped here: by root where nft works.
  static let isAvailable: Bool = {
    guard geteuid() == 0 else { return false }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["nft", "list", "tables"]
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return false }
    process.waitUntilExit()
    return process.terminationStatus == 0
  }()

  init(_ address: String) async throws {
    table = "syscrap_test_" + address.replacingOccurrences(of: ".", with: "_")
    let rules = """
      add table inet \(table)
      add chain inet \(table) in { type filter hook input priority 0; }
      add rule inet \(table) in ip daddr \(address) drop
      add rule inet \(table) in ip saddr \(address) drop
      """
    _ = try await ManagedProcess.run(["nft", rules])
  }

  func close() async throws {
    _ = try await ManagedProcess.run(["nft", "delete", "table", "inet", table])
  }
}
