/// Where the Gateway listens and whom it lets in. Checked once, when the configuration is read.
package struct GatewayConfiguration: Sendable {
  package enum Address: Sendable, Hashable {
    /// Port 0 takes a free one.
    case tcp(host: String, port: Int)
    case unix(path: String)
  }

  package var address: Address
  /// Whoever shows it may do everything. The caller sees to its length.
  package var token: String
  /// Largest request body: 8 MiB.
  package var bodyLimit = 8 << 20
  /// Most connections at a time. One more takes the place of the one that has been idle longest; where none is idle, it
  /// is closed.
  package var connectionLimit = 256
  /// How long a cookie from a one-time token is good.
  package var sessionLife: Duration = .seconds(12 * 3600)
  /// How long answers may still take when the Gateway ends.
  package var grace: Duration = .seconds(1)
  /// How long a client may take for its part.
  var limits = ConnectionGuard.Limits()

  package init(address: Address, token: String) {
    self.address = address
    self.token = token
  }

  /// True when only this machine can reach the address.
  package var isLoopback: Bool {
    switch address {
    case .unix: true
    case .tcp(let host, _): Self.isLoopback(host)
    }
  }

  /// 127.0.0.0/8, ::1 and localhost.
  package static func isLoopback(_ host: String) -> Bool {
    let bare = host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host
    if bare == "localhost" || bare == "::1" { return true }
    let parts = bare.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
  }
}
