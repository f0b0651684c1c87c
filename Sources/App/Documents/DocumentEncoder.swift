package import Model

/// Writes documents as YAML that reads back as the same values.
///
/// Keys have a fixed order: `kind`, `_id`, what the document is about, the rest by name, `updated` last.
package struct DocumentEncoder: Sendable {
  package init() {}

  /// A document in the shape that files have.
  package func yaml(_ document: Document) -> String { yaml([document.value]) }

  /// Values one after another, each after a line of `---` when there are several.
  package func yaml(_ values: [Value]) -> String {
    if values.count == 1 { return text(values[0]) }
    return values.map { "---\n" + text($0) }.joined()
  }

  private func text(_ value: Value) -> String {
    var out = ""
    switch value {
    case .object(let fields) where !fields.isEmpty: write(fields, into: &out, indent: 0, isTop: true)
    case .array(let elements) where !elements.isEmpty: write(elements, into: &out, indent: 0, depth: 0)
    default: out = scalar(value) + "\n"
    }
    return out
  }

  private static let first = ["kind", "_id", "reaction", "metric", "target", "type"]

  private func order(_ fields: [String: Value], isTop: Bool) -> [(key: String, value: Value)] {
    let sorted = fields.sorted { $0.key < $1.key }
    guard isTop else { return sorted }
    func rank(_ key: String) -> Int { key == "updated" ? 99 : Self.first.firstIndex(of: key) ?? 50 }
    return sorted.enumerated().sorted { (rank($0.element.key), $0.offset) < (rank($1.element.key), $1.offset) }
      .map(\.element)
  }

  private func write(
    _ fields: [String: Value], into out: inout String, indent: Int, isTop: Bool = false, depth: Int = 0
  ) {
    for (key, value) in order(fields, isTop: isTop) {
      out += String(repeating: " ", count: indent) + string(key) + ":"
      writeInner(value, into: &out, indent: indent, depth: depth)
    }
  }

  private func writeInner(_ value: Value, into out: inout String, indent: Int, depth: Int) {
    // What is too deep for blocks goes on one line; it reads back the same.
    switch value {
    case .object(let fields) where !fields.isEmpty && depth < 32:
      out += "\n"
      write(fields, into: &out, indent: indent + 2, depth: depth + 1)
    case .array(let elements) where !elements.isEmpty && depth < 32 && !elements.allSatisfy(isShort):
      out += "\n"
      write(elements, into: &out, indent: indent + 2, depth: depth + 1)
    default: out += " " + flow(value) + "\n"
    }
  }

  private func write(_ elements: [Value], into out: inout String, indent: Int, depth: Int) {
    for element in elements {
      let start = String(repeating: " ", count: indent) + "-"
      if case .object(let fields) = element, !fields.isEmpty, depth < 32 {
        var inner = ""
        write(fields, into: &inner, indent: indent + 2, depth: depth + 1)
        out += start + " " + inner.dropFirst(indent + 2)
      } else {
        out += start
        writeInner(element, into: &out, indent: indent, depth: depth)
      }
    }
  }

  private func isShort(_ value: Value) -> Bool {
    switch value {
    case .object: false
    case .array(let elements): elements.allSatisfy { $0.fields == nil && $0.elements == nil }
    case .string(let text): text.utf8.count < 60
    default: true
    }
  }

  private func flow(_ value: Value) -> String {
    switch value {
    case .array(let elements): "[" + elements.map(flow).joined(separator: ", ") + "]"
    case .object(let fields):
      "{" + order(fields, isTop: false).map { "\(string($0.key)): \(flow($0.value))" }.joined(separator: ", ") + "}"
    default: scalar(value)
    }
  }

  private func scalar(_ value: Value) -> String {
    switch value {
    case .string(let text): string(text)
    case .double(let number) where number.isNaN: ".nan"
    case .double(let number) where number.isInfinite: number < 0 ? "-.inf" : ".inf"
    case .date(let date): Instant.format(date)
    default: value.json()
    }
  }

  /// Plain where no YAML reader could take it for anything else, in double quotes elsewhere.
  private func string(_ text: String) -> String {
    if isPlain(text) { return text }
    var quoted = ""
    for scalar in Value.string(text).json().unicodeScalars {
      // Marks that turn the direction of text could make a terminal show something else.
      if (0x200E...0x200F).contains(scalar.value) || (0x202A...0x202E).contains(scalar.value)
        || (0x2066...0x2069).contains(scalar.value) || (0xE000...0xF8FF).contains(scalar.value)
        || scalar.value == 0xFEFF || scalar.value == 0xFFFE || scalar.value == 0xFFFF
      {
        let hex = String(scalar.value, radix: 16)
        quoted += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
      } else {
        quoted.unicodeScalars.append(scalar)
      }
    }
    return quoted
  }

  private static let words: Set<String> = ["yes", "no", "on", "off", "y", "n", "true", "false", "null", "nan", "inf"]

  private func isPlain(_ text: String) -> Bool {
    guard let first = text.utf8.first, text.utf8.count <= 200, !Self.words.contains(text.lowercased()) else {
      return false
    }
    // Begins with a letter, a slash or an underscore: neither a number nor an indicator.
    let isWord = (65...90).contains(first) || (97...122).contains(first) || first == 47 || first == 95
    // A digit may begin durations and addresses such as 10s and 192.0.2.10: a unit or two dots follow.
    let isMeasure =
      (49...57).contains(first)
      && (["s", "m", "h"].contains(text.suffix(1)) || text.utf8.count(where: { $0 == 46 }) > 1)
    guard isWord || isMeasure else { return false }
    return text.utf8.allSatisfy {
      (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0)
        || [45, 46, 47, 95, 43, 64].contains($0)
    }
  }
}
