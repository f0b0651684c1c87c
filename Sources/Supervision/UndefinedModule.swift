/// Stands in the tree for a module that a person named and that does not exist.
///
/// A name in a document is no reason to crash, and nothing that is wrong may be silent: this child harms nobody, keeps the
/// tree's shape, and says what is wrong at once and then every ten minutes.
package struct UndefinedModule: Supervised {
  /// What is wrong, with the offending name in it.
  package var problem: String
  package var interval: Duration
  private let clock: any Clock<Duration>
  private let report: @Sendable (String) async -> Void

  package init(
    problem: String, interval: Duration = .seconds(600), clock: any Clock<Duration>,
    report: @escaping @Sendable (String) async -> Void
  ) {
    self.problem = problem
    self.interval = interval
    self.clock = clock
    self.report = report
  }

  package func run() async throws {
    while true {
      await report(problem)
      try await clock.sleep(for: interval)
    }
  }
}
