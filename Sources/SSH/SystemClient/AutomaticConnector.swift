internal import CSSH2
internal import Glibc
package import Logging
package import Remote
internal import Threads

/// libssh2 first, and the system's `ssh` where libssh2 cannot reach the host; what reached it is remembered.
///
/// Only two outcomes lead to the second transport: the two sides share no algorithm, or a credential that is configured
/// is of a kind that the library cannot use (RSA before libssh2 1.11, keys on hardware). No doubt about a host's key ever
/// does, and no host that is down.
package final class AutomaticConnector: Connector {
  private let first: SSHConnector
  private let second: SystemSSHConnector
  private let logger: Logger
  private let needsClient = Locked(false)

  package init(first: SSHConnector, second: SystemSSHConnector, logger: Logger) {
    self.first = first
    self.second = second
    self.logger = logger
  }

  package func connect() async throws(RemoteError) -> any Remote {
    if needsClient.withLock({ $0 }) { return try await second.connect() }
    let failure: RemoteError
    do throws(RemoteError) {
      return try await first.connect()
    } catch {
      failure = error
    }
    guard second.client.program != nil, try await isBeyondLibrary(failure) else { throw failure }
    logger.info(
      "libssh2 cannot reach the host, so the system's ssh is tried",
      metadata: ["ssh.host": "\(first.endpoint.host)", "error": "\(failure)"])
    // What the server speaks is known already; whether it takes the key is known only once it has.
    if failure.code == .noCommonAlgorithm { needsClient.withLock { $0 = true } }
    let remote = try await second.connect()
    needsClient.withLock { $0 = true }
    return remote
  }

  private func isBeyondLibrary(_ error: RemoteError) async throws(RemoteError) -> Bool {
    switch error.code {
    case .noCommonAlgorithm: return true
    case .authenticationFailed, .noCredential:
      let credentials = first.credentials
      let agentIsUseless = error.code == .noCredential
      return try await blocking(on: first.hostKeys.pool) { () throws(RemoteError) in
        credentials.contains { credential in
          switch credential {
          // The library's way to an agent knows Ed25519 and ECDSA keys only.
          case .agent: agentIsUseless
          case .keyFile(let path, _): !Self.canUse(KeyKind(file: path))
          case .password: false
          }
        }
      }
    default: return false
    }
  }

  /// Whether libssh2, as it is installed, logs in with such a key at servers of today.
  private static func canUse(_ kind: KeyKind) -> Bool {
    switch kind {
    case .plain, .missing: true
    case .hardware: false
    case .rsa: SSHLibrary.hasModernAlgorithms
    }
  }
}

/// What kind of private key a file holds, as far as its text shows.
enum KeyKind: Equatable {
  /// Ed25519, ECDSA, or a form that does not show it.
  case plain
  case rsa
  /// The key itself is in a token.
  case hardware
  case missing

  /// Blocks for the file's reading; at most 16 KiB of it are looked at.
  init(file path: String) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      self = .missing
      return
    }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 16 << 10)
    let count = read(descriptor, &bytes, bytes.count)
    self.init(text: String(decoding: bytes.prefix(max(0, count)), as: UTF8.self))
  }

  init(text: String) {
    let lines = text.split(whereSeparator: \.isNewline)
    guard let begin = lines.firstIndex(where: { $0.hasPrefix("-----BEGIN ") }) else {
      self = .plain
      return
    }
    if lines[begin].contains("RSA PRIVATE KEY") {
      self = .rsa
      return
    }
    // PROTOCOL.key: a mark, three texts, the number of keys, and the public key, whose type comes first.
    let body = lines[(begin + 1)...].prefix { !$0.hasPrefix("-----") }.joined()
    guard lines[begin].contains("OPENSSH PRIVATE KEY"), let blob = Base64.decode(body.utf8) else {
      self = .plain
      return
    }
    var reader = WireReader(Array(blob.dropFirst(15)))
    _ = reader.string()
    _ = reader.string()
    _ = reader.string()
    reader.skip(4)
    var key = WireReader(reader.string().map(Array.init) ?? [])
    let type = key.string().map { String(decoding: $0, as: UTF8.self) } ?? ""
    self = type == "ssh-rsa" ? .rsa : type.hasPrefix("sk-") ? .hardware : .plain
  }
}
