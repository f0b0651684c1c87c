internal import Model

/// What of each sample is wanted: one field, and certain elements of a list.
struct HistorySelection {
  var metric: String
  var field: String?
  var conditions: [String: String]

  /// The samples with what is wanted of their values; failed ones stay as they are.
  /// - Throws: an ending that names the choices when no sample has the field or the element.
  func apply(_ samples: [Value]) throws -> [Value] {
    let values = samples.compactMap { $0["value"] }
    if values.isEmpty || (field == nil && conditions.isEmpty) { return samples }
    let elements = values.flatMap { SampleShape.elements($0, where: conditions) }
    if elements.isEmpty {
      throw Ending(Exit.usage, "no element of \(metric) has \(written(conditions)); there are \(choices(values))")
    }
    if let field, !elements.contains(where: { SampleShape.find(field, in: $0) != nil }) {
      let names = Set(elements.flatMap { $0.fields.map { Array($0.keys) } ?? [] }).sorted()
      throw Ending(
        Exit.usage,
        "\(metric) has no field \"\(Terminal.safe(field))\"; it has \(Terminal.safe(names.joined(separator: ", ")))")
    }
    return samples.compactMap { sample in
      guard case .object(var fields) = sample, let value = fields["value"] else { return sample }
      let kept = SampleShape.elements(value, where: conditions).compactMap(narrow)
      if kept.isEmpty { return nil }
      fields["value"] = value.elements == nil ? kept[0] : .array(kept)
      return .object(fields)
    }
  }

  /// A value with only the field, and what the element is told apart by.
  private func narrow(_ element: Value) -> Value? {
    guard let field else { return element }
    guard let found = SampleShape.find(field, in: element) else { return nil }
    var fields: [String: Value] = [field: found]
    if let identity = SampleShape.identity(element)?.field { fields[identity] = element[identity] }
    return .object(fields)
  }

  private func written(_ conditions: [String: String]) -> String {
    Terminal.safe(conditions.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " and "))
  }

  /// `mount=/, mount=/var`: what can be asked for.
  func choices(_ values: [Value]) -> String {
    var seen: Set<String> = []
    for case .array(let elements) in values {
      for element in elements {
        if let identity = SampleShape.identity(element) { seen.insert("\(identity.field)=\(identity.text)") }
      }
    }
    if seen.isEmpty { return "no elements" }
    let shown = seen.sorted().prefix(20).joined(separator: ", ")
    return Terminal.safe(shown) + (seen.count > 20 ? " and \(seen.count - 20) more" : "")
  }
}
