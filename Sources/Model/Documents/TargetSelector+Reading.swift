extension TargetSelector {
  /// Reads `target` of a document: a name, `generic`, a list of names, or `{labels: {role: web}}`. Absent is `generic`.
  static func read(_ reader: FieldReader) -> TargetSelector? {
    guard let value = reader.value("target") else { return .generic }
    switch value {
    case .string:
      guard let name = reader.text("target", upTo: 253) else { return nil }
      return name == "generic" ? .generic : .names([name])
    case .array(let elements):
      guard let names = reader.texts("target") else { return nil }
      guard !elements.isEmpty else {
        reader.problems.refuse("target", "the list is empty", hint: "name targets, or write generic for all")
        return nil
      }
      if let index = names.firstIndex(of: "generic") {
        reader.problems.refuse("target[\(index)]", "generic means all targets", hint: "write target: generic")
        return nil
      }
      var seen: Set<String> = []
      for (index, name) in names.enumerated() where !seen.insert(name).inserted {
        reader.problems.warn("target[\(index)]", "\(FieldReader.quoted(name)) stands twice")
      }
      return .names(names)
    case .object:
      guard let map = reader.map("target") else { return nil }
      map.allow(only: ["labels"])
      map.require("labels", example: "{role: web}")
      guard let labels = map.textMap("labels") else { return nil }
      guard !labels.isEmpty else {
        reader.problems.refuse("target.labels", "the map is empty", hint: "write target: generic for all")
        return nil
      }
      return .labels(labels)
    default:
      reader.problems.refuse(
        "target", "expected a target's name, a list of names or labels, found \(FieldReader.found(value, "target"))",
        hint: "for example web-1, [web-1, web-2], {labels: {role: web}} or generic")
      return nil
    }
  }
}
