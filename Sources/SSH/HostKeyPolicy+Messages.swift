internal import Remote

/// The words with which a host key is refused: what was met, what was expected and where that is written, what to do.
struct HostKeyMessages: Sendable {
  /// Most expected keys that are listed; the others are counted.
  private static let listed = 8

  let host: String
  let address: String?
  let port: Int
  let files: [String]
  let target: String

  private var name: String {
    let name = KnownHosts.name(host: host, port: port)
    guard let address, !address.isEmpty, address.lowercased() != host.lowercased() else { return name }
    return "\(name) (\(address))"
  }

  func unknown(_ offered: HostKey, others: [KnownHosts.Entry]) -> RemoteError {
    let searched = files.isEmpty ? "no known_hosts file is configured" : files.joined(separator: ", ")
    let also =
      others.isEmpty
      ? "" : " Without the port the host is known by another key: \(list(others))."
    return error(
      .hostKeyUnknown,
      "No host key is known for \(name) (\(searched)). It offered \(show(offered)).\(also) "
        + "Compare the fingerprint with the one on the host (ssh-keygen -lf its /etc/ssh/ssh_host_*_key.pub); "
        + "if they agree: `syscrap trust accept \(target)`.")
  }

  func changed(_ offered: HostKey, expected: [KnownHosts.Entry]) -> RemoteError {
    error(
      .hostKeyChanged,
      "The host key of \(name) has changed: someone may be in between, or the host was set up anew. "
        + "It offered \(show(offered)), expected was \(list(expected)). Nothing was sent to log in. "
        + "If the new fingerprint is the host's: `syscrap trust replace \(target)`.")
  }

  func revoked(_ offered: HostKey, _ line: KnownHosts.Entry) -> RemoteError {
    error(
      .hostKeyRevoked,
      "\(name) offered \(show(offered)), which \(line.place) marks as revoked. Nothing was sent to log in. "
        + "The host needs a new key (ssh-keygen -A after removing the old one), "
        + "then `syscrap trust replace \(target)`.")
  }

  func notPinned(_ offered: HostKey, pin: String) -> RemoteError {
    guard Self.isFingerprint(pin) else {
      return error(
        .hostKeyUnknown,
        "The pinned host key of \(target) is not a fingerprint: it must be SHA256: and 43 characters of base64, "
          + "as ssh-keygen -lf shows it. \(name) offered \(show(offered)).")
    }
    return error(
      .hostKeyChanged,
      "\(name) offered \(show(offered)), but the target's host_key pins \(HostKeyPolicy.normalized(pin)). "
        + "Nothing was sent to log in. If the new fingerprint is the host's, change host_key of target \(target).")
  }

  func malformed(_ keyType: String) -> RemoteError {
    error(.hostKeyUnknown, "\(name) offered a \(keyType) host key that is not a well-formed key. It is refused.")
  }

  func nowhereToStore(_ offered: HostKey) -> RemoteError {
    error(
      .hostKeyUnknown,
      "\(name) offered \(show(offered)), and its first key cannot be stored because no known_hosts file is configured "
        + "(ssh.known_hosts). It is refused.")
  }

  static func isFingerprint(_ text: String) -> Bool {
    let text = HostKeyPolicy.normalized(text)
    guard text.hasPrefix("SHA256:") else { return false }
    let digest = text.dropFirst(7)
    return digest.utf8.count == 43 && Base64.decode(Array(digest.utf8) + [UInt8(ascii: "=")])?.count == 32
  }

  private func show(_ key: HostKey) -> String { "\(key.type) \(key.fingerprint)" }

  private func list(_ entries: [KnownHosts.Entry]) -> String {
    let shown = entries.prefix(Self.listed).map { "\(show($0.key)) (\($0.place))" }.joined(separator: ", ")
    return entries.count > Self.listed ? "\(shown) and \(entries.count - Self.listed) more" : shown
  }

  private func error(_ code: RemoteError.Code, _ message: String) -> RemoteError {
    RemoteError(code, phase: .host_key, message)
  }
}
