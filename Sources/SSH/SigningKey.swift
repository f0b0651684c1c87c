internal import Crypto
internal import FoundationEssentials

/// A private key that was parsed once and signs for every login.
///
/// libssh2 would decode the file anew for each connection, which costs more CPU than the rest of the login.
struct SigningKey: Sendable {
  /// The public key in SSH wire format.
  let publicBlob: [UInt8]
  private let key: Key

  private enum Key: Sendable {
    case ed25519(Curve25519.Signing.PrivateKey)
    case p256(P256.Signing.PrivateKey)
    case p384(P384.Signing.PrivateKey)
    case p521(P521.Signing.PrivateKey)
  }

  /// The inner signature as RFC 8709 and RFC 5656 want it, without the algorithm's name.
  func sign(_ data: [UInt8]) throws -> [UInt8] {
    switch key {
    case .ed25519(let key): Array(try key.signature(for: data))
    case .p256(let key): Self.pair(Array(try key.signature(for: data).rawRepresentation))
    case .p384(let key): Self.pair(Array(try key.signature(for: data).rawRepresentation))
    case .p521(let key): Self.pair(Array(try key.signature(for: data).rawRepresentation))
    }
  }

  /// Parses an unencrypted OpenSSH private key file (format: openssh-portable's PROTOCOL.key).
  ///
  /// - Returns: `nil` when it is encrypted, of another format, or not Ed25519 or ECDSA: the library may know it.
  init?(openSSH text: [UInt8]) {
    let lines = text.split(whereSeparator: { $0 == 10 || $0 == 13 })
    guard let begin = lines.firstIndex(where: { $0.elementsEqual("-----BEGIN OPENSSH PRIVATE KEY-----".utf8) }),
      let end = lines.firstIndex(where: { $0.elementsEqual("-----END OPENSSH PRIVATE KEY-----".utf8) }), begin < end,
      let data = Data(base64Encoded: Data(lines[(begin + 1)..<end].joined()))
    else { return nil }
    let magic = Array("openssh-key-v1\0".utf8)
    guard data.starts(with: magic) else { return nil }
    let body = Array(data.dropFirst(magic.count))
    var header = WireReader(body)
    guard let cipher = header.string(), cipher.elementsEqual("none".utf8), let rest = Self.afterCount(body)
    else { return nil }
    var section = WireReader(rest)
    guard let blob = section.string(), let secret = section.string(), secret.count > 8 else { return nil }
    let check = Array(secret.prefix(8))
    guard check[0..<4] == check[4..<8] else { return nil }
    var inner = WireReader(Array(secret.dropFirst(8)))
    guard let type = inner.string() else { return nil }
    publicBlob = Array(blob)
    switch String(decoding: type, as: UTF8.self) {
    case "ssh-ed25519":
      guard inner.string() != nil, let pair = inner.string(), pair.count == 64,
        let key = try? Curve25519.Signing.PrivateKey(rawRepresentation: Array(pair.prefix(32)))
      else { return nil }
      self.key = .ed25519(key)
    case "ecdsa-sha2-nistp256":
      guard let number = Self.scalar(&inner, 32), let key = try? P256.Signing.PrivateKey(rawRepresentation: number)
      else { return nil }
      self.key = .p256(key)
    case "ecdsa-sha2-nistp384":
      guard let number = Self.scalar(&inner, 48), let key = try? P384.Signing.PrivateKey(rawRepresentation: number)
      else { return nil }
      self.key = .p384(key)
    case "ecdsa-sha2-nistp521":
      guard let number = Self.scalar(&inner, 66), let key = try? P521.Signing.PrivateKey(rawRepresentation: number)
      else { return nil }
      self.key = .p521(key)
    default:
      return nil
    }
  }

  /// What follows cipher, kdf, its options and the number of keys, which must be 1.
  private static func afterCount(_ bytes: [UInt8]) -> [UInt8]? {
    var offset = 0
    for _ in 0..<3 {
      guard offset + 4 <= bytes.count else { return nil }
      let length = bytes[offset..<(offset + 4)].reduce(0) { $0 << 8 | Int($1) }
      guard length <= bytes.count - offset - 4 else { return nil }
      offset += 4 + length
    }
    guard offset + 4 <= bytes.count, bytes[offset..<(offset + 4)].elementsEqual([0, 0, 0, 1]) else { return nil }
    return Array(bytes[(offset + 4)...])
  }

  /// Curve name, public point, then the secret number, padded to the curve's size.
  private static func scalar(_ reader: inout WireReader, _ size: Int) -> [UInt8]? {
    guard reader.string() != nil, reader.string() != nil, let number = reader.string() else { return nil }
    let digits = number.drop { $0 == 0 }
    guard digits.count <= size else { return nil }
    return [UInt8](repeating: 0, count: size - digits.count) + digits
  }

  /// r and s, each as a positive SSH integer (RFC 4251, section 5).
  private static func pair(_ raw: [UInt8]) -> [UInt8] {
    let half = raw.count / 2
    return integer(raw.prefix(half)) + integer(raw.suffix(half))
  }

  private static func integer(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
    var digits = Array(bytes.drop { $0 == 0 })
    if let first = digits.first, first >= 0x80 { digits.insert(0, at: 0) }
    return WireWriter.length(digits.count) + digits
  }
}

/// Builds SSH wire format.
enum WireWriter {
  static func length(_ count: Int) -> [UInt8] {
    let value = UInt32(clamping: count)
    return [UInt8(value >> 24), UInt8(value >> 16 & 0xFF), UInt8(value >> 8 & 0xFF), UInt8(value & 0xFF)]
  }

  static func string(_ bytes: [UInt8]) -> [UInt8] { length(bytes.count) + bytes }
}
