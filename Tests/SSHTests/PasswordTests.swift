import Foundation
import Remote
import TestKit
import Testing

@testable import SSH

/// sshd without PAM checks passwords against the system's own accounts, which a test must not change: a server in
/// Python (asyncssh) knows one of its own.
@Suite("Passwords", .serialized, .enabled(if: PasswordServer.isExpected, "no python3 with asyncssh"))
struct PasswordTests {
  @Test("The right password logs in, by either method", arguments: PasswordServer.Mode.allCases)
  func right(mode: PasswordServer.Mode) async throws {
    try await Harness.with { harness in
      let server = try await PasswordServer(mode, hostKey: harness.server.directory.file("host_ed25519"))
      let connection = try await connector(harness, server, "correct horse").connection()
      let result = try await connection.run(Command(["anything"]))
      #expect(result == CommandResult(status: 7, output: Array("hello\n".utf8)))
      #expect(await connection.facts.authentication == (mode == .interactive ? "keyboard-interactive" : "password"))
      await connection.close()
      #expect(await server.stop() == 1)
    }
  }

  @Test("A wrong password is refused after one attempt", arguments: PasswordServer.Mode.allCases)
  func wrong(mode: PasswordServer.Mode) async throws {
    try await Harness.with { harness in
      let server = try await PasswordServer(mode, hostKey: harness.server.directory.file("host_ed25519"))
      let error = await failure { try await connector(harness, server, "battery staple").connect() }
      #expect(error?.code == .authenticationFailed)
      #expect(error?.phase == .authenticate)
      #expect(error.map { "\($0)" }?.contains("staple") == false)
      #expect(await server.stop() == 1)
    }
  }

  @Test("A password reaches nobody whose host key is not trusted")
  func untrusted() async throws {
    try await Harness.with { harness in
      let other = try await harness.server.makeKey("other_host")
      let server = try await PasswordServer(.password, hostKey: other)
      let error = await failure { try await connector(harness, server, "correct horse").connect() }
      #expect(error?.phase == .host_key)
      #expect(await server.stop() == 0)
    }
  }

  private func connector(_ harness: Harness, _ server: PasswordServer, _ password: String) async throws -> SSHConnector
  {
    let shown = try await ManagedProcess.run(["ssh-keygen", "-lf", harness.server.directory.file("host_ed25519.pub")])
    let pin = try #require(shown.first?.split(separator: " ").dropFirst().first.map(String.init))
    var connector = harness.connector(
      port: server.port, user: "someone", credentials: [.password { Array(password.utf8) }])
    connector.hostKeys = HostKeyPolicy(mode: .strict, knownHosts: [], pin: pin)
    return connector
  }
}

/// A server that takes one password, by one method, and answers every command with "hello" and status 7.
struct PasswordServer: Sendable {
  enum Mode: String, Sendable, CaseIterable {
    case password
    case interactive = "keyboard-interactive"
    /// Either method.
    case both
  }

  let process: ManagedProcess
  let port: Int

  static let isExpected: Bool = {
    if ProcessInfo.processInfo.environment["CI"] == "true" { return true }
    guard let python = PythonEnvironment.program else { return false }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [python, "-c", "import asyncssh"]
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return false }
    process.waitUntilExit()
    return process.terminationStatus == 0
  }()

  init(_ mode: Mode, hostKey: String) async throws {
    process = try ManagedProcess([try PythonEnvironment.required(), "-c", Self.script, mode.rawValue, hostKey])
    let line = try await process.line(within: .seconds(20)) { $0.hasPrefix("PORT ") }
    guard let port = Int(line.dropFirst(5)) else { throw ManagedProcessError("no port in \(line)") }
    self.port = port
  }

  /// Ends the server and returns how many credentials it was offered.
  func stop() async -> Int {
    await process.stop()
    // The output's end may be seen after the process's end.
    _ = try? await process.lines.first(from: .max, within: .seconds(5))
    return process.lines.all.count { $0.hasPrefix("ATTEMPT") }
  }

  private static let script = """
    import asyncio, asyncssh, os, sys, threading
    mode, host_key = sys.argv[1], sys.argv[2]
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()

    class Server(asyncssh.SSHServer):
        def begin_auth(self, username): return True
        def password_auth_supported(self): return mode in ('password', 'both')
        def validate_password(self, username, password):
            print('ATTEMPT password', flush=True)
            return password == 'correct horse'
        def kbdint_auth_supported(self): return mode in ('keyboard-interactive', 'both')
        def get_kbdint_challenge(self, username, lang, submethods):
            return '', 'two questions', 'en', [('Name: ', True), ('Password: ', False)]
        def validate_kbdint_response(self, username, responses):
            print('ATTEMPT keyboard-interactive', flush=True)
            return list(responses) == ['', 'correct horse']

    def handle(process):
        process.stdout.write('hello\\n')
        process.exit(7)

    async def main():
        listener = await asyncssh.listen('127.0.0.1', 0, server_factory=Server, server_host_keys=[host_key],
                                         process_factory=handle, allow_pty=False)
        print('PORT', listener.get_port(), flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())
    """
}
