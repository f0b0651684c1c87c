/// What the outside can ask of the running service: the Gateway speaks HTTP, App fulfils this.
///
/// Answers are values in the shapes of documents.md, ready to be written as JSON.
package protocol Operations: Sendable {
  /// Documents and other objects: `kind` is a collection, its singular or an alias (`targets`, `reaction`, `aggregations`,
  /// `notifications`, `episodes`, `problems`). Newest first for what grows.
  func get(kind: String, name: String?, labels: [String: String], limit: Int) async throws(OperationError) -> [Value]
  /// Upserts documents (`kind` and `_id` inside). Each is stored or refused by itself; the report says which and why.
  func apply(_ documents: [Value], dryRun: Bool) async throws(OperationError) -> ApplyReport
  func delete(kind: String, name: String, dryRun: Bool) async throws(OperationError)
  /// Everything known of one thing: `kind` is target, reaction or notification.
  func describe(kind: String, name: String) async throws(OperationError) -> Value
  /// The live supervision tree, in TreeNode's shape.
  func tree() async -> Value
  /// A target's touch budget and what was used of it in the last hour.
  func touch(target: String) async throws(OperationError) -> Value
  /// One row a target: states, vitals with recent values, open episodes, problems.
  func fleet() async throws(OperationError) -> Value
  /// Samples of one metric, oldest first.
  func history(_ request: HistoryRequest) async throws(OperationError) -> [Value]
  /// Runs a command over the target's shared connection. Denied unless the configuration allows it.
  func exec(target: String, arguments: [String]) async throws(OperationError) -> ExecReport
  /// What the target's account lacks and what it may do beyond what is used, found out over its shared connection:
  /// `{target, user, account, missing: [{metrics, what, reason}], excess: [{what, remedy}], unknown: […]}`.
  func privileges(target: String) async throws(OperationError) -> Value
  /// Sends a test message by one notification_options document and waits for its end.
  func notifyTest(option: String) async throws(OperationError) -> Value
  func queueRetry(id: String) async throws(OperationError)
  func queueDrop(id: String, reason: String) async throws(OperationError)
  /// `{status, checks: {store, queue, workers}}`; ready when every check is `ok`.
  func readiness() async -> (isReady: Bool, report: Value)
  /// Whether the process is alive and its tree is being worked on.
  func isAlive() async -> Bool
  /// The service's own figures in the Prometheus text exposition format.
  func metricsText() async -> String
  /// Asks for a reload of the configuration and documents.
  func reload() async throws(OperationError) -> Value
  /// Changes as they happen, for the page: each a fleet row or an episode. Bounded: a slow reader misses old ones.
  func updates() async -> AsyncStream<Value>
}

package struct ApplyReport: Sendable, Hashable {
  package struct Item: Sendable, Hashable {
    package var kind: String
    package var id: String
    /// `created`, `changed`, `unchanged`, `refused`.
    package var outcome: String
    package init(kind: String, id: String, outcome: String) {
      self.kind = kind
      self.id = id
      self.outcome = outcome
    }
  }
  package var items: [Item]
  package var problems: [Problem]
  package init(items: [Item] = [], problems: [Problem] = []) {
    self.items = items
    self.problems = problems
  }
}

package struct ExecReport: Sendable, Hashable {
  package var status: Int
  package var signal: String?
  package var output: [UInt8]
  package var errors: [UInt8]
  package var isTruncated: Bool
  package init(status: Int, signal: String?, output: [UInt8], errors: [UInt8], isTruncated: Bool) {
    self.status = status
    self.signal = signal
    self.output = output
    self.errors = errors
    self.isTruncated = isTruncated
  }
}

/// Why an operation was not done; each code has one exit code and one HTTP status.
package struct OperationError: Error, Sendable, Hashable, CustomStringConvertible {
  package enum Code: String, Sendable, Hashable, Codable {
    /// Exit 1, HTTP 500.
    case failed
    /// Exit 2, HTTP 400.
    case usage
    /// Exit 3, HTTP 404.
    case notFound
    /// Exit 5, HTTP 403.
    case denied
    /// Exit 6, HTTP 502.
    case unreachable
    /// Exit 1, HTTP 422: documents were refused; see `problems`.
    case refused
  }
  package var code: Code
  package var message: String
  package var problems: [Problem]
  package init(_ code: Code, _ message: String, problems: [Problem] = []) {
    self.code = code
    self.message = message
    self.problems = problems
  }
  package var description: String { message }
}
