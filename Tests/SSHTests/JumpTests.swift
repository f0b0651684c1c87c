import Foundation
import Glibc
import Logging
import Remote
import TestKit
import Testing

@testable import SSH

@Suite("Jump hosts", .serialized, .enabled(if: SSHServer.isAvailable, "openssh-server is missing"))
struct JumpTests {
  @Test("A chain of two jump hosts carries commands and files, with one login at each hop and its own credentials")
  func chain() async throws {
    try await Harness.with { harness in
      try await SSHServer.with { first in
        try await SSHServer.with { second in
          let one = try await harness.jump("first", first)
          let two = try await harness.jump("second", second, through: one)
          let connection = try await harness.behind(two).connection()
          let facts = await connection.facts
          #expect(facts.jump == "first,second")
          #expect(facts.address == "127.0.0.1")
          #expect(facts.serverBanner.hasPrefix("SSH-2.0-OpenSSH"))
          #expect(facts.latency_ms > 0)
          let data = pattern(700_000)
          async let echoed = connection.run(Command(["cat"], input: data))
          async let answers = connection.ask([
            .read(path: "/proc/uptime"), .run(Command(["sh", "-c", "echo here; exit 3"])),
          ])
          #expect(try await echoed == CommandResult(status: 0, output: data))
          let all = try await answers
          guard case .content(let uptime, isTruncated: false) = all[0] else {
            throw ManagedProcessError("\(all)")
          }
          #expect(!uptime.isEmpty)
          #expect(all[1] == .result(CommandResult(status: 3, output: Array("here\n".utf8))))
          await connection.close()
          #expect(await connection.ended() == nil)
          #expect([first, second, harness.server].map(\.acceptedCount) == [1, 1, 1])
          // Each server lets in its own key only.
          #expect([first, second, harness.server].map(\.failedCount) == [0, 0, 0])
        }
      }
    }
  }

  @Test("A host key that is not known at either hop is refused before any credential is sent there")
  func unknownKeys() async throws {
    try await Harness.with { harness in
      try await SSHServer.with { server in
        let stranger = try await harness.jump("stranger", server, knownHosts: [])
        let outer = await failure { try await harness.behind(stranger).connect() }
        #expect(outer?.code == .hostKeyUnknown)
        #expect(outer?.phase == .host_key)
        #expect(outer?.message.hasPrefix("The jump host stranger: ") == true)
        #expect(server.acceptedCount + server.failedCount == 0)

        let known = try await harness.jump("known", server)
        var connector = harness.behind(known)
        connector.hostKeys = HostKeyPolicy(mode: .strict, knownHosts: [], pin: nil)
        let inner = await failure { [connector] in try await connector.connect() }
        #expect(inner?.code == .hostKeyUnknown)
        #expect(inner?.phase == .host_key)
        #expect(inner?.message.contains("jump host") == false)
        #expect(server.acceptedCount == 1)
        #expect(harness.server.acceptedCount + harness.server.failedCount == 0)
      }
    }
  }

