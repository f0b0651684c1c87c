internal import Foundation
internal import Model

/// One curve in characters: an axis with units and times, the band between least and most where there is one, and
/// nothing at all where nothing was measured.
struct Plot {
  /// A sample, or a bucket: then it has a length, and `low` and `high` are what lay in it.
  struct Point {
    /// Seconds since 1970.
    var at: Double
    var length: Double = 0
    var low: Double
    var middle: Double
    var high: Double
  }

  /// How the characters are drawn: 2 × 4 dots a character, or plain ASCII.
  enum Style {
    case braille, ascii
    var dots: (x: Int, y: Int) { self == .braille ? (2, 4) : (1, 1) }
  }

  /// In the order of their time, without breaks.
  var runs: [[Point]]
  /// Seconds since 1970.
  var window: Range<Double>
  var unit: PlotUnit
  var style: Style
  /// Characters, the labels included.
  var width: Int
  /// Rows of the curve.
  var height: Int

  private var points: [Point] { runs.flatMap { $0 } }

  /// The rows from top to bottom, the axis and its times last.
  func lines(_ terminal: Terminal) -> [String] {
    let shown = points.filter { $0.at + $0.length >= window.lowerBound && $0.at < window.upperBound }
    guard let least = shown.map(\.low).min(), let most = shown.map(\.high).max() else { return [] }
    let scale = PlotScale(least, most, unit: unit, rows: height)
    var labels: [Int: String] = [:]
    for tick in scale.ticks { labels[height - 1 - row(tick, scale, of: height)] = scale.label(tick) }
    let margin = labels.values.map(\.count).max() ?? 0
    let columns = max(10, width - margin - 2)
    var canvas = Canvas(columns: columns, rows: height, dots: style.dots)
    for run in runs {
      if run.contains(where: { $0.length > 0 }) {
        draw(buckets: run, scale, &canvas)
      } else {
        draw(samples: run, scale, &canvas)
      }
    }
    let isASCII = style == .ascii
    var lines: [String] = []
    for row in 0..<height {
      let label = labels[row] ?? ""
      let axis = labels[row] == nil ? (isASCII ? "|" : "│") : (isASCII ? "+" : "┤")
      let left = String(repeating: " ", count: max(0, margin - label.count)) + label + " " + axis
      lines.append(left + Self.painted(canvas.row(row, style), terminal))
    }
    return lines + times(columns: columns, margin: margin)
  }

  // MARK: The curve

  private func row(_ value: Double, _ scale: PlotScale, of count: Int) -> Int {
    let part = (value - scale.low) / (scale.high - scale.low)
    guard part.isFinite else { return 0 }
    return min(max(Int((min(max(part, 0), 1) * Double(count - 1)).rounded()), 0), max(count - 1, 0))
  }

  private func column(_ time: Double, of count: Int) -> Int? {
    let part = (time - window.lowerBound) / (window.upperBound - window.lowerBound)
    guard part.isFinite, part >= 0, part < 1 else { return nil }
    return min(Int(part * Double(count)), count - 1)
  }

  private func draw(samples: [Point], _ scale: PlotScale, _ canvas: inout Canvas) {
    var previous: (x: Int, y: Int)?
    for point in samples {
      guard let x = column(point.at, of: canvas.width) else {
        previous = nil
        continue
      }
      let y = row(point.middle, scale, of: canvas.height)
      if let previous { canvas.line(from: previous, to: (x, y)) } else { canvas.mark(x, y) }
      previous = (x, y)
    }
  }

  /// Every bucket covers its columns; where several share one they are taken together.
  private func draw(buckets: [Point], _ scale: PlotScale, _ canvas: inout Canvas) {
    var cells: [Int: (low: Double, sum: Double, count: Double, high: Double)] = [:]
    for bucket in buckets {
      let begin = max(bucket.at, window.lowerBound)
      let end = min(bucket.at + bucket.length, window.upperBound)
      guard begin < end, let first = column(begin, of: canvas.width) else { continue }
      // The column in which the bucket ends belongs to the next one.
      let last = max(first, (column(end, of: canvas.width) ?? canvas.width) - 1)
      for x in first...last {
        var cell = cells[x] ?? (bucket.low, 0, 0, bucket.high)
        cell = (min(cell.low, bucket.low), cell.sum + bucket.middle, cell.count + 1, max(cell.high, bucket.high))
        cells[x] = cell
      }
    }
    for (x, cell) in cells {
      for y in row(cell.low, scale, of: canvas.height)...row(cell.high, scale, of: canvas.height) { canvas.shade(x, y) }
      let y = row(cell.sum / cell.count, scale, of: canvas.height)
      if let next = cells[x + 1] {
        canvas.line(from: (x, y), to: (x + 1, row(next.sum / next.count, scale, of: canvas.height)))
      } else {
        canvas.mark(x, y)
      }
    }
  }

