internal import Crypto
internal import FoundationEssentials

/// Decides who may do what, without doing it: takes what a request shows of itself, returns the verdict.
///
/// /healthz, /readyz and /metrics are open; everything else needs the token or a session's cookie. On loopback a foreign
/// Host is refused, so that a page in somebody's browser cannot reach the service by a name of its own (DNS rebinding); a
/// foreign Origin is refused everywhere.
struct AccessPolicy: Sendable {
  struct Credentials: Sendable {
    var method: String
    var path: String
    var host: String?
    var origin: String?
    var authorization: String?
    var session: String?
  }

  enum Verdict: Sendable, Equatable {
    case allowed
    /// 401: no or a wrong token.
    case unauthorized(String)
    /// 403: from where it comes, nothing is allowed.
    case forbidden(String)
  }

  static let openPaths: Set<String> = ["/healthz", "/readyz", "/metrics"]

  let isLoopback: Bool
  let isUnixSocket: Bool
  /// The token's SHA-256: compared in constant time, and the token itself is not kept.
  private let digest: SHA256Digest

  init(_ configuration: GatewayConfiguration) {
    isLoopback = configuration.isLoopback
    if case .unix = configuration.address { isUnixSocket = true } else { isUnixSocket = false }
    digest = SHA256.hash(data: Data(configuration.token.utf8))
  }

  /// - Parameter isSession: whether the cookie names a live session.
  func judge(_ request: Credentials, isSession: Bool) -> Verdict {
    if isLoopback, !isUnixSocket {
      guard let host = request.host, GatewayConfiguration.isLoopback(Self.bareHost(host).lowercased()) else {
        return .forbidden("this address answers only to localhost and loopback addresses")
      }
    }
    if let origin = request.origin {
      guard let host = request.host?.lowercased(), ["http://\(host)", "https://\(host)"].contains(origin.lowercased())
      else {
        return .forbidden("requests from other origins are refused")
      }
    }
    if Self.openPaths.contains(request.path) { return .allowed }
    if let authorization = request.authorization {
      guard let shown = Self.bearer(authorization) else {
        return .unauthorized("give the token as 'Authorization: Bearer TOKEN'")
      }
      return shown.utf8.count <= 512 && SHA256.hash(data: Data(shown.utf8)) == digest
        ? .allowed : .unauthorized("the token is not the one of this service")
    }
    if request.path == "/login" { return .allowed }
    guard isSession else {
      return .unauthorized("a token is needed: it stands in the file 'token' in the service's state folder")
    }
    // A cookie travels with requests that a person did not mean: changes need the page's own origin.
    if request.method != "GET", request.method != "HEAD", request.origin == nil {
      return .forbidden("a change by cookie needs the page's origin")
    }
    return .allowed
  }

  /// The token in an Authorization header; nil when it holds something else.
  static func bearer(_ authorization: String) -> String? {
    authorization.prefix(7).lowercased() == "bearer " ? String(authorization.dropFirst(7)) : nil
  }

  /// `host[:port]` without the port.
  static func bareHost(_ host: String) -> String {
    if host.hasPrefix("["), let end = host.firstIndex(of: "]") { return String(host[...end]) }
    guard let colon = host.lastIndex(of: ":") else { return host }
    return String(host[..<colon])
  }
}
