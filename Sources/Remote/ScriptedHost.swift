/// A host that exists only as a script, for tests of whatever asks hosts.
///
/// It makes connections (``Connector``) and is itself one (``Remote``): used directly, it stands for its latest
/// connection. It records what it is asked, can refuse connections, fall silent until released, and end a connection.
/// Time does not pass in it: deadlines of questions are recorded with them, and never expire by themselves.
package actor ScriptedHost: Connector, Remote {
  /// Answers one question. `nil`: this question is not in the script.
  package typealias Script = @Sendable (Question) -> Answer?

  /// Every batch that was asked, oldest first. A ``run(_:)`` is a batch of one. At most ``recordLimit``; then the
  /// oldest half is forgotten.
  package private(set) var asked: [[Question]] = []
  /// Connections made so far, refused ones not counted.
  package private(set) var connections = 0
  /// Calls of ``connect()`` so far, refused ones included.
  package private(set) var attempts = 0
  /// What ``Remote/facts`` tells.
  package var facts: ConnectionFacts

  /// Most batches kept in ``asked``.
  package static let recordLimit = 10_000

  private var script: Script
  private var table: [Question: Answer] = [:]
  private var refusals: [RemoteError] = []
  private var refusesAlways: RemoteError?
  private var failures: [RemoteError] = []
  private var isSilent = false
  /// Batches asked and connections tried, counted for ever, for those who wait for them.
  private var batches = 0
  private var ends: [Int: RemoteError?] = [:]
  /// Callers that sleep until something here changes. One entry a caller, so bounded by the test's own tasks.
  private var sleepers: [Int: CheckedContinuation<Void, Never>] = [:]
  private var nextSleeper = 0

  /// - Parameters:
  ///   - answers: asked first.
  ///   - script: asked about what is not in `answers`.
  package init(
    _ answers: [Question: Answer] = [:], facts: ConnectionFacts = ConnectionFacts(address: "scripted"),
    script: @escaping Script = { _ in nil }
  ) {
    table = answers
    self.facts = facts
    self.script = script
  }

  // MARK: - What the test does

  /// Sets the answer to one question from now on; `nil` takes it out of the table.
  package func answer(_ question: Question, _ answer: Answer?) { table[question] = answer }

  /// Sets the answer to reading one small file, whatever the limit, from now on.
  package func file(_ path: String, _ text: String) {
    let next = script
    script = { question in
      guard case .read(path, let limit) = question else { return next(question) }
      let bytes = Array(text.utf8)
      return .content(Array(bytes.prefix(limit)), isTruncated: bytes.count > limit)
    }
  }

  /// Replaces what is asked about questions that are not in the table.
  package func script(_ script: @escaping Script) { self.script = script }

  /// The next `times` connections are refused.
  package func refuse(_ error: RemoteError, times: Int = 1) {
    refusals.append(contentsOf: Array(repeating: error, count: max(0, times)))
  }

  /// All connections are refused until ``accept()``.
  package func refuseAll(_ error: RemoteError) { refusesAlways = error }

  /// Connections are made again.
  package func accept() {
    refusesAlways = nil
    refusals = []
  }

  /// The next call of ``ask(_:)`` or ``run(_:)`` throws; the connection goes on.
  package func failNext(_ error: RemoteError) { failures.append(error) }

  /// From now on nothing is answered and no connection made, until ``release()``. Questions are recorded all the same.
  package func hang() { isSilent = true }

  /// Answers all that hang, and all that is asked from now on.
  package func release() {
    isSilent = false
    wake()
  }

  /// Ends the latest connection: what hangs on it throws, and ``Remote/ended()`` returns `error`.
  package func end(_ error: RemoteError? = RemoteError(.lost, phase: .connection, "The connection was lost.")) {
    end(generation: connections, error)
  }

  /// Returns once this many batches were asked since the beginning, or when the task is cancelled.
  package func asked(atLeast count: Int) async {
    while batches < count, !Task.isCancelled { await sleep() }
  }

  /// Returns once ``connect()`` was called this often, or when the task is cancelled.
  package func attempts(atLeast count: Int) async {
    while attempts < count, !Task.isCancelled { await sleep() }
  }

  // MARK: - Connector

  package func connect() async throws(RemoteError) -> any Remote {
    attempts += 1
    wake()
    while isSilent {
      guard !Task.isCancelled else { throw Self.cancelled(.connect) }
      await sleep()
    }
    if let refusesAlways { throw refusesAlways }
    if !refusals.isEmpty { throw refusals.removeFirst() }
    connections += 1
    return ScriptedConnection(host: self, generation: connections)
  }

  // MARK: - Remote, for the latest connection

  package func ask(_ questions: [Question]) async throws(RemoteError) -> [Answer] {
    try await ask(questions, generation: connections)
  }

  package func run(_ command: Command) async throws(RemoteError) -> CommandResult {
    try await run(command, generation: connections)
  }

  package func ended() async -> RemoteError? { await ended(generation: connections) }

  package func close() async { end(generation: connections, nil) }

  // MARK: - For each connection

  fileprivate func ask(_ questions: [Question], generation: Int) async throws(RemoteError) -> [Answer] {
    try check(generation)
    if asked.count >= Self.recordLimit { asked.removeFirst(Self.recordLimit / 2) }
    asked.append(questions)
    batches += 1
    wake()
    while isSilent {
      guard !Task.isCancelled else { throw Self.cancelled(.command) }
      await sleep()
      try check(generation)
    }
    if !failures.isEmpty { throw failures.removeFirst() }
    return questions.map { question in
      table[question] ?? script(question)
        ?? .failed(RemoteError(.invalidCommand, phase: .command, "This question is not in the script: \(question)"))
    }
  }

  fileprivate func run(_ command: Command, generation: Int) async throws(RemoteError) -> CommandResult {
    switch try await ask([.run(command)], generation: generation).first {
    case .result(let result): return result
    case .content(let bytes, let isTruncated):
      return CommandResult(status: 0, output: bytes, isTruncated: isTruncated)
    case .failed(let error): throw error
    case nil: throw RemoteError(.protocolError, phase: .command, "No answer came.")
    }
  }

  fileprivate func ended(generation: Int) async -> RemoteError? {
    while true {
      if let reason = ends[generation] { return reason }
      if Task.isCancelled { return nil }
      await sleep()
    }
  }

  fileprivate func end(generation: Int, _ error: RemoteError?) {
    guard ends[generation] == nil else { return }
    ends.updateValue(error, forKey: generation)
    wake()
  }

  private func check(_ generation: Int) throws(RemoteError) {
    guard let reason = ends[generation] else { return }
    throw reason ?? RemoteError(.closed, phase: .connection, "The connection was closed.")
  }

  // MARK: - Waiting

  /// Returns after the next change, or when the task is cancelled.
  private func sleep() async {
    let number = nextSleeper
    nextSleeper += 1
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        if Task.isCancelled {
          continuation.resume()
        } else {
          sleepers[number] = continuation
        }
      }
    } onCancel: {
      Task { await self.wake(number) }
    }
  }

  private func wake(_ number: Int) { sleepers.removeValue(forKey: number)?.resume() }

  private func wake() {
    let woken = sleepers.values
    sleepers = [:]
    for continuation in woken { continuation.resume() }
  }

  private static func cancelled(_ phase: RemoteError.Phase) -> RemoteError {
    RemoteError(.closed, phase: phase, "Cancelled.")
  }
}

/// One connection to a ``ScriptedHost``. It ends with its own end, not with that of a later one.
private struct ScriptedConnection: Remote {
  let host: ScriptedHost
  let generation: Int

  func ask(_ questions: [Question]) async throws(RemoteError) -> [Answer] {
    try await host.ask(questions, generation: generation)
  }

  func run(_ command: Command) async throws(RemoteError) -> CommandResult {
    try await host.run(command, generation: generation)
  }

  var facts: ConnectionFacts { get async { await host.facts } }

  func ended() async -> RemoteError? { await host.ended(generation: generation) }

  func close() async { await host.end(generation: generation, nil) }
}
