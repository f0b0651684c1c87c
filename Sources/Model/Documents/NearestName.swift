/// Finds the valid name that a person most likely meant.
package enum NearestName {
  /// The nearest of `names`, or nil when none is near: another case or separator, the last part of a dotted name, or at
  /// most one edit for three characters.
  package static func find(_ name: String, in names: some Sequence<String>) -> String? {
    guard !name.isEmpty, name.utf8.count <= 64 else { return nil }
    let wanted = plain(name)
    var best: (name: String, distance: Int)?
    for candidate in names.sorted() where candidate.utf8.count <= 64 {
      let other = plain(candidate)
      var distance = other == wanted ? 0 : editDistance(wanted, other)
      if isAbbreviation(wanted, of: other) { distance = min(distance, 1) }
      if let last = candidate.split(separator: ".").last, plain(String(last)) == wanted { distance = min(distance, 1) }
      if distance < best?.distance ?? .max { best = (candidate, distance) }
    }
    guard let best, best.distance <= max(1, min(4, wanted.count / 3)) else { return nil }
    return best.name
  }

  /// The sentence for a hint: the nearest name, or all names where they are few.
  package static func hint(_ name: String, in names: some Sequence<String>) -> String? {
    if let nearest = find(name, in: names) { return "did you mean \(nearest)?" }
    let all = names.sorted()
    return all.isEmpty || all.count > 24 ? nil : "known: " + all.joined(separator: ", ")
  }

  private static func plain(_ name: String) -> [Character] {
    Array(name.lowercased().map { $0 == "-" || $0 == " " ? "_" : $0 })
  }

  /// Levenshtein's distance, in which two neighbours that changed places count once.
  static func editDistance(_ a: [Character], _ b: [Character]) -> Int {
    if a.isEmpty || b.isEmpty { return max(a.count, b.count) }
    var before: [Int] = []
    var row = Array(0...b.count)
    for (i, x) in a.enumerated() {
      var next = [i + 1]
      next.reserveCapacity(row.count)
      for (j, y) in b.enumerated() {
        var distance = min(row[j] + (x == y ? 0 : 1), min(row[j + 1], next[j]) + 1)
        if i > 0, j > 0, x == b[j - 1], a[i - 1] == y { distance = min(distance, before[j - 1] + 1) }
        next.append(distance)
      }
      before = row
      row = next
    }
    return row[b.count]
  }

  /// Whether a name is another one with letters left out: `mnt` for `mount`.
  private static func isAbbreviation(_ short: [Character], of long: [Character]) -> Bool {
    guard short.count >= 3, short.count * 2 >= long.count, short[0] == long.first else { return false }
    var rest = long[...]
    for letter in short {
      guard let place = rest.firstIndex(of: letter) else { return false }
      rest = rest[(place + 1)...]
    }
    return true
  }
}
