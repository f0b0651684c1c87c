package import Model

/// A value exists and is fresh. For proofs of life `exists` or `open` must be true, for `Connection` the state must be
/// `connected`.
package struct Presence: Reaction {
  package init() {}

  package func findings(in sample: Sample, for condition: MetricCondition) -> [Finding] {
    // A failed gathering is no value: the age of the last one decides, see `silence`.
    guard let value = sample.value else {
      return [Finding(verdict: .unknown, value: sample.error ?? "no value", limit: Self.words(condition))]
    }
    return selectedParts(of: value, by: condition.filter).map { element, part in
      let (isPresent, text) = Self.read(part, condition)
      return Finding(
        element: element, verdict: isPresent ? .ok(hasCleared: true) : .bad, value: text, limit: Self.words(condition))
    }
  }

  package func silenceLimit(for condition: MetricCondition, interval: Duration) -> Duration? {
    guard let age = condition.limits["max_age"]?.number, age.isFinite, age > 0, age < 1e9 else { return interval * 3 }
    return .seconds(age)
  }

  package func silence(for condition: MetricCondition, lasting: Duration) -> Finding {
    Finding(verdict: .bad, value: "no value for \(Quantity.text(lasting))", limit: Self.words(condition))
  }

  private static func read(_ part: Value, _ condition: MetricCondition) -> (isPresent: Bool, text: String) {
    if let field = condition.field {
      guard let found = part.at(field), !found.isNull else { return (false, "no \(field)") }
      return (true, Quantity.text(found, field: field))
    }
    switch condition.metric {
    case "Connection":
      let state = part["state"]?.text ?? "unknown"
      var text = state
      if state != "connected" {
        if let phase = part["phase"]?.text { text += " at \(phase)" }
        if let error = part["error"]?.text { text += ": \(error)" }
      }
      return (state == "connected", text)
    case "POL.File":
      let exists = part["exists"]?.flag ?? false
      return (exists, exists ? "the file exists" : "the file does not exist")
    case "POL.Port", "POL.Socket":
      let isOpen = part["open"]?.flag ?? false
      return (isOpen, isOpen ? "open" : "closed" + (part["error"]?.text.map { ": \($0)" } ?? ""))
    default:
      if let field = MetricCatalogue.headline[condition.metric], let found = part.at(field), !found.isNull {
        return (true, Quantity.text(found, field: field))
      }
      return (!part.isNull, part.isNull ? "no value" : "present")
    }
  }

  private static func words(_ condition: MetricCondition) -> String {
    switch condition.metric {
    case "Connection": "connected"
    case "POL.File": "the file exists"
    case "POL.Port", "POL.Socket": "open"
    default: "a fresh value"
    }
  }
}
