package import Model

/// What one sample says of one condition: three-valued, never a guess.
package enum Verdict: Sendable, Hashable {
  /// Within the limits; `hasCleared` is false while the stricter `clear` limits are not met yet.
  case ok(hasCleared: Bool)
  case bad
  /// No value, not a number, or gathering failed.
  case unknown
}

/// A verdict on one element (or on the metric itself), with the words for a message.
package struct Finding: Sendable, Hashable {
  /// Which element of a list metric; `nil` for plain metrics.
  package var element: String?
  package var verdict: Verdict
  /// The value in a person's words.
  package var value: String
  /// What it is held against.
  package var limit: String

  package init(element: String? = nil, verdict: Verdict, value: String, limit: String) {
    self.element = element
    self.verdict = verdict
    self.value = value
    self.limit = limit
  }
}

/// The rule of one kind of reaction: pure, so that it can be tried on any history.
///
/// A new reaction is one file that adopts this, and one line in ``ReactionCatalogue``.
package protocol Reaction: Sendable {
  /// Reads one sample: a finding for every element that the condition selects.
  func findings(in sample: Sample, for condition: MetricCondition) -> [Finding]
  /// How long after its last good value a series turns bad by silence alone; `nil`: silence means nothing to this rule.
  func silenceLimit(for condition: MetricCondition, interval: Duration) -> Duration?
  /// What is said when a series is silent for longer.
  func silence(for condition: MetricCondition, lasting: Duration) -> Finding
}

/// The reactions this version knows.
package enum ReactionCatalogue {
  package static let reactions: [String: any Reaction] = ["Range": Range(), "Presence": Presence()]
  package static var names: Set<String> { Set(reactions.keys) }
}

/// Which element of a list a map is: the first of these fields that it has.
func elementName(_ fields: [String: Value], index: Int) -> String {
  for key in ["mount", "name", "interface", "path", "unit", "label", "id"] {
    if case .string(let text)? = fields[key] { return text }
  }
  return String(index)
}

/// The parts of a sample's value that a condition speaks of, with the element's name where it is a list.
func selectedParts(of value: Value, by filter: [String: Value]) -> [(element: String?, part: Value)] {
  if case .array(let elements) = value {
    return elements.enumerated().compactMap { index, part in
      guard case .object(let fields) = part else { return filter.isEmpty ? (String(index), part) : nil }
      return matches(part, filter) ? (elementName(fields, index: index), part) : nil
    }
  }
  return matches(value, filter) ? [(nil, value)] : []
}

/// The names of all elements of a list, whatever is chosen among them; nil when the value is no list of maps.
func elementNames(of value: Value) -> Set<String>? {
  guard case .array(let elements) = value else { return nil }
  return Set(
    elements.enumerated().map { index, part in part.fields.map { elementName($0, index: index) } ?? String(index) })
}

private func matches(_ part: Value, _ filter: [String: Value]) -> Bool {
  filter.allSatisfy { path, wanted in
    guard let found = part.at(path) else { return false }
    if let a = found.number, let b = wanted.number { return a == b }
    return found == wanted
  }
}
