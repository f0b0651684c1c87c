internal import CMongoC
internal import Glibc
internal import Logging
internal import Model
internal import Threads

/// Follows a change stream over the four collections, on a thread and a client of its own.
///
/// It goes on where it was after every interruption, and is opened anew with growing pauses. Where the deployment has no
/// change streams it ends, and the documents are looked at by the clock.
final class DocumentWatcher: Sendable {
  /// How long the server waits for the next event; so long `stop()` may take.
  static let maxAwaitMilliseconds: Int32 = 500
  static let pauses: ClosedRange<Duration> = .milliseconds(200)...Duration.seconds(5)

  private struct State {
    var isStopped = false
    /// No thread was started yet, or it has ended.
    var isOver = true
    var waiters: [CheckedContinuation<Void, Never>] = []
  }

  private enum End { case stopped, unsupported, failed(MongoFailure) }

  private let pool: MongoPool
  /// Weakly held by nobody else: the changes own the watcher and stop it.
  private let changes: DocumentChanges
  private let logger: Logger
  private let state = Condition(State())

  init(pool: MongoPool, changes: DocumentChanges, logger: Logger) {
    self.pool = pool
    self.changes = changes
    self.logger = logger
  }

  func start() {
    let mayStart: Bool = state.withLock { state in
      guard !state.isStopped else { return false }
      state.isOver = false
      return true
    }
    guard mayStart else { return }
    do {
      try OSThread(named: "mongo-watch") { [self] in
        run()
        ended()
      }.detach()
    } catch {
      logger.warning("documents are watched by the clock", metadata: ["error": "\(error)"])
      ended()
    }
  }

  /// Returns when the thread has ended and its client is back.
  func stop() async {
    await withCheckedContinuation { continuation in
      var isOver = false
      state.changeForAll { state in
        state.isStopped = true
        isOver = state.isOver
        if !isOver { state.waiters.append(continuation) }
      }
      if isOver { continuation.resume() }
    }
  }

  private func ended() {
    var woken: [CheckedContinuation<Void, Never>] = []
    state.changeForAll { state in
      state.isOver = true
      woken = state.waiters
      state.waiters = []
    }
    for waiter in woken { waiter.resume() }
  }

  private var isStopped: Bool { state.withLock { $0.isStopped } }

  // MARK: The thread

  private func run() {
    let client = pool.lend()
    defer { pool.giveBack(client) }
    let connection = MongoConnection(client: client, database: pool.address.database)
    var token: BSON?
    var pause = Self.pauses.lowerBound
    while !isStopped {
      do {
        try pool.prepared(connection)
      } catch {
        wait(pause)
        pause = min(pause * 2, Self.pauses.upperBound)
        continue
      }
      let before = token
      let end = watch(client, &token)
      changes.watching(false)
      switch end {
      case .stopped: return
      case .unsupported:
        logger.info("this deployment has no change streams; documents are looked at by the clock")
        return
      case .failed(let failure):
        logger.debug(
          "the change stream ended and is opened anew",
          metadata: ["error": "\(failure.message)", "error.code": "\(failure.code)"])
        // 286 and 280: the token is too old or of another history; everything is looked at anyway.
        if failure.isServer, failure.code == 286 || failure.code == 280 || failure.code == 260 { token = nil }
        pause = token != before ? Self.pauses.lowerBound : min(pause * 2, Self.pauses.upperBound)
        wait(pause)
      }
    }
  }

  /// Follows one stream until it ends.
  private func watch(_ client: OpaquePointer, _ token: inout BSON?) -> End {
    let options = BSON { writer in
      writer.int("maxAwaitTimeMS", Int64(Self.maxAwaitMilliseconds))
      if let token { writer.raw("resumeAfter", token) }
    }
    let stream = Self.pipeline.bytes.withUnsafeBufferPointer { stages in
      options.bytes.withUnsafeBufferPointer { settings in
        syscrap_watch(
          client, pool.address.database, stages.baseAddress, stages.count, settings.baseAddress, settings.count)
      }
    }
    guard let stream else { return .failed(MongoFailure(code: 0, message: "no change stream could be made")) }
    defer { mongoc_change_stream_destroy(stream) }
    var isOpen = false
    while !isStopped {
      var bytes: UnsafePointer<UInt8>?
      var length: UInt32 = 0
      var error = bson_error_t()
      let result = syscrap_next_event(stream, &bytes, &length, &error)
      guard result >= 0 else {
        let reply = bytes.map { BSON(trusted: Array(UnsafeBufferPointer(start: $0, count: Int(length)))) }
        let failure = MongoFailure(&error, reply: reply)
        return failure.isUnsupported ? .unsupported : .failed(failure)
      }
      var tokenLength: UInt32 = 0
      if let position = syscrap_resume_token(stream, &tokenLength) {
        token = BSON(trusted: Array(UnsafeBufferPointer(start: position, count: Int(tokenLength))))
      }
      if !isOpen {
        isOpen = true
        changes.watching(true)
      }
      if result == 1, let bytes {
        let event = BSON(trusted: Array(UnsafeBufferPointer(start: bytes, count: Int(length))))
        if Self.counts(event) { changes.markDirty() }
      }
    }
    return .stopped
  }

  /// Sleeps, but not beyond `stop()`: in steps, as a condition has no time-out.
  private func wait(_ duration: Duration) {
    let end = ContinuousClock.now + duration
    while !isStopped, ContinuousClock.now < end { usleep(50_000) }
  }

  /// The four collections; what is dropped or renamed counts whatever it is.
  private static let pipeline = BSON { writer in
    writer.array("pipeline") {
      $0.document {
        $0.document("$match") {
          $0.array("$or") {
            $0.document { $0.document("ns.coll") { $0.strings("$in", Schema.documentCollections) } }
            $0.document {
              $0.document("operationType") { $0.strings("$in", ["drop", "rename", "dropDatabase", "invalidate"]) }
            }
          }
        }
      }
    }
  }

  /// Whether an event can be of interest: updates that only write what the service finds out are not.
  static func counts(_ event: BSON) -> Bool {
    guard event["operationType"]?.stringValue == "update",
      let description = event["updateDescription"]?.documentValue,
      let updated = description["updatedFields"]?.documentValue, !updated.isEmpty
    else { return true }
    for list in ["removedFields", "truncatedArrays"] {
      if let there = description[list]?.arrayValue, !there.isEmpty { return true }
    }
    var counts = false
    do {
      try updated.forEach { path, _ in
        let field = String(path.prefix { $0 != "." })
        if !Document.serviceFields.contains(field) { counts = true }
      }
    } catch {
      return true
    }
    return counts
  }
}
