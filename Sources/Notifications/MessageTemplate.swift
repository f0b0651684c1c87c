package import Model

/// A channel's own words: `template: {subject: …, body: …}` with `{{name}}` where a fact goes in.
package struct MessageTemplate: Sendable, Hashable {
  package var subject: String?
  package var body: String?

  package init(subject: String? = nil, body: String? = nil) {
    self.subject = subject
    self.body = body
  }

  /// Reads the `template` of a notification_options document; `nil`: it has none.
  package init?(_ options: [String: Value]) {
    guard let template = options["template"] else { return nil }
    subject = template["subject"]?.text
    body = template["body"]?.text
    if subject == nil, body == nil { return nil }
  }

  /// The longest template that is read; what follows is ignored. Templates are written by people.
  static let longest = 64 * 1024

  /// Puts the facts in. In one pass: a fact that looks like `{{name}}` itself is not looked at again. A name nobody
  /// knows stays as it is, so that the message still leaves and shows the mistake.
  package static func fill(_ text: String, _ fields: MessageFields) -> String {
    var result = ""
    for piece in pieces(text) {
      switch piece {
      case .text(let text): result += text
      case .name(let name, let written):
        result += MessageFields.names.contains(name) ? fields[name] : String(written)
      }
    }
    return result
  }

  /// What a person has to mend in a `template`.
  package static func problems(in options: NotificationOptions) -> [Problem] {
    guard let template = options.options["template"] else { return [] }
    func problem(_ level: Problem.Level, _ path: String, _ reason: String, _ hint: String? = nil) -> Problem {
      Problem(level, kind: "notification_options", id: options.id, path: path, reason: reason, hint: hint)
    }
    guard let parts = template.fields else {
      return [problem(.refused, "template", "must be a map with `subject` and `body`, not \(template.kindName)")]
    }
    var found: [Problem] = []
    for (part, value) in parts.sorted(by: { $0.key < $1.key }) {
      guard part == "subject" || part == "body" else {
        found.append(problem(.refused, "template.\(part)", "unknown field", "a template has `subject` and `body`"))
        continue
      }
      guard let text = value.text else {
        found.append(problem(.refused, "template.\(part)", "must be text, not \(value.kindName)"))
        continue
      }
      for case .name(let name, _) in pieces(text) where !MessageFields.names.contains(name) {
        let nearest = NearestName.find(name, in: MessageFields.names)
        found.append(
          problem(
            .warning, "template.\(part)", "there is no field named `\(name)`; it stays as it is written",
            nearest.map { "did you mean `{{\($0)}}`?" }
              ?? "the fields are \(MessageFields.names.sorted().joined(separator: ", "))"))
      }
    }
    return found
  }

  private enum Piece {
    case text(Substring)
    case name(String, written: Substring)
  }

  private static func pieces(_ text: String) -> [Piece] {
    var rest = text.prefix(longest)
    var result: [Piece] = []
    while let open = rest.firstRange(of: "{{") {
      guard let close = rest[open.upperBound...].firstRange(of: "}}") else { break }
      result.append(.text(rest[..<open.lowerBound]))
      let name = rest[open.upperBound..<close.lowerBound].trimmingPrefix(while: \.isWhitespace)
      let trimmed = String(name.reversed().trimmingPrefix(while: \.isWhitespace).reversed())
      result.append(.name(trimmed, written: rest[open.lowerBound..<close.upperBound]))
      rest = rest[close.upperBound...]
    }
    result.append(.text(rest))
    return result
  }
}
