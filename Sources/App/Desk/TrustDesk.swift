internal import Logging
package import Model
internal import Remote
internal import SSH
internal import Threads

/// Host keys for a person at the command line: look, accept, replace.
package struct TrustDesk: Sendable {
  /// The key that a host shows now, and what is known of it.
  package struct Offer: Sendable {
    package var host: String
    package var port: Int
    package var type: String
    package var fingerprint: String
    package var isTrusted: Bool
    /// Another key is known for the host, or this one is revoked.
    package var isChanged: Bool
    /// Why it is not trusted; empty when it is.
    package var explanation: String
    let key: HostKey
  }

  package struct Known: Sendable {
    package var type: String
    package var fingerprint: String
    /// `file:line`.
    package var place: String
    /// `@revoked`, `@cert-authority`.
    package var marker: String?
  }

  /// A line of a known_hosts file, as it can be used elsewhere.
  package struct Line: Sendable {
    package var text: String
    package var fingerprint: String
    package var isRevoked: Bool
  }

  private let store: TrustStore
  private let group: EventLoopGroup

  package init(_ configuration: Configuration) throws {
    let group = try EventLoopGroup(count: 1)
    let known = configuration.ssh.knownHosts
    let user = configuration.ssh.user
    self.group = group
    store = TrustStore(
      knownHosts: known,
      scan: TrustStore.scan(knownHosts: known) { policy, host, port in
        let logger = Logger(label: "syscrap") { _ in SwiftLogNoOpLogHandler() }
        return AutomaticConnector(
          first: SSHConnector(
            host: host, port: port, user: user, credentials: [], hostKeys: policy, group: group,
            metrics: SSHMetrics(), logger: logger),
          second: SystemSSHConnector(
            host: host, port: port, user: user, credentials: [], hostKeys: policy, group: group,
            metrics: SSHMetrics(), logger: logger), logger: logger)
      })
  }

  /// Does something with a desk of its own and closes it.
  package static func asked<Result>(
    _ configuration: Configuration, _ work: (TrustDesk) async throws -> Result
  ) async throws -> Result {
    let desk = try TrustDesk(configuration)
    do {
      let result = try await work(desk)
      await desk.close()
      return result
    } catch {
      await desk.close()
      throw error
    }
  }

  package func close() async { await group.stop() }

  /// Asks the host for its key; nothing is sent to log in.
  /// - Throws: ``OperationError`` with `unreachable` when the host does not show one.
  package func offer(host: String, port: Int) async throws(OperationError) -> Offer {
    let (key, verdict): (HostKey, KnownHosts.Verdict)
    do {
      (key, verdict) = try await store.scan(host: host, port: port)
    } catch {
      let isOutage = [.unreachable, .timedOut, .lost, .refusedByPolicy, .noCommonAlgorithm, .protocolError].contains(
        error.code)
      throw OperationError(isOutage ? .unreachable : .failed, "\(error)")
    }
    var offer = Offer(
      host: host, port: port, type: key.type, fingerprint: key.fingerprint, isTrusted: false, isChanged: false,
      explanation: "no known_hosts file names this host", key: key)
    switch verdict {
    case .trusted:
      offer.isTrusted = true
      offer.explanation = ""
    case .unknown: break
    case .changed(let expected):
      offer.isChanged = true
      offer.explanation =
        "known is "
        + expected.map { "\($0.key.type) \($0.key.fingerprint) (\($0.place))" }
        .joined(separator: ", ")
    case .revoked(let entry):
      offer.isChanged = true
      offer.explanation = "this key is revoked by \(entry.place)"
    }
    return offer
  }

  package func known(host: String, port: Int) async throws -> [Known] {
    try await store.list(host: host, port: port).entries.map {
      Known(
        type: $0.key.type, fingerprint: $0.key.fingerprint, place: $0.place,
        marker: $0.marker == .none ? nil : $0.marker.rawValue)
    }
  }

  /// The keys by which a host is known and those that are revoked for it, each under the host's plain name, without
  /// comments and once.
  package func lines(host: String, port: Int) async throws -> [Line] {
    let name = KnownHosts.name(host: host, port: port)
    var lines: [Line] = []
    for entry in try await store.list(host: host, port: port).entries where entry.marker != .certificateAuthority {
      let isRevoked = entry.marker == .revoked
      let text = (isRevoked ? ["@revoked"] : []) + [name, entry.key.type, entry.key.base64]
      let line = Line(
        text: text.joined(separator: " "), fingerprint: entry.key.fingerprint, isRevoked: isRevoked)
      if !lines.contains(where: { $0.text == line.text }) { lines.append(line) }
    }
    return lines
  }

  /// Trusts the offered key, which a person has confirmed.
  package func accept(_ offer: Offer) async throws {
    try await store.accept(host: offer.host, port: offer.port, key: offer.key, confirming: offer.fingerprint)
  }

  /// Trusts the offered key in place of the old one. - Returns: what else the person has to know.
  package func replace(_ offer: Offer) async throws -> [String] {
    let done = try await store.replace(
      host: offer.host, port: offer.port, with: offer.key, confirming: offer.fingerprint)
    return done.removed.map { "removed: \($0.key.type) \($0.key.fingerprint) (\($0.place))" }
      + ["the former file is \(done.backup)"]
      + done.remaining.map {
        "still trusted by \($0.place): \($0.key.type) \($0.key.fingerprint); that file is yours: remove it with ssh-keygen -R"
      }
  }
}
