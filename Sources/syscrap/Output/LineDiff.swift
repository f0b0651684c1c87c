/// The difference of two short texts, line by line: the longest common subsequence by dynamic programming.
///
/// Bound: texts of more than 2,000 lines are shown as removed and added whole.
enum LineDiff {
  enum Change: Equatable {
    case same(String), removed(String), added(String)
  }

  static func between(_ old: [String], _ new: [String]) -> [Change] {
    guard old.count <= 2000, new.count <= 2000 else { return old.map(Change.removed) + new.map(Change.added) }
    var lengths = Array(repeating: Array(repeating: 0, count: new.count + 1), count: old.count + 1)
    for i in stride(from: old.count - 1, through: 0, by: -1) {
      for j in stride(from: new.count - 1, through: 0, by: -1) {
        lengths[i][j] = old[i] == new[j] ? lengths[i + 1][j + 1] + 1 : max(lengths[i + 1][j], lengths[i][j + 1])
      }
    }
    var changes: [Change] = []
    var (i, j) = (0, 0)
    while i < old.count || j < new.count {
      if i < old.count, j < new.count, old[i] == new[j] {
        changes.append(.same(old[i]))
        i += 1
        j += 1
      } else if i < old.count, j == new.count || lengths[i + 1][j] >= lengths[i][j + 1] {
        changes.append(.removed(old[i]))
        i += 1
      } else {
        changes.append(.added(new[j]))
        j += 1
      }
    }
    return changes
  }
}
