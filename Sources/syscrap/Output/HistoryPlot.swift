internal import Foundation
internal import Model

/// A history as plots in the terminal, one for each instance.
struct HistoryPlot {
  var selection: HistorySelection
  var window: Range<Date>

  func text(_ samples: [Value], on terminal: Terminal) throws -> String {
    let environment = ProcessInfo.processInfo.environment
    return try text(
      samples, on: terminal, style: Terminal.isUTF8(environment) && environment["TERM"] != "dumb" ? .braille : .ascii)
  }

  func text(_ samples: [Value], on terminal: Terminal, style: Plot.Style) throws -> String {
    let field = selection.field ?? MetricCatalogue.headline[selection.metric] ?? "value"
    try refuseSeveralElements(samples)
    let groups = Dictionary(grouping: samples) { $0["name"]?.text ?? "" }
    var texts: [String] = []
    var hasNumbers = false
    for (name, group) in groups.sorted(by: { $0.key < $1.key }) {
      let curve = Curve(group, field: field)
      let points = curve.runs.reduce(0) { $0 + $1.count }
      if points > 0 { hasNumbers = true }
      if points > 0 || curve.errors > 0 {
        texts.append(draw(curve, title: title(group, name: name, field: field), field, terminal, style, groups.count))
      }
    }
    if !hasNumbers, samples.contains(where: { $0["value"] != nil }) {
      let values = samples.compactMap { $0["value"] }.flatMap { SampleShape.elements($0, where: [:]) }
      let numbers = Set(
        values.flatMap { SampleShape.flatten($0) }.filter { $0.value.number != nil }.map(\.path)
          .map {
            $0.split(separator: ".").filter { !SampleShape.statistics.contains(String($0)) }.joined(separator: ".")
          }
      ).subtracting([""]).sorted()
      throw Ending(
        Exit.usage,
        "\(selection.metric) has no numbers in \"\(Terminal.safe(field))\" to plot; --field may be "
          + Terminal.safe(numbers.prefix(30).joined(separator: ", ")))
    }
    return texts.joined(separator: "\n\n")
  }

  private func refuseSeveralElements(_ samples: [Value]) throws {
    let values = samples.compactMap { $0["value"] }
    let names = values.reduce(into: Set<String>()) { names, value in
      for element in value.elements ?? [] { names.insert(SampleShape.identity(element)?.text ?? "") }
    }
    guard names.count > 1 || values.contains(where: { ($0.elements?.count ?? 0) > 1 }) else { return }
    throw Ending(
      Exit.usage,
      "\(selection.metric) has several elements; choose one to plot by --where: \(selection.choices(values))")
  }

  private func title(_ samples: [Value], name: String, field: String) -> String {
    let element = samples.lazy.compactMap { $0["value"]?.elements?.first }.first.flatMap(SampleShape.identity)?.text
    let parts = [
      samples.first?["target"]?.text, selection.metric, name.isEmpty ? nil : name, element, field,
      samples.first?["type"]?.text.map { "(\($0))" },
    ]
    return Terminal.safe(parts.compactMap { $0 }.joined(separator: " "))
  }

  private func draw(
    _ curve: Curve, title: String, _ field: String, _ terminal: Terminal, _ style: Plot.Style, _ count: Int
  ) -> String {
    let unit = PlotUnit.of(metric: selection.metric, field: field)
    let begin = window.lowerBound.timeIntervalSince1970
    let end = max(begin + 1, window.upperBound.timeIntervalSince1970)
    let width = terminal.isTerminal ? max(20, terminal.width) : 80
    let rows = terminal.isTerminal ? (terminal.height - 4) / min(count, 3) - 5 : 12
    let plot = Plot(
      runs: curve.runs, window: begin..<end, unit: unit, style: style, width: width, height: min(max(rows, 4), 30))
    let dash = style == .ascii ? "-" : "–"
    var below = curve.summary(unit)
    below += curve.gaps(dash)
    if curve.errors > 0 { below.append(curve.errors == 1 ? "1 failed" : "\(curve.errors) failed") }
    let drawn = plot.lines(terminal)
    let note = drawn.isEmpty ? ["no values in this time"] : drawn
    return ([terminal.paint(title, .bold)] + note + [below.joined(separator: ", ")]).joined(separator: "\n")
  }
}

