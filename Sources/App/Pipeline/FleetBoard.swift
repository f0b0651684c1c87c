internal import FoundationEssentials
package import Model

/// The newest of everything on every target, in memory: what `top` and the page show without asking the store.
///
/// Bounds: ``recentBound`` values a vital; one entry a target that is monitored; ``subscriberBound`` readers, each with a
/// buffer of 64 changes of which the oldest goes first.
package actor FleetBoard {
  package static let recentBound = 30
  package static let subscriberBound = 64

  /// What is shown as a bar, with its metric and field.
  private static let vitals: [(name: String, metric: String)] = [
    ("cpu", "Vitals.CPU"), ("ram", "Vitals.RAM"), ("swap", "Vitals.Swap"), ("disk", "Vitals.Disk"),
  ]

  private struct Row {
    var state: String = "connecting"
    var detail: String?
    var stateSince: Date?
    var attempt: Int64 = 0
    var failures = 0
    var latency: Double?
    var lastSample: Date?
    var lastError: String?
    var vitals: [String: Double] = [:]
    var recent: [String: [Double]] = [:]
    var load: Double?
    var uptime: Double?
    var fullest: String?
  }

  /// Why nothing is gathered here; nil while this instance gathers.
  private var standby: String?
  private var rows: [String: Row] = [:]
  /// Why nothing is gathered on a target whose document is there, by its name; each has a row, too.
  private var refusals: [String: String] = [:]
  private var episodes: [String: Episode] = [:]
  private var subscribers: [Int: AsyncStream<Value>.Continuation] = [:]
  private var nextID = 0

  package init() {}

  /// Takes what the pipeline just gathered.
  package func take(_ samples: [Sample]) {
    var touched: Set<String> = []
    for sample in samples where sample.type == .realTime {
      note(sample)
      touched.insert(sample.series.target)
    }
    guard !subscribers.isEmpty else { return }
    for target in touched.sorted() { publish(["type": "target", "row": row(target)]) }
  }

  /// Takes a change of an episode.
  package func take(_ announcement: Announcement) {
    let episode = announcement.episode
    if episode.state == .ok { episodes[episode.id] = nil } else { episodes[episode.id] = episode }
    publish(["type": "episode", "episode": EpisodeDocument.value(episode), "target": .string(episode.key.target)])
    publish(["type": "target", "row": row(episode.key.target)])
  }

  /// What was open when the service started.
  package func preset(_ open: [Episode]) {
    for episode in open { episodes[episode.id] = episode }
  }

  /// This instance gathers from now on, and these episodes are open.
  package func lead(open: [Episode]) {
    standby = nil
    rows = rows.mapValues { _ in Row() }
    episodes = Dictionary(open.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
    for target in rows.keys.sorted() { publish(["type": "target", "row": row(target)]) }
  }

  /// Another instance gathers, or nobody does: what this one knew is old.
  package func standBy(_ detail: String) {
    standby = detail
    rows = rows.mapValues { _ in Row() }
    episodes = [:]
    for target in rows.keys.sorted() { publish(["type": "target", "row": row(target)]) }
  }

  /// Forgets targets that are no longer monitored.
  /// - Parameter refused: targets that are there but cannot be used, with the reason: they keep a row.
  package func keep(only targets: Set<String>, refused: [String: String] = [:]) {
    let gone = rows.keys.filter { !targets.contains($0) && refused[$0] == nil }
    for target in gone {
      rows[target] = nil
      publish(["type": "gone", "target": .string(target)])
    }
    for target in targets where rows[target] == nil { rows[target] = Row() }
    let before = refusals
    refusals = refused
    // What was known of a target ends where its document is refused, and begins anew where that is mended.
    for target in Set(before.keys).union(refused.keys).sorted() where before[target] != refused[target] {
      guard refused[target] != nil || targets.contains(target) else { continue }
      rows[target] = Row()
      publish(["type": "target", "row": row(target)])
    }
  }

  /// All rows in the order of their names.
  package func fleet() -> [Value] { rows.keys.sorted().map(row) }

  package func state(of target: String) -> String {
    refusals[target] != nil ? "refused" : rows[target]?.state ?? "unknown"
  }

  package func openEpisodes() -> [Episode] { episodes.values.sorted { ($0.since, $0.id) < ($1.since, $1.id) } }

  /// Changes from now on. Ends when the reader stops, or at once when there are too many readers.
  package func updates() -> AsyncStream<Value> {
    let (stream, continuation) = AsyncStream.makeStream(of: Value.self, bufferingPolicy: .bufferingNewest(64))
    guard subscribers.count < Self.subscriberBound else {
      continuation.finish()
      return stream
    }
    nextID += 1
    let id = nextID
    subscribers[id] = continuation
    continuation.onTermination = { [weak self] _ in Task { await self?.leave(id) } }
    return stream
  }

  private func leave(_ id: Int) { subscribers[id] = nil }

  private func publish(_ change: Value) { for subscriber in subscribers.values { subscriber.yield(change) } }

  private func note(_ sample: Sample) {
    let target = sample.series.target
    guard standby == nil, refusals[target] == nil, var row = rows[target] else { return }
    defer { rows[target] = row }
    guard let value = sample.value else {
      row.lastError = sample.error.map { "\(sample.series.metric): \($0)" }
      return
    }
    switch sample.series.metric {
    case "Connection":
      let state = value["state"]?.text ?? "unknown"
      if state != row.state {
        row.stateSince = sample.at
        row.state = state
      }
      row.attempt = value["attempt"]?.integer ?? 0
      row.latency = value["latency_ms"]?.number
      if state == "connected" {
        row.detail = nil
        row.lastError = nil
      } else if let error = value["error"]?.text {
        row.detail = error
        row.lastError = error
      }
    case "Host":
      row.uptime = value["uptime_seconds"]?.number
    default:
      row.lastSample = sample.at
      guard let vital = Self.vitals.first(where: { $0.metric == sample.series.metric }) else { return }
      if vital.name == "cpu" { row.load = value["load1"]?.number }
      let percent: Double?
      if let mounts = value.elements {
        // Of the disks the fullest counts.
        let fullest = mounts.compactMap { mount in mount["percent"]?.number.map { ($0, mount["mount"]?.text) } }
          .max { $0.0 < $1.0 }
        row.fullest = fullest?.1
        percent = fullest?.0
      } else {
        percent = value["percent"]?.number
      }
      guard let percent, percent.isFinite else { return }
      row.vitals[vital.name] = percent
      var recent = row.recent[vital.name] ?? []
      recent.append((percent * 10).rounded() / 10)
      if recent.count > Self.recentBound { recent.removeFirst() }
      row.recent[vital.name] = recent
    }
  }

  private func row(_ target: String) -> Value {
    guard let row = rows[target] else { return ["target": .string(target), "state": "unknown"] }
    let open = episodes.values.filter { $0.key.target == target && $0.state == .firing }.sorted { $0.since < $1.since }
    if let refusal = refusals[target] {
      var fields: [String: Value] = [
        "target": .string(target), "state": "refused", "detail": .string("refused: \(refusal)"), "recent": [:],
        "firing": .int(Int64(open.count)), "episodes": .array(open.prefix(20).map(EpisodeDocument.value)),
      ]
      if let worst = open.map(\.severity).max() { fields["severity"] = .string(worst.rawValue) }
      return .object(fields)
    }
    if let standby {
      return [
        "target": .string(target), "state": "standby", "detail": .string(standby), "firing": 0, "recent": [:],
        "episodes": [],
      ]
    }
    var fields: [String: Value] = ["target": .string(target), "state": .string(row.state)]
    if let detail = row.detail { fields["detail"] = .string(detail) }
    if let since = row.stateSince { fields["since"] = .date(since) }
    if let latency = row.latency { fields["latency_ms"] = .double(latency) }
    if let at = row.lastSample { fields["last_sample"] = .date(at) }
    if let error = row.lastError { fields["last_error"] = .string(error) }
    if let load = row.load { fields["load1"] = .double(load) }
    if let uptime = row.uptime { fields["uptime_seconds"] = .double(uptime) }
    if let fullest = row.fullest { fields["disk_mount"] = .string(fullest) }
    for (name, percent) in row.vitals { fields[name] = .double(percent) }
    fields["recent"] = .object(row.recent.mapValues { .array($0.map(Value.double)) })
    fields["firing"] = .int(Int64(open.count))
    if let worst = open.map(\.severity).max() { fields["severity"] = .string(worst.rawValue) }
    fields["episodes"] = .array(open.prefix(20).map(EpisodeDocument.value))
    return .object(fields)
  }
}
