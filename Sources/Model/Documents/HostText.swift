/// Checks of host names, e-mail addresses and URIs, without any look-up.
enum HostText {
  /// Whether text can be a host: a name of letters, digits, `-`, `.` and `_`, or an IP address.
  static func isHost(_ text: String) -> Bool {
    guard let first = text.utf8.first, first != 45, text.utf8.count <= 253 else { return false }
    if text.utf8.contains(58) {
      // IPv6: hexadecimal digits, colons, a dotted tail, and a zone after %.
      let parts = text.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
      return text.utf8.count(where: { $0 == 58 }) >= 2 && (parts.count < 2 || !parts[1].isEmpty)
        && parts[0].utf8.allSatisfy { isHex($0) || $0 == 58 || $0 == 46 }
        && parts.dropFirst().allSatisfy { $0.utf8.allSatisfy(isNameByte) }
    }
    return text.utf8.allSatisfy(isNameByte) && !text.hasPrefix(".") && !text.contains("..")
  }

  /// What is wrong with a host, with a hint; nil when nothing is.
  static func hostProblem(_ text: String) -> (reason: String, hint: String?)? {
    guard !isHost(text) else { return nil }
    let shown = FieldReader.quoted(text)
    if text.contains("@") { return ("\(shown) is not a host", "the user stands in user") }
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    if parts.count == 2, isHost(String(parts[0])), Int(parts[1]) != nil {
      return ("\(shown) is not a host", "the port stands in port: \(parts[1])")
    }
    if text.contains("://") { return ("\(shown) is not a host", "write the host alone, without a scheme") }
    if text.utf8.contains(where: { $0 > 127 }) {
      return ("\(shown) is not a host", "write international names in their ASCII form (xn--…)")
    }
    return ("\(shown) is neither a host name nor an IP address", nil)
  }

  /// Whether text is a bare e-mail address: `local@domain`, ASCII, no name, no comment.
  static func isMailAddress(_ text: String) -> Bool {
    guard text.utf8.count <= 254, let at = text.lastIndex(of: "@") else { return false }
    let local = text[..<at].utf8
    let domain = String(text[text.index(after: at)...])
    let specials = Array("!#$%&'*+-/=?^_`{|}~.".utf8)
    return !local.isEmpty && local.count <= 64 && local.first != 46 && local.last != 46
      && local.allSatisfy { isAlphanumeric($0) || specials.contains($0) }
      && isHost(domain) && !domain.utf8.contains(58) && !domain.hasSuffix(".")
  }

  static func isAlphanumeric(_ byte: UInt8) -> Bool {
    (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
  }
  private static func isNameByte(_ byte: UInt8) -> Bool {
    isAlphanumeric(byte) || byte == 45 || byte == 46 || byte == 95
  }
  private static func isHex(_ byte: UInt8) -> Bool {
    (48...57).contains(byte) || (65...70).contains(byte) || (97...102).contains(byte)
  }
}

/// The parts of a URI that a document may hold; nothing of it is resolved.
package struct URIText: Sendable, Hashable {
  package var scheme: String
  /// What stands before `@`; nil without one.
  package var user: String?
  /// IPv6 addresses without brackets. Several hosts stay joined by commas.
  package var host: String
  package var port: Int?
  /// Path, query and fragment.
  package var rest: String

  /// Reads `scheme://[user@]host[:port][rest]`; nil for anything else.
  package init?(_ text: String) {
    guard let colon = text.firstIndex(of: ":"), text[colon...].hasPrefix("://") else { return nil }
    scheme = text[..<colon].lowercased()
    guard !scheme.isEmpty,
      scheme.utf8.allSatisfy({ HostText.isAlphanumeric($0) || $0 == 43 || $0 == 45 || $0 == 46 }),
      text.unicodeScalars.allSatisfy({ $0.value > 32 && $0.value != 127 })
    else { return nil }
    let afterScheme = text[text.index(colon, offsetBy: 3)...]
    let authorityEnd = afterScheme.firstIndex { $0 == "/" || $0 == "?" || $0 == "#" } ?? afterScheme.endIndex
    rest = String(afterScheme[authorityEnd...])
    var authority = afterScheme[..<authorityEnd]
    if let at = authority.lastIndex(of: "@") {
      user = String(authority[..<at])
      authority = authority[authority.index(after: at)...]
    }
    if authority.hasPrefix("[") {
      guard let end = authority.firstIndex(of: "]") else { return nil }
      host = String(authority[authority.index(after: authority.startIndex)..<end])
      authority = authority[authority.index(after: end)...]
      guard authority.isEmpty || authority.hasPrefix(":") else { return nil }
      if authority.hasPrefix(":") {
        guard let number = Self.port(authority.dropFirst()) else { return nil }
        port = number
      }
    } else if authority.contains(",") {
      host = String(authority)
    } else if let last = authority.lastIndex(of: ":") {
      guard let number = Self.port(authority[authority.index(after: last)...]) else { return nil }
      port = number
      host = String(authority[..<last])
    } else {
      host = String(authority)
    }
    guard !host.isEmpty else { return nil }
  }

  /// Whether text can be a host: a name of letters, digits, `-`, `.` and `_`, or an IP address without brackets.
  package static func isHost(_ text: String) -> Bool { HostText.isHost(text) }

  private static func port(_ text: Substring) -> Int? {
    guard text.utf8.count <= 5, let number = Int(text), (1...65_535).contains(number), text.first?.isNumber == true
    else { return nil }
    return number
  }
}
