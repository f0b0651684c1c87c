internal import Model
internal import Testing

/// Makes documents for tests from the values that a file would hold.
func document(_ kind: DocumentKind, _ fields: [String: Value], id: String = "x") -> Document {
  Document(kind: kind, id: id, fields: fields)
}

/// Problems as short lines: `path: reason (hint)`; warnings begin with `~`.
func lines(_ problems: [Problem]) -> [String] {
  problems.map { problem in
    (problem.level == .warning ? "~" : "") + (problem.path.isEmpty ? "" : problem.path + ": ") + problem.reason
      + (problem.hint.map { " (\($0))" } ?? "")
  }
}

/// One wrong document and what is said about it.
struct Refusal: Sendable, CustomTestStringConvertible {
  var fields: [String: Value]
  var expected: [String]
  init(_ fields: [String: Value], _ expected: String...) {
    self.fields = fields
    self.expected = expected
  }
  var testDescription: String { Value.object(fields).json() }
}
