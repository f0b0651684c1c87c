internal import Logging
internal import Storage
internal import Threads

/// Knows whether documents changed, whoever changed them.
///
/// A change stream says when to look; without one it is looked every ``pollInterval``. What is looked at is the
/// documents' digest: the revision grows only when that has changed.
final class DocumentChanges: Sendable {
  /// Without a change stream: how old the digest may be.
  static let pollInterval: Duration = .seconds(2)
  /// With one: it is looked all the same, should an event ever be missed.
  static let longestTrust: Duration = .seconds(60)

  private struct State {
    var revision: Int64 = 0
    var digest: Int?
    /// Grows with everything that may have changed documents.
    var mark: UInt64 = 1
    /// The mark up to which the digest counts.
    var seen: UInt64 = 0
    var lookedAt: ContinuousClock.Instant?
    var looks: UInt64 = 0
    var lastLook: UInt64 = 0
    var isWatching = false
    /// A stream was open once, and that was said.
    var hasWatched = false
    var isClosed = false
    var watcher: DocumentWatcher?
  }

  private enum Need: Sendable { case nothing(Int64), look(number: UInt64, mark: UInt64) }

  private let pool: MongoPool
  private let logger: Logger
  private let state = Locked(State())

  init(pool: MongoPool, logger: Logger) {
    self.pool = pool
    self.logger = logger
  }

  /// Documents may have changed.
  func markDirty() { state.withLock { $0.mark += 1 } }

  /// Whether a change stream is open now.
  var isWatching: Bool { state.withLock { $0.isWatching } }

  /// The watcher begins or ends; between the two something may have been missed.
  func watching(_ isWatching: Bool) {
    let isFirst = state.withLock { state in
      state.isWatching = isWatching
      state.mark += 1
      defer { if isWatching { state.hasWatched = true } }
      return isWatching && !state.hasWatched
    }
    if isFirst { logger.info("documents are followed through a change stream") }
  }

  func revision() async throws(StorageError) -> Int64 {
    startWatcher()
    let now = ContinuousClock.now
    let need: Need = state.withLock { state in
      let trust = state.isWatching ? Self.longestTrust : Self.pollInterval
      if state.seen == state.mark, let lookedAt = state.lookedAt, now - lookedAt < trust {
        return .nothing(state.revision)
      }
      state.looks += 1
      return .look(number: state.looks, mark: state.mark)
    }
    guard case .look(let number, let mark) = need else {
      guard case .nothing(let revision) = need else { return 0 }
      return revision
    }
    let digest = try await pool.run("reading the documents' revision") { try DocumentDigest.read($0) }
    return state.withLock { state in
      // Of two that looked at once the later one counts.
      guard number > state.lastLook else { return state.revision }
      state.lastLook = number
      state.seen = max(state.seen, mark)
      state.lookedAt = now
      if state.digest != digest {
        state.digest = digest
        state.revision += 1
      }
      return state.revision
    }
  }

  /// At the first question: a store that nobody asks needs no watcher.
  private func startWatcher() {
    let isNew: Bool = state.withLock { state in
      guard state.watcher == nil, !state.isClosed else { return false }
      state.watcher = DocumentWatcher(pool: pool, changes: self, logger: logger)
      return true
    }
    if isNew { state.withLock { $0.watcher }?.start() }
  }

  func close() async {
    let watcher: DocumentWatcher? = state.withLock { state in
      state.isClosed = true
      defer { state.watcher = nil }
      return state.watcher
    }
    await watcher?.stop()
  }
}
