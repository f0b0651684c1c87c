import Foundation
import Glibc
import Logging
import Remote
import TestKit
import Testing

@testable import SSH

@Suite("Connecting", .serialized, .enabled(if: SSHServer.isAvailable, "openssh-server is missing"))
struct ConnectTests {
  @Test("Facts tell who was met and what was agreed on; nothing old is agreed on")
  func facts() async throws {
    try await Harness.with { harness in
      try await harness.connected { connection in
        let facts = await connection.facts
        #expect(facts.address == "127.0.0.1")
        #expect(facts.serverBanner.hasPrefix("SSH-2.0-OpenSSH"))
        #expect(facts.hostKeyType == "ssh-ed25519")
        #expect(facts.hostKeyFingerprint.hasPrefix("SHA256:"))
        #expect(facts.keyExchange.hasPrefix("curve25519-sha256"))
        #expect(facts.cipher.hasPrefix("aes"))
        #expect(facts.authentication.hasPrefix("publickey (SHA256:"))
        #expect(facts.latency_ms > 0)
        for name in ["cbc", "sha1", "md5", "arcfour"] {
          #expect(!(facts.cipher + facts.mac + facts.keyExchange).contains(name))
        }
      }
    }
  }

  @Test("A host's name is looked up off the loop, and a name that does not exist is said to be so")
  func names() async throws {
    try await Harness.with { harness in
      let error = await failure { try await harness.connector(host: "no-such-host.invalid").connect() }
      #expect(error?.phase == .resolve)
      #expect(error?.code == .unreachable || error?.code == .timedOut)
      let unknown = await failure { try await harness.connector(host: "localhost").connect() }
      #expect(unknown?.phase == .host_key)
      #expect(unknown?.code == .hostKeyUnknown)
      #expect(harness.server.acceptedCount + harness.server.failedCount == 0)
    }
  }

  @Test("A closed port is an error of the phase connect, at once")
  func refused() async throws {
    try await Harness.with { harness in
      await harness.server.stop()
      let error = await failure { try await harness.connector().connect() }
      #expect(error?.phase == .connect)
      #expect(error?.code == .unreachable)
      #expect(error?.rawCode == ECONNREFUSED)
      #expect(error?.message.contains("nothing listens there") == true)
    }
  }

  @Test(
    "Servers that stall or turn us away end in the phase's own error",
    arguments: [
      (StallServer.Mode.silent, RemoteError.Phase.banner, RemoteError.Code.timedOut),
      (.banner, .key_exchange, .timedOut), (.maxstartups, .banner, .refusedByPolicy),
      (.penalty, .banner, .refusedByPolicy), (.garbage, .banner, .protocolError), (.closes, .banner, .lost),
    ])
  func stalls(mode: StallServer.Mode, phase: RemoteError.Phase, code: RemoteError.Code) async throws {
    var configuration = SSHConfiguration()
    configuration.handshake = .milliseconds(600)
    let stall = try await StallServer(mode)
    try await Harness.with { [configuration] harness in
      let error = await failure {
        try await harness.connector(port: stall.port, configuration: configuration).connect()
      }
      #expect(error?.phase == phase)
      #expect(error?.code == code, "\(String(describing: error))")
    }
    await stall.process.stop()
  }

  @Test("A server frozen before it answers the login ends in the phase authenticate")
  func stallInAuthentication() async throws {
    var configuration = SSHConfiguration()
    configuration.authenticate = .milliseconds(600)
    try await Harness.with(options: ["PasswordAuthentication yes"]) { [configuration] harness in
      let server = harness.server
      let connector = harness.connector(
        credentials: [
          .password {
            // The host key is trusted by now and the method list known; from here on the server says nothing.
            await server.signalSessions(SIGSTOP)
            return Array("secret".utf8)
          }
        ], configuration: configuration)
      let error = await failure { try await connector.connect() }
      await server.signalSessions(SIGCONT)
      #expect(error?.phase == .authenticate)
      #expect(error?.code == .timedOut)
    }
  }

  @Test("A caller that gives up while connecting gets its error at once")
  func cancelled() async throws {
    let stall = try await StallServer(.silent)
    try await Harness.with { harness in
      let task = Task { await failure { try await harness.connector(port: stall.port).connect() } }
      task.cancel()
      let error = await task.value
      #expect(error?.code == .closed)
    }
    await stall.process.stop()
  }

  @Test("A server without a modern algorithm is refused, and an exception by name reaches it")
  func oldAlgorithms() async throws {
    try await Harness.with(options: ["Ciphers aes256-cbc", "MACs hmac-sha1"]) { harness in
      let error = await failure { try await harness.connector().connect() }
      #expect(error?.code == .noCommonAlgorithm)
      #expect(error?.phase == .key_exchange)
      var configuration = SSHConfiguration()
      configuration.additionalAlgorithms = [.cipher: ["aes256-cbc"], .mac: ["hmac-sha1"]]
      try await harness.connected(configuration: configuration) { connection in
        let facts = await connection.facts
        #expect(facts.cipher == "aes256-cbc")
        #expect(facts.mac == "hmac-sha1")
      }
    }
  }

  @Test("Two hundred connections leave no socket behind")
  func noLeaks() async throws {
    try await Harness.with { harness in
      for _ in 0..<25 {
        try await withThrowingTaskGroup(of: Void.self) { group in
          for index in 0..<8 {
            group.addTask {
              let credentials: [Credential]? = index == 7 ? [.password { [1] }] : nil
              let connector = harness.connector(credentials: credentials)
              do {
                let connection = try await connector.connection()
                if index % 2 == 0 { _ = try await connection.run(Command(["true"])) }
                if index % 3 == 0 { async let _ = connection.run(Command(["sleep", "9"])) }
                await connection.close()
              } catch let error as RemoteError {
                if index != 7 { throw error }
              }
            }
          }
          try await group.waitForAll()
        }
      }
      #expect(openSockets(to: harness.server.port) == 0)
      #expect(harness.server.acceptedCount == 25 * 7)
    }
  }
}
