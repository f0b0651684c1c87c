package import FoundationEssentials

/// Something in a document, a file or the configuration that a person has to mend.
package struct Problem: Sendable, Hashable, Codable {
  package enum Level: String, Sendable, Hashable, Codable {
    /// The document is refused; its last good version stays active.
    case refused
    /// It counts, but probably not as meant.
    case warning
  }

  package var level: Level
  /// The document's collection or `configuration`.
  package var kind: String
  /// The document's `_id` or name; empty where there is none.
  package var id: String
  /// `metrics.Vitals.CPU.interval`: the path of the field; empty for the document as a whole.
  package var path: String
  package var reason: String
  /// What to write instead, where it is known.
  package var hint: String?
  package var file: String?
  package var line: Int?
  package var since: Date?

  package init(
    _ level: Level = .refused, kind: String, id: String, path: String, reason: String, hint: String? = nil,
    file: String? = nil, line: Int? = nil, since: Date? = nil
  ) {
    self.level = level
    self.kind = kind
    self.id = id
    self.path = path
    self.reason = reason
    self.hint = hint
    self.file = file
    self.line = line
    self.since = since
  }
}

extension Problem: CustomStringConvertible {
  /// One line: `file:line: kind id: path: reason (hint)`.
  package var description: String {
    var parts: [String] = []
    if let file { parts.append(line.map { "\(file):\($0)" } ?? file) }
    parts.append(id.isEmpty ? kind : "\(kind) \(id)")
    if !path.isEmpty { parts.append(path) }
    parts.append(reason)
    return parts.joined(separator: ": ") + (hint.map { " (\($0))" } ?? "")
  }
}

extension Problem {
  /// In the shape that the API shows.
  package var value: Value {
    var fields: [String: Value] = [
      "level": .string(level.rawValue), "kind": .string(kind), "id": .string(id), "path": .string(path),
      "reason": .string(reason),
    ]
    fields["hint"] = hint.map(Value.string)
    fields["file"] = file.map(Value.string)
    fields["line"] = line.map { .int(Int64($0)) }
    fields["since"] = since.map(Value.date)
    return .object(fields)
  }
}
