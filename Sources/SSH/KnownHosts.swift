internal import CSSH2
internal import Glibc

/// What a set of known_hosts files says about one host: the lines that name it, and what they mean for a key.
///
/// Source of the format: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT". Where the manual is silent the OpenSSH client's
/// observed behaviour decides; the tests compare with it.
package struct KnownHosts: Sendable, Hashable {
  /// What stands before the host names of a line.
  package enum Marker: String, Sendable, Hashable, Codable {
    /// No marker: the key is the host's.
    case none = ""
    /// The key signs host certificates. Plain keys are never compared with it.
    case certificateAuthority = "@cert-authority"
    /// The key must not be accepted, whatever other lines say.
    case revoked = "@revoked"
  }

  /// One line that names the host, with a key that can be read.
  package struct Entry: Sendable, Hashable {
    /// The file's path as it was configured.
    package var file: String
    /// Counted from 1, as editors do.
    package var line: Int
    package var marker: Marker
    /// The host part as written: a pattern list or a hashed name.
    package var hosts: String
    package var key: HostKey
    /// What follows the key, without surrounding blanks.
    package var comment: String

    /// `file:line`.
    package var place: String { "\(file):\(line)" }
  }

  /// A line that cannot be used, and why. Such a line is skipped; the others count.
  package struct Problem: Sendable, Hashable, CustomStringConvertible {
    package var file: String
    /// Counted from 1; 0: the file as a whole.
    package var line: Int
    package var reason: String

    package var description: String { line == 0 ? "\(file): \(reason)" : "\(file):\(line): \(reason)" }
  }

  /// What the lines mean for an offered key.
  package enum Verdict: Sendable, Hashable {
    /// A line holds this very key.
    case trusted(Entry)
    /// No line names the host.
    case unknown
    /// Lines name the host, and none holds this key. Keys of another type count as well, as for OpenSSH.
    case changed(expected: [Entry])
    /// A line marks this key as revoked.
    case revoked(Entry)
  }

  /// The lines that name the host, in the order of files and lines.
  package private(set) var entries: [Entry] = []
  package private(set) var problems: [Problem] = []

  package init() {}

  /// Adds a file's lines that name `name`.
  ///
  /// - Parameters:
  ///   - name: as ``name(host:port:)`` makes it; `nil` takes every line and so checks all of them.
  ///   - file: the path to be shown.
  package mutating func add(_ bytes: [UInt8], file: String, naming name: String?) {
    var number = 0
    for line in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      number += 1
      // The format is one of C strings: what follows a NUL is not seen by OpenSSH either.
      let text = line.firstIndex(of: 0).map { line[..<$0] } ?? line
      do {
        if let read = try KnownHostsLine(text), let entry = try read.entry(file: file, line: number, naming: name) {
          entries.append(entry)
        }
      } catch {
        problems.append(Problem(file: file, line: number, reason: error.reason))
      }
    }
  }

  package mutating func add(_ problem: Problem) { problems.append(problem) }

  /// What the lines mean for `key`, as OpenSSH decides for a plain key.
  package func verdict(for key: HostKey) -> Verdict {
    if let revoked = entries.first(where: { $0.marker == .revoked && $0.key == key }) { return .revoked(revoked) }
    let plain = entries.filter { $0.marker == .none }
    if let match = plain.first(where: { $0.key == key }) { return .trusted(match) }
    return plain.isEmpty ? .unknown : .changed(expected: plain)
  }

  /// The name under which a host stands in the files: lower case, `[host]:port` unless the port is 22.
  ///
  /// A numeric address is first brought to its usual form (`127.1` is `127.0.0.1`, `0::1` is `::1`), as OpenSSH does.
  package static func name(host: String, port: Int) -> String {
    let name = canonicalAddress(host) ?? host.lowercased()
    return port == 22 || port == 0 ? name : "[\(name)]:\(port)"
  }

  /// - Returns: `nil` when `host` is not a numeric address. Asks no name server.
  private static func canonicalAddress(_ host: String) -> String? {
    var hints = addrinfo()
    hints.ai_flags = AI_NUMERICHOST
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var found: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(host, nil, &hints, &found) == 0, let found else { return nil }
    defer { freeaddrinfo(found) }
    var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
    let code = getnameinfo(
      found.pointee.ai_addr, found.pointee.ai_addrlen, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST)
    guard code == 0 else { return nil }
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).lowercased()
  }
}
