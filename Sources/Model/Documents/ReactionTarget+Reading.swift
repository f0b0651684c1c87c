extension ReactionTarget {
  private static let names: Set<String> = Document.commonFields.union([
    "reaction", "metrics", "severity", "for", "times", "no_data", "clear", "notify", "repeat", "resolved", "runbook",
    "of", "when", "options",
  ])
  static let holds: ClosedRange<Duration> = .zero...Duration.seconds(7 * 86_400)
  /// Most names in one `notify`.
  static let receivers = 256
  static let repeats: ClosedRange<Duration> = .seconds(1)...Duration.seconds(366 * 86_400)

  /// Reads a document of `reaction_targets`, in its present or its older shape.
  ///
  /// Limits of the result are normal: `min`, `max` and those of `clear` are numbers, `max_age` is a number of seconds,
  /// `match` and `absent` are texts.
  /// - Parameter available: reactions and metrics outside are reported; the value is made all the same, with the unknown
  ///   part in it, so that it becomes a visible, harmless child.
  package static func read(_ document: Document, available: Availability = .everything) -> Reading<ReactionTarget> {
    let problems = ProblemList(kind: document.kind.rawValue, id: document.id)
    let reader = FieldReader(document: document, problems)
    guard !problems.isFatal else { return problems.reading(nil) }
    let belongs = "it belongs to a metric: metrics: {Vitals.CPU: {…}}"
    reader.allow(
      only: names,
      advice: [
        "min": belongs, "max": belongs, "max_age": belongs, "match": belongs, "absent": belongs, "field": belongs,
        "where": belongs, "metric": "write metrics: {Vitals.CPU: {max: 90}}",
      ])
    reader.require("reaction", example: "Range")
    var result = ReactionTarget(
      id: document.id, reaction: reader.text("reaction", upTo: 256, example: "Range") ?? "",
      selector: TargetSelector.read(reader) ?? .generic)
    let isUsable = checkName(result.reaction, available, problems)
    result.severity = reader.choice("severity", Severity.self) ?? .warning
    result.noData = reader.choice("no_data", NoDataPolicy.self) ?? .keep
    result.notify = notify(reader)
    result.repeatInterval = reader.duration("repeat", in: repeats) ?? result.repeatInterval
    result.sendsResolved = reader.flag("resolved") ?? true
    result.runbook = reader.text("runbook", upTo: 2048, example: "https://wiki.example.org/disk-full")
    result.labels = reader.textMap("labels") ?? [:]
    result.isEnabled = reader.enabled()
    result.readConditions(reader, isUsable: isUsable, available)
    return problems.reading(result)
  }

  private static func checkName(_ name: String, _ available: Availability, _ problems: ProblemList) -> Bool {
    guard !name.isEmpty else { return false }
    switch Availability.standing(name, known: Availability.everything.reactions, available: available.reactions) {
    case .usable: return true
    case .unavailable:
      problems.refusePart(
        "reaction", "\(name) is not available in this version",
        hint: "available: \(available.reactions.sorted().joined(separator: ", "))")
    case .unknown:
      problems.refusePart(
        "reaction", "there is no reaction \(FieldReader.quoted(name))",
        hint: NearestName.hint(name, in: available.reactions))
    }
    return false
  }

  private mutating func readConditions(_ reader: FieldReader, isUsable: Bool, _ available: Availability) {
    let problems = reader.problems
    for name in ["of", "when"] where reader.value(name) != nil && isUsable && reaction != "Composed" {
      problems.refuse(name, "only Composed has \(name)")
    }
    if reaction == "Composed" { return readComposition(reader) }
    let defaults = ConditionReader.Defaults(reader, reaction: reaction)
    let older = reader.map("options")
    if let older, reader.value("metrics") != nil {
      problems.refuse(older.path, "options is the older shape of metrics", hint: "use one of the two")
      return
    }
    let entries = older.map { OlderLimits.entries($0) } ?? MetricMap(reader, "metrics", allowsList: true).entries
    if entries.isEmpty, isUsable, !problems.isFatal {
      problems.refuse(
        "metrics", "no metric is named",
        hint: reaction == "Presence" ? "write metrics: {Connection: {}}" : "write metrics: {Vitals.CPU: {max: 90}}")
    }
    for entry in entries {
      _ = MetricMap.isUsable(entry, available, problems)
      for instance in MetricMap.instances(entry, problems) {
        conditions.append(
          ConditionReader(
            reader: instance, reaction: isUsable ? reaction : nil, metric: entry.metric, defaults: defaults
          )
          .condition())
      }
    }
  }

  private mutating func readComposition(_ reader: FieldReader) {
    if reader.value("metrics") != nil || reader.value("options") != nil {
      reader.problems.refuse("metrics", "Composed has no metrics", hint: "write of: {a: <reaction id>} and when: a")
    }
    reader.require("of", example: "{a: disk-full, b: disk-busy}")
    reader.require("when", example: "a and not b")
    if let of = reader.textMap("of") { composition["of"] = .object(of.mapValues { .string($0) }) }
    if let when = reader.text("when", upTo: 1024) { composition["when"] = .string(when) }
    _ = ConditionReader.Defaults(reader, reaction: reaction)
  }

  /// `[ops, [pager, pager-backup]]`: steps, each a list that is tried in order.
  package static func notify(_ reader: FieldReader) -> [[String]]? {
    guard let value = reader.value("notify") else { return nil }
    let path = reader.path(of: "notify")
    let example = "for example [ops, [pager, pager-backup]]"
    if value.text != nil { return reader.text("notify", upTo: 256).map { [[$0]] } }
    guard let elements = value.elements else {
      reader.problems.refuse(
        path, "expected a list of notification_options, found \(FieldReader.found(value, path))", hint: example)
      return nil
    }
    let count = elements.reduce(0) { $0 + ($1.elements?.count ?? 1) }
    guard count <= receivers else {
      reader.problems.refuse(path, "more than \(receivers) receivers")
      return nil
    }
    return elements.enumerated().compactMap { index, element in
      let place = "\(path)[\(index)]"
      guard let inner = element.elements else {
        return reader.text(element, at: place, upTo: 256, example: "ops").map { [$0] }
      }
      guard !inner.isEmpty else {
        reader.problems.refuse(place, "the list is empty", hint: example)
        return nil
      }
      return inner.enumerated().compactMap { reader.text($1, at: "\(place)[\($0)]", upTo: 256, example: "pager") }
    }
  }
}

