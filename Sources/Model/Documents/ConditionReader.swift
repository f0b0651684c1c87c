/// Reads what one reaction demands of one metric (or of one of its instances).
struct ConditionReader {
  /// What stands at the document's level and holds for every metric that does not say otherwise.
  struct Defaults {
    var holdFor: Duration
    var times: MetricCondition.Times?
    var clear: Value?

    init(_ reader: FieldReader, reaction: String) {
      holdFor = reader.duration("for", in: ReactionTarget.holds) ?? .zero
      times = ConditionReader.times(reader)
      clear = reader.map("clear").map { .object($0.fields) }
      if clear != nil, reaction != "Range", Availability.everything.reactions.contains(reaction) {
        reader.problems.refuse("clear", "only Range has clear")
      }
    }
  }

  let reader: FieldReader
  /// nil: nobody knows the reaction, so that its limits cannot be checked.
  let reaction: String?
  let metric: String
  let defaults: Defaults

  private static let common: Set<String> = ["field", "where", "for", "times", "no_data", "name"]
  private static let limits: [String: Set<String>] = [
    "Range": ["min", "max", "clear"], "Presence": ["max_age"], "Regexp": ["match", "absent"],
  ]

  func condition() -> MetricCondition {
    var result = MetricCondition(metric: metric)
    result.name = reader.text("name", upTo: 64)
    result.field = field()
    result.filter = filter()
    result.holdFor = reader.duration("for", in: ReactionTarget.holds) ?? defaults.holdFor
    result.times = Self.times(reader) ?? defaults.times
    result.noData = reader.choice("no_data", NoDataPolicy.self)
    guard let reaction, let names = Self.limits[reaction] else {
      result.limits = reader.fields.filter { !Self.common.contains($0.key) }
      return result
    }
    reader.allow(only: Self.common.union(names), advice: Self.advice(reaction))
    switch reaction {
    case "Range": readRange(into: &result)
    case "Presence":
      if let age = reader.duration("max_age", in: .seconds(1)...Duration.seconds(366 * 86_400)) {
        result.limits["max_age"] = .double(age.secondsValue)
      }
    default:
      for name in ["match", "absent"] {
        if let pattern = reader.text(name, upTo: 8192) { result.limits[name] = .string(pattern) }
      }
      if reader.value("match") == nil, reader.value("absent") == nil {
        reader.problems.refuse(reader.path, "neither match nor absent is given", hint: "write match: 'error|panic'")
      }
    }
    return result
  }

  private static func advice(_ reaction: String) -> [String: String] {
    var advice: [String: String] = [:]
    for (other, names) in limits where other != reaction {
      for name in names { advice[name] = "\(name) belongs to \(other)" }
    }
    for name in ["severity", "notify", "repeat", "resolved", "runbook"] {
      advice[name] = "it stands beside metrics, not inside"
    }
    return advice
  }

  // MARK: - Fields

  private func field() -> String? {
    guard let field = reader.text("field", upTo: 256) else { return headline() }
    guard let known = MetricCatalogue.fields[metric] else { return field }
    guard let shape = known[field] else {
      reader.problems.refuse(
        reader.path(of: "field"), "\(metric) has no field \(FieldReader.quoted(field))",
        hint: NearestName.hint(field, in: known.keys))
      return nil
    }
    if reaction == "Range", shape != .number {
      reader.problems.refuse(
        reader.path(of: "field"),
        "Range needs a number, \(metric)'s \(field) is \(shape == .text ? "text" : "true/false")",
        hint: "numbers: \(numbers(known))")
    }
    return field
  }

  /// Checks that the headline suits the reaction where no field is named.
  private func headline() -> String? {
    if reaction == "Range", reader.value("field") == nil, let known = MetricCatalogue.fields[metric],
      let headline = MetricCatalogue.headline[metric], known[headline] != .number
    {
      reader.problems.refuse(
        reader.path, "Range needs a number, \(metric)'s \(headline) is none",
        hint: "name one with field: \(numbers(known)); or use Presence or Regexp")
    }
    return nil
  }

