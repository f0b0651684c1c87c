/// What any document must keep to before it is read at all, so that no reader can be drowned.
package enum DocumentBounds {
  /// Deepest nesting of maps and lists.
  package static let depth = 64
  /// Most values in one document.
  package static let values = 20_000
  /// Longest text, in bytes.
  package static let text = 64 << 10
  /// Longest field name, in bytes.
  package static let name = 256

  /// Refuses what is beyond a bound, and every URI that carries a password, wherever it stands.
  static func check(_ fields: [String: Value], _ problems: ProblemList) {
    var left = values
    check(.object(fields), path: "", depth: 0, left: &left, problems)
  }

  private static func check(_ value: Value, path: String, depth: Int, left: inout Int, _ problems: ProblemList) {
    left -= 1
    guard left >= 0 else {
      // Said once, where the bound was reached.
      if left == -1 {
        problems.refuse(path, "the document holds more than \(values) values", hint: "split it into several")
      }
      return
    }
    switch value {
    case .string(let text):
      if text.utf8.count > Self.text {
        problems.refuse(path, "the text is longer than \(Self.text >> 10) KiB")
      } else if LiteralSecrets.holdsPassword(text) {
        problems.refuse(
          path, "the URI carries a password",
          hint: "write username and password_file beside it, and the URI without them")
      }
    case .array(let elements):
      guard depth < Self.depth else { return problems.refuse(path, "nested deeper than \(Self.depth) levels") }
      for (index, element) in elements.enumerated() {
        check(element, path: "\(path)[\(index)]", depth: depth + 1, left: &left, problems)
        if left < 0 { return }
      }
    case .object(let fields):
      guard depth < Self.depth else { return problems.refuse(path, "nested deeper than \(Self.depth) levels") }
      for (name, field) in fields.sorted(by: { $0.key < $1.key }) {
        if name.utf8.count > Self.name {
          problems.refuse(path, "a field's name is longer than \(Self.name) bytes")
          continue
        }
        check(field, path: FieldReader.path(path, name), depth: depth + 1, left: &left, problems)
        if left < 0 { return }
      }
    default: break
    }
  }
}
