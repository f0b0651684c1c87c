package import FoundationEssentials
package import Model

/// Rolls up what is gathered: every raw sample that is appended goes exactly once into the `variable`, `hour` and `day`
/// bucket that it falls into.
///
/// The open buckets of a series are kept in memory and brought to the store when one closes, when half of what the
/// series' RT cap keeps is not in the stored state, and after ``Configuration/interval`` at the latest. A series that is
/// seen for the first time is caught up from its stored state and the RT samples that came after it: so a crash loses
/// nothing, because ``withheld(_:)`` keeps those samples until the state is stored.
///
/// Around each append the caller says ``prepare(_:)``, leaves out what that holds back, and says ``fold(_:)`` when the
/// append succeeded or ``doubt(_:)`` when it did not, then ``saveDue()``. Only one caller at a time.
///
/// A late sample (not newer than what is in) is what a crash would lose, because catching up goes by time. So it is
/// folded by `prepare`, with a note that it is in, and held back until that is stored: it goes to RT afterwards. A crash
/// between, or a full buffer, can leave one more in the roll-ups than in RT, never one less. Samples that are sent again
/// are told from late ones by the notes and by RT: once RT has forgotten one, it counts as late.
///
/// What goes to a journal, and not to the store, is neither prepared nor folded: that is done when it leaves the journal
/// (see ``ReturnedSamples``). Until then it is in no roll-up, as it is in no raw history.
///
/// Whatever is in memory may be forgotten at any time, as by a crash: it is made anew from the store.
package actor RollUpKeeper {
  package struct Configuration: Sendable, Hashable {
    /// Longest time that something is in memory only.
    package var interval: Duration = .seconds(60)
    /// Most series in memory. When full those not used for longest leave; while they cannot be stored no new one is taken
    /// in: it stays as it is until later.
    package var capacity = 20_000
    /// Most states in one call to the store.
    package var batch = 200
    /// Most states stored by one ``saveDue()``: the rest is due the next time, so that no append waits long.
    package var largestSave = 1_000
    /// Raw samples read at once when a series is caught up.
    package var page = 2_000
    /// Longest pause after the store failed; it doubles from a second.
    package var longestBackoff: Duration = .seconds(30)
    package init() {}
  }

  package struct Counters: Sendable, Hashable {
    /// Samples that are in, those that were caught up included, errors left out.
    package var folded = 0
    /// Of these: samples that came late.
    package var late = 0
    /// Samples that were in already.
    package var duplicates = 0
    /// Calls to the store that failed.
    package var failures = 0
    /// Values that had no room in their bucket: more than 2,000 fields.
    package var ignored = 0
    /// States stored.
    package var stored = 0
    /// Series in memory.
    package var series = 0
    /// Of these: with something that is not stored.
    package var unsaved = 0
    /// Why the last call failed; `nil` once one succeeded.
    package var lastError: StorageError?
    package init() {}
  }

  let store: any Storage & RollUpStorage
  let configuration: Configuration
  let plan: @Sendable (String) -> RollUpPlan
  let wall: @Sendable () -> Int64
  let uptime: @Sendable () -> Duration

  var standings: [Series: RollUpStanding] = [:]
  var counters = Counters()
  /// Dirty ones in the order in which they became so.
  private var dirty: [(series: Series, since: Duration)] = []
  private var dirtyHead = 0
  private var urgent: [Series] = []
  /// Of what buckets were stored since it was last asked for.
  private var closed: Set<RollUpHistory> = []
  /// Counts the calls of ``fold(_:)``.
  private var batch: UInt64 = 0
  private var failuresInARow = 0
  private var pauseUntil: Duration?

  /// - Parameters:
  ///   - clock: for every interval.
  ///   - now: the time of day: what is late and over age at once is left out.
  ///   - plan: what counts for a target, by its name.
  package init(
    store: any Storage & RollUpStorage, configuration: Configuration = .init(),
    clock: any Clock<Duration> = ContinuousClock(), now: @escaping @Sendable () -> Date = { Date() },
    plan: @escaping @Sendable (String) -> RollUpPlan
  ) {
    self.store = store
    self.configuration = configuration
    self.plan = plan
    wall = { StoredTime.parts(now()).second }
    uptime = clock.uptime()
  }

  package var statistics: Counters {
    var result = counters
    result.series = standings.count
    for standing in standings.values {
      result.ignored += standing.ignoredCount
      if standing.isDirty { result.unsaved += 1 }
    }
    return result
  }

  // MARK: Around an append

  /// Before samples are appended, each time it is tried: reads where their series stand, and takes in what is late.
  /// - Returns: the places of those that must not be appended now, because the store could not be asked about them or
  ///   told of them. They have to be prepared again.
  package func prepare(_ samples: [Sample]) async -> Set<Int> {
    var (late, unclear) = sorted(samples)
    if late.isEmpty, unclear.isEmpty { return [] }
    if !unclear.isEmpty {
      await takeUp(Array(unclear.keys))
      late = sorted(samples).late
    }
    var isDecided: Set<Series> = []
    for (series, places) in late.sorted(by: { SampleQuery.isListedBefore($0.key, $1.key) })
    where await takeLate(places.map { samples[$0] }, series) {
      isDecided.insert(series)
    }
    // Before they are in RT: afterwards nobody could tell them from those that are in.
    await save(isDecided.filter { standings[$0]?.hasUnsavedLate == true })
    var held: Set<Int> = []
    for (series, places) in late where !isDecided.contains(series) || standings[series]?.hasUnsavedLate == true {
      held.formUnion(places)
    }
    // A series of which nobody can say where it stands.
    unclear = sorted(samples).unclear
    for places in unclear.values { held.formUnion(places.filter { samples[$0].value != nil }) }
    return held
  }

  /// Places of samples that came late, and of those whose series was not seen yet or has to be looked at again. An error
  /// is never late: it is in no bucket.
  private func sorted(_ samples: [Sample]) -> (late: [Series: [Int]], unclear: [Series: [Int]]) {
    var (late, unclear): ([Series: [Int]], [Series: [Int]]) = ([:], [:])
    for (place, sample) in samples.enumerated() where sample.type == .realTime {
      guard let standing = standings[sample.series], !standing.isUncertain else {
        unclear[sample.series, default: []].append(place)
        continue
      }
      guard sample.value != nil, let through = standing.through, SampleKey(sample) <= through else { continue }
      late[sample.series, default: []].append(place)
    }
    return (late, unclear)
  }

  /// After an append that failed: some of the samples may be in RT, and it may not be tried again with them.
  package func doubt(_ samples: [Sample]) {
    for sample in samples where sample.type == .realTime { standings[sample.series]?.isUncertain = true }
  }

  /// Asks the store at once, also when it failed a moment ago.
  package func endPause() { pauseUntil = nil }

  /// After samples were appended.
  package func fold(_ samples: [Sample]) {
    let now = uptime()
    batch &+= 1
    for sample in samples where sample.type == .realTime {
      guard let standing = standings[sample.series], !standing.isUncertain else { continue }
      let key = SampleKey(sample)
      let plan = plan(sample.series.target)
      standing.begin(batch: batch)
      standing.lastUsed = now
      if let through = standing.through, key <= through {
        // What was late before this batch is in. What overtook each other within it is taken in here.
        guard standing.isNewInBatch(key) else { continue }
        foldOvertaken(sample, standing, plan)
      } else {
        if standing.fold(key, sample.value, variable: plan.variableSeconds) { makeUrgent(standing) }
        if sample.value != nil { counters.folded += 1 }
      }
      standing.noteInBatch(key)
      if standing.unsavedCount * 2 >= plan.limits.realTime { makeUrgent(standing) }
      touch(standing)
    }
  }

  /// Those of the rules that must not run now: raw samples have to stay until the stored state has them.
  package func withheld(_ rules: [RetentionRule]) -> [RetentionRule] { rules.filter { !mayPrune($0) } }

  private func mayPrune(_ rule: RetentionRule) -> Bool {
    guard rule.type == .realTime else { return true }
    guard let standing = standings[rule.series], !standing.isUncertain else { return false }
    switch rule.keep {
    case .newest(let count): return standing.unsavedCount <= count
    case .since: return standing.unsavedCount == 0
    }
  }

  // MARK: Storing

  /// Stores what is due, at most ``Configuration/largestSave`` states. - Returns: false when the store failed.
  @discardableResult
  package func saveDue() async -> Bool {
    guard !isPausing else { return false }
    var due: [Series] = []
    var rest: [Series] = []
    for series in urgent {
      guard let standing = standings[series], standing.isUrgent else { continue }
      if due.count < configuration.largestSave { due.append(series) } else { rest.append(series) }
    }
    urgent = rest
    let now = uptime()
    while due.count < configuration.largestSave, dirtyHead < dirty.count {
      let (series, since) = dirty[dirtyHead]
      guard let standing = standings[series], standing.dirtySince == since, !standing.isUrgent else {
        dirtyHead += 1
        continue
      }
      guard now - since >= configuration.interval else { break }
      dirtyHead += 1
      due.append(series)
    }
    if dirtyHead > 1024, dirtyHead * 2 > dirty.count {
      dirty.removeFirst(dirtyHead)
      dirtyHead = 0
    }
    return await save(due)
  }

  /// Stores all of the wanted series that is not stored, also when the store failed a moment ago.
  /// - Returns: false when it failed again; the rest stays.
  package func saveAll(of isWanted: (Series) -> Bool = { _ in true }) async -> Bool {
    pauseUntil = nil
    return await save(standings.values.filter { $0.isDirty && isWanted($0.series) }.map(\.series))
  }

  /// Histories of which buckets were stored since the last time: they may have become too long.
  package func takeClosed() -> [RollUpHistory] {
    defer { closed = [] }
    return Array(closed)
  }

  @discardableResult
  func save(_ series: [Series]) async -> Bool {
    var rest = series[...]
    while !rest.isEmpty {
      if isPausing {
        hurry(rest)
        return false
      }
      let part = rest.prefix(configuration.batch).compactMap { standings[$0] }.filter(\.isDirty)
      let updates = part.compactMap { standing in
        standing.update.map { (standing: standing, update: $0, mark: standing.mark) }
      }
      do throws(StorageError) {
        if !updates.isEmpty {
          try await store.store(updates.map(\.update))
          note(nil)
        }
      } catch {
        if error.code == .conflict {
          // Another instance gathers now and has gone on from what is stored: what is here is not ours to tell.
          for one in updates { drop(one.standing.series) }
        }
        note(error)
        hurry(rest)
        return false
      }
      for (standing, update, mark) in updates {
        standing.settle(update, mark)
        standing.isUrgent = false
        standing.dirtySince = nil
        touch(standing)
        for bucket in update.closed { closed.insert(RollUpHistory(series: update.series, type: bucket.type)) }
        counters.stored += 1
      }
      rest = rest.dropFirst(configuration.batch)
    }
    return true
  }

  /// What was to be stored and was not comes first the next time. What has grown too large for the memory is forgotten:
  /// it is all in RT.
  private func hurry(_ series: some Sequence<Series>) {
    for one in series {
      guard let standing = standings[one], standing.isDirty else { continue }
      if standing.closed.count > RollUpStanding.closedBound {
        drop(one)
        continue
      }
      standing.isUrgent = false
      makeUrgent(standing)
    }
  }

  /// Forgets all series, stored or not: this instance begins to gather again after another did. What comes next is
  /// caught up from the store.
  package func reset() {
    for series in Array(standings.keys) { drop(series) }
    (dirty, dirtyHead, urgent) = ([], 0, [])
  }

  /// Forgets series that were not used for `duration`; those that are not stored yet stay.
  package func forget(unusedFor duration: Duration) {
    let now = uptime()
    for (series, standing) in standings where !standing.isDirty && now - standing.lastUsed >= duration {
      drop(series)
    }
  }

  /// Makes room for `count` more series. - Returns: how many may come.
  func makeRoom(for count: Int) async -> Int {
    let over = standings.count + count - configuration.capacity
    guard over > 0 else { return count }
    // A tenth more, so that this is not done for every one.
    let leaving = standings.values.sorted { $0.lastUsed < $1.lastUsed }
      .prefix(max(over, configuration.capacity / 10)).map(\.series)
    _ = await save(leaving.filter { standings[$0]?.isDirty == true })
    for series in leaving where standings[series]?.isDirty == false { drop(series) }
    return max(0, min(count, configuration.capacity - standings.count))
  }

  func drop(_ series: Series) {
    guard let standing = standings.removeValue(forKey: series) else { return }
    counters.ignored += standing.ignoredCount
  }

  // MARK: Bookkeeping

  func touch(_ standing: RollUpStanding) {
    guard standing.isDirty, standing.dirtySince == nil else { return }
    let now = uptime()
    standing.dirtySince = now
    dirty.append((standing.series, now))
  }

  func makeUrgent(_ standing: RollUpStanding) {
    if standing.isUrgent { return }
    standing.isUrgent = true
    urgent.append(standing.series)
  }

  /// Whether the store failed a moment ago and is left alone.
  var isPausing: Bool { pauseUntil.map { uptime() < $0 } ?? false }

  func note(_ error: StorageError?) {
    counters.lastError = error
    guard error != nil else {
      failuresInARow = 0
      pauseUntil = nil
      return
    }
    counters.failures += 1
    pauseUntil = uptime() + min(.seconds(1 << min(failuresInARow, 10)), configuration.longestBackoff)
    failuresInARow += 1
  }
}
