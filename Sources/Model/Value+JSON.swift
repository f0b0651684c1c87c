internal import FoundationEssentials

extension Value {
  /// Reads one JSON text.
  /// - Throws: `DecodingError` for anything that is not JSON.
  package init(json bytes: some Sequence<UInt8>) throws {
    self = try JSONDecoder().decode(Value.self, from: Data(bytes))
  }

  /// This value as JSON, keys in alphabetical order; NaN and infinities become null, instants ISO 8601.
  /// - Parameter indent: spaces for each level, or nil for one line.
  package func json(indent: Int? = nil) -> String {
    var out = ""
    write(into: &out, indent: indent, depth: 0)
    return out
  }

  private func write(into out: inout String, indent: Int?, depth: Int) {
    func newline(_ depth: Int) {
      guard let indent else { return }
      out += "\n" + String(repeating: " ", count: indent * depth)
    }
    switch self {
    case .null: out += "null"
    case .bool(let value): out += value ? "true" : "false"
    case .int(let value): out += String(value)
    case .double(let value):
      guard value.isFinite else { return out += "null" }
      if let whole = Int64(exactly: value), abs(value) < 1e15 { out += "\(whole).0" } else { out += "\(value)" }
    case .string(let value): Self.quote(value, into: &out)
    case .date(let value): Self.quote(Instant.format(value), into: &out)
    case .array(let elements):
      if elements.isEmpty { return out += "[]" }
      out += "["
      for (index, element) in elements.enumerated() {
        if index > 0 { out += "," }
        newline(depth + 1)
        element.write(into: &out, indent: indent, depth: depth + 1)
      }
      newline(depth)
      out += "]"
    case .object(let fields):
      if fields.isEmpty { return out += "{}" }
      out += "{"
      for (index, field) in fields.sorted(by: { $0.key < $1.key }).enumerated() {
        if index > 0 { out += "," }
        newline(depth + 1)
        Self.quote(field.key, into: &out)
        out += indent == nil ? ":" : ": "
        field.value.write(into: &out, indent: indent, depth: depth + 1)
      }
      newline(depth)
      out += "}"
    }
  }

  private static func quote(_ text: String, into out: inout String) {
    out += "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      case "\t": out += "\\t"
      // Control characters, DEL and C1: a terminal must never see them raw.
      case "\u{0}"..."\u{1F}", "\u{7F}"..."\u{9F}", "\u{2028}", "\u{2029}":
        let hex = String(scalar.value, radix: 16)
        out += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
      default: out.unicodeScalars.append(scalar)
      }
    }
    out += "\""
  }
}
