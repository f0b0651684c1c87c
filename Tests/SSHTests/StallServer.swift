import Foundation
import TestKit

/// A server that stops in the middle of SSH's opening: a few lines of Python on a loopback port.
struct StallServer: Sendable {
  /// How far it goes before it says nothing more.
  enum Mode: String, Sendable, CaseIterable {
    /// Accepts and is silent.
    case silent
    /// Sends its banner, then nothing.
    case banner
    /// Sends a text in the banner's place and closes, as sshd does when it has too many strangers.
    case maxstartups, penalty
    /// Sends text that is no SSH and closes.
    case garbage
    /// Closes at once.
    case closes
  }

  let process: ManagedProcess
  let port: Int

  init(_ mode: Mode) async throws {
    process = try ManagedProcess(["/usr/bin/env", "python3", "-c", Self.script, mode.rawValue])
    let line = try await process.line { $0.hasPrefix("PORT ") }
    guard let port = Int(line.dropFirst(5)) else { throw ManagedProcessError("no port in \(line)") }
    self.port = port
  }

  private static let script = """
    import socket, sys, threading
    mode = sys.argv[1]
    listener = socket.create_server(('127.0.0.1', 0))
    print('PORT', listener.getsockname()[1], flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), __import__('os')._exit(0)), daemon=True).start()
    kept = []
    while True:
        peer, _ = listener.accept()
        kept.append(peer)
        if mode == 'banner': peer.sendall(b'SSH-2.0-Stall\\r\\n')
        if mode == 'maxstartups': peer.sendall(b'Exceeded MaxStartups\\r\\n')
        if mode == 'penalty': peer.sendall(b'Not allowed at this time\\r\\n')
        if mode == 'garbage': peer.sendall(b'HTTP/1.1 400 Bad Request\\r\\n\\r\\n' * 50)
        if mode not in ('silent', 'banner'): peer.shutdown(socket.SHUT_WR)
    """
}