/// The older shape `{metrics: [Vitals.CPU], cpu_max: 90}`.
enum OlderLimits {
  private static let suffixes = ["_min", "_max", "_max_age"]

  /// Limits by metric. `<name>` may be the whole metric's name or its last part, in any case, with `_` for the dot.
  static func entries(_ options: FieldReader) -> [MetricMap.Entry] {
    var entries = MetricMap(options, "metrics", allowsList: true).entries
    options.require("metrics", example: "[Vitals.CPU]")
    var places: [String: Int] = [:]
    for (index, entry) in entries.enumerated() {
      for stem in stems(entry.metric) { places[stem] = places[stem] ?? index }
    }
    for field in options.fields.keys.sorted() where field != "metrics" && !options.problems.isFull {
      // The longest suffix first: `_max_age` also ends a name of `_age`.
      guard let suffix = suffixes.reversed().first(where: { field.hasSuffix($0) }),
        let index = places[field.dropLast(suffix.count).lowercased()]
      else {
        let valid = entries.flatMap { entry in suffixes.prefix(2).map { (stems(entry.metric).last ?? "") + $0 } }
        options.problems.refuse(
          options.path(of: field), "unknown field \(FieldReader.quoted(field))",
          hint: LiteralSecrets.advice(for: field, allowed: valid) ?? NearestName.hint(field, in: valid + ["metrics"]))
        continue
      }
      var limits = entries[index].value.fields ?? [:]
      limits[String(suffix.dropFirst())] = options.fields[field]
      entries[index].value = .object(limits)
      entries[index].path = options.path
    }
    return entries
  }

  private static func stems(_ metric: String) -> [String] {
    let whole = metric.lowercased()
    return [
      whole, whole.split(separator: ".").joined(separator: "_"),
      whole.split(separator: ".").last.map(String.init) ?? whole,
    ]
  }
}