  /// The curve in green, the band in grey.
  private static func painted(_ cells: [Canvas.Cell], _ terminal: Terminal) -> String {
    var out = ""
    var index = 0
    while index < cells.count {
      let isCurve = cells[index].isCurve
      var text = ""
      while index < cells.count, cells[index].isCurve == isCurve {
        text.append(cells[index].character)
        index += 1
      }
      let isBlank = text.allSatisfy { $0 == " " }
      out += isBlank ? text : terminal.paint(text, isCurve ? .green : .grey)
    }
    while out.last == " " { out.removeLast() }
    return out
  }

  // MARK: Times

  /// The axis and under it the times, UTC.
  private func times(columns: Int, margin: Int) -> [String] {
    let isASCII = style == .ascii
    var axis = Array(repeating: isASCII ? Character("-") : Character("─"), count: columns)
    var labels = Array(repeating: Character(" "), count: columns)
    let span = window.upperBound - window.lowerBound
    let step = TimeStep.fitting(span, columns: columns)
    var free = 0
    var tick = (window.lowerBound / step).rounded(.up) * step
    // At most as many as there are columns.
    for _ in 0..<columns where tick < window.upperBound {
      if let x = column(tick, of: columns) {
        let text = Array(TimeStep.label(tick, step: step, span: span))
        let start = min(max(0, x - text.count / 2), max(0, columns - text.count))
        if start >= free, text.count <= columns {
          axis[x] = isASCII ? "+" : "┬"
          labels.replaceSubrange(start..<start + text.count, with: text)
          free = start + text.count + 2
        }
      }
      tick += step
    }
    let left = String(repeating: " ", count: margin + 1)
    return [left + (isASCII ? "+" : "└") + String(axis), left + " " + String(labels)].map { line in
      var line = line
      while line.last == " " { line.removeLast() }
      return line
    }
  }
}

/// A field of dots.
private struct Canvas {
  struct Cell {
    var character: Character
    var isCurve: Bool
  }

  let width: Int
  let height: Int
  private let columns: Int
  private let dots: (x: Int, y: Int)
  private var curve: [Bool]
  private var band: [Bool]

  init(columns: Int, rows: Int, dots: (x: Int, y: Int)) {
    self.columns = columns
    self.dots = dots
    width = columns * dots.x
    height = rows * dots.y
    curve = Array(repeating: false, count: width * height)
    band = curve
  }

  /// Counted from the left and from below.
  mutating func mark(_ x: Int, _ y: Int) {
    guard (0..<width).contains(x), (0..<height).contains(y) else { return }
    curve[(height - 1 - y) * width + x] = true
  }

  mutating func shade(_ x: Int, _ y: Int) {
    guard (0..<width).contains(x), (0..<height).contains(y) else { return }
    band[(height - 1 - y) * width + x] = true
  }

  /// Every dot between two, both included.
  mutating func line(from a: (x: Int, y: Int), to b: (x: Int, y: Int)) {
    let steps = max(abs(b.x - a.x), abs(b.y - a.y))
    guard steps > 0 else { return mark(a.x, a.y) }
    for step in 0...steps {
      let part = Double(step) / Double(steps)
      mark(a.x + Int((Double(b.x - a.x) * part).rounded()), a.y + Int((Double(b.y - a.y) * part).rounded()))
    }
  }

  func row(_ row: Int, _ style: Plot.Style) -> [Cell] {
    (0..<columns).map { column in
      var bits: UInt32 = 0
      var isCurve = false
      var isBand = false
      for y in 0..<dots.y {
        for x in 0..<dots.x {
          let place = (row * dots.y + y) * width + column * dots.x + x
          if curve[place] { isCurve = true }
          if band[place] { isBand = true }
          // Every other dot of the band, so that the curve stands out in it without colour, too.
          if curve[place] || (band[place] && (x + y) % 2 == 0) { bits |= Self.bit(x, y) }
        }
      }
      switch style {
      case .ascii: return Cell(character: isCurve ? "*" : isBand ? ":" : " ", isCurve: isCurve)
      case .braille:
        let scalar = Unicode.Scalar(0x2800 + bits)
        return Cell(character: bits == 0 ? " " : scalar.map(Character.init) ?? " ", isCurve: isCurve)
      }
    }
  }

  /// The dots of a braille character: 1, 2, 3, 7 on the left, 4, 5, 6, 8 on the right.
  private static func bit(_ x: Int, _ y: Int) -> UInt32 {
    y == 3 ? (x == 0 ? 0x40 : 0x80) : 1 << UInt32(y + 3 * x)
  }
}
