package import FoundationEssentials
package import Logging
package import Model

/// A remote store with a journal on this machine before it: while the store is away, samples, episodes and messages are
/// accepted all the same and brought there later, in their order, each exactly once by its key.
///
/// As long as the store answers nothing is journaled. Once it does not, ``append(_:)`` and
/// ``record(_:queueing:)`` go to the journal's end until the journal is empty again, so that nothing overtakes; one
/// prober looks for the store's return; all other calls fail at once with `unavailable`. What decides something from the
/// store's content (open episodes, newest samples, roll-up states, fences) stays away until the journal is empty: before
/// that the store does not know everything.
///
/// What the store refuses for good is set aside, counted and logged, and holds nothing up. A sample that fails some times
/// for reasons unknown counts as refused; an episode or message waits, and everything behind it, until the store takes it.
package actor JournaledStorage {
  package struct Configuration: Sendable, Hashable {
    /// Most bytes the journal takes; above it samples are thinned.
    package var maximumBytes: Int64 = 1 << 30
    /// So much more for episodes and messages, which are never given up; beyond it they are refused as `full`.
    package var entryAllowance: Int64 = 64 << 20
    /// How long a caller waits for the store before the operation goes to the journal; the try itself goes on.
    package var patience: Duration = .seconds(3)
    /// Longest wait between two looks for the store; they begin at ``shortestPause`` and double.
    package var longestPause: Duration = .seconds(5)
    package var shortestPause: Duration = .milliseconds(250)
    /// Samples brought back in one step.
    package var batch = 4_000
    /// So often samples may fail for reasons that are neither the store's absence nor a refusal; after so many failures
    /// of an episode or message it is told that it waits.
    package var triesOfOne = 5
    /// Whether what is gathered is rolled up by a ``Recorder``: then the journal's samples come to the store by its
    /// hands, or as parcels that wait there for the recorder of the instance that gathers.
    package var isRolledUp = false
    package init() {}
  }

  enum Mode: Sendable, Hashable {
    case present, away, replaying
  }

  typealias Answer = Result<Int, StorageError>

  let configuration: Configuration
  let journal: any Journal
  let clock: any Clock<Duration>
  let now: @Sendable () -> Date
  let random: @Sendable () -> Double
  let logger: Logger
  /// Writes the end of a message that fired, see ``open(journal:configuration:clock:now:random:logger:ending:opening:)``.
  let ending: @Sendable (Episode, QueueEntry, Date) -> QueueEntry?
  /// Never optional, nor passed through generic code: this compiler spoils what such a closure returns then.
  private let opening: @Sendable () async throws(StorageError) -> any WholeStorage

  var primary: (any WholeStorage)?
  var mode = Mode.present
  var outage: StoreOutage?
  var isClosed = false
  /// The one task that probes and replays; there while the store is away or suspected of it.
  var watch: Task<Void, Never>?
  /// Counts operations that turned to the journal.
  var generation: UInt64 = 0
  /// Operations on their way into the journal.
  var journaling = 0
  var idleWaiters: [CheckedContinuation<Void, Never>] = []
  /// Writes that were given to the store and have not come back; bounded by the callers that were there before it
  /// counted as away, and in time by the store itself.
  var inFlight: [UInt64: Task<Void, Never>] = [:]
  private var waiting: [UInt64: CheckedContinuation<Answer?, Never>] = [:]
  private var nextID: UInt64 = 0
  private var presenceWaiters: [UInt64: CheckedContinuation<Void, Never>] = [:]
  var recall = EpisodeRecall()
  /// The highest fence raised through here.
  var fence: Int64 = 0
  /// The highest fence of an operation that was tried to be raised.
  var triedFence: Int64 = 0
  /// The last of the journal is on its way to the store: who comes now waits a little for its end, see
  /// ``waitForTheLast()``.
  var isAtTheLast = false
  /// The operation that fails again and again, and how often it did.
  var stuck: (sequence: Int64, tries: Int)?
  /// Why the store, which answers, does not take the oldest operation of the journal.
  var hindrance: String?
  /// Who takes in the journal's samples, see ``Configuration/isRolledUp``.
  weak var intake: Recorder?

  /// - Parameters:
  ///   - primary: the store; nil: it is opened by `opening` as soon as that succeeds.
  ///   - now: the time of day, for what people read.
  ///   - random: a number from 0 up to 1.
  init(
    _ primary: (any WholeStorage)?, opening: @escaping @Sendable () async throws(StorageError) -> any WholeStorage,
    journal: any Journal, configuration: Configuration, clock: any Clock<Duration>,
    now: @escaping @Sendable () -> Date, random: @escaping @Sendable () -> Double, logger: Logger,
    ending: @escaping @Sendable (Episode, QueueEntry, Date) -> QueueEntry?
  ) {
    self.primary = primary
    self.opening = opening
    self.journal = journal
    self.configuration = configuration
    self.clock = clock
    self.now = now
    self.random = random
    self.logger = logger
    self.ending = ending
  }

  /// Opens the store behind the journal. A store that is away is no failure: it is waited for from then on.
  ///
  /// What an earlier process left in the journal is brought to the store first; that is waited for a few seconds.
  /// - Parameter ending: from an episode, a message that it fires, and the time of day: the message that it is over, for
  ///   news that comes so late that nobody else will tell its end. nil: it needs none.
  /// - Throws: what `opening` throws, unless it is `unavailable`. The journal is closed then.
  package static func open(
    journal: any Journal, configuration: Configuration = .init(), clock: any Clock<Duration> = ContinuousClock(),
    now: @escaping @Sendable () -> Date = { Date() },
    random: @escaping @Sendable () -> Double = { Double.random(in: 0..<1) }, logger: Logger,
    ending: @escaping @Sendable (Episode, QueueEntry, Date) -> QueueEntry? = { _, _, _ in nil },
    opening: @escaping @Sendable () async throws(StorageError) -> any WholeStorage
  ) async throws(StorageError) -> JournaledStorage {
    var primary: (any WholeStorage)?
    var reason = "an earlier run left operations behind"
    do throws(StorageError) {
      primary = try await opening()
    } catch {
      guard error.code == .unavailable else {
        await journal.close()
        throw error
      }
      reason = error.message
    }
    let storage = JournaledStorage(
      primary, opening: opening, journal: journal, configuration: configuration, clock: clock, now: now,
      random: random, logger: logger, ending: ending)
    await storage.begin(reason)
    if primary != nil { await storage.whenPresent(within: .seconds(5)) }
    return storage
  }

  private func begin(_ reason: String) async {
    let size = await journal.size
    if primary != nil, size.operations == 0 { return }
    var outage = StoreOutage(since: size.oldest ?? now(), reason: reason)
    outage.samples = size.samples
    outage.entries = size.entries
    self.outage = outage
    mode = .away
    startWatch()
  }

  // MARK: What is journaled

  package func append(_ samples: [Sample]) async throws(StorageError) { _ = try await add(samples) }

  /// - Returns: whether the store has them; false: the journal has.
  func add(_ samples: [Sample]) async throws(StorageError) -> Bool {
    if samples.isEmpty { return true }
    try open()
    await waitForTheLast()
    try open()
    if mode == .present, let primary {
      switch await attempt({ () async throws(StorageError) -> Int in
        try await primary.append(samples)
        return 0
      }) {
      case .success: return true
      case .failure(let error) where error.code != .unavailable: throw error
      case .failure(let error): goAway(error.message)
      case nil: goAway(Self.overdue)
      }
    }
    try await spool(.append(samples))
    return false
  }

  /// Puts samples into the journal, unless the store is there: then nothing is done. - Returns: whether it did.
  func appendWhileAway(_ samples: [Sample]) async throws(StorageError) -> Bool {
    try open()
    if mode == .present, primary != nil { return false }
    try await spool(.append(samples))
    return true
  }

  func setIntake(_ recorder: Recorder) { intake = recorder }

  /// - Returns: how many entries were new; while the store is away, how many were handed in.
  package func record(_ episode: Episode?, queueing entries: [QueueEntry]) async throws(StorageError) -> Int {
    try open()
    await waitForTheLast()
    try open()
    var mayBeStored = false
    if mode == .present, let primary {
      let answer = await attempt { () async throws(StorageError) -> Int in
        try await primary.record(episode, queueing: entries)
      }
      switch answer {
      case .success(let count):
        recall.note(episode, entries, mayBeStored: true)
        return count
      case .failure(let error) where error.code != .unavailable: throw error
      case .failure(let error): goAway(error.message)
      case nil: goAway(Self.overdue)
      }
      mayBeStored = true
    }
    try await spool(.record(episode, entries, fence: fence))
    recall.note(episode, entries, mayBeStored: mayBeStored)
    return entries.count
  }

  /// Where the store takes longer for an operation than the next one takes to come, the journal would never be empty:
  /// what comes while its last is brought there is held up, at most for ``Configuration/patience``.
  func waitForTheLast() async {
    if mode == .replaying, isAtTheLast { await whenPresent(within: configuration.patience) }
  }

  static let overdue = "no answer in time"

  /// Gives an operation to the store. - Returns: what came of it; nil when it is not known yet after
  /// ``Configuration/patience``: it may still take effect, before anything is replayed.
  private func attempt(_ body: @escaping @Sendable () async throws(StorageError) -> Int) async -> Answer? {
    nextID += 1
    let id = nextID
    inFlight[id] = Task {
      let answer: Answer
      do throws(StorageError) {
        answer = .success(try await body())
      } catch {
        answer = .failure(error)
      }
      self.inFlight[id] = nil
      self.answered(id, answer)
    }
    let (clock, patience) = (clock, configuration.patience)
    let timer = Task {
      if (try? await clock.sleep(for: patience)) != nil { self.answered(id, nil) }
    }
    // Neither task gets a turn here before this one waits.
    let answer = await withCheckedContinuation { waiting[id] = $0 }
    timer.cancel()
    return answer
  }

  private func answered(_ id: UInt64, _ answer: Answer?) {
    waiting.removeValue(forKey: id)?.resume(returning: answer)
  }

  private func spool(_ operation: JournalOperation) async throws(StorageError) {
    // From here on the journal counts as not empty.
    generation &+= 1
    journaling += 1
    defer {
      journaling -= 1
      if journaling == 0 {
        for waiter in idleWaiters { waiter.resume() }
        idleWaiters = []
      }
    }
    try await makeRoom(for: operation)
    try await journal.append(operation, at: now())
    switch operation {
    case .append(let samples): outage?.samples += samples.count
    case .record(_, let entries, _): outage?.entries += entries.count
    }
  }

  private func makeRoom(for operation: JournalOperation) async throws(StorageError) {
    let size = await journal.size
    if size.bytes >= configuration.maximumBytes {
      try await journal.thin(
        to: configuration.maximumBytes - min(configuration.maximumBytes / 16, 4 << 20))
      let after = await journal.size
      for (kind, count) in after.dropped {
        outage?.dropped[kind, default: 0] += count - size.dropped[kind, default: 0]
      }
    }
    guard case .record = operation else { return }
    if await journal.size.bytes >= configuration.maximumBytes + configuration.entryAllowance {
      throw StorageError(
        .full, "the store is away and the journal on this machine is full; bring the store back or raise its bound")
    }
  }

  // MARK: Presence

  func open() throws(StorageError) {
    if isClosed { throw StorageError(.closed, "the store is closed") }
  }

  func goAway(_ reason: String) {
    guard mode == .present, !isClosed else { return }
    mode = .away
    outage = StoreOutage(since: now(), reason: reason)
    logger.warning("the store is away; what comes is journaled", metadata: ["error": "\(reason)"])
    startWatch()
  }

  func goPresent() {
    mode = .present
    watch = nil
    stuck = nil
    hindrance = nil
    if var ended = outage, ended.until == nil {
      ended.until = now()
      outage = ended
      logger.notice(
        "the store is back and has everything",
        metadata: [
          "outage.seconds": "\(Int64(min(max(now().timeIntervalSince(ended.since), 0), 1e12)))",
          "journal.samples": "\(ended.samples)", "journal.entries": "\(ended.entries)",
          "journal.refused": "\(ended.refused)", "journal.dropped": "\(ended.dropped.values.reduce(0, +))",
        ])
    }
    let woken = presenceWaiters
    presenceWaiters = [:]
    for waiter in woken.values { waiter.resume() }
  }

  package var status: StoreStatus {
    get async {
      let size = await journal.size
      let condition: StoreStatus.Condition =
        switch mode {
        case .present: .present
        case .away: .away
        case .replaying: .replaying
        }
      return StoreStatus(
        condition: condition, outage: outage, journal: size, hindrance: mode == .replaying ? hindrance : nil)
    }
  }

  /// Returns when the store is there and the journal empty, or when `limit` has passed.
  package func whenPresent(within limit: Duration) async {
    if mode == .present { return }
    nextID += 1
    let id = nextID
    let clock = clock
    let timer = Task {
      _ = try? await clock.sleep(for: limit)
      self.presenceWaiters.removeValue(forKey: id)?.resume()
    }
    await withCheckedContinuation { presenceWaiters[id] = $0 }
    timer.cancel()
  }

  /// Opens the store if that has not succeeded so far.
  func opened() async throws(StorageError) -> any WholeStorage {
    if let primary { return primary }
    let found = try await opening()
    if isClosed {
      await found.close()
      throw StorageError(.closed, "the store is closed")
    }
    primary = found
    return found
  }

  /// What waits in the journal stays there for the next start.
  package func close() async {
    if isClosed { return }
    isClosed = true
    let running = watch
    running?.cancel()
    await running?.value
    await primary?.close()
    await journal.close()
    for waiter in presenceWaiters.values { waiter.resume() }
    presenceWaiters = [:]
  }
}