/// The figures of one instance, split where something is missing.
struct Curve {
  private(set) var runs: [[Plot.Point]] = []
  private(set) var errors = 0
  private var isRolledUp = false
  /// From the end of what was there to the beginning of what is there again.
  private var missing: [(from: Double, to: Double)] = []

  init(_ samples: [Value], field: String) {
    var points: [(point: Plot.Point?, at: Double)] = []
    for sample in samples {
      guard let at = sample["updated"]?.instant?.timeIntervalSince1970, at.isFinite else { continue }
      guard let value = sample["value"] else {
        errors += 1
        points.append((nil, at))
        continue
      }
      let element = value.elements.map { $0.first ?? .null } ?? value
      let found = SampleShape.find(field, in: element)
      if let found, SampleShape.isStatistic(found) { isRolledUp = true }
      if let type = sample["type"]?.text, ["variable", "hour", "day"].contains(type) { isRolledUp = true }
      points.append((found.flatMap { Self.point($0, at: at) }, at))
    }
    points.sort { $0.at < $1.at }
    let type = samples.first?["type"]?.text
    let times = points.map(\.at)
    let distances = zip(times, times.dropFirst()).map { $1 - $0 }.filter { $0 > 0 }.sorted()
    let length: Double
    if isRolledUp {
      length = type == "hour" ? 3600 : type == "day" ? 86_400 : distances.first ?? 300
    } else {
      length = distances.isEmpty ? 0 : distances[distances.count / 2]
    }
    // What comes every ten seconds is missing when it did not come twice; a bucket is there or not.
    let limit = isRolledUp ? length * 1.5 : max(length * 2.5, 1)
    var run: [Plot.Point] = []
    for (point, _) in points {
      guard var point else {
        if !run.isEmpty { runs.append(run) }
        run = []
        continue
      }
      if isRolledUp { point.length = length }
      if let last = run.last, point.at - last.at > limit, length > 0 {
        runs.append(run)
        run = []
      }
      run.append(point)
    }
    if !run.isEmpty { runs.append(run) }
    missing = zip(runs, runs.dropFirst()).compactMap { before, after in
      guard let last = before.last, let first = after.first else { return nil }
      return (last.at + last.length, first.at)
    }
  }

  private static func point(_ value: Value, at: Double) -> Plot.Point? {
    func finite(_ value: Value?) -> Double? {
      if let flag = value?.flag { return flag ? 1 : 0 }
      // What is too large to be drawn is drawn at the edge.
      return value?.number.flatMap { $0.isFinite ? min(max($0, -1e100), 1e100) : nil }
    }
    if SampleShape.isStatistic(value) {
      guard let middle = finite(value["mean"]) ?? finite(value["last"]) else { return nil }
      let (low, high) = (finite(value["min"]) ?? middle, finite(value["max"]) ?? middle)
      return Plot.Point(at: at, low: min(low, middle), middle: middle, high: max(high, middle))
    }
    return finite(value).map { Plot.Point(at: at, low: $0, middle: $0, high: $0) }
  }

  func summary(_ unit: PlotUnit) -> [String] {
    let points = runs.flatMap { $0 }
    guard let last = points.last, let least = points.map(\.low).min(), let most = points.map(\.high).max() else {
      return []
    }
    let mean = points.reduce(0) { $0 + $1.middle / Double(points.count) }
    return [
      "\(points.count) \(isRolledUp ? "buckets" : "samples")", "last \(unit.text(last.middle))",
      "min \(unit.text(least))", "mean \(unit.text(mean))", "max \(unit.text(most))",
    ]
  }

  /// How often something is missing, and the longest time: also what is too short to be seen.
  func gaps(_ dash: String) -> [String] {
    guard let longest = missing.max(by: { $0.to - $0.from < $1.to - $1.from }) else { return [] }
    func clock(_ time: Double) -> String { Instant.format(Date(timeIntervalSince1970: time.rounded(.down))) }
    let count = missing.count == 1 ? "1 gap" : "\(missing.count) gaps, the longest"
    return ["\(count) \(clock(longest.from))\(dash)\(clock(longest.to))"]
  }
}
