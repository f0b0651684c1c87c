internal import CMongoC
internal import Logging
internal import Storage
internal import Threads

/// A few threads with a client each, for calls that wait on the network.
///
/// A client is popped once by its thread and pushed back when the thread ends; nobody else ever has it.
final class MongoPool: Sendable {
  /// Most calls that wait for a thread; further ones are refused as unavailable at once.
  static let queueLimit = 2048
  /// A call that waited longer for its thread is answered as unavailable without being made: while the servers are
  /// away each call holds a thread for some seconds, and those behind it must not add up.
  static let longestWait: Duration = .seconds(15)

  private struct Job: Sendable {
    var since: ContinuousClock.Instant
    var work: @Sendable (_ connection: MongoConnection?, _ isLate: Bool) -> Void
  }

  private struct State {
    var jobs: [Job] = []
    var head = 0
    var threads = 0
    var isClosed = false
    var waiters: [CheckedContinuation<Void, Never>] = []
  }

  private enum Preparation: Sendable { case none, underWay, done }

  let address: MongoAddress
  private let pool: ClientPool
  private let state = Condition(State())
  private let preparation: Condition<Preparation>
  private let repairing = Locked(false)
  private let prepare: @Sendable (MongoConnection) throws -> Void
  private let metrics = MongoMetrics()
  private let logger: Logger

  /// - Parameters:
  ///   - threads: most calls at the same time.
  ///   - prepare: what has to be done with the servers before anything else; until it has succeeded every call begins
  ///     with it.
  init(
    _ address: MongoAddress, threads: Int, logger: Logger,
    prepare: @escaping @Sendable (MongoConnection) throws -> Void
  ) throws(StorageError) {
    self.address = address
    self.logger = logger
    self.prepare = prepare
    preparation = Condition(.none)
    let count = min(max(threads, 1), 64)
    // One more for the watcher.
    pool = try ClientPool(address, size: count + 1)
    state.withLock { $0.threads = count }
    for _ in 0..<count {
      do {
        try OSThread(named: "mongo") { [self] in serve() }.detach()
      } catch {
        state.changeForAll {
          $0.threads -= 1
          $0.isClosed = true
        }
        throw StorageError(.unavailable, "opening \(address.place): \(error)")
      }
    }
  }

  /// Runs `body` on a thread of the pool with that thread's client.
  ///
  /// A call is not ended by the cancellation of its task; each command in it ends by its own time-outs.
  /// - Parameter doing: what is done, in a person's words, for the error's message.
  /// - Throws: `closed` after ``close()``, `unavailable` when too many calls wait; what `body` throws, put in the words of
  ///   stores.
  func run<Result: Sendable>(
    _ doing: String, _ body: @escaping @Sendable (MongoConnection) throws -> Result
  ) async throws(StorageError) -> Result {
    let result: Swift.Result<Result, StorageError> = await withCheckedContinuation { continuation in
      let job = Job(since: .now) { [self] connection, isLate in
        continuation.resume(returning: outcome(doing, connection, isLate: isLate, body))
      }
      var refusal: StorageError?
      state.change { state in
        if state.isClosed {
          refusal = StorageError(.closed, "\(doing): the store \(address.place) is closed")
        } else if state.jobs.count - state.head >= Self.queueLimit {
          refusal = StorageError(.unavailable, "\(doing) in \(address.place): \(Self.queueLimit) calls wait already")
        } else {
          state.jobs.append(job)
        }
        return refusal == nil
      }
      if let refusal {
        metrics.refused()
        continuation.resume(returning: .failure(refusal))
      }
    }
    return try result.get()
  }

  /// As ``run(_:_:)`` for several requests at once, of which each has its own outcome.
  func group<Request, Answer: Sendable>(
    _ doing: String, _ requests: [Request],
    _ body: @escaping @Sendable (MongoConnection, String) throws -> [Swift.Result<Answer, StorageError>]
  ) async -> [Swift.Result<Answer, StorageError>] {
    do throws(StorageError) {
      let outcomes = try await run(doing) { try body($0, doing) }
      for case .failure(let error) in outcomes { metrics.errors(error.code.rawValue) }
      return outcomes
    } catch {
      return requests.map { _ in .failure(error) }
    }
  }

  private func outcome<Result>(
    _ doing: String, _ connection: MongoConnection?, isLate: Bool, _ body: (MongoConnection) throws -> Result
  ) -> Swift.Result<Result, StorageError> {
    guard let connection, !isLate else {
      metrics.refused()
      return .failure(
        StorageError(
          .unavailable, "\(doing) in \(address.place): no turn within \(Self.longestWait); the database is too slow"))
    }
    do {
      try prepared(connection)
      do {
        return .success(try body(connection))
      } catch let failure as MongoFailure where failure.isNoSuchIndex {
        try repair(connection, failure)
        return .success(try body(connection))
      }
    } catch {
      let failure = Self.storageError(error, doing: doing, address)
      metrics.errors(failure.code.rawValue)
      return .failure(failure)
    }
  }

