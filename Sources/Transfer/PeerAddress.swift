internal import Glibc

/// The address that a socket is about to be connected to, after name resolution.
package struct PeerAddress: Sendable, Hashable, CustomStringConvertible {
  /// Network order: 4 bytes for IPv4, 16 for IPv6.
  package var bytes: [UInt8]
  package var port: UInt16

  package init(bytes: [UInt8], port: UInt16) {
    self.bytes = bytes
    self.port = port
  }

  /// Nil for a family that is neither IPv4 nor IPv6, or a structure that is too short.
  init?(family: Int32, raw: UnsafeRawBufferPointer) {
    switch family {
    case AF_INET:
      guard raw.count >= MemoryLayout<sockaddr_in>.size else { return nil }
      let address = raw.loadUnaligned(as: sockaddr_in.self)
      port = UInt16(bigEndian: address.sin_port)
      bytes = withUnsafeBytes(of: address.sin_addr) { Array($0) }
    case AF_INET6:
      guard raw.count >= MemoryLayout<sockaddr_in6>.size else { return nil }
      let address = raw.loadUnaligned(as: sockaddr_in6.self)
      port = UInt16(bigEndian: address.sin6_port)
      bytes = withUnsafeBytes(of: address.sin6_addr) { Array($0) }
    default: return nil
    }
  }

  /// The numeric address without the port, as `inet_ntop` writes it.
  package var host: String {
    var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    let family = bytes.count == 4 ? AF_INET : AF_INET6
    guard bytes.count == 4 || bytes.count == 16, inet_ntop(family, bytes, &text, socklen_t(text.count)) != nil else {
      return "?"
    }
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  package var description: String { bytes.count == 16 ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// Decides whether a socket may be connected to an address. Called on the transfer thread: it must answer at once.
package typealias AddressGuard = @Sendable (PeerAddress) -> Bool
