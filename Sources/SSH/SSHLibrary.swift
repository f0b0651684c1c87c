internal import CSSH2

/// The SSH library at run time, for `doctor`.
package enum SSHLibrary {
  /// libssh2's version, e.g. `1.10.0`.
  package static var version: String { libssh2_version(0).map { String(cString: $0) } ?? "unknown" }

  /// Whether it has RSA with SHA-2, AES-GCM, ChaCha20 and encrypt-then-MAC: from 1.11 on.
  package static var hasModernAlgorithms: Bool {
    let parts = version.split(separator: ".").compactMap { Int($0) }
    return parts.count >= 2 && (parts[0], parts[1]) >= (1, 11)
  }

  /// What is offered to a server, best first, by kind.
  package static var offered: String {
    let kinds: [(String, SSHConfiguration.AlgorithmKind)] = [
      ("key exchange", .key_exchange), ("host key", .host_key), ("cipher", .cipher), ("mac", .mac),
    ]
    return kinds.map { "\($0.0): \(Algorithms.list($0.1))" }.joined(separator: "; ")
  }
}
