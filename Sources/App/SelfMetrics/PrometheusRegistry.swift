package import Metrics
internal import Threads

/// Holds the service's own figures and writes them in the Prometheus text exposition format (version 0.0.4).
///
/// It is the backend of swift-metrics for the whole process: counters become `_total`s as they are named, gauges stay,
/// recorders and timers become histograms. Every name gets the prefix `syscrap_`. At most ``seriesBound`` series are
/// kept; more are counted in `syscrap_metrics_refused_total` and not kept.
package final class PrometheusRegistry: MetricsFactory, Sendable {
  package static let seriesBound = 20_000
  static let prefix = "syscrap_"

  /// Seconds; also used for other recorded quantities.
  static let bounds: [Double] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120]

  struct Name: Hashable, Sendable {
    var label: String
    var dimensions: String
  }

  private struct State {
    var series: [Name: Series] = [:]
    var refused = 0
  }

  private let state = Locked(State())

  package init() {}

  // MARK: MetricsFactory

  package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
    find(label, dimensions, .counter)
  }

  package func makeFloatingPointCounter(
    label: String, dimensions: [(String, String)]
  ) -> any FloatingPointCounterHandler { find(label, dimensions, .counter) }

  package func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
    find(label, dimensions, aggregate ? .histogram(scale: 1) : .gauge)
  }

  package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
    find(label, dimensions, .gauge)
  }

  package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
    find(label, dimensions, .histogram(scale: 1e-9))
  }

  // Series live as long as the process: a counter that vanished and came back would look like a reset.
  package func destroyCounter(_ handler: any CounterHandler) {}
  package func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) {}
  package func destroyRecorder(_ handler: any RecorderHandler) {}
  package func destroyMeter(_ handler: any MeterHandler) {}
  package func destroyTimer(_ handler: any TimerHandler) {}

  private func find(_ label: String, _ dimensions: [(String, String)], _ kind: Series.Kind) -> Series {
    let name = Name(label: Self.prefixed(label), dimensions: Self.rendered(dimensions))
    return state.withLock { state in
      if let known = state.series[name] { return known }
      let made = Series(kind)
      if state.series.count >= Self.seriesBound {
        state.refused += 1
      } else {
        state.series[name] = made
      }
      return made
    }
  }

  // MARK: Exposition

  /// All series, grouped by name, each name with its type.
  package func exposition() -> String {
    let (all, refused) = state.withLock { ($0.series, $0.refused) }
    var out = ""
    var lastLabel = ""
    let ordered = all.sorted { ($0.key.label, $0.key.dimensions) < ($1.key.label, $1.key.dimensions) }
    for (name, series) in ordered {
      if name.label != lastLabel {
        out += "# TYPE \(name.label) \(series.typeName)\n"
        lastLabel = name.label
      }
      series.write(name, into: &out)
    }
    out += "# TYPE \(Self.prefix)metrics_refused_total counter\n\(Self.prefix)metrics_refused_total \(refused)\n"
    return out
  }

  private static func prefixed(_ label: String) -> String {
    let clean = cleaned(label)
    return clean.hasPrefix(prefix) ? clean : prefix + clean
  }

  /// Metric names are `[a-zA-Z_:][a-zA-Z0-9_:]*`.
  private static func cleaned(_ label: String) -> String {
    String(
      label.unicodeScalars.map { scalar in
        switch scalar {
        case "a"..."z", "A"..."Z", "0"..."9", "_", ":": Character(scalar)
        default: "_"
        }
      })
  }

  private static func rendered(_ dimensions: [(String, String)]) -> String {
    dimensions.sorted { $0.0 < $1.0 }.map { name, value in
      var escaped = ""
      for scalar in value.unicodeScalars.prefix(200) {
        switch scalar {
        case "\\": escaped += "\\\\"
        case "\"": escaped += "\\\""
        case "\n": escaped += "\\n"
        default: escaped.unicodeScalars.append(scalar)
        }
      }
      return "\(cleaned(name))=\"\(escaped)\""
    }.joined(separator: ",")
  }

  /// One line of figures with its labels.
  final class Series: CounterHandler, FloatingPointCounterHandler, RecorderHandler, MeterHandler, TimerHandler, Sendable
  {
    enum Kind: Sendable {
      case counter, gauge
      /// Recorded values times `scale` are what is shown (timers record nanoseconds and show seconds).
      case histogram(scale: Double)
    }

    private struct Figures {
      var value = 0.0
      var count: UInt64 = 0
      var buckets: [UInt64] = []
    }

    let kind: Kind
    private let figures = Locked(Figures())

    init(_ kind: Kind) { self.kind = kind }

    var typeName: String {
      switch kind {
      case .counter: "counter"
      case .gauge: "gauge"
      case .histogram: "histogram"
      }
    }

    func increment(by amount: Int64) { add(Double(amount)) }
    func increment(by amount: Double) { add(amount) }
    func decrement(by amount: Double) { add(-amount) }
    func reset() { figures.withLock { $0 = Figures() } }
    func set(_ value: Int64) { set(Double(value)) }
    func set(_ value: Double) { figures.withLock { $0.value = value } }
    func record(_ value: Int64) { record(Double(value)) }
    func recordNanoseconds(_ duration: Int64) { record(Double(duration)) }

    func record(_ value: Double) {
      guard case .histogram(let scale) = kind else { return set(value) }
      let scaled = value * scale
      let bucket = PrometheusRegistry.bounds.firstIndex { scaled <= $0 } ?? PrometheusRegistry.bounds.count
      figures.withLock { figures in
        if figures.buckets.isEmpty {
          figures.buckets = Array(repeating: 0, count: PrometheusRegistry.bounds.count + 1)
        }
        figures.buckets[bucket] += 1
        figures.count += 1
        figures.value += scaled
      }
    }

    private func add(_ amount: Double) { figures.withLock { $0.value += amount } }

    func write(_ name: Name, into out: inout String) {
      let now = figures.withLock { $0 }
      let labels = name.dimensions.isEmpty ? "" : "{\(name.dimensions)}"
      guard case .histogram = kind else {
        out += "\(name.label)\(labels) \(text(now.value))\n"
        return
      }
      var running: UInt64 = 0
      let comma = name.dimensions.isEmpty ? "" : name.dimensions + ","
      for (index, bound) in PrometheusRegistry.bounds.enumerated() {
        running += now.buckets.isEmpty ? 0 : now.buckets[index]
        out += "\(name.label)_bucket{\(comma)le=\"\(text(bound))\"} \(running)\n"
      }
      out += "\(name.label)_bucket{\(comma)le=\"+Inf\"} \(now.count)\n"
      out += "\(name.label)_sum\(labels) \(text(now.value))\n\(name.label)_count\(labels) \(now.count)\n"
    }

    private func text(_ value: Double) -> String {
      if let whole = Int64(exactly: value) { return String(whole) }
      if value.isNaN { return "NaN" }
      return value.isInfinite ? (value < 0 ? "-Inf" : "+Inf") : "\(value)"
    }
  }
}
