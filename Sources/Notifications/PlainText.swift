package import FoundationEssentials
internal import Model

/// Making text from targets, peers and documents harmless and readable in a message.
package enum PlainText {
  /// One line: control characters, line ends and marks that turn the direction of writing become visible escapes.
  ///
  /// What is longer than `limit` characters is cut, which the last character then says.
  package static func line(_ text: String, limit: Int = 500) -> String {
    var result = ""
    var count = 0
    for scalar in text.unicodeScalars {
      guard count < limit else { return result + "…" }
      append(scalar, to: &result)
      count += 1
    }
    return result
  }

  /// Several lines: line ends of any kind become LF, tabs stay, everything else as in ``line(_:limit:)``.
  package static func lines(_ text: String, limit: Int = 64 * 1024) -> String {
    var result = ""
    var count = 0
    var afterReturn = false
    for scalar in text.unicodeScalars {
      guard count < limit else { return result + "…" }
      count += 1
      if scalar == "\n" {
        if !afterReturn { result.unicodeScalars.append(scalar) }
        afterReturn = false
        continue
      }
      afterReturn = scalar == "\r"
      if scalar == "\r" {
        result.unicodeScalars.append("\n")
      } else if scalar == "\t" {
        result.unicodeScalars.append(scalar)
      } else {
        append(scalar, to: &result)
      }
    }
    return result
  }

  private static func append(_ scalar: Unicode.Scalar, to result: inout String) {
    switch scalar.value {
    case 0x00...0x1F, 0x7F...0x9F: result += "\\x" + hex(scalar.value, width: 2)
    // Line and paragraph separator; marks, embeddings, overrides and isolates of direction; the byte order mark.
    case 0x2028, 0x2029, 0x200E, 0x200F, 0x061C, 0x202A...0x202E, 0x2066...0x2069, 0xFEFF:
      result += "\\u{" + hex(scalar.value, width: 4) + "}"
    default: result.unicodeScalars.append(scalar)
    }
  }

  private static func hex(_ value: UInt32, width: Int) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
  }

  /// `12 min 5 s`, `2 d 3 h`: the two largest units that are not zero; `0 s` for nothing or less.
  package static func duration(_ duration: Duration) -> String {
    let total = max(0, duration.components.seconds)
    let parts = [(total / 86_400, "d"), (total / 3600 % 24, "h"), (total / 60 % 60, "min"), (total % 60, "s")]
    guard let first = parts.firstIndex(where: { $0.0 > 0 }) else { return "0 s" }
    return parts[first...].prefix(2).filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }.joined(separator: " ")
  }

  /// From one instant to another; no clock that jumps or no wild date can make it trap.
  package static func span(from start: Date, to end: Date) -> Duration {
    let seconds = end.timeIntervalSince(start)
    guard seconds.isFinite else { return .zero }
    return .milliseconds(Int64(min(max(seconds, -1e11), 1e11) * 1000))
  }

  /// `2026-11-21 08:15:00 UTC`, to the second.
  package static func instant(_ date: Date) -> String {
    stamp(date) + " UTC"
  }

  /// `2026-11-21 08:15:00`, in UTC without saying so.
  package static func stamp(_ date: Date) -> String {
    String(Instant.format(date).prefix(19)).replacing("T", with: " ")
  }

  /// A word of a command line that can be pasted into a shell as it is.
  package static func shellWord(_ text: String) -> String {
    let isPlain = text.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: ":"),
        UInt8(ascii: "@"), UInt8(ascii: "/"), UInt8(ascii: "-"):
        true
      default: false
      }
    }
    if isPlain, !text.isEmpty, !text.hasPrefix("-") { return text }
    return "'" + text.replacing("'", with: "'\\''") + "'"
  }

  /// At most `limit` bytes of UTF-8, on one line; for the ledger.
  package static func answer(_ text: String, limit: Int = 512) -> String {
    var result = ""
    var bytes = 0
    for character in line(text, limit: limit) {
      bytes += character.utf8.count
      guard bytes <= limit else { break }
      result.append(character)
    }
    return result
  }
}
