/// Durations as people write them: `500ms`, `10s`, `5m`, `2h`, `7d`, `1h30m`, or a number of seconds.
package enum DurationText {
  /// The longest duration that is understood: 100 years.
  package static let longest: Duration = .seconds(36_525 * 86_400)

  /// Reads text; nil for anything else, negative and overlong durations included.
  package static func parse(_ text: String) -> Duration? {
    guard !text.isEmpty, text.utf8.count <= 32 else { return nil }
    if let seconds = number(text[...]) { return duration(seconds: seconds) }
    var rest = text[...]
    var total = 0.0
    var smallest = Double.infinity
    while !rest.isEmpty {
      let digits = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
      rest = rest[digits.endIndex...]
      let unit = rest.prefix { $0.isASCII && $0.isLetter }
      rest = rest[unit.endIndex...]
      // Units fall (`1h30m`), so that a slip such as `5m5h` is seen.
      guard let count = number(digits), let length = units[String(unit)], length < smallest else { return nil }
      smallest = length
      total += count * length
    }
    return duration(seconds: total)
  }

  /// Reads a document's value: text, or a number of seconds.
  package static func parse(_ value: Value) -> Duration? {
    switch value {
    case .string(let text): parse(text)
    case .int, .double: value.number.flatMap(duration(seconds:))
    default: nil
    }
  }

  /// Whole milliseconds; nil for NaN, negative and overlong values.
  package static func duration(seconds: Double) -> Duration? {
    guard seconds >= 0, seconds <= 36_525 * 86_400 else { return nil }
    return .milliseconds(Int64((seconds * 1000).rounded()))
  }

  /// The shortest way to write it: `90s` is `1m30s`, `3600s` is `1h`. Parts below a millisecond are left out.
  package static func format(_ duration: Duration) -> String {
    let parts = duration.components
    guard parts.seconds >= 0 else { return "0s" }
    let milliseconds = parts.attoseconds / 1_000_000_000_000_000
    var text = ""
    var seconds = parts.seconds
    for (unit, length) in [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)] as [(String, Int64)] where seconds >= length
    {
      text += "\(seconds / length)\(unit)"
      seconds %= length
    }
    if milliseconds > 0 { text += "\(milliseconds)ms" }
    return text.isEmpty ? "0s" : text
  }

  private static let units: [String: Double] = ["ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400]

  private static func number(_ text: Substring) -> Double? {
    guard let first = text.utf8.first, (48...57).contains(first), text.utf8.count <= 20,
      text.utf8.allSatisfy({ (48...57).contains($0) || $0 == 46 })
    else { return nil }
    return Double(text)
  }
}

extension Duration {
  /// The duration as a number of seconds.
  var secondsValue: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
