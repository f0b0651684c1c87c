/// Why something on a host could not be done: the phase it failed in, a code to act on, and words for a person.
package struct RemoteError: Error, Sendable, Hashable, CustomStringConvertible {
  /// Where it failed. The raw values are what documents show in `phase`.
  package enum Phase: String, Sendable, Hashable, Codable {
    case resolve, connect, banner, key_exchange, host_key, authenticate, channel, command, connection
  }

  package enum Code: String, Sendable, Hashable, Codable {
    /// The phase's deadline passed.
    case timedOut
    /// Nobody listens, the network is unreachable, or the name does not resolve.
    case unreachable
    /// The peer closed or broke the connection.
    case lost
    /// The host key is unknown, changed, revoked, or not the pinned one. Nothing was sent to authenticate.
    case hostKeyUnknown, hostKeyChanged, hostKeyRevoked
    /// The server refused every credential offered.
    case authenticationFailed
    /// No credential could be offered at all (no key file, unreadable, unsupported kind, agent away).
    case noCredential
    /// The server turned us away by policy (MaxStartups, penalties), not because it is down.
    case refusedByPolicy
    /// The two sides share no algorithm.
    case noCommonAlgorithm
    /// The server allows no further channel.
    case tooManyChannels
    /// The command or question itself cannot be expressed (a NUL byte, too long).
    case invalidCommand
    /// We ended it: closed or cancelled.
    case closed
    case protocolError
  }

  package var code: Code
  package var phase: Phase
  /// For a person: what happened and, where known, what to do. Holds no secret.
  package var message: String
  /// The library's own number, where there is one.
  package var rawCode: Int32?

  package init(_ code: Code, phase: Phase, _ message: String, rawCode: Int32? = nil) {
    self.code = code
    self.phase = phase
    self.message = message
    self.rawCode = rawCode
  }

  package var description: String { "\(phase.rawValue): \(message)" }
}
