internal import FoundationEssentials
internal import Model

/// Values in a person's words, with the unit that the field's name implies.
enum Quantity {
  static func text(_ number: Double, field: String) -> String {
    guard number.isFinite else { return "not a number" }
    let name = field.split(separator: ".").last.map(String.init) ?? field
    switch name {
    case _ where name.hasSuffix("percent") || percentages.contains(name): return "\(round(number, 1)) %"
    case _ where bytes.contains(name): return size(number)
    case _ where name.hasSuffix("_seconds"): return text(.seconds(min(max(number, -1e12), 1e12)))
    case _ where name.hasSuffix("_ms"): return "\(round(number, 1)) ms"
    case _ where name.hasSuffix("_per_second"): return "\(round(number, 1))/s"
    default: return round(number, 2)
    }
  }

  static func text(_ value: Value, field: String) -> String {
    switch value {
    case .int, .double: text(value.number ?? .nan, field: field)
    case .string(let text): text
    case .bool(let flag): flag ? "yes" : "no"
    case .null: "nothing"
    case .date(let date): Instant.format(date)
    case .array(let elements): "\(elements.count) entries"
    case .object: value.json()
    }
  }

  /// `2 h 5 min`, `45 s`, `300 ms`: the two largest units.
  static func text(_ duration: Duration) -> String {
    let total = duration.seconds
    guard total.isFinite else { return "for ever" }
    if total < 0 { return "-" + text(.zero - duration) }
    if total < 1 { return "\(Int((total * 1000).rounded())) ms" }
    let seconds = Int(min(total.rounded(), 1e12))
    let parts = [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")]
    let first = parts.firstIndex { $0.0 > 0 } ?? 3
    return parts[first..<min(first + 2, 4)].filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }.joined(separator: " ")
  }

  private static let percentages: Set<String> = [
    "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal",
  ]
  private static let bytes: Set<String> = [
    "total", "used", "free", "available", "buffers", "cached", "slab", "size",
  ]

  private static func size(_ number: Double) -> String {
    var value = number
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
      if abs(value) < 1024 { return "\(round(value, unit == "B" ? 0 : 1)) \(unit)" }
      value /= 1024
    }
    return "\(round(value, 1)) PiB"
  }

  /// At most `digits` behind the point, no trailing zeros.
  private static func round(_ number: Double, _ digits: Int) -> String {
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    let rounded = (number * scale).rounded() / scale
    if let whole = Int64(exactly: rounded) { return String(whole) }
    return "\(rounded)"
  }
}
