/// One supervisor or worker of the tree, as a document.
package struct TreeNode: Sendable, Codable, Equatable {
  package enum State: String, Sendable, Codable {
    /// Waits for its first start, or `start` has not returned.
    case starting
    case running
    /// As `starting`, after a failure of its own or of a sibling.
    case restarting
    /// Rests after a failure; see ``Backoff``.
    case backingOff = "backing_off"
    /// Was cancelled and has not ended.
    case stopping
    /// Was stopped on request.
    case stopped
    /// `start` said that there is nothing to do.
    case ignored
    /// Failed and is not started again.
    case failed
    /// Its work is done.
    case finished
  }

  package var name: String
  package var id: String
  package var kind: ChildSpec.Kind
  package var state: State
  /// Since it was added to its supervisor.
  package var restarts: Int
  /// Since its present life started; nil without one.
  package var ageSeconds: Double?
  package var lastError: String?
  /// Abandoned lives of its own children that have not ended.
  package var zombies: Int
  /// In the order of their start.
  package var children: [TreeNode]

  package init(
    name: String, id: String, kind: ChildSpec.Kind, state: State, restarts: Int = 0, ageSeconds: Double? = nil,
    lastError: String? = nil, zombies: Int = 0, children: [TreeNode] = []
  ) {
    self.name = name
    self.id = id
    self.kind = kind
    self.state = state
    self.restarts = restarts
    self.ageSeconds = ageSeconds
    self.lastError = lastError
    self.zombies = zombies
    self.children = children
  }

  enum CodingKeys: String, CodingKey {
    case name, id, kind, state, restarts, zombies, children
    case ageSeconds = "age_seconds"
    case lastError = "last_error"
  }
}

/// A child in the answer of ``Supervisor/children()``.
package struct ChildInfo: Sendable, Equatable {
  package var id: String
  package var digest: String
  package var kind: ChildSpec.Kind
  package var restart: Restart
  package var isSignificant: Bool
  /// Added at run time, not one of those the supervisor was made with.
  package var isDynamic: Bool
  package var state: TreeNode.State
  package var restarts: Int
  package var lastError: String?

  package init(
    id: String, digest: String, kind: ChildSpec.Kind, restart: Restart, isSignificant: Bool, isDynamic: Bool,
    state: TreeNode.State, restarts: Int, lastError: String?
  ) {
    self.id = id
    self.digest = digest
    self.kind = kind
    self.restart = restart
    self.isSignificant = isSignificant
    self.isDynamic = isDynamic
    self.state = state
    self.restarts = restarts
    self.lastError = lastError
  }
}

/// The answer of ``Supervisor/count()``.
package struct ChildCount: Sendable, Equatable {
  /// All children, with or without a life.
  package var specs: Int
  /// Those with a life.
  package var active: Int
  /// All children of that kind, with or without a life.
  package var supervisors: Int
  package var workers: Int

  package init(specs: Int, active: Int, supervisors: Int, workers: Int) {
    self.specs = specs
    self.active = active
    self.supervisors = supervisors
    self.workers = workers
  }
}
