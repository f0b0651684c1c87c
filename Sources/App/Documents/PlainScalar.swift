internal import Model
internal import Yams

/// What a scalar means: YAML's core schema. `yes`, `on` and the like stay text, so that a reader can say what to write.
enum PlainScalar {
  static func value(of scalar: Node.Scalar) -> Value {
    let tag = scalar.tag.rawValue
    if tag == Tag.Name.str.rawValue || tag == "!" { return .string(scalar.string) }
    return scalar.style == .plain || !tag.isEmpty ? resolve(scalar.string) : .string(scalar.string)
  }

  static func resolve(_ text: String) -> Value {
    switch text {
    case "", "~", "null", "Null", "NULL": return .null
    case "true", "True", "TRUE": return true
    case "false", "False", "FALSE": return false
    case ".nan", ".NaN", ".NAN": return .double(.nan)
    case ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF": return .double(.infinity)
    case "-.inf", "-.Inf", "-.INF": return .double(-.infinity)
    default: return number(text) ?? .string(text)
    }
  }

  private static func number(_ text: String) -> Value? {
    guard let first = text.utf8.first, text.utf8.count <= 400,
      first == 43 || first == 45 || first == 46 || isDigit(first)
    else { return nil }
    if text.hasPrefix("0x") { return Int64(text.dropFirst(2), radix: 16).map(Value.int) }
    if text.hasPrefix("0o") { return Int64(text.dropFirst(2), radix: 8).map(Value.int) }
    let digits = first == 43 || first == 45 ? text.utf8.dropFirst() : text.utf8[...]
    guard let lead = digits.first, isDigit(lead) || lead == 46 else { return nil }
    if digits.allSatisfy(isDigit) {
      // 0755 was octal once and is nothing now: it stays text, so that nobody is surprised.
      if digits.count > 1, lead == 48 { return nil }
      return Int64(text).map(Value.int) ?? Double(text).map(Value.double)
    }
    guard digits.allSatisfy({ isDigit($0) || [43, 45, 46, 69, 101].contains($0) }) else { return nil }
    return Double(text).map(Value.double)
  }

  private static func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }
}
