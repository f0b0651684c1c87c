package import FoundationEssentials
package import Model

/// Takes samples in at once and brings them to the store in its own time: a side branch that never holds up the main
/// line.
///
/// Samples wait in a bounded buffer. Every ``Configuration/interval``, or as soon as ``Configuration/batch`` have come,
/// they are appended and the retention rules that became due are run. While the store fails they stay, and the next try
/// waits longer each time. ``run()`` does the work until it is cancelled; ``flush(rollUps:)`` brings away what is left.
///
/// What is appended is rolled up by a ``RollUpKeeper``, whose states are stored and whose buckets are pruned from here.
/// With a journal before the store, what goes there passes the roll-ups by; ``takeIn(_:into:)`` brings it into them when
/// it leaves the journal, if this instance gathers. Else, and where it did not gather any more when it appended, the
/// samples wait in the store (``ReturnedSamples``), and the recorder of the instance that gathers looks for them every
/// ``Configuration/returns``. Whether this one gathers is asked before each append, which is given up long before
/// another instance may begin: only a process that was halted in the middle of one can leave raw samples that are in no
/// roll-up, one append of them.
///
/// Deletes by age pause after a step of the wall clock, see ``ClockWatch``, and where the store's samples say that there
/// may have been one, see ``lookBack()``. Every ``Configuration/sweep`` series that get no samples any more are looked
/// through: their roll-ups go by age, and all of them where no document has their target.
package actor Recorder {
  package struct Configuration: Sendable, Hashable {
    /// Most samples that wait. When full the oldest metric sample goes, events only when nothing else is left; counted
    /// in ``Counters/dropped``.
    package var capacity = 10_000
    package var interval: Duration = .milliseconds(250)
    /// This many samples are not kept waiting for the interval.
    package var batch = 500
    /// Most samples in one append.
    package var largestAppend = 2_000
    /// Longest wait between tries while the store fails; it doubles from ``interval``.
    package var longestBackoff: Duration = .seconds(30)
    /// Between looks at roll-ups that nobody adds to; the first comes after a tenth of it.
    package var sweep: Duration = .seconds(3600)
    /// Between looks for samples that wait in the store.
    package var returns: Duration = .seconds(5)
    /// Most parcels of them taken in at one look, so that no append waits long.
    package var parcels = 64
    package init() {}
  }

  package struct Counters: Sendable, Hashable {
    package var received = 0
    /// Appended to the store.
    package var stored = 0
    /// Given up because the buffer was full.
    package var dropped = 0
    /// Removed by retention rules.
    package var pruned = 0
    /// Appends that failed.
    package var failures = 0
    package var waiting = 0
    /// Of these: those that wait until the store can be asked how they go into the roll-ups.
    package var held = 0
    /// Why the last append or prune failed; `nil` once one succeeded.
    package var lastError: StorageError?
    /// Samples taken in that had waited in a journal, or in the store.
    package var returned = 0
    package var rollUps = RollUpKeeper.Counters()
    /// Steps of the wall clock of more than 2 s.
    package var clockSteps = 0
    package var lastClockStep: ClockWatch.Step?
    /// Nothing is deleted for its age now, because the wall clock was set forward, or may have been.
    package var agesArePaused = false
    package init() {}
  }

  let store: any Storage
  /// The same, where it has a journal.
  let journaled: JournaledStorage?
  let mayGather: @Sendable () -> Bool
  let configuration: Configuration
  private let clock: any Clock<Duration>
  let now: @Sendable () -> Date
  let limits: (@Sendable (String) -> HistoryLimits)?
  let isStray: @Sendable (String) -> Bool
  let rollUps: RollUpKeeper?
  let uptime: @Sendable () -> Duration

  private var buffer: SampleBuffer
  private var planner = RetentionPlanner()
  var counters = Counters()
  var watch = ClockWatch()
  /// Whether ``lookBack()`` was done since the gathering began: before that no age counts.
  var hasLookedBack = false
  private var nextSweep: Duration
  var nextReturns: Duration = .zero
  private var failuresInARow = 0
  /// One append at a time; who comes meanwhile waits here: `run` and the callers of `flush`, no more.
  private var isAppending = false
  private var waiters: [CheckedContinuation<Void, Never>] = []
  /// The pause of `run`, so that a full batch can cut it short.
  private var pause: Task<Void, Never>?

  /// - Parameters:
  ///   - limits: the caps of a target, by name; `nil`: nothing is ever pruned from here.
  ///   - clock: paces the flushes.
  ///   - now: the time of day, for caps by age.
  ///   - isStray: whether the documents are known and none of them has the target of this name.
  ///   - rollUps: rolls up what is appended; nil: nobody does. It belongs to this recorder alone.
  ///   - mayGather: whether this instance is the one that gathers, beyond doubt.
  package init(
    store: any Storage, configuration: Configuration = .init(), clock: any Clock<Duration> = ContinuousClock(),
    now: @escaping @Sendable () -> Date = { Date() }, limits: (@Sendable (String) -> HistoryLimits)? = nil,
    isStray: @escaping @Sendable (String) -> Bool = { _ in false }, rollUps: RollUpKeeper? = nil,
    mayGather: @escaping @Sendable () -> Bool = { true }
  ) {
    self.store = store
    journaled = store as? JournaledStorage
    self.mayGather = mayGather
    self.configuration = configuration
    self.clock = clock
    self.now = now
    self.limits = limits
    self.isStray = isStray
    self.rollUps = rollUps
    uptime = clock.uptime()
    nextSweep = configuration.sweep / 10
    self.buffer = SampleBuffer(capacity: max(1, configuration.capacity))
  }

  /// Takes samples in. Returns at once, whatever the store does.
  package func record(_ samples: [Sample]) {
    counters.received += samples.count
    for sample in samples { buffer.append(sample) }
    if buffer.freshCount >= configuration.batch, failuresInARow == 0 { pause?.cancel() }
  }

  package var statistics: Counters {
    get async {
      let rollUps = await rollUps?.statistics
      var result = counters
      result.waiting = buffer.count
      result.held = buffer.heldCount
      result.dropped = buffer.droppedCount
      result.clockSteps = watch.stepCount
      result.lastClockStep = watch.lastStep
      result.agesArePaused = watch.isPaused(at: uptime())
      if let rollUps { result.rollUps = rollUps }
      return result
    }
  }

  /// Flushes until cancelled. What still waits then is left for ``flush(rollUps:)``.
  package func run() async {
    // Another instance may have gathered meanwhile, and the clock may have been set since.
    hasLookedBack = false
    await lookBackAlone()
    await attach()
    await lookForReturns()
    while !Task.isCancelled {
      if failuresInARow > 0 || buffer.freshCount < configuration.batch { await wait() }
      if Task.isCancelled { return }
      _ = await appendNext()
      await keepUp()
    }
  }

  /// Brings away all that waits now.
  /// - Parameters:
  ///   - rollUps: where roll-ups stand as well, so that they can be read up to now.
  ///   - isWanted: those of which series.
  /// - Returns: false when the store failed; the rest stays in memory.
  package func flush(rollUps: Bool = true, of isWanted: @Sendable (Series) -> Bool = { _ in true }) async -> Bool {
    await self.rollUps?.endPause()
    while !buffer.isEmpty {
      if await !appendNext() { return false }
    }
    guard rollUps, let keeper = self.rollUps else { return true }
    await begin()
    defer { end() }
    return await keeper.saveAll(of: isWanted)
  }

  private func wait() async {
    // Doubles from the interval: 0.25 s, 0.5 s, 1 s … The shift is bounded so that it cannot overflow.
    // A full disk has room again all at once.
    let longest =
      counters.lastError?.code == .full ? min(configuration.longestBackoff, .seconds(4)) : configuration.longestBackoff
    let delay = min(configuration.interval * (1 << min(failuresInARow, 16)), longest)
    let clock = clock
    let pause = Task { _ = try? await clock.sleep(for: delay) }
    self.pause = pause
    await withTaskCancellationHandler {
      await pause.value
    } onCancel: {
      pause.cancel()
    }
    self.pause = nil
  }

  /// One at a time. ``end()`` has to follow.
  func begin() async {
    while isAppending { await withCheckedContinuation { waiters.append($0) } }
    isAppending = true
  }

  func end() {
    isAppending = false
    let woken = waiters
    waiters = []
    for waiter in woken { waiter.resume() }
  }

  /// Appends the oldest that wait, but for what the roll-ups hold back: that waits on and holds up nothing else.
  /// - Returns: false when the store failed, or all were held back.
  private func appendNext() async -> Bool {
    // Before its turn: the journal's last needs a turn, too.
    await journaled?.waitForTheLast()
    await begin()
    defer { end() }
    await lookBack()
    // Others may have emptied it meanwhile.
    let batch = buffer.lend(configuration.largestAppend)
    if batch.isEmpty { return true }
    if let done = await appendAside(batch) { return done }
    let held = await rollUps?.prepare(batch) ?? []
    let ready = held.isEmpty ? batch : batch.indices.filter { !held.contains($0) }.map { batch[$0] }
    if ready.isEmpty {
      buffer.settle(batch, holding: held)
      return false
    }
    let isInStore: Bool
    do throws(StorageError) {
      isInStore = try await add(ready)
    } catch {
      await rollUps?.doubt(ready)
      fail(error)
      return false
    }
    succeed(batch, holding: held)
    guard isInStore else { return true }
    await rollUps?.fold(ready)
    await rollUps?.saveDue()
    await prune(after: ready)
    return true
  }

  func succeed(_ batch: [Sample], holding held: Set<Int>) {
    buffer.settle(batch, holding: held)
    counters.stored += batch.count - held.count
    failuresInARow = 0
    counters.lastError = nil
  }

  func fail(_ error: StorageError) {
    buffer.takeBack()
    counters.failures += 1
    failuresInARow += 1
    counters.lastError = error
  }

  /// - Returns: false when the journal has them.
  func add(_ samples: [Sample]) async throws(StorageError) -> Bool {
    if let journaled { return try await journaled.add(samples) }
    try await store.append(samples)
    return true
  }

  /// What is due although nothing came.
  private func keepUp() async {
    lookAtClock()
    guard let rollUps else { return }
    await begin()
    defer { end() }
    await rollUps.saveDue()
    await prune(after: [])
    if uptime() >= nextReturns { await takeReturned(rollUps) }
    guard uptime() >= nextSweep else { return }
    nextSweep = uptime() + configuration.sweep
    await sweep(rollUps)
  }

  func prune(after batch: [Sample]) async {
    guard let limits else { return }
    lookAtClock()
    let closed = await rollUps?.takeClosed() ?? []
    var rules = planner.rules(
      after: batch, closed: closed, limits: limits, now: now(), agesArePaused: agesArePaused)
    if rules.isEmpty { return }
    if let rollUps {
      let withheld = await rollUps.withheld(rules)
      if !withheld.isEmpty {
        planner.forget(withheld)
        let isWithheld = Set(withheld)
        rules.removeAll { isWithheld.contains($0) }
        if rules.isEmpty { return }
      }
    }
    do {
      counters.pruned += try await store.prune(rules)
    } catch {
      planner.forget(rules)
      counters.lastError = error
    }
  }
}
