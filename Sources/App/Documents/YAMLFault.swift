internal import Yams

/// A syntax error in a person's words.
struct YAMLFault {
  var line = 1
  var reason = "it cannot be read"
  var hint: String?

  init(_ error: any Error) {
    switch error as? YamlError {
    case .scanner(let context, let problem, let mark, let yaml), .parser(let context, let problem, let mark, let yaml),
      .composer(let context, let problem, let mark, let yaml):
      line = mark.line
      // The context's own line is left out: it counts from the document's start, not from the file's.
      reason = context.map { "\(problem) \($0.text)" } ?? problem
      hint = Self.hint(problem, Self.character(yaml, mark))
    case .reader(let problem, let offset, _, let yaml):
      reason = problem
      line = 1 + (offset.map { yaml.utf8.prefix($0).count(where: { $0 == 10 }) } ?? 0)
      hint = problem.contains("control") ? "remove the character" : nil
    case .memory: reason = "there is not enough memory"
    default: break
    }
  }

  private static func hint(_ problem: String, _ character: Unicode.Scalar?) -> String? {
    if character == "\t" { return "indent with spaces, not with tabs" }
    if problem.contains("cannot start any token") {
      return "put text that begins with \(character.map { "\($0)" } ?? "such a character") in quotes"
    }
    if problem.contains("mapping values are not allowed") {
      return "check the indentation; text with a colon and a space in it needs quotes"
    }
    if problem.contains("could not find expected ':'") { return "write name: value" }
    if problem.contains("did not find expected key") || problem.contains("block collection") {
      return "check the indentation and the quotes"
    }
    if problem.contains("',' or") { return "check brackets, braces and commas" }
    if problem.contains("alphabetic or numeric") { return "put text that begins with * or & in quotes" }
    if problem.contains("undefined alias") { return "text that begins with * needs quotes" }
    if problem.contains("unexpected end") { return "close the quotes" }
    if problem.contains("nesting") { return "nest less deeply" }
    return nil
  }

  private static func character(_ yaml: String, _ mark: Mark) -> Unicode.Scalar? {
    var line = 1
    var column = 1
    for scalar in yaml.unicodeScalars {
      if line == mark.line, column == mark.column { return scalar }
      if scalar == "\n" {
        line += 1
        column = 1
        if line > mark.line { return nil }
      } else {
        column += 1
      }
    }
    return nil
  }
}
