internal import Hummingbird
internal import NIOCore

/// What a request carries besides itself: the connection on which it came.
struct GatewayContext: RequestContext {
  var coreContext: CoreRequestContextStorage
  let channel: any Channel

  init(source: ApplicationRequestContextSource) {
    coreContext = CoreRequestContextStorage(source: source)
    channel = source.channel
  }

  /// Who asks, as far as the number of wrong tokens is concerned.
  var client: String { Self.client(channel.remoteAddress) }

  /// An IPv4 address, the first 64 bits of an IPv6 address (a client has all addresses of such a network), or `local`.
  static func client(_ address: SocketAddress?) -> String {
    switch address {
    case .v4: return address?.ipAddress ?? "local"
    case .v6(let v6):
      // In a sockaddr_in6 the sixteen bytes of the address follow family, port and flow.
      let bytes = withUnsafeBytes(of: v6.address) { Array($0.dropFirst(8).prefix(16)) }
      let isMapped = bytes.prefix(10).allSatisfy { $0 == 0 } && bytes[10] == 0xff && bytes[11] == 0xff
      if isMapped { return bytes.suffix(4).map(String.init).joined(separator: ".") }
      return bytes.prefix(8).map { String($0, radix: 16) }.joined(separator: ":") + "::/64"
    case .unixDomainSocket, nil: return "local"
    }
  }
}