  static func storageError(_ error: any Error, doing: String, _ address: MongoAddress) -> StorageError {
    let place = address.place
    return switch error {
    case let error as StorageError: error
    case let failure as MongoFailure: failure.storageError(doing: doing, place: place, replicaSet: address.replicaSet)
    case is BSONError, is DecodingError, is EncodingError:
      StorageError(.corrupt, "\(doing) in \(place): a document cannot be read: \(error)")
    default: StorageError(.internalError, "\(doing) in \(place): \(error)")
    }
  }

  /// Waits for the calls that wait or are under way, then gives the clients back. Everything after it throws `closed`.
  func close() async {
    await withCheckedContinuation { continuation in
      var isOver = false
      state.changeForAll { state in
        state.isClosed = true
        isOver = state.threads == 0
        if !isOver { state.waiters.append(continuation) }
      }
      if isOver { continuation.resume() }
    }
  }

  // MARK: The threads

  private func serve() {
    // Popping makes no connection; it never waits, as there is one client for each thread.
    let client = pool.pop()
    let connection = MongoConnection(client: client, database: address.database)
    while true {
      let job: Job? = state.wait { state -> Job?? in
        if state.head < state.jobs.count {
          let job = state.jobs[state.head]
          state.head += 1
          if state.head == state.jobs.count {
            state.jobs = []
            state.head = 0
          } else if state.head > 64 && state.head * 2 > state.jobs.count {
            state.jobs.removeFirst(state.head)
            state.head = 0
          }
          return .some(job)
        }
        return state.isClosed ? .some(nil) : nil
      }
      guard let job else { break }
      job.work(connection, ContinuousClock.now - job.since > Self.longestWait)
    }
    pool.push(client)
    var woken: [CheckedContinuation<Void, Never>] = []
    state.changeForAll { state in
      state.threads -= 1
      if state.threads == 0 {
        woken = state.waiters
        state.waiters = []
      }
    }
    for waiter in woken { waiter.resume() }
  }

  /// A client for a thread that is not one of the pool's, such as the watcher's; `giveBack` has to follow.
  func lend() -> OpaquePointer { pool.pop() }
  func giveBack(_ client: OpaquePointer) { pool.push(client) }

  /// One thread prepares, others wait for it: its commands are bounded in time, so this is too.
  func prepared(_ connection: MongoConnection) throws {
    let isMine: Bool = preparation.wait { state in
      switch state {
      case .done: return false
      case .underWay: return nil
      case .none:
        state = .underWay
        return true
      }
    }
    guard isMine else { return }
    do {
      try prepare(connection)
      preparation.changeForAll { $0 = .done }
    } catch {
      preparation.changeForAll { $0 = .none }
      throw error
    }
  }

  /// Makes again what somebody dropped: an index, or a collection with all of its own. Only the call that missed it waits
  /// for that, which may be long; all others go on, and those that miss it meanwhile fail.
  private func repair(_ connection: MongoConnection, _ failure: MongoFailure) throws {
    let isMine = repairing.withLock { isUnderWay in
      defer { isUnderWay = true }
      return !isUnderWay
    }
    guard isMine else { throw failure }
    defer { repairing.withLock { $0 = false } }
    logger.warning("an index of the store is gone; it is made again", metadata: ["error": "\(failure)"])
    try prepare(connection)
  }

  var isPrepared: Bool { preparation.withLock { if case .done = $0 { true } else { false } } }
}

/// libmongoc's pool; destroyed with its last holder, when every client is back.
private final class ClientPool: @unchecked Sendable {
  // Sendable is true: libmongoc's pool may be used from any thread, and the pointer never changes.
  private let pointer: OpaquePointer

  init(_ address: MongoAddress, size: Int) throws(StorageError) {
    guard let pointer = mongoc_client_pool_new(address.pointer) else {
      throw StorageError(.corrupt, "\(address.place): these settings cannot be used together; see the log")
    }
    mongoc_client_pool_set_error_api(pointer, MONGOC_ERROR_API_VERSION_2)
    mongoc_client_pool_max_size(pointer, UInt32(size))
    self.pointer = pointer
  }

  deinit { mongoc_client_pool_destroy(pointer) }

  func pop() -> OpaquePointer { mongoc_client_pool_pop(pointer) }
  func push(_ client: OpaquePointer) { mongoc_client_pool_push(pointer, client) }
}
