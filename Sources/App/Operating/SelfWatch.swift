internal import FoundationEssentials
internal import Logging
internal import Metrics
internal import Model
internal import Notifications
internal import Supervision

/// Hears what happens in the tree: counts it, logs it, and sends a notice where a person has to know.
///
/// Bound: 256 events wait; when more come at once the oldest are dropped (they are logged by the tree itself).
struct SelfWatch: Sendable {
  /// So many restarts of one child are a notice.
  static let restartsWorthTelling = 3

  private let notices: SelfNotices
  private let registry: PrometheusRegistry
  private let logger: Logger
  private let stop: @Sendable (Service.End) -> Void
  private let events: AsyncStream<SupervisionEvent>
  private let continuation: AsyncStream<SupervisionEvent>.Continuation

  init(
    notices: SelfNotices, registry: PrometheusRegistry, logger: Logger,
    stop: @escaping @Sendable (Service.End) -> Void
  ) {
    self.notices = notices
    self.registry = registry
    self.logger = logger
    self.stop = stop
    (events, continuation) = AsyncStream.makeStream(of: SupervisionEvent.self, bufferingPolicy: .bufferingNewest(256))
  }

  /// For the tree: returns at once.
  var observe: @Sendable (SupervisionEvent) -> Void {
    let (continuation, logger, stop) = (continuation, logger, stop)
    return { event in
      // Nothing else may come before this one: what it waits for may be what is stuck.
      if case .zombieLimit(let zombies) = event.kind {
        logger.critical("Too many parts cannot be stopped; the process ends", metadata: ["zombies": "\(zombies)"])
        stop(.exhausted("\(zombies) parts of the service could not be stopped"))
      }
      continuation.yield(event)
    }
  }

  func run() async {
    for await event in events {
      let name = event.path.joined(separator: " / ")
      let label = event.path.dropFirst().first ?? "Root"
      switch event.kind {
      case .restarted(let error, let restarts):
        count("child_restarts_total", [("branch", label)])
        if restarts >= Self.restartsWorthTelling {
          await tell(
            name, "a part of the service keeps failing: \(name)", "\(restarts) restarts; last error: \(error)", .warning
          )
        }
      case .gaveUp(let error):
        count("children_given_up_total", [("branch", label)])
        await tell(name, "a part of the service was given up: \(name)", "last error: \(error)", .critical)
      case .escalated(let error):
        count("supervision_escalations_total", [("branch", label)])
        await tell(name, "a branch of the service restarted too often: \(name)", "last error: \(error)", .critical)
      case .hung(let limit):
        count("children_hung_total", [("branch", label)])
        await tell(
          name, "a part of the service hung: \(name)", "it gave no sign for \(limit); it was restarted", .warning)
      case .abandoned(let zombies):
        count("children_abandoned_total", [("branch", label)])
        gauge("zombie_children", Double(zombies))
        await tell(name, "a part of the service could not be stopped: \(name)", "\(zombies) such parts now", .warning)
      case .zombieLimit(let zombies):
        gauge("zombie_children", Double(zombies))
      case .populationFailed(let error):
        count("population_failures_total", [("branch", label)])
        await tell(
          "population", "the documents could not be read", "what runs goes on; last error: \(error)", .critical)
      }
    }
  }

  private func tell(_ source: String, _ text: String, _ details: String, _ severity: Severity) async {
    await notices.post(Notice(source: "tree/\(source)", text: text, details: details, severity: severity))
  }

  private func count(_ name: String, _ dimensions: [(String, String)]) {
    registry.makeCounter(label: name, dimensions: dimensions).increment(by: 1)
  }

  private func gauge(_ name: String, _ value: Double) {
    registry.makeMeter(label: name, dimensions: []).set(value)
  }
}
