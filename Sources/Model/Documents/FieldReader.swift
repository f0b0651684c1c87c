/// Reads the fields of one map, as typed values, and reports everything that is wrong with them.
///
/// Each method returns nil both where a field is absent (or empty) and where it is wrong; the latter is in `problems`.
package struct FieldReader {
  package let fields: [String: Value]
  /// Where the map stands in its document; empty for the document itself.
  package let path: String
  package let problems: ProblemList

  package init(_ fields: [String: Value], path: String = "", problems: ProblemList) {
    self.fields = fields
    self.path = path
    self.problems = problems
  }

  package func path(of name: String) -> String { Self.path(path, name) }

  /// The path of a field in a map; names that cannot be seen stand in quotes.
  package static func path(_ map: String, _ name: String) -> String {
    let isVisible = !name.isEmpty && !name.unicodeScalars.contains { $0.value < 32 || (127...159).contains($0.value) }
    let step = isVisible ? name : quoted(name)
    return map.isEmpty ? step : "\(map).\(step)"
  }

  /// What stands there; an empty field counts as absent.
  package func value(_ name: String) -> Value? {
    guard let value = fields[name], !value.isNull else { return nil }
    return value
  }

  /// Refuses every field that is not in `names`.
  /// - Parameter advice: hints for names that people put here although they belong elsewhere.
  package func allow(only names: Set<String>, advice: [String: String] = [:]) {
    for name in fields.keys.sorted() where !names.contains(name) {
      guard !problems.isFull else {
        problems.refuse(path(of: name), "unknown field")
        continue
      }
      if let secret = LiteralSecrets.advice(for: name, allowed: names) {
        problems.refuse(path(of: name), "a secret must not stand in a document", hint: secret)
      } else {
        problems.refuse(
          path(of: name), "unknown field \(Self.quoted(name))", hint: advice[name] ?? NearestName.hint(name, in: names))
      }
    }
  }

  /// Refuses the map where a field is absent.
  package func require(_ name: String, example: String? = nil) {
    guard value(name) == nil else { return }
    problems.refuse(path(of: name), "\(name) is missing", hint: example.map { "write \(name): \($0)" })
  }

  // MARK: - Text

  /// Text of one line, not empty, without control characters.
  package func text(_ name: String, upTo limit: Int = 4096, example: String? = nil) -> String? {
    guard let value = value(name) else { return nil }
    return text(value, at: path(of: name), upTo: limit, example: example)
  }

  func text(_ value: Value, at path: String, upTo limit: Int = 4096, example: String? = nil) -> String? {
    guard let text = value.text else {
      var hint = example.map { "for example \($0)" }
      if case .int(let number) = value { hint = "write it in quotes: \"\(number)\"" }
      if case .bool = value { hint = "write it in quotes; yes, no, on and off need them too" }
      problems.refuse(path, "expected text, found \(Self.found(value, path))", hint: hint)
      return nil
    }
    guard !text.isEmpty else {
      problems.refuse(path, "the text is empty", hint: example.map { "for example \($0)" })
      return nil
    }
    guard text.utf8.count <= limit else {
      problems.refuse(path, "the text is longer than \(limit) bytes")
      return nil
    }
    guard !text.unicodeScalars.contains(where: { $0.value < 32 || $0.value == 127 }) else {
      problems.refuse(path, "the text holds a control character or a line break")
      return nil
    }
    return text
  }

  /// Text that may run over several lines (a template's body).
  package func longText(_ name: String) -> String? {
    guard let value = value(name) else { return nil }
    guard let text = value.text else {
      problems.refuse(path(of: name), "expected text, found \(Self.found(value, path(of: name)))")
      return nil
    }
    return text
  }

  /// A list of texts; one text counts as a list of one.
  package func texts(_ name: String, example: String? = nil) -> [String]? {
    guard let value = value(name) else { return nil }
    let path = path(of: name)
    switch value {
    case .string: return text(value, at: path, example: example).map { [$0] }
    case .array(let elements):
      let read = elements.enumerated().map { text($0.element, at: "\(path)[\($0.offset)]", example: example) }
      return read.contains(nil) ? nil : read.compactMap { $0 }
    default:
      problems.refuse(
        path, "expected a list of texts, found \(Self.found(value, path))", hint: example.map { "for example [\($0)]" })
      return nil
    }
  }

  /// An argument vector: a list of at least one text, or one text without spaces.
  package func arguments(_ name: String) -> [String]? {
    guard let value = value(name) else { return nil }
    let path = path(of: name)
    if let line = value.text, line.contains(" ") {
      problems.refuse(
        path, "expected a list of arguments, found one text with spaces",
        hint: "no shell reads it: write [program, argument, …]")
      return nil
    }
    guard let arguments = texts(name, example: "/usr/bin/program") else { return nil }
    guard !arguments.isEmpty else {
      problems.refuse(path, "the list is empty", hint: "write [program, argument, …]")
      return nil
    }
    return arguments
  }

  /// One of a few words.
  package func choice<Choice: RawRepresentable & CaseIterable>(_ name: String, _ type: Choice.Type) -> Choice?
  where Choice.RawValue == String {
    choice(name, of: Choice.allCases.map(\.rawValue)).flatMap(Choice.init(rawValue:))
  }

  package func choice(_ name: String, of words: [String]) -> String? {
    guard let value = value(name) else { return nil }
    let list = words.joined(separator: ", ")
    guard let word = value.text, words.contains(word) else {
      let nearest = value.text.flatMap { NearestName.find($0, in: words) }
      problems.refuse(
        path(of: name), "expected one of \(list), found \(Self.found(value, path(of: name)))",
        hint: nearest.map { "did you mean \($0)?" })
      return nil
    }
    return word
  }

  // MARK: - Maps

  /// The reader of a map inside this one.
  package func map(_ name: String) -> FieldReader? {
    guard let value = value(name) else { return nil }
    guard let fields = value.fields, value.foreignName == nil else {
      problems.refuse(path(of: name), "expected a map, found \(Self.found(value, path(of: name)))")
      return nil
    }
    return FieldReader(fields, path: path(of: name), problems: problems)
  }

  /// A map of texts: labels.
  package func textMap(_ name: String) -> [String: String]? {
    guard let map = map(name) else { return nil }
    var result: [String: String] = [:]
    for key in map.fields.keys.sorted() {
      guard !key.isEmpty else {
        problems.refuse(map.path, "a name is empty")
        continue
      }
      guard let value = map.value(key) else {
        problems.refuse(map.path(of: key), "the value is missing", hint: "write \"\" for an empty one")
        continue
      }
      if value.text == "" { result[key] = "" } else { result[key] = map.text(key, upTo: 1024) }
    }
    return result
  }
}
