extension AggregationOptions {
  private static let names: Set<String> = Document.commonFields.union(["metrics", "limits", "variable", "touch"])
  private static let olderNames: Set<String> = Document.commonFields.union(["metric", "options"])
  static let limitNames: Set<String> = ["RT", "event", "variable", "hour", "day"]
  /// From one sample a tenth of a second to one a week.
  static let intervals: ClosedRange<Duration> = .milliseconds(100)...Duration.seconds(7 * 86_400)
  static let buckets: ClosedRange<Duration> = .seconds(1)...Duration.seconds(86_400)
  static let ages: ClosedRange<Duration> = .seconds(1)...Duration.seconds(3653 * 86_400)
  static let counts = 1...1_000_000

  /// Reads a document of `aggregation_options`, in its present or its older shape.
  ///
  /// `metrics` of the result has dotted names only; what people leave empty is `{}`.
  /// - Parameter available: metrics outside are reported and kept, so that they become visible, harmless children.
  package static func read(_ document: Document, available: Availability = .everything) -> Reading<AggregationOptions> {
    let problems = ProblemList(kind: document.kind.rawValue, id: document.id)
    let reader = FieldReader(document: document, problems)
    // The readers below look at small maps; what is beyond the bounds is not looked at.
    guard !problems.isFatal else { return problems.reading(nil) }
    var result = AggregationOptions(
      id: document.id, selector: TargetSelector.read(reader) ?? .generic, isEnabled: reader.enabled())
    _ = reader.textMap("labels")
    let isOlder = document.fields["metric"] != nil || document.fields["options"] != nil
    if isOlder {
      reader.allow(
        only: olderNames,
        advice: Dictionary(
          uniqueKeysWithValues: names.subtracting(olderNames).map {
            ($0, "metric and options are the older shape; use one of the two")
          }))
      readOlder(reader, into: &result, available)
    } else {
      reader.allow(
        only: names, advice: ["interval": "an interval belongs to a metric: metrics: {Vitals.CPU: {interval: 10s}}"])
      for entry in MetricMap(reader, "metrics").entries {
        result.metrics[entry.metric] = read(entry, available, problems)
      }
      result.readHistory(reader)
      result.touch = TouchBudget.read(reader, hasChannels: false)
    }
    return problems.reading(result)
  }

  /// `{metric, target, options: {limits, variable, …}}`: the rest of the options is the metric's.
  private static func readOlder(
    _ reader: FieldReader, into result: inout AggregationOptions, _ available: Availability
  ) {
    let options = reader.map("options")
    if let options { result.readHistory(options) }
    guard let metric = reader.text("metric", upTo: 256, example: "Vitals.CPU") else {
      reader.require("metric", example: "Vitals.CPU")
      return
    }
    let rest = options?.fields.filter { $0.key != "limits" && $0.key != "variable" } ?? [:]
    let entry = MetricMap.Entry(metric: metric, path: "metric", value: .object(rest))
    guard MetricMap.isUsable(entry, available, reader.problems) else {
      result.metrics[metric] = .object(rest)
      return
    }
    check(FieldReader(rest, path: reader.path(of: "options"), problems: reader.problems), metric: metric)
    result.metrics[metric] = .object(rest)
  }

  private mutating func readHistory(_ reader: FieldReader) {
    variable = reader.duration("variable", in: Self.buckets)
    guard let map = reader.map("limits") else { return }
    map.allow(only: Self.limitNames)
    for name in ["RT", "event"] where map.value(name) != nil {
      if map.integer(name, in: Self.counts, example: "100") != nil { limits[name] = map.value(name) }
    }
    for name in ["variable", "hour", "day"] where map.value(name) != nil {
      if map.duration(name, in: Self.ages) != nil { limits[name] = map.value(name) }
    }
  }

  /// Checks one metric's options and returns them as they are kept.
  private static func read(_ entry: MetricMap.Entry, _ available: Availability, _ problems: ProblemList) -> Value {
    let isUsable = MetricMap.isUsable(entry, available, problems)
    if MetricCatalogue.always.contains(entry.metric) {
      problems.warn(entry.path, "\(entry.metric) is always gathered; this entry has no effect", hint: "leave it out")
    }
    let instances = MetricMap.instances(entry, problems)
    if isUsable { for instance in instances { check(instance, metric: entry.metric) } }
    switch entry.value {
    case .null, .bool(true): return [:]
    default: return entry.value
    }
  }

  private static func check(_ reader: FieldReader, metric: String) {
    guard let shapes = MetricCatalogue.options[metric] else { return }
    reader.allow(
      only: Set(shapes.keys).union(["interval", "name"]),
      advice: ["max": "limits that are checked stand in a document of kind reaction_target"])
    _ = reader.duration("interval", in: intervals)
    _ = reader.text("name", upTo: 64)
    for (name, shape) in shapes.sorted(by: { $0.key < $1.key }) {
      switch shape {
      case .text: _ = reader.text(name)
      case .texts: _ = reader.texts(name)
      case .flag: _ = reader.flag(name)
      case .port: _ = reader.integer(name, in: 1...65_535)
      case .count: _ = reader.integer(name, in: 0...1000)
      case .arguments:
        // A command line is split by the same rules on every target, so plain text is allowed here.
        if reader.value(name)?.elements != nil { _ = reader.arguments(name) } else { _ = reader.text(name) }
      case .origin: _ = reader.choice(name, of: ["monitor", "target"])
      }
    }
  }
}
