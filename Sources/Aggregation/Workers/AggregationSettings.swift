package import FoundationEssentials
package import Model
package import Remote

/// What the workers of all targets are made with.
package struct AggregationSettings: Sendable {
  package var registry: MetricRegistry
  /// Makes the connector of a target. What can fail belongs into `connect()`, where it becomes a `Connection` sample.
  package var connector: @Sendable (Target) -> any Connector
  package var outlet: Outlet
  /// Told when a target's facts changed: they become its `detected_specs`.
  package var report: @Sendable (_ target: String, HostFacts) async -> Void
  /// Told at once and every 10 min of what in a target's metrics cannot run. The problem's `id` is the target's name.
  package var problem: @Sendable (Problem) async -> Void
  /// Where what touches a target is counted, by the target's name. The same account for all lives of a target.
  package var touch: @Sendable (_ target: String) -> any TouchAccount
  /// The wall clock.
  package var now: @Sendable () -> Date
  /// Uniform in 0..<1, for the jitter of reconnecting.
  package var random: @Sendable () -> Double

  package init(
    registry: MetricRegistry = .standard, connector: @escaping @Sendable (Target) -> any Connector,
    outlet: @escaping Outlet, report: @escaping @Sendable (String, HostFacts) async -> Void = { _, _ in },
    problem: @escaping @Sendable (Problem) async -> Void = { _ in },
    touch: @escaping @Sendable (String) -> any TouchAccount = { _ in NoTouchAccount() },
    now: @escaping @Sendable () -> Date = { Date() },
    random: @escaping @Sendable () -> Double = { Double.random(in: 0..<1) }
  ) {
    self.registry = registry
    self.connector = connector
    self.outlet = outlet
    self.report = report
    self.problem = problem
    self.touch = touch
    self.now = now
    self.random = random
  }
}
