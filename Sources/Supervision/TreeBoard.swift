internal import Foundation

/// What a supervisor shows of itself: written in its turn, read by anyone at any time without waiting for that turn.
///
/// `@unchecked Sendable`: `state` and `rows` are touched only between `lock()` and `unlock()` of the one lock beside them.
final class TreeBoard: @unchecked Sendable {
  struct Row {
    var node: TreeNode
    var startedAt: Duration?
    /// The child's own part of the tree.
    var branch: (any Branch)?
  }

  private let lock = NSLock()
  private var own = Row(node: TreeNode(name: "", id: "", kind: .supervisor, state: .stopped))
  private var rows: [UInt64: Row] = [:]

  func show(own row: Row, changed: [(UInt64, Row?)]) {
    lock.withLock {
      own = row
      for (key, row) in changed { rows[key] = row }
    }
  }

  func snapshot(now: Duration) -> TreeNode {
    let (own, rows) = lock.withLock { (self.own, self.rows) }
    var node = Self.node(of: own, now: now)
    // The children's parts are read outside the lock.
    node.children = rows.sorted { $0.key < $1.key }.map { Self.node(of: $0.value, now: now) }
    return node
  }

  private static func node(of row: Row, now: Duration) -> TreeNode {
    var node = row.node
    if let startedAt = row.startedAt { node.ageSeconds = (now - startedAt).inSeconds }
    if let below = row.branch?.snapshot() {
      node.children = below.children
      node.zombies = below.zombies
    }
    return node
  }
}
