internal import Crypto
internal import FoundationEssentials

/// One line of a known_hosts file, split but not yet judged. Blank lines and comments are none.
struct KnownHostsLine {
  /// Why a line cannot be used.
  struct Unreadable: Error {
    var reason: String
  }

  let marker: KnownHosts.Marker
  /// The host part: a pattern list, or a hashed name.
  let hosts: ArraySlice<UInt8>
  /// What follows the host part, without leading blanks.
  let remainder: ArraySlice<UInt8>

  /// - Returns: `nil` for a blank line or a comment.
  init?(_ line: ArraySlice<UInt8>) throws(Unreadable) {
    var rest = Self.withoutLeadingBlanks(line)
    guard let first = rest.first, first != UInt8(ascii: "#"), first != UInt8(ascii: "\r") else { return nil }
    var marker = KnownHosts.Marker.none
    if first == UInt8(ascii: "@") {
      let word = Self.word(rest)
      switch KnownHosts.Marker(rawValue: String(decoding: word, as: UTF8.self)) {
      case .certificateAuthority: marker = .certificateAuthority
      case .revoked: marker = .revoked
      default: throw Unreadable(reason: "the marker is neither @cert-authority nor @revoked")
      }
      rest = Self.withoutLeadingBlanks(rest.dropFirst(word.count))
      guard rest.first != UInt8(ascii: "@") else { throw Unreadable(reason: "there may be only one marker") }
    }
    self.marker = marker
    hosts = Self.word(rest)
    remainder = Self.withoutLeadingBlanks(rest.dropFirst(hosts.count))
  }

  /// The line as an entry, when it names `name` (`nil`: whatever it names).
  func entry(file: String, line: Int, naming name: String?) throws(Unreadable) -> KnownHosts.Entry? {
    let isNamed = try KnownHostsPattern.matches(name ?? "", hosts)
    guard isNamed || name == nil else { return nil }
    let type = Self.word(remainder)
    let afterType = Self.withoutLeadingBlanks(remainder.dropFirst(type.count))
    guard !type.isEmpty, type.first != UInt8(ascii: "#"), !afterType.isEmpty else {
      throw Unreadable(reason: "the line ends before the key")
    }
    let encoded = Self.word(afterType)
    guard let blob = Base64.decode(encoded) else { throw Unreadable(reason: "the key is not valid base64") }
    guard let key = HostKey(blob: blob), key.isWellFormed else {
      throw Unreadable(reason: "the key is cut short or of an unknown type")
    }
    guard type.elementsEqual(key.type.utf8) || Self.isSignatureName(type, of: key.type) else {
      throw Unreadable(
        reason: "the line says \(String(decoding: type.prefix(64), as: UTF8.self)), its key is \(key.type)")
    }
    var comment = Self.withoutLeadingBlanks(afterType.dropFirst(encoded.count))
    while let last = comment.last, last == UInt8(ascii: "\r") || Self.isBlank(last) { comment = comment.dropLast() }
    return KnownHosts.Entry(
      file: file, line: line, marker: marker, hosts: String(decoding: hosts, as: UTF8.self), key: key,
      comment: String(decoding: comment, as: UTF8.self))
  }

  /// OpenSSH takes the names of RSA's signature algorithms for the key's type as well.
  private static func isSignatureName(_ type: ArraySlice<UInt8>, of keyType: String) -> Bool {
    keyType == "ssh-rsa" && (type.elementsEqual("rsa-sha2-256".utf8) || type.elementsEqual("rsa-sha2-512".utf8))
  }

  private static func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }

  private static func word(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> { bytes.prefix { !isBlank($0) } }

  private static func withoutLeadingBlanks(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    bytes.drop(while: isBlank)
  }
}

/// Whether the host part of a line names a host.
enum KnownHostsPattern {
  /// Longest single pattern; a list with a longer one matches nothing, as in OpenSSH.
  static let patternLimit = 1022

  /// - Parameter name: in lower case, `[host]:port` for ports other than 22.
  /// - Throws: when the part is a hashed name that cannot be read.
  static func matches(_ name: String, _ hosts: ArraySlice<UInt8>) throws(KnownHostsLine.Unreadable) -> Bool {
    hosts.first == UInt8(ascii: "|")
      ? try matchesHashed(name, hosts) : matchesList(Array(name.utf8), hosts)
  }

