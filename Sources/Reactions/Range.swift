package import Model

/// A number lies between `min` and `max`; equal to a bound is inside. NaN and a missing field are unknown.
package struct Range: Reaction {
  package init() {}

  package func findings(in sample: Sample, for condition: MetricCondition) -> [Finding] {
    let field = condition.field ?? MetricCatalogue.headline[condition.metric] ?? ""
    let limit = Self.words(condition.limits, field: field)
    guard let value = sample.value else {
      return [Finding(verdict: .unknown, value: sample.error ?? "no value", limit: limit)]
    }
    return selectedParts(of: value, by: condition.filter).map { element, part in
      let found = field.isEmpty ? part : part.at(field)
      guard let number = found?.number, !number.isNaN else {
        return Finding(element: element, verdict: .unknown, value: "no \(field)", limit: limit)
      }
      let isInside = Self.holds(number, condition.limits)
      let hasCleared = condition.clear.map { Self.holds(number, $0) } ?? true
      return Finding(
        element: element, verdict: isInside ? .ok(hasCleared: hasCleared) : .bad,
        value: Quantity.text(number, field: field), limit: limit)
    }
  }

  package func silenceLimit(for condition: MetricCondition, interval: Duration) -> Duration? { interval * 3 }

  package func silence(for condition: MetricCondition, lasting: Duration) -> Finding {
    Finding(
      verdict: .unknown, value: "no data for \(Quantity.text(lasting))",
      limit: Self.words(condition.limits, field: condition.field ?? MetricCatalogue.headline[condition.metric] ?? ""))
  }

  private static func holds(_ number: Double, _ limits: [String: Value]) -> Bool {
    if let min = limits["min"]?.number, number < min { return false }
    if let max = limits["max"]?.number, number > max { return false }
    return true
  }

  private static func words(_ limits: [String: Value], field: String) -> String {
    switch (limits["min"]?.number, limits["max"]?.number) {
    case (let min?, let max?):
      "between \(Quantity.text(min, field: field)) and \(Quantity.text(max, field: field))"
    case (let min?, nil): "at least \(Quantity.text(min, field: field))"
    case (nil, let max?): "at most \(Quantity.text(max, field: field))"
    case (nil, nil): "any number"
    }
  }
}
