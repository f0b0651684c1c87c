import Foundation
import Logging
import Model
import Notifications
import Storage
import TestKit

/// A notifier that does what a test says and remembers what it was given. It goes by the name of `email`.
struct ScriptedNotifier: Notifier {
  struct Delivery: Sendable, Equatable {
    var channel: String
    var kind: String
    var recipient: String?
    var subject: String
    var predecessor: QueueLease.Predecessor
    /// Seconds since the office opened.
    var at: Int
    var key: String?
  }

  typealias Script = @Sendable (QueueEntry, NotificationOptions) async -> DeliveryOutcome

  let type = "email"
  let defaultTimeout: Duration = .seconds(120)
  let deliveries = EventLog<Delivery>()
  let seconds: @Sendable () -> Int
  let script: Script

  func recipients(_ options: NotificationOptions) -> [String?] {
    EmailOptions.recipients(options).map(\.address)
  }
  func recipients(payload: [String: Value]) -> [String] {
    payload["to"]?.elements?.compactMap(\.text) ?? payload["to"]?.text.map { [$0] } ?? []
  }
  func problems(_ options: NotificationOptions) -> [Problem] {
    recipients(options).isEmpty
      ? [Problem(kind: "notification_options", id: options.id, path: "to", reason: "names nobody")] : []
  }

  func deliver(
    _ entry: QueueEntry, options: NotificationOptions, predecessor: QueueLease.Predecessor
  ) async -> DeliveryOutcome {
    let text = MessageText(
      MessageFields(entry.payload["fields"]) ?? MessageFields([:]), untold: predecessor == .untold)
    deliveries.append(
      Delivery(
        channel: options.id, kind: entry.kind, recipient: entry.recipient,
        subject: entry.payload["fields"] == nil ? entry.payload["subject"]?.text ?? "" : text.subject,
        predecessor: predecessor, at: seconds(), key: entry.key))
    return await script(entry, options)
  }
}

/// Everything a queue needs, on a clock that the test moves: store, channels, router, workers.
final class Office: Sendable {
  static let opening = Date(timeIntervalSince1970: 1_795_248_900)  // 2026-11-21 08:15:00 UTC

  let clock = ManualClock()
  let storage = MemoryStorage()
  let doorbell = Doorbell()
  let notifier: ScriptedNotifier
  let problems = EventLog<Problem>()
  let notices = EventLog<Notice>()
  let directory: Directory
  let context: WorkerContext
  let router: Router

  /// - Parameters:
  ///   - options: the channels; by default `ops` (a@example.org) and `pager` (p@example.org), both generic.
  ///   - notifiers: what delivers instead of the script.
  ///   - script: what every delivery comes to; by default it is taken.
  init(
    _ options: [NotificationOptions] = [
      Office.channel("ops", to: "a@example.org"), Office.channel("pager", to: "p@example.org"),
    ],
    targets: [Target] = [Target(id: "t1", name: "web-1", host: "192.0.2.10", labels: ["role": "web"])],
    gateLimit: Int = 4, random: Double = 0.5, notifiers: Notifiers? = nil,
    script: @escaping ScriptedNotifier.Script = { _, _ in .delivered(receipt: "250 ok") }
  ) {
    let clock = clock
    let now: @Sendable () -> Date = { Office.opening.addingTimeInterval(clock.now.offset.inSeconds) }
    notifier = ScriptedNotifier(seconds: { Int(clock.now.offset.inSeconds.rounded()) }, script: script)
    directory = Directory(options: { options }, target: { name in targets.first { $0.name == name } })
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    var context = WorkerContext(
      storage: storage, directory: directory, notifiers: notifiers ?? Notifiers([notifier]), doorbell: doorbell,
      gate: ChannelGate(limit: gateLimit, clock: clock, now: now), report: { [problems] in problems.append($0) },
      notice: { [notices] in notices.append($0) }, clock: clock, now: now, logger: logger)
    context.random = { random }
    self.context = context
    router = Router(
      storage: storage, directory: directory, notifiers: context.notifiers, doorbell: doorbell,
      report: context.report, logger: logger)
  }

  var now: Date { context.now() }

  func worker(_ name: String = "w") -> QueueWorker { QueueWorker(context, owner: name) }

  /// Delivers all that is due, then moves time to when the next is due, until `end` seconds after the opening.
  func work(until end: Int) async throws {
    let worker = worker()
    for _ in 0..<10_000 {
      while try await worker.deliverNext() {}
      let offset = Duration.seconds(end)
      guard let next = try await storage.nextDue() else { break }
      let due = Duration.milliseconds(Int64((next.timeIntervalSince(Office.opening) * 1000).rounded(.up)))
      guard due <= offset else { break }
      // What is due and was not taken waits behind a message that somebody holds.
      clock.advance(to: .init(offset: due > clock.now.offset ? due : clock.now.offset + .seconds(1)))
    }
    clock.advance(to: .init(offset: .seconds(end)))
  }

  func entries() async throws -> [QueueEntry] {
    try await storage.queue(QueueQuery(limit: 100_000)).reversed()
  }

  static func channel(
    _ id: String, to: Value, selector: TargetSelector = .generic, type: String = "email", enabled: Bool = true,
    options: [String: Value] = [:]
  ) -> NotificationOptions {
    NotificationOptions(
      id: id, selector: selector, type: type,
      options: ["to": to, "from": "syscrap@example.org", "relay": "smtp+plain://127.0.0.1:1"]
        .merging(options) { _, new in new },
      isEnabled: enabled)
  }

  /// - Parameter reaction: nil: one of the episode's own, so that several can be open at once.
  static func episode(
    id: String = "e1", reaction: String? = nil, target: String = "web-1", since: Date = Office.opening,
    endedAfter: Duration? = nil
  ) -> Episode {
    var episode = Episode(
      id: id,
      key: ConditionKey(
        reaction: reaction ?? (id == "e1" ? "disk-full" : "disk-full-\(id)"), target: target, metric: "Vitals.Disk",
        element: "/var"),
      severity: .critical, state: endedAfter == nil ? .firing : .ok, since: since, value: "93.1 %",
      limit: "at most 90 %")
    if let endedAfter { episode.ended_at = since.addingTimeInterval(endedAfter.inSeconds) }
    return episode
  }

  func announce(
    _ kind: Announcement.Kind, _ episode: Episode = Office.episode(), notify: [[String]]? = [["ops"]]
  ) async throws {
    var episode = episode
    if kind == .resolved, episode.ended_at == nil {
      episode.ended_at = now
      episode.state = .ok
    }
    try await router.route(Announcement(kind: kind, episode: episode, notify: notify, at: now))
  }
}

extension Duration {
  var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
