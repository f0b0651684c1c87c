package import Remote
package import Threads

/// What a person does about host keys: look, accept, replace. Never done by the service on its own.
///
/// Only our own known_hosts file, the last of the list, is ever written. Files of a person are read and named.
package struct TrustStore: Sendable {
  /// Fetches the key that a host shows, without logging in.
  package typealias Scan = @Sendable (_ host: String, _ port: Int) async throws(RemoteError) -> HostKey

  /// What ``replace(host:port:with:confirming:)`` did.
  package struct Replacement: Sendable, Hashable {
    /// Lines taken out of our own file.
    package var removed: [KnownHosts.Entry]
    /// Lines of other files that still hold another key for the host: that key is still trusted. A person has to
    /// remove them (`ssh-keygen -R`).
    package var remaining: [KnownHosts.Entry]
    /// Where the former content of our own file is.
    package var backup: String
  }

  private let files: [String]
  private let pool: BlockingPool?
  private let scan: Scan

  /// - Parameters:
  ///   - knownHosts: as for ``HostKeyPolicy``; the last one is ours.
  ///   - scan: how a key is fetched.
  package init(knownHosts: [String], pool: BlockingPool? = nil, scan: @escaping Scan) {
    files = knownHosts
    self.pool = pool
    self.scan = scan
  }

  /// The key the host shows now, and what the files say about it. Trusts nothing.
  package func scan(
    host: String, port: Int
  ) async throws(RemoteError) -> (key: HostKey, verdict: KnownHosts.Verdict) {
    let key = try await scan(host, port)
    return (key, try await list(host: host, port: port).verdict(for: key))
  }

  /// The lines of all files that name the host, with file, line, marker and key.
  ///
  /// On a port other than 22 the lines for the host without its port come last: they count when no other line names it.
  package func list(host: String, port: Int) async throws(RemoteError) -> KnownHosts {
    let files = files
    return try await blocking(on: pool) { () throws(RemoteError) in
      let exact = KnownHosts.read(files, naming: KnownHosts.name(host: host, port: port))
      return exact.entries.isEmpty ? KnownHosts.read(files, naming: KnownHosts.name(host: host, port: 22)) : exact
    }
  }

  /// Every line of every file that cannot be read, with its reason.
  package func problems() async throws(RemoteError) -> [KnownHosts.Problem] {
    let files = files
    return try await blocking(on: pool) { () throws(RemoteError) in KnownHosts.read(files, naming: nil).problems }
  }

  /// Trusts a host's first key.
  ///
  /// - Parameters:
  ///   - key: as ``scan(host:port:)`` fetched it.
  ///   - fingerprint: typed by the person or read from a file; must be that of `key`.
  ///   - comment: put beside the key: who accepted it and when.
  /// - Returns: the place of the line that holds the key, ours or one that was there before.
  /// - Throws: `.hostKeyChanged` when another key is known, `.hostKeyRevoked`, `.hostKeyUnknown` when the
  ///   fingerprint is another one or the file cannot be written.
  @discardableResult
  package func accept(
    host: String, port: Int, key: HostKey, confirming fingerprint: String, comment: String = ""
  ) async throws(RemoteError) -> String {
    try confirm(key, fingerprint)
    let words = HostKeyMessages(host: host, address: nil, port: port, files: files, target: host)
    let name = KnownHosts.name(host: host, port: port)
    let line = KnownHosts.line(name: name, key: key, comment: comment)
    guard let own = files.last else { throw words.nowhereToStore(key) }
    let others = Array(files.dropLast())
    return try await blocking(on: pool) { () throws(RemoteError) in
      var place = own
      try KnownHostsFile(path: own).append { (content) throws(RemoteError) in
        var known = KnownHosts.read(others, naming: name)
        known.add(content, file: own, naming: name)
        switch known.verdict(for: key) {
        case .trusted(let entry):
          place = entry.place
          return []
        case .changed(let expected): throw words.changed(key, expected: expected)
        case .revoked(let entry): throw words.revoked(key, entry)
        case .unknown:
          place = "\(own):\(Self.lines(content).count + 1)"
          return [line]
        }
      }
      return place
    }
  }

  /// Trusts `key` in place of what our own file holds for the host.
  ///
  /// Lines of ours that name only this host go; from a list of names this one goes. The former content stays in
  /// `<file>.old`, and the file changes in one step.
  /// - Throws: `.hostKeyRevoked` when any file revokes `key`; `.hostKeyUnknown` when the fingerprint is another
  ///   one, the file cannot be written, or a pattern of ours names the host among others: that line is for a person to edit.
  package func replace(
    host: String, port: Int, with key: HostKey, confirming fingerprint: String, comment: String = ""
  ) async throws(RemoteError) -> Replacement {
    try confirm(key, fingerprint)
    let words = HostKeyMessages(host: host, address: nil, port: port, files: files, target: host)
    let name = KnownHosts.name(host: host, port: port)
    let line = KnownHosts.line(name: name, key: key, comment: comment)
    guard let own = files.last else { throw words.nowhereToStore(key) }
    let others = Array(files.dropLast())
    return try await blocking(on: pool) { () throws(RemoteError) in
      var result = Replacement(removed: [], remaining: [], backup: own + ".old")
      try KnownHostsFile(path: own).replace { (content) throws(RemoteError) in
        let theirs = KnownHosts.read(others, naming: name)
        var ours = KnownHosts()
        ours.add(content, file: own, naming: name)
        for known in [theirs, ours] {
          if case .revoked(let entry) = known.verdict(for: key) { throw words.revoked(key, entry) }
        }
        result.removed = ours.entries.filter { $0.marker == .none }
        result.remaining = theirs.entries.filter { $0.marker == .none && $0.key != key }
        return try Self.rewritten(content, without: result.removed, name: name) + Array((line + "\n").utf8)
      }
      return result
    }
  }

  /// The content without `name` in the given lines, each ending with a newline.
  private static func rewritten(
    _ content: [UInt8], without removed: [KnownHosts.Entry], name: String
  ) throws(RemoteError) -> [UInt8] {
    let byLine = Dictionary(removed.map { ($0.line, $0) }, uniquingKeysWith: { first, _ in first })
    var result: [UInt8] = []
    for (index, line) in lines(content).enumerated() {
      guard let entry = byLine[index + 1] else {
        result += line
        result.append(UInt8(ascii: "\n"))
        continue
      }
      if entry.hosts.hasPrefix("|") { continue }
      let names = entry.hosts.split(separator: ",", omittingEmptySubsequences: true)
      let kept = names.filter { $0.lowercased() != name }
      if kept.isEmpty { continue }
      let list = ArraySlice(kept.joined(separator: ",").utf8)
      let stillNamed = (try? KnownHostsPattern.matches(name, list)) ?? true
      guard !stillNamed else {
        throw RemoteError(
          .hostKeyUnknown, phase: .host_key,
          "\(entry.place) names \(name) by the pattern \(entry.hosts), which may name other hosts too. "
            + "Edit that line, then try again. Nothing was changed.")
      }
      let rest = entry.comment.isEmpty ? "" : " " + entry.comment
      result += "\(kept.joined(separator: ",")) \(entry.key.type) \(entry.key.base64)\(rest)\n".utf8
    }
    return result
  }

  /// Lines without their ends; what follows the last newline is a line only if there is something.
  private static func lines(_ content: [UInt8]) -> [ArraySlice<UInt8>] {
    var lines = content.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    if lines.last?.isEmpty == true { lines.removeLast() }
    return lines
  }

  private func confirm(_ key: HostKey, _ fingerprint: String) throws(RemoteError) {
    guard key.isWellFormed else {
      throw RemoteError(.hostKeyUnknown, phase: .host_key, "This is not a well-formed host key; nothing was stored.")
    }
    guard HostKeyPolicy.normalized(fingerprint) == key.fingerprint else {
      throw RemoteError(
        .hostKeyUnknown, phase: .host_key,
        "The fingerprint \(fingerprint) is not that of the host's key, which is \(key.type) \(key.fingerprint). "
          + "Nothing was stored.")
    }
  }
}