  @Test("A hundred targets behind one jump host cost it one login, and all are answered at the same time")
  func sharing() async throws {
    let addresses = (1...10).map { "127.8.0.\($0)" }
    try await Harness.with(addresses: addresses) { harness in
      try await SSHServer.with(options: ["MaxSessions 1"]) { server in
        let jump = try await harness.jump("bastion", server)
        let connections = try await withThrowingTaskGroup(of: Connection.self) { group in
          for number in 0..<100 {
            group.addTask {
              let address = addresses[number % 10]
              var configuration = SSHConfiguration()
              // All sign in at once here, on few cores.
              configuration.handshake = .seconds(60)
              configuration.authenticate = .seconds(60)
              return try await harness.behind(jump, host: address, configuration: configuration).connection()
            }
          }
          return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(server.acceptedCount == 1)
        #expect(harness.server.acceptedCount == 100)
        try await withThrowingTaskGroup(of: Void.self) { group in
          for (number, connection) in connections.enumerated() {
            group.addTask {
              for round in 0..<3 {
                let result = try await connection.run(Command(["echo", "\(number) \(round)"]))
                #expect(result.output == Array("\(number) \(round)\n".utf8))
              }
            }
          }
          try await group.waitForAll()
        }
        for connection in connections { await connection.close() }
        #expect(server.acceptedCount == 1)
      }
    }
  }

  @Test("Full queues and a full send buffer lose nothing and mix nothing up")
  func pressure() async throws {
    try await Harness.with { harness in
      try await SSHServer.with { server in
        var configuration = SSHConfiguration()
        configuration.sendBuffer = 4096
        let jump = try await harness.jump("bastion", server, configuration: configuration)
        try await withThrowingTaskGroup(of: Void.self) { group in
          for number in 0..<6 {
            group.addTask {
              let connection = try await harness.behind(jump).connection()
              let data = Array(pattern(600_000 + number).reversed())
              async let first = connection.run(Command(["cat"], input: data))
              async let second = connection.run(
                Command(["sh", "-c", "head -c 900000 /dev/zero; cat >/dev/null"], input: data))
              #expect(try await first == CommandResult(status: 0, output: data))
              #expect(try await second == CommandResult(status: 0, output: Array(repeating: 0, count: 900_000)))
              await connection.close()
            }
          }
          try await group.waitForAll()
        }
        #expect(server.acceptedCount == 1)
      }
    }
  }

  @Test("When the jump host is lost, those behind it end and say so, and one new login brings all of them back")
  func loss() async throws {
    try await Harness.with { harness in
      try await SSHServer.with { server in
        let jump = try await harness.jump("bastion", server)
        let connectors = (0..<5).map { _ in harness.behind(jump) }
        var connections: [Connection] = []
        for connector in connectors { connections.append(try await connector.connection()) }
        let running = Task { [connections] in
          await failure { try await connections[0].run(Command(["sleep", "30"])) }
        }
        _ = try await connections[0].run(Command(["true"]))
        #expect(await server.killSessions() > 0)
        for connection in connections {
          let reason = await connection.ended()
          #expect(reason?.code == .lost)
          #expect(reason?.phase == .connection)
          #expect(
            reason?.message.hasPrefix("The jump host bastion was lost: ") == true, "\(String(describing: reason))")
        }
        let error = await running.value
        #expect(error?.phase == .connection)
        // As their keepers do: again after a short pause, while the jump host is left alone for a moment.
        let again = try await withThrowingTaskGroup(of: Connection.self) { group in
          for connector in connectors {
            group.addTask {
              while true {
                do {
                  return try await connector.connection()
                } catch let error as RemoteError {
                  guard error.message.hasPrefix("The jump host bastion was lost: ") else { throw error }
                  try await Task.sleep(for: .milliseconds(50))
                }
              }
            }
          }
          return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(server.acceptedCount == 2)
        for connection in again {
          #expect(try await connection.run(Command(["echo", "back"])).output == Array("back\n".utf8))
          await connection.close()
        }
      }
    }
  }

  @Test("A host that the jump host cannot or may not reach is that target's own error, and costs no second login")
  func refused() async throws {
    try await Harness.with { harness in
      let closed = try Int(ManagedProcess.freePort())
      let open = Int(harness.server.port)
      try await SSHServer.with(options: ["PermitOpen 127.0.0.1:\(closed) 127.0.0.1:\(open)"]) { server in
        let jump = try await harness.jump("bastion", server)
        try await harness.behind(jump).connection().close()
        let nobody = await failure { try await harness.behind(jump, port: closed).connect() }
        #expect(nobody?.code == .unreachable)
        #expect(nobody?.phase == .connect)
        #expect(nobody?.message.contains("The jump host bastion cannot connect to 127.0.0.1:\(closed)") == true)
        let forbidden = await failure { try await harness.behind(jump, port: 9).connect() }
        #expect(forbidden?.code == .refusedByPolicy)
        #expect(forbidden?.phase == .connect)
        #expect(forbidden?.message.contains("bastion does not let us through to 127.0.0.1:9") == true)
        let name = await failure { try await harness.behind(jump, host: "\0", port: 9).connect() }
        #expect(name?.phase == .resolve)
        try await harness.behind(jump).connection().close()
        #expect(server.acceptedCount == 1)
      }
    }
  }

  @Test(
    "A host that never answers the jump host fails alone: who is connected stays so, and others get a new connection",
    .enabled(if: BlackHole.isAvailable, "needs root and nft"))
  func late() async throws {
    let hole = "127.9.\(Int.random(in: 1...250)).\(Int.random(in: 1...250))"
    try await Harness.with(addresses: ["127.0.0.1", hole]) { harness in
      try await SSHServer.with { server in
        var configuration = SSHConfiguration()
        configuration.connect = .milliseconds(800)
        let jump = try await harness.jump("bastion", server, configuration: configuration)
        let first = try await harness.behind(jump).connection()
        let dead = harness.behind(jump, host: hole)
        let table = try await BlackHole(hole)
        let error = await failure { try await dead.connect() }
        #expect(error?.code == .timedOut)
        #expect(error?.phase == .connect)
        #expect(error?.message.contains("The jump host bastion does not reach \(hole):") == true)
        #expect(server.acceptedCount == 1)
        #expect(try await first.run(Command(["echo", "still"])).output == Array("still\n".utf8))
        let second = try await harness.behind(jump).connection()
        #expect(server.acceptedCount == 2)
        // From now on the dead one has connections of its own and holds nobody up.
        for count in 3...4 {
          #expect(await failure { try await dead.connect() }?.code == .timedOut)
          #expect(server.acceptedCount == count)
        }
        let third = try await harness.behind(jump).connection()
        #expect(server.acceptedCount == 4)
        try await table.close()
        let risen = try await dead.connection()
        for connection in [first, second, third, risen] {
          #expect(try await connection.run(Command(["echo", "here"])).output == Array("here\n".utf8))
          await connection.close()
        }
      }
    }
  }

  @Test("A jump host that refuses our key is asked once for all who are behind it")
  func wrongKey() async throws {
    try await Harness.with { harness in
      try await SSHServer.with { server in
        let key = try await server.makeKey("stranger")
        let jump = try await harness.jump("bastion", server, credentials: [.keyFile(key)])
        let errors = await withTaskGroup(of: RemoteError?.self) { group in
          for _ in 0..<40 { group.addTask { await failure { try await harness.behind(jump).connect() } } }
          return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(Set(errors.map { $0?.code }) == [.authenticationFailed])
        #expect(errors.allSatisfy { $0?.message.hasPrefix("The jump host bastion: ") == true })
        // Also who comes later.
        #expect(await failure { try await harness.behind(jump).connect() }?.code == .authenticationFailed)
        _ = try await server.log.first(within: .seconds(20)) { $0.hasPrefix("Failed ") }
        #expect(server.failedCount == 1)
        // Mended, and said so.
        try server.authorize([server.clientKey() + ".pub", key + ".pub"])
        await harness.group.hurryJumpHosts()
        try await harness.behind(jump).connection().close()
        #expect(server.acceptedCount == 1)
      }
    }
  }

  @Test("The connection to a jump host ends a while after the last that travelled in it, and not before")
  func linger() async throws {
    try await Harness.with { harness in
      try await SSHServer.with { server in
        var configuration = SSHConfiguration()
        configuration.linger = .milliseconds(300)
        let jump = try await harness.jump("bastion", server, configuration: configuration)
        let ended = #"Disconnected from user \#(server.user)"#
        let one = try await harness.behind(jump).connection()
        let two = try await harness.behind(jump).connection()
        await one.close()
        try await Task.sleep(for: .milliseconds(600))
        #expect(harness.metrics.openConnections == 2)
        await two.close()
        try await harness.behind(jump).connection().close()
        #expect(server.acceptedCount == 1)
        _ = try await server.log.first(within: .seconds(20)) { $0.contains(ended) }
        // The server may know of the end before we have put the connection away.
        let end = ContinuousClock.now + .seconds(10)
        while harness.metrics.openConnections > 0, ContinuousClock.now < end {
          try await Task.sleep(for: .milliseconds(20))
        }
        #expect(harness.metrics.openConnections == 0)
        try await harness.behind(jump).connection().close()
        #expect(server.acceptedCount == 2)
      }
    }
  }

  @Test("Giving up while the jump host is silent ends the wait of that caller, and with the last the attempt")
  func cancelled() async throws {
    let stall = try await StallServer(.silent)
    try await Harness.with { harness in
      let jump = JumpHost(name: "silent", key: "silent", connector: harness.connector(port: stall.port))
      let tasks = (0..<3).map { _ in
        Task { await failure { try await harness.behind(jump).connect() } }
      }
      for task in tasks { task.cancel() }
      for task in tasks { #expect(await task.value?.code == .closed) }
    }
    await stall.process.stop()
  }

  @Test("More than eight jump hosts in a row are refused")
  func depth() async throws {
    try await Harness.with { harness in
      var jump = try await harness.jump("0", harness.server)
      for number in 1...8 { jump = try await harness.jump("\(number)", harness.server, through: jump) }
      let error = await failure { [jump] in try await harness.behind(jump).connect() }
      #expect(error?.message.contains("more than 8 jump hosts") == true)
      #expect(harness.server.acceptedCount == 0)
    }
  }

  @Test("Eight jump hosts in a row work")
  func deep() async throws {
    try await Harness.with { harness in
      var jump = try await harness.jump("0", harness.server)
      for number in 1..<8 { jump = try await harness.jump("\(number)", harness.server, through: jump) }
      let connection = try await harness.behind(jump).connection()
      #expect(await connection.facts.jump == "0,1,2,3,4,5,6,7")
      let data = pattern(200_000)
      #expect(try await connection.run(Command(["cat"], input: data)) == CommandResult(status: 0, output: data))
      await connection.close()
      #expect(harness.server.acceptedCount == 9)
    }
  }

  @Test("A queue of bytes gives back what it took, in order, and never more than fits", arguments: 1...20)
  func byteQueue(seed: Int) {
    var random = SplitMix(seed: UInt64(seed))
    var queue = ByteQueue(capacity: 1000)
    var model: [UInt8] = []
    var next: UInt8 = 0
    for _ in 0..<2000 {
      if Bool.random(using: &random) {
        let bytes = (0..<Int.random(in: 0...400, using: &random)).map { _ in
          next &+= 1
          return next
        }
        let taken = bytes.withUnsafeBytes { queue.append($0) }
        #expect(taken == min(bytes.count, 1000 - model.count))
        model += bytes.prefix(taken)
        // What was refused comes again.
        next &-= UInt8(truncatingIfNeeded: bytes.count - taken)
      } else {
        var target = [UInt8](repeating: 0, count: Int.random(in: 0...700, using: &random))
        let count = target.withUnsafeMutableBytes { queue.read(into: $0) }
        #expect(Array(target.prefix(count)) == Array(model.prefix(target.count)))
        model.removeFirst(count)
      }
      #expect(queue.count == model.count && queue.isEmpty == model.isEmpty)
    }
  }
}

/// Random numbers that are the same in every run.
struct SplitMix: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

extension Harness {
  /// A way through a server; `knownHosts` and `credentials` are its own unless given.
  func jump(
    _ name: String, _ server: SSHServer, through before: JumpHost? = nil, knownHosts: [String]? = nil,
    credentials: [Credential]? = nil, configuration: SSHConfiguration = SSHConfiguration()
  ) async throws -> JumpHost {
    let own = try await server.knownHostsFile()
    let connector = SSHConnector(
      host: "127.0.0.1", port: Int(server.port), user: server.user,
      credentials: credentials ?? [.keyFile(server.clientKey())],
      hostKeys: HostKeyPolicy(mode: .strict, knownHosts: knownHosts ?? [own], pin: nil), jump: before,
      configuration: configuration, group: group, metrics: metrics, logger: Logger(label: "test"))
    return JumpHost(name: name, key: name, connector: connector)
  }

  /// The server of this harness, behind a jump host.
  func behind(
    _ jump: JumpHost, host: String = "127.0.0.1", port: Int? = nil, configuration: SSHConfiguration = SSHConfiguration()
  ) -> SSHConnector {
    var connector = connector(host: host, port: port, configuration: configuration)
    connector.jump = jump
    return connector
  }
}
