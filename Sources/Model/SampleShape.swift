/// Finding one's way in a sample's value: fields, elements of lists, and what a roll-up says of them.
package enum SampleShape {
  /// The fields of `{min, max, mean, last, count}`, in the order in which they are shown.
  package static let statistics = ["min", "mean", "max", "last", "count"]

  /// Whether this is what a roll-up holds for one field.
  package static func isStatistic(_ value: Value) -> Bool {
    guard case .object(let fields) = value, fields["count"] != nil || fields["last"] != nil, !fields.isEmpty else {
      return false
    }
    return fields.keys.allSatisfy { statistics.contains($0) }
  }

  /// The value at a dotted path; a name that has a dot in itself is found, too.
  package static func find(_ path: String, in value: Value) -> Value? {
    if let exact = value[path] { return exact }
    if let found = value.at(path) { return found }
    guard case .object = value else { return nil }
    var end = path.startIndex
    while let dot = path[end...].firstIndex(of: ".") {
      if let inner = value[String(path[..<dot])],
        let found = find(String(path[path.index(after: dot)...]), in: inner)
      {
        return found
      }
      end = path.index(after: dot)
    }
    return nil
  }

  // MARK: Lists

  /// The fields that tell elements apart, in the order in which they are tried.
  private static let identities = ["mount", "name", "path", "device", "label", "id"]

  /// What an element of a list is called: its field, and that field's text.
  package static func identity(_ element: Value) -> (field: String, text: String)? {
    for field in identities {
      if let text = element[field].flatMap(text) { return (field, text) }
    }
    return nil
  }

  /// A field's text; of a roll-up the last one.
  package static func text(_ value: Value) -> String? {
    switch isStatistic(value) ? value["last"] ?? value : value {
    case .string(let text): text
    case .int(let number): String(number)
    case .bool(let flag): String(flag)
    default: nil
    }
  }

  /// The elements of a list for which every condition holds (field to text); a value that is no list is itself the only
  /// one.
  package static func elements(_ value: Value, where conditions: [String: String]) -> [Value] {
    let all = value.elements ?? [value]
    if conditions.isEmpty { return all }
    return all.filter { element in
      conditions.allSatisfy { find($0.key, in: element).flatMap(text) == $0.value }
    }
  }

  // MARK: Flattening

  /// Every scalar with its dotted path, in the order of the paths; elements of lists go by what they are called.
  package static func flatten(_ value: Value, prefix: String = "") -> [(path: String, value: Value)] {
    func joined(_ name: String) -> String { prefix.isEmpty ? name : prefix + "." + name }
    switch value {
    case .object(let fields):
      let order = isStatistic(value) ? statistics.filter { fields[$0] != nil } : fields.keys.sorted()
      return order.flatMap { name in flatten(fields[name] ?? .null, prefix: joined(name)) }
    case .array(let elements):
      return elements.enumerated().flatMap { index, element in
        flatten(element, prefix: joined(identity(element)?.text ?? String(index)))
      }
    default: return [(prefix.isEmpty ? "value" : prefix, value)]
    }
  }
}
