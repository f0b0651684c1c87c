/// Sizes as people write them: a number of bytes, or `10KiB`, `10MiB`, `2GiB`, `1TiB`, `10kB`, `10MB` …
package enum SizeText {
  /// The number of bytes; nil for anything else, and beyond 2^60.
  package static func parse(_ text: String) -> Int64? {
    guard text.utf8.count <= 32 else { return nil }
    let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
    guard let first = digits.utf8.first, (48...57).contains(first), let count = Double(digits) else { return nil }
    let unit = text[digits.endIndex...]
    guard let length = unit.isEmpty ? 1 : units[String(unit)] else { return nil }
    return bytes(count * length)
  }

  package static func parse(_ value: Value) -> Int64? {
    switch value {
    case .string(let text): parse(text)
    case .int, .double: value.number.flatMap(bytes)
    default: nil
    }
  }

  private static func bytes(_ count: Double) -> Int64? {
    guard count >= 0, count <= 1_152_921_504_606_846_976 else { return nil }
    return Int64(exactly: count.rounded())
  }

  private static let units: [String: Double] = [
    "B": 1, "KiB": 1024, "MiB": 1_048_576, "GiB": 1_073_741_824, "TiB": 1_099_511_627_776,
    "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
  ]
}
