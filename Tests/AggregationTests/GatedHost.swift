internal import Remote

/// A host whose answers to single questions can be held back, for what ``ScriptedHost`` can only do as a whole.
actor GatedHost: Remote, Connector {
  private var held: Set<Question> = []
  private var waiting: [AsyncStream<Void>.Continuation] = []
  private var failure: RemoteError?
  private let script: @Sendable (Question) -> Answer
  /// Every `ask` in order.
  private(set) var asked: [[Question]] = []
  private(set) var isClosed = false

  init(_ script: @escaping @Sendable (Question) -> Answer = { .content(Array("\($0)".utf8), isTruncated: false) }) {
    self.script = script
  }

  func hold(_ question: Question) { held.insert(question) }

  func release() {
    held = []
    wake()
  }

  func fail(_ error: RemoteError) {
    failure = error
    wake()
  }

  func connect() async throws(RemoteError) -> any Remote { self }

  func ask(_ questions: [Question]) async throws(RemoteError) -> [Answer] {
    asked.append(questions)
    while questions.contains(where: held.contains), failure == nil, !Task.isCancelled { await change() }
    if let failure { throw failure }
    return questions.map(script)
  }

  func run(_ command: Command) async throws(RemoteError) -> CommandResult { CommandResult(status: 0) }

  var facts: ConnectionFacts { ConnectionFacts() }

  func ended() async -> RemoteError? {
    while !isClosed, !Task.isCancelled { await change() }
    return nil
  }

  func close() async {
    isClosed = true
    wake()
  }

  private func change() async {
    let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
    waiting.append(continuation)
    for await _ in stream { return }
  }

  private func wake() {
    for continuation in waiting { continuation.finish() }
    waiting = []
  }
}
