/// Something that a person, or a notification, may have to know of the tree.
package struct SupervisionEvent: Sendable, Equatable {
  package enum Kind: Sendable, Equatable {
    /// The child failed and is being started again, for the `restarts`-th time since it was added.
    case restarted(error: String, restarts: Int)
    /// The child failed and is not started again.
    case gaveUp(error: String)
    /// The supervisor at `path` restarted too often, or could not start; its parent now decides.
    case escalated(error: String)
    /// The child did not beat, or its start did not return, within `limit`.
    case hung(limit: Duration)
    /// The child was deaf to cancellation; it is fenced and counted as a zombie.
    case abandoned(zombies: Int)
    /// The process has more zombies than it may: it is to end and be started anew.
    case zombieLimit(zombies: Int)
    /// A populator could not bring its supervisor to what is desired; what ran goes on.
    case populationFailed(error: String)
  }

  /// Names from the root to the child, or to the supervisor where the event is its own.
  package var path: [String]
  package var kind: Kind

  package init(path: [String], kind: Kind) {
    self.path = path
    self.kind = kind
  }
}
