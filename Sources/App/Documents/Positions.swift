package import Model

/// In which line of a file each field of one document stands.
package struct Positions: Sendable, Hashable {
  package var file: String
  /// The document's first line, from 1.
  package var firstLine: Int
  /// Path of a field (`metrics.Vitals.CPU.interval`, `notify[1][0]`) → its line.
  package var lines: [String: Int] = [:]

  package init(file: String, firstLine: Int) {
    self.file = file
    self.firstLine = firstLine
  }

  /// The line of a field; of the nearest field around it where it does not exist, as when one is missing.
  package func line(of path: String) -> Int {
    var place = path[...]
    while !place.isEmpty {
      if let line = lines[String(place)] { return line }
      guard let end = place.lastIndex(where: { $0 == "." || $0 == "[" }) else { break }
      place = place[..<end]
    }
    return firstLine
  }

  /// The same problem, with file and line.
  package func locate(_ problem: Problem) -> Problem {
    guard problem.line == nil else { return problem }
    var located = problem
    located.file = file
    located.line = line(of: problem.path)
    return located
  }
}
