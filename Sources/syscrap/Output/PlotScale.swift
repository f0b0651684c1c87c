internal import Foundation
internal import Model

/// What a figure counts, and how it is written.
enum PlotUnit: Equatable {
  case percent, bytes, bytesPerSecond, perSecond, seconds, milliseconds, plain

  /// By the names of documents: the unit ends a field's name.
  static func of(metric: String, field: String) -> PlotUnit {
    var parts = field.split(separator: ".").map(String.init)
    if parts.last == "count", parts.count > 1 { return .plain }
    if let last = parts.last, SampleShape.statistics.contains(last), parts.count > 1 { parts.removeLast() }
    let name = parts.last ?? field
    if name.hasSuffix("bytes_per_second") { return .bytesPerSecond }
    if name.hasSuffix("_per_second") { return .perSecond }
    if name.hasSuffix("_ms") || parts.first == "latency" { return .milliseconds }
    if name.hasSuffix("_seconds") { return .seconds }
    if name.hasSuffix("percent") { return .percent }
    switch metric {
    case "Vitals.CPU": return name.hasPrefix("load") || name == "cores" ? .plain : .percent
    case "Vitals.RAM", "Vitals.Swap": return .bytes
    case "Vitals.Disk": return ["size", "used", "available"].contains(name) ? .bytes : .plain
    case "POL.File": return name == "size" ? .bytes : .plain
    default: return .plain
    }
  }

  /// The name of the unit in which a number of this size is readable.
  fileprivate func scaled(_ size: Double) -> String {
    func pick(_ steps: [(from: Double, name: String)]) -> String {
      (steps.last { size >= $0.from } ?? steps[0]).name
    }
    switch self {
    case .percent: return "%"
    case .milliseconds: return "ms"
    case .perSecond: return "/s"
    case .seconds: return pick([(1, "s"), (300, "min"), (18_000, "h"), (432_000, "d")])
    case .bytes, .bytesPerSecond:
      let name = pick(Self.sizes.enumerated().map { (pow(1024, Double($0.offset)), $0.element) })
      return self == .bytes ? name : name + "/s"
    case .plain: return ""
    }
  }

  func text(_ value: Double) -> String {
    let name = scaled(abs(value))
    let number = value / divisor(name)
    let digits = abs(number) >= 100 ? 0 : abs(number) >= 10 ? 1 : 2
    return Self.number(number, digits) + (name.isEmpty ? "" : self == .percent ? name : " " + name)
  }

  fileprivate func divisor(_ name: String) -> Double {
    switch name {
    case "min": 60
    case "h": 3600
    case "d": 86_400
    default: self == .bytes || self == .bytesPerSecond ? bytes(name) : 1
    }
  }

  private static let sizes = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]

  private func bytes(_ name: String) -> Double {
    pow(1024, Double(Self.sizes.firstIndex { name.hasPrefix($0) } ?? 0))
  }

  fileprivate static func number(_ value: Double, _ digits: Int) -> String {
    abs(value) >= 1e7 || (value != 0 && abs(value) < 1e-6)
      ? String(format: "%.3g", value) : String(format: "%.\(max(0, min(digits, 9)))f", value)
  }
}

/// The vertical axis: round numbers below and above everything.
struct PlotScale {
  let low: Double
  let high: Double
  let ticks: [Double]
  private let unit: PlotUnit
  private let name: String
  private let digits: Int

  init(_ least: Double, _ most: Double, unit: PlotUnit, rows: Int) {
    self.unit = unit
    name = unit.scaled(max(abs(least), abs(most)))
    let divisor = unit.divisor(name)
    var (bottom, top) = (least / divisor, most / divisor)
    // Near the ground the ground is shown.
    if bottom > 0, bottom < top / 2 { bottom = 0 }
    if top - bottom <= abs(top) * 1e-9 {
      let room = max(abs(top) * 0.05, top == 0 ? 1 : 0)
      (bottom, top) = (bottom >= 0 ? max(0, bottom - room) : bottom - room, top + room)
    }
    let step = Self.round((top - bottom) / Double(max(2, rows / 3)))
    var low = (bottom / step).rounded(.down) * step
    var high = (top / step).rounded(.up) * step
    if unit == .percent, bottom >= 0, top <= 100 { (low, high) = (max(0, low), min(100, high)) }
    if !(low.isFinite && high.isFinite && low < high && step.isFinite) { (low, high) = (0, 1) }
    self.low = low * divisor
    self.high = high * divisor
    digits = step >= 1 || !step.isFinite ? 0 : Int(min(9, (-log10(step)).rounded(.up)))
    let count = (high - low) / step
    // At most one a row.
    let last = count.isFinite ? Int(min(Double(rows), count.rounded())) : 0
    ticks = (0...max(0, last)).map { (low + Double($0) * step) * divisor }
  }

  func label(_ value: Double) -> String {
    let text = PlotUnit.number(value / unit.divisor(name), digits)
    return name.isEmpty ? text : unit == .percent ? text + name : text + " " + name
  }

  /// 1, 2 or 5 times a power of ten, not below what is given.
  private static func round(_ step: Double) -> Double {
    guard step.isFinite, step > 0 else { return 1 }
    let power = pow(10, log10(step).rounded(.down))
    return [1, 2, 5, 10].map { $0 * power }.first { $0 >= step * 0.999 } ?? step
  }
}

/// Round distances in time.
enum TimeStep {
  private static let steps: [Double] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 432_000,
    864_000, 1_728_000, 2_592_000, 7_776_000, 31_536_000,
  ]

  /// The smallest at which the labels have room.
  static func fitting(_ span: Double, columns: Int) -> Double {
    steps.first { step in
      let room = Double(label(0, step: step, span: span).count + 2)
      return span / step * room <= Double(columns)
    } ?? max(span, 1)
  }

  static func label(_ time: Double, step: Double, span: Double) -> String {
    let text = Array(Instant.format(Date(timeIntervalSince1970: time)))
    guard text.count >= 20 else { return "" }
    if step >= 86_400 { return span > 300 * 86_400 ? String(text[0..<10]) : String(text[5..<10]) }
    let clock = step < 60 ? text[11..<19] : text[11..<16]
    return span > 86_400 ? String(text[5..<10]) + " " + String(clock) : String(clock)
  }
}
