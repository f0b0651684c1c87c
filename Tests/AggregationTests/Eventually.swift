internal import TestKit

/// What was waited for did not come about.
struct NeverHappened: Error, CustomStringConvertible {
  var description: String
}

/// Lets other tasks run until `condition` holds. The limit is real time and only reached by a defect.
func eventually(
  _ what: String, within limit: Duration = .seconds(30), _ condition: @Sendable () async -> Bool
) async throws {
  let deadline = ContinuousClock.now + limit
  while !(await condition()) {
    guard ContinuousClock.now < deadline else { throw NeverHappened(description: "never: \(what)") }
    await Task.yield()
  }
}

extension ManualClock {
  /// Waits until exactly so many tasks sleep, and go on sleeping while all others have had many turns.
  func settles(at count: Int) async throws {
    let calm = Calm()
    try await eventually("exactly \(count) sleepers, now \(sleeperCount)") {
      await calm.isCalm(self.sleeperCount == count)
    }
  }

  private actor Calm {
    private var turns = 0
    func isCalm(_ holds: Bool) -> Bool {
      turns = holds ? turns + 1 : 0
      return turns > 200
    }
  }
}
