package import FoundationEssentials
package import Remote
package import Threads

/// Decides whether a host is who it claims to be, before any credential is sent.
///
/// A key is trusted when a known_hosts line holds it, or when it is the pinned one. Unlike every other answer the
/// decision about a revoked key depends on no mode and no pin. There is no mode that trusts anything.
///
/// Decisions agree with the OpenSSH client, save that three things it lets pass are refused here: see ``verify``.
/// Each call reads the files anew, so that an edit counts from the next connection on.
package struct HostKeyPolicy: Sendable {
  package enum Mode: String, Sendable, Hashable, Codable {
    /// A host without a known key is refused.
    case strict
    /// The first key a host shows is stored and trusted from then on. A changed key is refused.
    case accept_new = "accept-new"
  }

  let mode: Mode
  let knownHosts: [String]
  let pin: String?
  let target: String
  let pool: BlockingPool?
  let now: @Sendable () -> Date
  let report: @Sendable (KnownHosts.Problem) -> Void
  /// Set for a mere look at the key: told of it, and then every key is refused.
  private var look: (@Sendable (HostKey) -> Void)?
  var isLook: Bool { look != nil }

  /// - Parameters:
  ///   - knownHosts: paths of known_hosts files, `~` already expanded. Missing and unreadable ones are skipped. New
  ///     keys go to the last one, which is ours; it is made with mode 0600 when it is missing.
  ///   - pin: `SHA256:` and base64 as ssh-keygen shows it. With a pin, only the key with this fingerprint is trusted,
  ///     and known_hosts lines count no further than that they may revoke it.
  ///   - target: the name to be put into the advice of messages.
  ///   - pool: where files are read and written; `nil`: on a queue of the system.
  ///   - now: the time noted beside a key that is stored.
  ///   - report: told of lines that cannot be read and of files that are present but unreadable, at every
  ///     decision again.
  package init(
    mode: Mode, knownHosts: [String], pin: String?, target: String = "TARGET", pool: BlockingPool? = nil,
    now: @escaping @Sendable () -> Date = { Date() },
    report: @escaping @Sendable (KnownHosts.Problem) -> Void = { _ in }
  ) {
    self.mode = mode
    self.knownHosts = knownHosts
    self.pin = pin
    self.target = target
    self.pool = pool
    self.now = now
    self.report = report
  }

  /// A policy for looking at a host's key: it trusts no key at all, so that nothing is ever sent to log in.
  ///
  /// - Parameters:
  ///   - knownHosts: decide only which type of key is asked for.
  ///   - met: told of the key that the host shows, before it is refused.
  package static func looking(
    knownHosts: [String], pool: BlockingPool? = nil, met: @escaping @Sendable (HostKey) -> Void
  ) -> HostKeyPolicy {
    var policy = HostKeyPolicy(mode: .strict, knownHosts: knownHosts, pin: nil, pool: pool)
    policy.look = met
    return policy
  }

  /// The host key algorithms to ask for, best first: those of the keys known for the host, then the rest.
  ///
  /// Without this a host known by its RSA key that also has an Ed25519 key would show the latter and look changed.
  /// - Returns: names for the key exchange; empty when nothing is known, or when the best algorithm is known anyway:
  ///   the default order holds.
  package func preferredKeyTypes(host: String, port: Int) async throws(RemoteError) -> [String] {
    let known = try await read(naming: KnownHosts.name(host: host, port: port))
    // The first line of each type speaks for it, as in OpenSSH. A revoked key is no reason to ask for its type: the
    // host may have been given one of another type since.
    let revoked = Set(known.entries.filter { $0.marker == .revoked }.map(\.key))
    let candidates = known.entries.filter { entry in
      pin.map { entry.key.fingerprint == Self.normalized($0) } ?? (entry.marker == .none)
    }
    let first = Dictionary(candidates.map { ($0.key.type, $0.key) }, uniquingKeysWith: { first, _ in first })
    let types = Set(first.filter { !revoked.contains($0.value) }.keys)
    guard let best = Self.algorithms.first, !types.isEmpty, !types.contains(best.keyType) else { return [] }
    let preferred = Self.algorithms.filter { types.contains($0.keyType) }
    guard !preferred.isEmpty else { return [] }
    return (preferred + Self.algorithms.filter { !types.contains($0.keyType) }).map(\.name)
  }

  /// Returns when the key may be trusted; in accept-new mode a host's first key has been stored by then.
  ///
  /// Stricter than OpenSSH in accept-new mode: a key revoked for the host without its port is refused on other ports
  /// too (when no line names the port), and a key that cannot be stored is refused. In every mode the blank after
  /// `@revoked` may be a tab here, where OpenSSH skips the line.
  /// - Parameters:
  ///   - host: the name or address as configured; it is what the files are searched for.
  ///   - address: where the name led, for the message only. As for OpenSSH (CheckHostIP no) addresses prove nothing.
  ///   - keyType: what was negotiated, for the message only; the key's own type is inside `key`.
  ///   - key: the host key blob of the key exchange.
  /// - Throws: `.hostKeyUnknown`, `.hostKeyChanged` or `.hostKeyRevoked`, phase `.host_key`.
  package func verify(
    host: String, address: String?, port: Int, keyType: String, key: [UInt8]
  ) async throws(RemoteError) {
    let words = HostKeyMessages(host: host, address: address, port: port, files: knownHosts, target: target)
    guard let offered = HostKey(blob: key), offered.isWellFormed else { throw words.malformed(keyType) }
    if let look {
      look(offered)
      throw words.unknown(offered, others: [])
    }
    let name = KnownHosts.name(host: host, port: port)
    let exact = try await read(naming: name).verdict(for: offered)
    if case .revoked(let line) = exact { throw words.revoked(offered, line) }
    // On another port OpenSSH goes by the lines for the host without its port when none names the port.
    var portless = KnownHosts.Verdict.unknown
    let portlessName = KnownHosts.name(host: host, port: 22)
    if name != portlessName, exact == .unknown { portless = try await read(naming: portlessName).verdict(for: offered) }
    if case .revoked(let line) = portless { throw words.revoked(offered, line) }
    if let pin {
      guard offered.fingerprint == Self.normalized(pin) else { throw words.notPinned(offered, pin: pin) }
      return
    }
    switch (exact, portless) {
    case (.trusted, _), (_, .trusted): return
    case (.changed(let expected), _): throw words.changed(offered, expected: expected)
    case (_, .changed(let others)) where mode == .strict: throw words.unknown(offered, others: others)
    case _ where mode == .strict: throw words.unknown(offered, others: [])
    default: try await store(offered, name: name, words: words)
    }
  }

  /// Appends the key to our own file, unless another connection stored one in the meantime, which then decides.
  private func store(_ key: HostKey, name: String, words: HostKeyMessages) async throws(RemoteError) {
    guard let path = knownHosts.last else { throw words.nowhereToStore(key) }
    let line = KnownHosts.line(name: name, key: key, comment: "accept-new \(now().ISO8601Format())")
    try await blocking(on: pool) { () throws(RemoteError) in
      try KnownHostsFile(path: path).append { (content) throws(RemoteError) in
        var known = KnownHosts()
        known.add(content, file: path, naming: name)
        switch known.verdict(for: key) {
        case .trusted: return []
        case .unknown: return [line]
        case .changed(let expected): throw words.changed(key, expected: expected)
        case .revoked(let line): throw words.revoked(key, line)
        }
      }
    }
  }

  /// What all files say about `name`.
  private func read(naming name: String) async throws(RemoteError) -> KnownHosts {
    let files = knownHosts
    let known = try await blocking(on: pool) { () throws(RemoteError) in KnownHosts.read(files, naming: name) }
    known.problems.forEach(report)
    return known
  }

  /// People also write a pin with base64 padding.
  static func normalized(_ pin: String) -> String {
    var pin = Substring(pin)
    while pin.last == "=" { pin = pin.dropLast() }
    return String(pin)
  }

  /// OpenSSH's order of plain host key algorithms, less DSA and keys on tokens, which no host has.
  static let algorithms: [(name: String, keyType: String)] = [
    ("ssh-ed25519", "ssh-ed25519"), ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
    ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"), ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "ssh-rsa"), ("rsa-sha2-256", "ssh-rsa"),
  ]
}
