/// A way to log in. Tried in the order given; each wrong one counts against us at the server.
package enum Credential: Sendable {
  /// A private key file (OpenSSH or PEM, Ed25519 or ECDSA; RSA from libssh2 1.11 on), readable by its owner only.
  ///
  /// `passphraseCommand` is a local program and its arguments, whose first line of output opens an encrypted key.
  case keyFile(String, passphraseCommand: [String]? = nil)
  /// A key in the ssh-agent at `socket` (default: what SSH_AUTH_SOCK names). Used for signing only, never forwarded.
  ///
  /// `fingerprint` (`SHA256:…`) chooses the key; without it at most three of its keys are tried.
  case agent(fingerprint: String? = nil, socket: String? = nil)
  /// A password, asked for when it is needed. Used for the methods "password" and "keyboard-interactive".
  case password(@Sendable () async throws -> [UInt8])
}
