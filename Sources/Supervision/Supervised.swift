/// A life: work that a supervisor starts, watches and starts again.
///
/// `run()` returns when the work is done, throws when it is broken, and heeds cancellation: within the shutdown deadline
/// of its specification it ends, by returning or by throwing `CancellationError`. What has already ended never runs
/// again; a restart calls `start` of the ``ChildSpec`` for a new life.
package protocol Supervised: Sendable {
  /// Lives until the work is done.
  /// - Throws: whatever broke the work; the supervisor then decides by the child's ``Restart``.
  func run() async throws
}

/// A life that has children of its own and shows them in the tree.
///
/// ``Supervisor`` is one. A worker that runs a supervisor inside itself becomes one by forwarding its snapshot.
package protocol Branch: Supervised {
  /// The branch as it is now; never waits.
  nonisolated func snapshot() -> TreeNode
}

/// A life made of one closure.
package struct Routine: Supervised {
  private let body: @Sendable () async throws -> Void

  package init(_ body: @escaping @Sendable () async throws -> Void) { self.body = body }

  package func run() async throws { try await body() }
}
