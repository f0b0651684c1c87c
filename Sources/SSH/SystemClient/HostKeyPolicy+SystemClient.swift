internal import Remote

extension HostKeyPolicy {
  /// The lines of a known_hosts file by which OpenSSH's client decides about a host's key as ``verify(host:address:port:keyType:key:)`` does.
  ///
  /// A key of which they say nothing is refused by the client, which is always told to be strict; the policy is asked
  /// about it then, and decides whether there is another attempt.
  /// - Parameters:
  ///   - name: what the client looks for; as ``KnownHosts/name(host:port:)`` makes it for `host` and `port`.
  ///   - accepted: a key that ``verify(host:address:port:keyType:key:)`` has let pass; it counts when it is the pinned one, because any
  ///     other stands in a file by now.
  func clientLines(host: String, port: Int, accepted: HostKey?) async throws(RemoteError) -> [String] {
    if isLook { return [] }
    let files = knownHosts
    let name = KnownHosts.name(host: host, port: port)
    let portless = KnownHosts.name(host: host, port: 22)
    let entries = try await blocking(on: pool) { () throws(RemoteError) in
      let exact = KnownHosts.read(files, naming: name).entries
      guard name != portless, !exact.contains(where: { $0.marker == .none }) else { return exact }
      return exact + KnownHosts.read(files, naming: portless).entries
    }
    var lines: [String] = []
    for entry in entries {
      switch entry.marker {
      case .revoked: break
      case .certificateAuthority where pin != nil: continue
      case .certificateAuthority: break
      case .none:
        if let pin, entry.key.fingerprint != Self.normalized(pin) { continue }
      }
      let marker = entry.marker == .none ? "" : entry.marker.rawValue + " "
      lines.append(marker + KnownHosts.line(name: name, key: entry.key, comment: ""))
    }
    if let pin, let accepted, accepted.fingerprint == Self.normalized(pin) {
      lines.append(KnownHosts.line(name: name, key: accepted, comment: ""))
    }
    return lines
  }
}
