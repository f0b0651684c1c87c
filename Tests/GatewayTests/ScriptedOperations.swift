internal import Model
internal import TestKit

/// Answers from a script and notes what it was asked.
actor ScriptedOperations: Operations {
  let asked = EventLog<String>()
  /// `open` when somebody starts to follow the updates, `closed` when that has ended.
  let following = EventLog<String>()
  private var rows: Value = []
  private var error: OperationError?
  private var alive = true
  private var ready = true
  private var followers: [Int: AsyncStream<Value>.Continuation] = [:]
  private var nextFollower = 0
  private var gate: EventLog<Void>?

  func script(
    rows: Value? = nil, error: OperationError? = nil, alive: Bool = true, ready: Bool = true,
    gate: EventLog<Void>? = nil
  ) {
    if let rows { self.rows = rows }
    (self.error, self.alive, self.ready, self.gate) = (error, alive, ready, gate)
  }

  func publish(_ change: Value) { for follower in followers.values { follower.yield(change) } }

  func finishUpdates() { for follower in followers.values { follower.finish() } }

  private func note(_ text: String) throws(OperationError) {
    asked.append(text)
    if let error { throw error }
  }

  func get(kind: String, name: String?, labels: [String: String], limit: Int) async throws(OperationError) -> [Value] {
    let shown = labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
    try note("get \(kind) \(name ?? "-") [\(shown)] \(limit)")
    return [["kind": .string(kind), "_id": .string(name ?? "all")]]
  }

  func apply(_ documents: [Value], dryRun: Bool) async throws(OperationError) -> ApplyReport {
    try note("apply \(documents.count) \(dryRun)")
    return ApplyReport(
      items: [.init(kind: "targets", id: "a", outcome: "created")],
      problems: [Problem(.warning, kind: "targets", id: "a", path: "host", reason: "odd", hint: "mend it", line: 3)])
  }

  func delete(kind: String, name: String, dryRun: Bool) async throws(OperationError) {
    try note("delete \(kind) \(name) \(dryRun)")
  }

  func describe(kind: String, name: String) async throws(OperationError) -> Value {
    try note("describe \(kind) \(name)")
    return ["name": .string(name)]
  }

  func touch(target: String) async throws(OperationError) -> Value {
    try note("touch \(target)")
    return ["target": .string(target)]
  }

  func tree() async -> Value {
    asked.append("tree")
    return ["name": "Root", "children": []]
  }

  func fleet() async throws(OperationError) -> Value {
    try note("fleet")
    // A test holds the answer back to see what happens meanwhile.
    if let gate { _ = try? await gate.first(within: .seconds(30)) }
    return rows
  }

  func history(_ request: HistoryRequest) async throws(OperationError) -> [Value] {
    let until = request.until.map { " until \($0)" } ?? ""
    try note(
      "history \(request.target) \(request.metric) \(request.name ?? "-") \(request.type ?? "-") \(request.since)\(until) \(request.limit)"
    )
    return [["updated": "2026-11-21T08:00:00Z", "target": .string(request.target), "value": ["percent": 1.5]]]
  }

  func exec(target: String, arguments: [String]) async throws(OperationError) -> ExecReport {
    try note("exec \(target) \(arguments)")
    return ExecReport(status: 3, signal: nil, output: [0, 255], errors: Array("no".utf8), isTruncated: true)
  }

  func privileges(target: String) async throws(OperationError) -> Value {
    try note("privileges \(target)")
    return ["target": .string(target), "missing": []]
  }

  func notifyTest(option: String) async throws(OperationError) -> Value {
    try note("notify \(option)")
    return ["outcome": "delivered"]
  }

  func queueRetry(id: String) async throws(OperationError) { try note("retry \(id)") }
  func queueDrop(id: String, reason: String) async throws(OperationError) { try note("drop \(id) \(reason)") }

  func readiness() async -> (isReady: Bool, report: Value) { (ready, ["status": .string(ready ? "ok" : "not ready")]) }
  func isAlive() async -> Bool { alive }
  func metricsText() async -> String { "syscrap_up 1\n" }

  func reload() async throws(OperationError) -> Value {
    try note("reload")
    return ["outcome": "read"]
  }

  func updates() async -> AsyncStream<Value> {
    let (stream, continuation) = AsyncStream.makeStream(of: Value.self, bufferingPolicy: .bufferingNewest(64))
    nextFollower += 1
    followers[nextFollower] = continuation
    let (id, following) = (nextFollower, following)
    continuation.onTermination = { [weak self] _ in
      following.append("closed")
      Task { await self?.leave(id) }
    }
    following.append("open")
    return stream
  }

  private func leave(_ id: Int) { followers[id] = nil }
}
