package import Logging

/// What all supervisors of one tree share. A nested supervisor gets it from its ``ChildContext``.
package struct Surroundings: Sendable {
  package var clock: any Clock<Duration>
  package var logger: Logger
  /// One for the whole process.
  package var zombies: ZombieCounter
  /// Names from the root down to the one who holds this; empty at the root.
  package var path: [String]
  /// Chooses the jitter. Equal seeds give equal waits.
  package var seed: UInt64
  /// Called in the supervisor's turn, in the order of the events: must return at once and never wait.
  package var observe: @Sendable (SupervisionEvent) -> Void

  package init(
    clock: any Clock<Duration>, logger: Logger, zombies: ZombieCounter = ZombieCounter(), path: [String] = [],
    seed: UInt64 = .random(in: 0 ... .max), observe: @escaping @Sendable (SupervisionEvent) -> Void = { _ in }
  ) {
    self.clock = clock
    self.logger = logger
    self.zombies = zombies
    self.path = path
    self.seed = seed
    self.observe = observe
  }

  /// The same one step down the tree.
  func below(_ name: String) -> Surroundings {
    var copy = self
    copy.path.append(name)
    // FNV-1a, not `Hasher`: the latter differs from process to process, and a seed must repeat a run.
    copy.seed = name.utf8.reduce(seed ^ 0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    return copy
  }
}
