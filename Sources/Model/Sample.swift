package import FoundationEssentials

/// What an aggregation is: raw, one of the roll-ups, or a thing that happened.
package enum SampleType: String, Sendable, Hashable, Codable, CaseIterable {
  case realTime = "RT"
  case variable
  case hour
  case day
  case event
}

/// Which history a sample belongs to.
package struct Series: Sendable, Hashable, Codable {
  package var target: String
  package var metric: String
  /// Only where a metric has several instances.
  package var name: String?

  package init(target: String, metric: String, name: String? = nil) {
    self.target = target
    self.metric = metric
    self.name = name
  }
}

/// One aggregation: what was measured or happened, on one target, at one time.
///
/// Exactly one of `value` and `error` is set: where gathering failed there is an error, never a made-up value.
package struct Sample: Sendable, Hashable {
  package var series: Series
  package var type: SampleType
  /// When it was taken, UTC.
  package var at: Date
  /// Counts the samples of one series and type within one second; keeps their order.
  package var n: Int
  package var value: Value?
  package var error: String?

  package init(series: Series, type: SampleType = .realTime, at: Date, n: Int = 0, value: Value) {
    self.series = series
    self.type = type
    self.at = at
    self.n = n
    self.value = value
  }

  package init(series: Series, type: SampleType = .realTime, at: Date, n: Int = 0, error: String) {
    self.series = series
    self.type = type
    self.at = at
    self.n = n
    self.error = error
  }

  /// The integer `YYYYMMDDhhmmss`.
  package var tag: Int64 { Instant.tag(at) }

  /// The document's shape: `{metric, target, type, tag, n, value | error, updated}` and `name` where there is one.
  package var document: Value {
    var fields: [String: Value] = [
      "metric": .string(series.metric), "target": .string(series.target), "type": .string(type.rawValue),
      "tag": .int(tag), "n": .int(Int64(n)), "updated": .date(at),
    ]
    if let name = series.name { fields["name"] = .string(name) }
    if let value { fields["value"] = value }
    if let error { fields["error"] = .string(error) }
    return .object(fields)
  }
}

/// The metrics' headline fields and other facts that more than one room needs.
package enum MetricCatalogue {
  /// The field that counts when a reaction names none.
  package static let headline: [String: String] = [
    "Vitals.CPU": "percent", "Vitals.RAM": "percent", "Vitals.Swap": "percent", "Vitals.Disk": "percent",
    "Logs": "data", "Traffic": "requests_per_second", "POL.File": "age_seconds", "POL.Port": "latency_ms",
    "POL.Socket": "latency_ms", "Command": "status", "Connection": "state", "Host": "uptime_seconds",
  ]

  /// Gathered on every target without an entry in its options; they are not wrappers.
  package static let always: Set<String> = ["Connection", "Host"]
}
