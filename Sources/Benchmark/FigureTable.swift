internal import ArgumentParser
internal import Foundation

/// What some pieces of work took.
struct Figure: Sendable {
  var count: Int
  /// Seconds of user and system time.
  var cpu: Double
  var wall: Double

  init(count: Int, cpu: Double, wall: Double) {
    self.count = count
    self.cpu = cpu
    self.wall = wall
  }

  /// An answer of the pymongo program.
  init(_ answer: [String: Any]) throws {
    guard let count = answer["count"] as? Int, let cpu = answer["cpu"] as? Double, let wall = answer["wall"] as? Double
    else { throw ValidationError("The pymongo program answered \(answer).") }
    self.init(count: count, cpu: cpu, wall: wall)
  }

  var perSecond: Double { Double(count) / max(wall, 1e-9) }
  var perCPUSecond: Double { Double(count) / max(cpu, 1e-9) }
  var microseconds: Double { cpu * 1e6 / Double(max(count, 1)) }
}

/// Figures by what was done and by whom, over several rounds.
struct FigureTable {
  struct Row: Codable, Sendable {
    var work: String
    var program: String
    /// Medians.
    var per_s: Double
    var per_cpu_s: Double
    var cpu_us_each: Double
    /// Median of each round's own ratio to pymongo's documents a CPU second.
    var of_pymongo: Double?
  }

  private var figures: [(work: String, program: String, figure: Figure)] = []

  mutating func add(_ work: String, _ program: String, _ figure: Figure) { figures.append((work, program, figure)) }

  private func all(_ work: String, _ program: String) -> [Figure] {
    figures.filter { $0.work == work && $0.program == program }.map(\.figure)
  }

  private static func median(_ numbers: [Double]) -> Double {
    let sorted = numbers.sorted()
    return sorted.isEmpty ? 0 : sorted[sorted.count / 2]
  }

  var rows: [Row] {
    var seen: [(String, String)] = []
    for entry in figures where !seen.contains(where: { $0 == (entry.work, entry.program) }) {
      seen.append((entry.work, entry.program))
    }
    return seen.map { work, program in
      let mine = all(work, program)
      let peers = all(work, "pymongo")
      let ratios = zip(mine, peers).map { $0.perCPUSecond / max($1.perCPUSecond, 1e-9) }
      return Row(
        work: work, program: program, per_s: Self.median(mine.map(\.perSecond)),
        per_cpu_s: Self.median(mine.map(\.perCPUSecond)), cpu_us_each: Self.median(mine.map(\.microseconds)),
        of_pymongo: program == "pymongo" || ratios.isEmpty ? nil : Self.median(ratios))
    }
  }

  var text: String {
    let lines = rows.map { row in
      let work = row.work.padding(toLength: 17, withPad: " ", startingAt: 0)
      let program = row.program.padding(toLength: 14, withPad: " ", startingAt: 0)
      let ratio = row.of_pymongo.map { String(format: "%.2f x", $0) } ?? ""
      return "\(work) \(program)"
        + String(format: "%9.0f  %12.0f  %11.1f  ", row.per_s, row.per_cpu_s, row.cpu_us_each) + ratio
    }
    return (["work              program             per s  per CPU sec.  CPU us each  of pymongo"] + lines)
      .joined(separator: "\n")
  }
}
