/// Rows under headings, as wide as their content; the last column takes what is left of the line.
struct Table {
  struct Cell {
    var text: String
    var colour: Terminal.Colour?
    init(_ text: String, _ colour: Terminal.Colour? = nil) {
      self.text = Terminal.safe(text)
      self.colour = colour
    }
  }

  var headings: [String]
  var rows: [[Cell]] = []

  init(_ headings: [String]) { self.headings = headings }

  mutating func add(_ cells: Cell...) { rows.append(cells) }
  mutating func add(_ cells: [Cell]) { rows.append(cells) }

  func text(on terminal: Terminal) -> String {
    var widths = headings.map(\.count)
    for row in rows {
      for (index, cell) in row.enumerated() where index < widths.count {
        widths[index] = max(widths[index], cell.text.count)
      }
    }
    var lines = [line(headings.map { Cell($0, .bold) }, widths, terminal)]
    lines += rows.map { line($0, widths, terminal) }
    return lines.joined(separator: "\n")
  }

  private func line(_ cells: [Cell], _ widths: [Int], _ terminal: Terminal) -> String {
    var out = ""
    var used = 0
    for (index, cell) in cells.enumerated() where index < widths.count {
      let isLast = index == cells.count - 1
      let text = cell.text
      // A line never runs over the terminal's edge; what is cut is in `describe` and in the other formats.
      if terminal.isTerminal, used + text.count > terminal.width {
        let room = max(0, terminal.width - used - 1)
        out += terminal.paint(String(text.prefix(room)) + "…", cell.colour)
        return out
      }
      out += terminal.paint(text, cell.colour)
      if !isLast {
        let padding = widths[index] - text.count + 2
        out += String(repeating: " ", count: padding)
        used += widths[index] + 2
      }
    }
    while out.last == " " { out.removeLast() }
    return out
  }
}

/// Small drawings of figures in text.
enum Spark {
  private static let levels: [Character] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]

  /// The newest values as a line of blocks; percentages, 0 to 100.
  static func line(_ percentages: [Double], width: Int = 10) -> String {
    String(
      percentages.suffix(width).map { value in
        guard value.isFinite else { return " " }
        let level = Int((min(max(value, 0), 100) / 100 * 7).rounded())
        return levels[level]
      })
  }

  /// A bar of `width` cells.
  static func bar(_ percent: Double, width: Int = 8) -> String {
    guard percent.isFinite else { return String(repeating: " ", count: width) }
    let filled = Int((min(max(percent, 0), 100) / 100 * Double(width)).rounded())
    return String(repeating: "█", count: filled) + String(repeating: "░", count: width - filled)
  }
}
