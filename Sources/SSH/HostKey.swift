internal import Crypto
internal import FoundationEssentials

/// A host's public key: its type and the blob that travels in the key exchange.
package struct HostKey: Sendable, Hashable {
  /// `ssh-ed25519`, `ssh-rsa`, …: the name inside the blob.
  package let type: String
  /// The key in SSH wire format (RFC 4253, section 6.6).
  package let blob: [UInt8]

  /// - Returns: `nil` when the blob does not begin with a type's name.
  package init?(blob: [UInt8]) {
    var reader = WireReader(blob)
    guard let name = reader.string(), !name.isEmpty, name.count <= 64, name.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
    else { return nil }
    type = String(decoding: name, as: UTF8.self)
    self.blob = blob
  }

  /// `SHA256:` and the digest in base64 without padding, as ssh-keygen shows it.
  package var fingerprint: String {
    "SHA256:" + Data(SHA256.hash(data: blob)).base64EncodedString().prefix { $0 != "=" }
  }

  /// The blob in base64, as it stands in files.
  package var base64: String { Data(blob).base64EncodedString() }

  /// Whether the blob is a whole and plausible key of its type.
  ///
  /// Types unknown to us are not plausible: OpenSSH skips such lines.
  var isWellFormed: Bool {
    var reader = WireReader(blob)
    guard reader.string() != nil else { return false }
    switch type {
    case "ssh-ed25519":
      return reader.string()?.count == 32 && reader.isAtEnd
    case "sk-ssh-ed25519@openssh.com":
      return reader.string()?.count == 32 && reader.string() != nil && reader.isAtEnd
    case "ssh-rsa":
      guard reader.string()?.isEmpty == false, let modulus = reader.string() else { return false }
      let digits = modulus.drop { $0 == 0 }
      // OpenSSH knows no modulus below 1024 bits.
      return (digits.count > 128 || digits.count == 128 && (digits.first ?? 0) >= 0x80) && reader.isAtEnd
    case "ssh-dss":
      return (0..<4).allSatisfy { _ in reader.string()?.isEmpty == false } && reader.isAtEnd
    case "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521":
      return Self.hasPoint(&reader, curve: type.suffix(8)) && reader.isAtEnd
    case "sk-ecdsa-sha2-nistp256@openssh.com":
      return Self.hasPoint(&reader, curve: "nistp256") && reader.string() != nil && reader.isAtEnd
    default:
      return type.hasSuffix("-cert-v01@openssh.com") && !reader.isAtEnd
    }
  }

  private static func hasPoint(_ reader: inout WireReader, curve: Substring) -> Bool {
    let sizes: [Substring: Int] = ["nistp256": 65, "nistp384": 97, "nistp521": 133]
    guard let name = reader.string(), name.elementsEqual(curve.utf8), let point = reader.string() else { return false }
    return point.first == 4 && point.count == sizes[curve]
  }
}

/// Reads SSH strings (a big-endian length and that many bytes) out of a blob, never beyond its end.
struct WireReader {
  private var rest: ArraySlice<UInt8>

  init(_ bytes: [UInt8]) { rest = bytes[...] }

  var isAtEnd: Bool { rest.isEmpty }

  mutating func skip(_ count: Int) { rest = rest.dropFirst(count) }

  /// A number of four bytes.
  /// - Returns: `nil` when the blob ends too early.
  mutating func number() -> Int? {
    guard rest.count >= 4 else { return nil }
    defer { rest = rest.dropFirst(4) }
    return rest.prefix(4).reduce(0) { $0 << 8 | Int($1) }
  }

  /// - Returns: `nil` when the blob ends too early.
  mutating func string() -> ArraySlice<UInt8>? {
    guard rest.count >= 4 else { return nil }
    let length = rest.prefix(4).reduce(0) { $0 << 8 | Int($1) }
    rest = rest.dropFirst(4)
    guard length <= rest.count else { return nil }
    defer { rest = rest.dropFirst(length) }
    return rest.prefix(length)
  }
}
