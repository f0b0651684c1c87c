/// Secrets that stand literally where only a reference may stand.
package enum LiteralSecrets {
  private static let references: [String: [String]] = [
    "password": ["password_file", "password_command"], "passwd": ["password_file", "password_command"],
    "pass": ["password_file", "password_command"], "passphrase": ["password_file", "identity_file"],
    "token": ["token_file"], "api_token": ["token_file"], "access_token": ["token_file"], "api_key": ["token_file"],
    "apikey": ["token_file"], "bot_token": ["token_file"], "bearer": ["token_file"],
    "secret": ["secret_file"], "client_secret": ["secret_file"], "signing_key": ["secret_file"],
    "webhook_url": ["webhook_url_file"], "headers": ["headers_file"], "authorization": ["headers_file"],
    "private_key": ["identity_file"], "key": ["identity_file"], "credentials": ["password_file"],
    "store_password": ["store_password_file"], "secret_key": ["secret_file"],
  ]

  /// What to write instead of a field that would hold a secret; nil when the name is none.
  /// - Parameter allowed: the fields that may stand there; those that fit are named first.
  package static func advice(for field: String, allowed: some Sequence<String>) -> String? {
    let name = field.lowercased().split(separator: "-").joined(separator: "_")
    guard let all = references[name] else { return nil }
    let fitting = all.filter(Set(allowed).contains)
    // A plain word such as `key` is a secret only where a reference for it may stand.
    if fitting.isEmpty, name == "key" || name == "headers" || name == "credentials" { return nil }
    let names = fitting.isEmpty ? [all[0]] : fitting
    return "write \(names.joined(separator: " or ")): the secret stays in a file or comes from a command"
  }

  /// Whether a field's content must never be repeated in a message.
  package static func isDelicate(_ path: String) -> Bool {
    let name = path.lowercased()
    return ["password", "passw", "token", "secret", "command", "argv", "uri", "url", "relay", "key", "store"].contains {
      name.contains($0)
    }
  }

  /// Whether text holds a URI with a password: `scheme://user:password@host`.
  package static func holdsPassword(_ text: String) -> Bool {
    var bytes = Array(text.utf8)[...]
    while let start = bytes.firstIndex(of: 58) {
      bytes = bytes[(start + 1)...]
      guard bytes.starts(with: [47, 47]) else { continue }
      let authority = bytes.dropFirst(2).prefix { ![47, 63, 35, 32, 34, 39, 9, 10, 13].contains($0) }
      if let at = authority.lastIndex(of: 64), let colon = authority[..<at].firstIndex(of: 58), colon + 1 < at {
        return true
      }
    }
    return false
  }
}