  private func numbers(_ known: [String: MetricCatalogue.FieldShape]) -> String {
    known.filter { $0.value == .number }.keys.sorted().joined(separator: ", ")
  }

  private func filter() -> [String: Value] {
    guard let map = reader.map("where") else { return [:] }
    let known = MetricCatalogue.fields[metric]
    var filter: [String: Value] = [:]
    for name in map.fields.keys.sorted() {
      if let known, known[name] == nil {
        reader.problems.refuse(
          map.path(of: name), "\(metric) has no field \(FieldReader.quoted(name))",
          hint: NearestName.hint(name, in: known.keys))
        continue
      }
      switch map.fields[name] {
      case .string, .int, .double, .bool: filter[name] = map.fields[name]
      case let other:
        reader.problems.refuse(
          map.path(of: name),
          "expected text, a number or true/false, found \(FieldReader.found(other ?? .null, map.path(of: name)))")
      }
    }
    return filter
  }

  // MARK: - Limits

  private func readRange(into result: inout MetricCondition) {
    let field = result.field ?? MetricCatalogue.headline[metric]
    let (min, max) = (reader.quantity("min", field: field), reader.quantity("max", field: field))
    if reader.value("min") == nil, reader.value("max") == nil {
      reader.problems.refuse(reader.path, "neither min nor max is given", hint: "write max: 90")
    }
    if let min, let max, min > max {
      reader.problems.refuse(reader.path(of: "min"), "min \(Self.plain(min)) is greater than max \(Self.plain(max))")
    }
    if let field, field.hasSuffix("percent") {
      for (name, bound) in [("min", min), ("max", max)] {
        guard let bound, !(0...100).contains(bound) else { continue }
        reader.problems.warn(
          reader.path(of: name), "\(Self.plain(bound)) is no percentage", hint: "percentages are 0 to 100")
      }
    }
    if let min { result.limits["min"] = .double(min) }
    if let max { result.limits["max"] = .double(max) }
    result.clear = clear(min: min, max: max, field: field)
  }

  /// `clear`, its own or the document's; it must not be wider than the limits.
  private func clear(min: Double?, max: Double?, field: String?) -> [String: Value]? {
    var map = reader.map("clear")
    let isOwn = map != nil
    if map == nil, let shared = defaults.clear?.fields {
      map = FieldReader(shared, path: "clear", problems: reader.problems)
    }
    guard let map else { return nil }
    map.allow(only: ["min", "max"])
    var clear: [String: Value] = [:]
    for (name, limit) in [("min", min), ("max", max)] {
      guard map.value(name) != nil else { continue }
      // The document's clear may hold more than one metric needs.
      if reader.value(name) == nil, !isOwn { continue }
      guard let bound = map.quantity(name, field: field) else { continue }
      guard reader.value(name) != nil else {
        map.problems.refuse(
          map.path(of: name), "there is no \(name) that it could clear", hint: "write \(name) beside clear")
        continue
      }
      if let limit, name == "max" ? bound > limit : bound < limit {
        map.problems.refuse(
          map.path(of: name), "\(Self.plain(bound)) is outside the limit \(name): \(Self.plain(limit))",
          hint: "clear is the stricter limit that ends the episode")
        continue
      }
      clear[name] = .double(bound)
    }
    if isOwn, map.value("min") == nil, map.value("max") == nil {
      map.problems.refuse(map.path, "neither min nor max is given", hint: "write clear: {max: 80}")
    }
    return clear.isEmpty ? nil : clear
  }

  fileprivate static func times(_ reader: FieldReader) -> MetricCondition.Times? {
    guard let map = reader.map("times") else { return nil }
    map.allow(only: ["n", "last"])
    map.require("n", example: "3")
    map.require("last", example: "5")
    guard let n = map.integer("n", in: 1...1000), let last = map.integer("last", in: 1...1000) else { return nil }
    guard n <= last else {
      map.problems.refuse(
        map.path(of: "n"), "\(n) of the last \(last) samples can never be bad", hint: "n is at most last")
      return nil
    }
    return MetricCondition.Times(n: n, last: last)
  }

  private static func plain(_ number: Double) -> String {
    Int64(exactly: number).map(String.init) ?? "\(number)"
  }
}
