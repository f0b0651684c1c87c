internal import Foundation

/// An SSH server that shows a chosen host key, opens every packet of its clients, and records what they sent.
///
/// It refuses every login. With it a test can show that a client that does not trust the key sends nothing to log in:
/// a server that only counts bytes could not tell a farewell from a password. Needs python3, no modules.
package final class FakeSSHServer: Sendable {
  /// What one connection has sent.
  package struct Connection: Sendable, Hashable {
    /// SSH message numbers in the order they came: 20 key exchange, 30 its first step, 21 new keys, 1 disconnect,
    /// 5 service request, 50 authentication request.
    package var packets: [Int] = []
    /// Methods of the authentication requests.
    package var methods: [String] = []
    /// Why it ended; `nil`: it has not.
    package var end: String?

    /// Packets of the authentication protocol: message numbers 50 to 79. The service request before them (5) names
    /// neither a user nor a credential; libssh2 sends it as the last step of its handshake.
    package var authenticationPackets: Int { packets.count { (50...79).contains($0) } }
    /// Packets after the client's new keys.
    package var packetsAfterKeys: ArraySlice<Int> { packets.drop { $0 != 21 }.dropFirst() }
  }

  package let port: UInt16
  /// The blob of the Ed25519 host key.
  package let hostKey: [UInt8]
  private let process: ManagedProcess
  private let directory: TemporaryDirectory

  /// Whether there is a python3.
  package static let isAvailable =
    ["/usr/bin", "/usr/local/bin", "/bin"].contains {
      FileManager.default.isExecutableFile(atPath: $0 + "/python3")
    }
    || (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").contains {
      FileManager.default.isExecutableFile(atPath: $0 + "/python3")
    }

  /// - Parameter seed: makes the host key; another seed, another key.
  package init(seed: UInt8) async throws {
    directory = try TemporaryDirectory("fake-ssh")
    let script = try directory.write("server.py", Self.source)
    let hex = String(repeating: String(format: "%02x", seed), count: 32)
    process = try ManagedProcess(["python3", "-u", script, hex])
    let key = try await process.line { $0.hasPrefix("key ") }
    let line = try await process.line { $0.hasPrefix("listening ") }
    guard let port = UInt16(line.dropFirst(10)) else { throw ManagedProcessError("the fake SSH server said: \(line)") }
    self.port = port
    let digits = Array(key.dropFirst(4))
    hostKey = stride(from: 0, to: digits.count - 1, by: 2).compactMap {
      UInt8(String(digits[$0...($0 + 1)]), radix: 16)
    }
  }

  /// What was received so far, by connection, the first one first.
  package var connections: [Connection] {
    var result: [Connection] = []
    for line in process.lines.all {
      let words = line.split(separator: " ", maxSplits: 2)
      guard words.count == 3, let number = Int(words[1]), number > 0 else { continue }
      while result.count < number { result.append(Connection()) }
      switch words[0] {
      case "packet": if let type = Int(words[2]) { result[number - 1].packets.append(type) }
      case "auth": result[number - 1].methods.append(String(words[2].prefix { $0 != " " }))
      case "closed": result[number - 1].end = String(words[2])
      default: break
      }
    }
    return result
  }

  /// Waits until this many connections have come and gone, and returns all.
  package func connections(closed count: Int, within deadline: Duration = .seconds(60)) async throws -> [Connection] {
    for number in stride(from: 1, through: count, by: 1) {
      _ = try await process.line(within: deadline) { $0.hasPrefix("closed \(number) ") }
    }
    return connections
  }

  package func stop() async { await process.stop() }
}