  /// `a,b*,!c`: one pattern must match, and no negated one.
  private static func matchesList(_ name: [UInt8], _ list: ArraySlice<UInt8>) -> Bool {
    var isMatched = false
    for element in list.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
      let isNegated = element.first == UInt8(ascii: "!")
      let pattern = (isNegated ? element.dropFirst() : element).map { (0x41...0x5A).contains($0) ? $0 + 0x20 : $0 }
      guard pattern.count <= patternLimit else { return false }
      guard matchesPattern(name, pattern) else { continue }
      if isNegated { return false }
      isMatched = true
    }
    return isMatched
  }

  /// `*` stands for any characters, `?` for one, everything else for itself.
  ///
  /// Goes back only to the latest `*`, so hostile patterns cost name × pattern at worst.
  static func matchesPattern(_ name: [UInt8], _ pattern: [UInt8]) -> Bool {
    var inName = 0
    var inPattern = 0
    var retry: (name: Int, pattern: Int)?
    while inName < name.count {
      if inPattern < pattern.count, pattern[inPattern] == UInt8(ascii: "*") {
        retry = (inName, inPattern)
        inPattern += 1
      } else if inPattern < pattern.count, pattern[inPattern] == UInt8(ascii: "?") || pattern[inPattern] == name[inName]
      {
        inName += 1
        inPattern += 1
      } else if let last = retry {
        retry = (last.name + 1, last.pattern)
        inName = last.name + 1
        inPattern = last.pattern + 1
      } else {
        return false
      }
    }
    return pattern[inPattern...].allSatisfy { $0 == UInt8(ascii: "*") }
  }

  /// `|1|salt|hash`: HMAC-SHA1 of the name under the salt, both in base64.
  private static func matchesHashed(
    _ name: String, _ hosts: ArraySlice<UInt8>
  ) throws(KnownHostsLine.Unreadable) -> Bool {
    let parts = hosts.split(separator: UInt8(ascii: "|"), omittingEmptySubsequences: false)
    guard parts.count == 4, parts[0].isEmpty, parts[1].elementsEqual("1".utf8), let salt = Base64.decode(parts[2]),
      salt.count == Insecure.SHA1.byteCount
    else { throw KnownHostsLine.Unreadable(reason: "the hashed host name cannot be read") }
    let hash = HMAC<Insecure.SHA1>.authenticationCode(for: Array(name.utf8), using: SymmetricKey(data: salt))
    // Compared as text, as OpenSSH does: another spelling of the same bytes is no match.
    return Data(hash).base64EncodedString().utf8.elementsEqual(parts[3])
      && Data(salt).base64EncodedString().utf8.elementsEqual(parts[2])
  }
}

/// Base64 as known_hosts files hold it: padded, without slack bits; white space inside is skipped.
enum Base64 {
  static func decode(_ text: some Sequence<UInt8>) -> [UInt8]? {
    var result: [UInt8] = []
    var bits: UInt32 = 0
    var count = 0
    var padding = 0
    for byte in text {
      let value: UInt32
      switch byte {
      case 0x41...0x5A: value = UInt32(byte) - 0x41
      case 0x61...0x7A: value = UInt32(byte) - 0x61 + 26
      case 0x30...0x39: value = UInt32(byte) - 0x30 + 52
      case UInt8(ascii: "+"): value = 62
      case UInt8(ascii: "/"): value = 63
      case UInt8(ascii: "="):
        padding += 1
        continue
      case 0x09...0x0D, 0x20: continue
      default: return nil
      }
      guard padding == 0 else { return nil }
      bits = (bits << 6 | value) & 0xFF_FFFF
      count += 1
      if count % 4 == 0 {
        result.append(UInt8(truncatingIfNeeded: bits >> 16))
        result.append(UInt8(truncatingIfNeeded: bits >> 8))
        result.append(UInt8(truncatingIfNeeded: bits))
      }
    }
    switch (count % 4, padding) {
    case (0, 0): return result
    case (2, 2) where bits & 0xF == 0:
      result.append(UInt8(truncatingIfNeeded: bits >> 4))
    case (3, 1) where bits & 0x3 == 0:
      result.append(UInt8(truncatingIfNeeded: bits >> 10))
      result.append(UInt8(truncatingIfNeeded: bits >> 2))
    default: return nil
    }
    return result
  }
}
