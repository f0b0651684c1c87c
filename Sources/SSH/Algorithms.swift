internal import CSSH2
internal import Glibc

/// Which algorithms are asked for, best first. No SHA-1, no MD5, no CBC, no DSA, no RSA with SHA-1.
///
/// The library's version decides what of it there is: 1.10 has no AES-GCM, ChaCha20, encrypt-then-MAC or RSA-SHA2,
/// so that servers hardened to only these answer with `noCommonAlgorithm`; 1.11 has them.
enum Algorithms {
  typealias Kind = SSHConfiguration.AlgorithmKind

  static let preferred: [Kind: [String]] = [
    .key_exchange: [
      "curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256", "ecdh-sha2-nistp384",
      "ecdh-sha2-nistp521", "diffie-hellman-group-exchange-sha256", "diffie-hellman-group16-sha512",
      "diffie-hellman-group18-sha512", "diffie-hellman-group14-sha256",
    ],
    .host_key: [
      "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512",
      "rsa-sha2-256",
    ],
    // AES before ChaCha20: the library's ChaCha20 is portable C, AES has instructions of its own.
    .cipher: [
      "aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr", "aes192-ctr",
      "chacha20-poly1305@openssh.com",
    ],
    .mac: [
      "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512",
    ],
  ]

  /// The library's numbers for a kind: both directions where there are two.
  static func methods(_ kind: Kind) -> [Int32] {
    switch kind {
    case .key_exchange: [LIBSSH2_METHOD_KEX]
    case .host_key: [LIBSSH2_METHOD_HOSTKEY]
    case .cipher: [LIBSSH2_METHOD_CRYPT_CS, LIBSSH2_METHOD_CRYPT_SC]
    case .mac: [LIBSSH2_METHOD_MAC_CS, LIBSSH2_METHOD_MAC_SC]
    }
  }

  /// What the library was built with; asked once.
  private static let supported: [Kind: Set<String>] = {
    LibSSH2.start()
    guard let session = libssh2_session_init_ex(nil, nil, nil, nil) else { return [:] }
    defer { libssh2_session_free(session) }
    var result: [Kind: Set<String>] = [:]
    for kind in Kind.allCases {
      guard let method = methods(kind).first else { continue }
      var names: UnsafeMutablePointer<UnsafePointer<CChar>?>?
      let count = libssh2_session_supported_algs(session, method, &names)
      guard count > 0, let names else { continue }
      result[kind] = Set((0..<Int(count)).compactMap { names[$0].map { String(cString: $0) } })
      libssh2_free(session, names)
    }
    return result
  }()

  /// The list to ask for: what the policy wants first, then our own order, all of it supported and allowed.
  static func list(_ kind: Kind, first: [String] = [], additional: [String] = []) -> String {
    let own = preferred[kind] ?? []
    let available = supported[kind] ?? Set(own)
    var result: [String] = []
    for name in first.filter({ own.contains($0) }) + own + additional
    where available.contains(name) && !result.contains(name) {
      result.append(name)
    }
    return result.joined(separator: ",")
  }
}

/// The library's own start, once in a process.
enum LibSSH2 {
  private static let code: Int32 = libssh2_init(0)
  /// Whether the library could be started.
  @discardableResult
  static func start() -> Bool { code == 0 }
}
