/// One mailbox: `ops@example.org`, or with a name `Operations <ops@example.org>`.
///
/// Only what RFC 5321 calls a mailbox with a dot-string before the `@`; no comments, no quoted local parts, no line
/// ends: a text that is not one address cannot become a header or an SMTP command.
package struct MailAddress: Sendable, Hashable {
  /// The display name; empty: none.
  package var name: String
  /// `local@domain`, ASCII.
  package var address: String

  /// - Returns: nil when the text is not exactly one mailbox of at most 254 bytes.
  package init?(_ text: String) {
    let trimmed = Self.trim(text[...])
    guard trimmed.utf8.count <= 500, !trimmed.unicodeScalars.contains(where: Self.isControl) else { return nil }
    if trimmed.hasSuffix(">"), let open = trimmed.lastIndex(of: "<") {
      var name = Self.trim(trimmed[..<open])
      if name.count >= 2, name.hasPrefix("\""), name.hasSuffix("\"") { name = name.dropFirst().dropLast() }
      guard !name.contains(where: { "<>\"\\".contains($0) }) else { return nil }
      self.name = String(name)
      address = String(trimmed[trimmed.index(after: open)...].dropLast())
    } else {
      name = ""
      address = String(trimmed)
    }
    guard Self.isMailbox(address) else { return nil }
  }

  private static func trim(_ text: Substring) -> Substring {
    var text = text
    while text.first == " " { text.removeFirst() }
    while text.last == " " { text.removeLast() }
    return text
  }

  private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
    scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) || scalar.value == 0x2028 || scalar.value == 0x2029
  }

  private static func isMailbox(_ text: String) -> Bool {
    let parts = text.utf8.split(separator: UInt8(ascii: "@"), omittingEmptySubsequences: false)
    guard text.utf8.count <= 254, parts.count == 2, (1...64).contains(parts[0].count) else { return false }
    return isDotted(parts[0], allowing: isAtomText) && isDomain(parts[1])
  }

  /// A host name, or an address literal in brackets.
  static func isDomain(_ domain: Substring.UTF8View) -> Bool {
    if domain.first == UInt8(ascii: "["), domain.last == UInt8(ascii: "]"), domain.count > 2 {
      return domain.dropFirst().dropLast().allSatisfy { isLetterOrDigit($0) || $0 == 0x2E || $0 == 0x3A }
    }
    return isDotted(domain) { isLetterOrDigit($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") }
  }

  private static func isDotted(_ text: Substring.UTF8View, allowing isAllowed: (UInt8) -> Bool) -> Bool {
    text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
      .allSatisfy { !$0.isEmpty && $0.allSatisfy(isAllowed) }
  }

  private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: false
    }
  }

  /// RFC 5322's atext.
  private static func isAtomText(_ byte: UInt8) -> Bool {
    isLetterOrDigit(byte) || "!#$%&'*+-/=?^_`{|}~".utf8.contains(byte)
  }
}
