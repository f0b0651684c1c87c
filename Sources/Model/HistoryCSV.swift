/// Samples as comma-separated values (RFC 4180): a heading, then one row a sample.
///
/// The first columns are always the same; then one for each field of the values, dotted, in alphabetical order. Times are
/// ISO 8601. Text that came from a target is made harmless: control characters are written as `\xNN`, and what a
/// spreadsheet would take for a formula (`=`, `+`, `-`, `@` at its start) gets an apostrophe in front.
package enum HistoryCSV {
  package static let fixed = ["time", "target", "metric", "name", "type", "tag", "n", "error"]

  /// - Parameter samples: documents of `aggregations`.
  /// - Returns: lines that end in CR LF.
  package static func text(_ samples: [Value]) -> String {
    var paths: Set<String> = []
    let rows = samples.map { sample -> [String: Value] in
      let cells = SampleShape.flatten(sample["value"] ?? .object([:]))
      paths.formUnion(cells.map(\.path))
      // Of two elements that are called the same the first counts.
      return Dictionary(cells.map { ($0.path, $0.value) }, uniquingKeysWith: { first, _ in first })
    }
    let columns = paths.sorted()
    var out = line(fixed + columns.map { fixed.contains($0) ? "value." + $0 : $0 }.map(harmless))
    for (sample, row) in zip(samples, rows) {
      let head = [
        cell(sample["updated"]), cell(sample["target"]), cell(sample["metric"]), cell(sample["name"]),
        cell(sample["type"]), cell(sample["tag"]), cell(sample["n"]), cell(sample["error"]),
      ]
      out += line(head + columns.map { cell(row[$0]) })
    }
    return out
  }

  private static func line(_ cells: [String]) -> String { cells.map(quoted).joined(separator: ",") + "\r\n" }

  private static func cell(_ value: Value?) -> String {
    switch value {
    case nil, .null: ""
    case .string(let text): harmless(text)
    case .date(let date): Instant.format(date)
    case let other?: other.json()
    }
  }

  private static func quoted(_ cell: String) -> String {
    guard cell.utf8.contains(where: { $0 == 0x22 || $0 == 0x2C || $0 == 0x0A || $0 == 0x0D }) else { return cell }
    var out = "\""
    for character in cell.unicodeScalars {
      if character == "\"" { out += "\"\"" } else { out.unicodeScalars.append(character) }
    }
    return out + "\""
  }

  private static func harmless(_ text: String) -> String {
    var out = ""
    for scalar in text.unicodeScalars {
      switch scalar.value {
      case 0..<0x20, 0x7F...0x9F:
        let hex = String(scalar.value, radix: 16)
        out += "\\x" + (hex.utf8.count < 2 ? "0" + hex : hex)
      case 0x202A...0x202E, 0x2066...0x2069: out += "\\u{" + String(scalar.value, radix: 16) + "}"
      default: out.unicodeScalars.append(scalar)
      }
    }
    // Spreadsheets skip blanks before they look for a formula.
    switch out.unicodeScalars.first(where: { $0 != " " && $0 != "\u{A0}" }) {
    case "=", "+", "-", "@", "\u{FF1D}", "\u{FF0B}", "\u{FF0D}", "\u{FF20}": return "'" + out
    default: return out
    }
  }
}
