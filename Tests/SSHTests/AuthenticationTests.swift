import Foundation
import Glibc
import Remote
import TestKit
import Testing

@testable import SSH

@Suite("Logging in", .serialized, .enabled(if: SSHServer.isAvailable, "openssh-server is missing"))
struct AuthenticationTests {
  @Test("Ed25519 and ECDSA keys log in", arguments: SSHServer.ClientKey.allCases)
  func keys(key: SSHServer.ClientKey) async throws {
    try await Harness.with { harness in
      try await harness.connected(credentials: [.keyFile(harness.server.clientKey(key))]) { connection in
        let result = try await connection.run(Command(["true"]))
        #expect(result.status == 0)
        #expect(await connection.facts.authentication.hasPrefix("publickey (SHA256:"))
      }
    }
  }

  @Test("ECDSA keys of every curve log in", arguments: ["256", "384", "521"])
  func curves(bits: String) async throws {
    try await Harness.with { harness in
      let path = harness.server.directory.file("curve")
      _ = try await ManagedProcess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-b", bits, "-N", "", "-f", path])
      try harness.server.authorize([path + ".pub"])
      try await harness.connected(credentials: [.keyFile(path)]) { connection in
        #expect(await connection.facts.authentication.hasPrefix("publickey (SHA256:"))
      }
    }
  }

  @Test("An encrypted key needs its passphrase, which a program gives; a wrong one is no login attempt")
  func passphrase() async throws {
    try await Harness.with { harness in
      let path = try await harness.server.makeKey("locked", passphrase: "pass phrase")
      try harness.server.authorize([path + ".pub"])
      try await harness.connected(credentials: [.keyFile(path, passphraseCommand: ["echo", "pass phrase"])]) {
        let result = try await $0.run(Command(["true"]))
        #expect(result.status == 0)
      }
      for command in [nil, ["echo", "wrong"], ["false"], ["/no/such"]] {
        let other = try await harness.server.makeKey("locked-\(command?[0].suffix(4) ?? "")", passphrase: "other")
        let error = await failure {
          try await harness.connector(credentials: [.keyFile(other, passphraseCommand: command)]).connect()
        }
        #expect(error?.code == .noCredential, "\(String(describing: error))")
        #expect(error?.phase == .authenticate)
      }
      #expect(harness.server.failedCount == 0)
    }
  }

  @Test("A key that others may read is not used, and the message says what to do")
  func fileMode() async throws {
    try await Harness.with { harness in
      let path = try await harness.server.makeKey("open")
      chmod(path, 0o644)
      let error = await failure { try await harness.connector(credentials: [.keyFile(path)]).connect() }
      #expect(error?.code == .noCredential)
      #expect(error?.message.contains("mode 0644") == true)
      #expect(error?.message.contains("chmod 600") == true)
      let missing = await failure { try await harness.connector(credentials: [.keyFile("/no/key")]).connect() }
      #expect(missing?.code == .noCredential)
      #expect(harness.server.failedCount + harness.server.acceptedCount == 0)
    }
  }

  @Test("A key that the server does not know is refused after one attempt; a second credential is tried")
  func wrongKey() async throws {
    try await Harness.with { harness in
      let path = try await harness.server.makeKey("stranger")
      let error = await failure { try await harness.connector(credentials: [.keyFile(path)]).connect() }
      #expect(error?.code == .authenticationFailed)
      #expect(error?.phase == .authenticate)
      _ = try await harness.server.log.first {
        $0.contains("Connection closed by authenticating user") || $0.contains("Connection reset")
      }
      #expect(harness.server.failedCount <= 1)
      #expect(harness.server.acceptedCount == 0)
      try await harness.connected(credentials: [.keyFile(path), .keyFile(harness.server.clientKey())]) {
        let result = try await $0.run(Command(["true"]))
        #expect(result.status == 0)
      }
    }
  }

  @Test("No more credentials are tried than the bound")
  func attempts() async throws {
    try await Harness.with { harness in
      var credentials: [Credential] = []
      for index in 0..<5 { credentials.append(.keyFile(try await harness.server.makeKey("stranger-\(index)"))) }
      credentials.append(.keyFile(harness.server.clientKey()))
      let error = await failure { try await harness.connector(credentials: credentials).connect() }
      #expect(error?.code == .authenticationFailed)
      #expect(error?.message.contains("stranger-2") == true)
      #expect(error?.message.contains("stranger-3") == false)
      #expect(harness.server.acceptedCount == 0)
    }
  }

  @Test("An agent signs with the key that its fingerprint names, and without one at most three keys are tried")
  func agent() async throws {
    try await Harness.with { harness in
      let server = harness.server
      let socket = server.directory.file("agent")
      let agent = try ManagedProcess(["ssh-agent", "-D", "-a", socket])
      defer { agent.signal(SIGTERM) }
      _ = try await agent.line { $0.contains("SSH_AUTH_SOCK") }
      func add(_ path: String) async throws {
        _ = try await ManagedProcess.run(["/usr/bin/env", "SSH_AUTH_SOCK=\(socket)", "ssh-add", "-q", path])
      }
      for index in 0..<3 { try await add(try await server.makeKey("stranger-\(index)")) }
      try await add(server.clientKey(.ecdsa))
      let shown = try await ManagedProcess.run(["ssh-keygen", "-lf", server.clientKey(.ecdsa)])
      let fingerprint = try #require(shown.first?.split(separator: " ").dropFirst().first.map(String.init))
      try await harness.connected(credentials: [.agent(fingerprint: fingerprint, socket: socket)]) { connection in
        let result = try await connection.run(Command(["true"]))
        #expect(result.status == 0)
        #expect(await connection.facts.authentication == "agent (\(fingerprint))")
      }
      let tooMany = await failure { try await harness.connector(credentials: [.agent(socket: socket)]).connect() }
      #expect(tooMany?.code == .authenticationFailed)
      let absent = await failure {
        try await harness.connector(credentials: [.agent(fingerprint: "SHA256:none", socket: socket)]).connect()
      }
      #expect(absent?.code == .noCredential)
      await agent.stop()
      let gone = await failure { try await harness.connector(credentials: [.agent(socket: socket)]).connect() }
      #expect(gone?.code == .noCredential)
      #expect(gone?.message.contains("cannot be reached") == true)
    }
  }

  @Test("A wrong password is refused and never shown")
  func wrongPassword() async throws {
    try await Harness.with(options: ["PasswordAuthentication yes"]) { harness in
      let connector = harness.connector(credentials: [.password { Array("hunter2-secret".utf8) }])
      let error = await failure { try await connector.connect() }
      #expect(error?.code == .authenticationFailed)
      #expect(error.map { "\($0)" }?.contains("hunter2") == false)
      // The server's log may be a moment behind its answer.
      let end = ContinuousClock.now + .seconds(10)
      while harness.server.failedCount == 0, ContinuousClock.now < end { try await Task.sleep(for: .milliseconds(20)) }
      #expect(harness.server.failedCount == 1)
    }
  }

  @Test("Where the server takes no password none is sent, and none is asked for")
  func passwordNotOffered() async throws {
    try await Harness.with { harness in
      let connector = harness.connector(credentials: [
        .password {
          Issue.record("the password was asked for")
          return []
        }
      ])
      let error = await failure { try await connector.connect() }
      #expect(error?.code == .noCredential)
      #expect(error?.message.contains("publickey") == true)
    }
  }
}
