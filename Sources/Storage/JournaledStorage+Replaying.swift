internal import FoundationEssentials
internal import Logging
internal import Model

/// Looking for the store's return, and bringing the journal to it.
extension JournaledStorage {
  /// How an operation went that was brought to the store.
  private enum Passage {
    case done
    /// The store is away again, or cannot take anything now.
    case later(StorageError)
    /// Never.
    case refused(StorageError)
  }

  /// So few operations behind those under way are the journal's last.
  private static let fewOperations = 8

  /// One at a time.
  func startWatch() {
    if watch == nil, !isClosed { watch = Task { await self.watchOver() } }
  }

  /// How far a replay came.
  private enum Progress {
    case complete
    /// The store answers; what waits first could not be brought to it now. Whatever only needs an answer goes on.
    case hindered
    case storeIsAway
  }

  private func watchOver() async {
    var failures = 0
    while !Task.isCancelled {
      if await probe() {
        // It was only suspected: nothing was journaled.
        if mode == .present { return watch = nil }
        mode = .replaying
        let before = await journal.size.operations
        let progress = await replay()
        if progress == .complete { return }
        if Task.isCancelled { break }
        if progress == .storeIsAway { mode = .away }
        if await journal.size.operations < before { failures = 0 }
      }
      failures += 1
      // The shift is bounded so that it cannot overflow.
      let pause = min(configuration.shortestPause * (1 << min(failures - 1, 16)), configuration.longestPause)
      let part = random()
      _ = try? await clock.sleep(for: pause * (0.5 + 0.5 * (part.isFinite ? min(max(part, 0), 1) : 1)))
    }
    watch = nil
  }

  /// Whether the store answers. While that is not known after the patience of a caller, it counts as away.
  private func probe() async -> Bool {
    let (clock, patience) = (clock, configuration.patience)
    let timer = Task {
      if (try? await clock.sleep(for: patience)) != nil { self.isMissed(Self.overdue) }
    }
    defer { timer.cancel() }
    do throws(StorageError) {
      _ = try await opened().check()
      return true
    } catch {
      isMissed(error.message)
      logger.debug("the store is still away", metadata: ["error": "\(error)"])
      return false
    }
  }

  private func isMissed(_ reason: String) {
    if mode == .replaying { mode = .away } else { goAway(reason) }
  }

  /// Brings everything to the store. - Returns: complete when the journal is empty and the store present again.
  private func replay() async -> Progress {
    // A late effect of a try that was given up must not come behind what is replayed.
    while let late = inFlight.values.first { await late.value }
    defer { isAtTheLast = false }
    while !Task.isCancelled {
      let seen = generation
      let items: [JournalItem]
      do throws(StorageError) {
        items = try await journal.oldest(samples: configuration.batch)
      } catch {
        logger.error("the journal cannot be read; trying again", metadata: ["error": "\(error)"])
        return .hindered
      }
      isAtTheLast = await journal.size.operations - items.count < Self.fewOperations
      if items.isEmpty {
        if journaling > 0 {
          await withCheckedContinuation { idleWaiters.append($0) }
        } else if generation == seen {
          goPresent()
          return .complete
        }
        continue
      }
      do throws(StorageError) {
        try await bring(items)
      } catch {
        if Task.isCancelled { break }
        logger.warning("the journal waits: an operation did not reach the store", metadata: ["error": "\(error)"])
        return error.code == .unavailable || error.code == .closed ? .storeIsAway : .hindered
      }
    }
    return .storeIsAway
  }

  /// A replay is left between two steps of it: what was not brought stays in the journal.
  private func stopWhenClosing() throws(StorageError) {
    if Task.isCancelled { throw StorageError(.closed, "the store is being closed") }
  }

  /// In order: samples that follow each other in one step, episodes and messages one by one. Each step is removed as
  /// soon as the store has confirmed it, so that a crash repeats at most that one.
  private func bring(_ items: [JournalItem]) async throws(StorageError) {
    var samples: [Sample] = []
    var last: Int64?
    for item in items {
      try stopWhenClosing()
      if case .append(let more)? = item.operation {
        samples += more
        last = item.sequence
        continue
      }
      if let last { try await bring(samples, through: last) }
      samples = []
      last = nil
      switch item.operation {
      case .record(let episode, let entries, let fence)?:
        try await bring(episode, entries, fence: fence, item)
      default:
        try await setAside(item.sequence, nil, StorageError(.corrupt, "its bytes cannot be read"))
        try await journal.remove(through: item.sequence)
      }
    }
    if let last { try await bring(samples, through: last) }
  }

  private func bring(_ samples: [Sample], through sequence: Int64) async throws(StorageError) {
    var refused: [(sample: Sample, error: StorageError)] = []
    try await bring(samples[...], sequence, &refused)
    // Only now, so that what is left in the middle and repeated is set aside once.
    for (sample, error) in refused { try await setAside(sequence, .append([sample]), error) }
    try await journal.remove(through: sequence)
  }

  /// Halves what is refused until the sample is found that is meant.
  private func bring(
    _ samples: ArraySlice<Sample>, _ sequence: Int64, _ refused: inout [(sample: Sample, error: StorageError)]
  ) async throws(StorageError) {
    guard let first = samples.first else { return }
    try stopWhenClosing()
    let primary = try await opened()
    let batch = Array(samples)
    switch await passage(
      of: sequence, isGivenUp: true, { () async throws(StorageError) in try await self.hand(batch, primary) })
    {
    case .done: return
    case .later(let error): throw error
    case .refused(let error):
      guard samples.count > 1 else { return refused.append((first, error)) }
      let middle = samples.startIndex + samples.count / 2
      try await bring(samples[..<middle], sequence, &refused)
      try await bring(samples[middle...], sequence, &refused)
    }
  }

  /// The roll-ups know nothing of what is in the journal. Here the recorder takes it in, when this instance gathers;
  /// what it does not take waits in the store for the one that does.
  private func hand(_ samples: [Sample], _ primary: any Storage) async throws(StorageError) {
    guard configuration.isRolledUp else { return try await primary.append(samples) }
    var left = samples
    if let intake { left = try await intake.takeIn(samples, into: primary) }
    if !left.isEmpty { try await primary.append(ReturnedSamples.parcels(left)) }
  }

  private func bring(
    _ episode: Episode?, _ entries: [QueueEntry], fence: Int64, _ item: JournalItem
  ) async throws(StorageError) {
    let primary = try await opened()
    try await raise(to: fence, primary)
    var isAdopted = false
    var passage = await passage(
      of: item.sequence, isGivenUp: false,
      { () async throws(StorageError) in _ = try await primary.record(episode, queueing: entries) })
    if case .refused = passage, let episode {
      let refusal = passage
      passage = await self.passage(
        of: item.sequence, isGivenUp: false,
        { () async throws(StorageError) in isAdopted = try await self.adopt(episode, entries, primary) })
      if case .done = passage, !isAdopted { passage = refusal }
    }
    switch passage {
    case .done: recall.stored(entries)
    case .later(let error): throw error
    case .refused(let error): try await setAside(item.sequence, item.operation, error)
    }
    try await journal.remove(through: item.sequence)
  }

  /// What an earlier process accepted is written in that one's name: another instance that has had the gathering since
  /// is then not overwritten.
  private func raise(to fence: Int64, _ primary: any WholeStorage) async throws(StorageError) {
    guard fence > max(self.fence, triedFence) else { return }
    do throws(StorageError) {
      try await primary.raiseFence(to: fence)
      self.fence = fence
    } catch  where error.code == .conflict {
      // Each episode says for itself whether the other instance has it.
      logger.info("another instance has gathered meanwhile", metadata: ["fence": "\(fence)"])
    }
    triedFence = fence
  }

  /// Only what a store refuses in our own words is refused for certain. Whatever else goes wrong may be the store's
  /// trouble, so that episodes and messages wait for its end, and what comes behind them with them: an operator is told.
  /// - Parameter isGivenUp: whether some tries are enough, so that one sample does not hold up everything.
  private func passage(
    of sequence: Int64, isGivenUp: Bool, _ body: () async throws(StorageError) -> Void
  ) async -> Passage {
    do throws(StorageError) {
      try await body()
      hindrance = nil
      return .done
    } catch {
      if StorageRefusal.isFinal(error) { return .refused(error) }
      switch error.code {
      case .unavailable, .closed: return .later(error)
      case .full:
        hindrance = error.message
        return .later(error)
      case .conflict, .corrupt, .internalError:
        if stuck?.sequence != sequence { stuck = (sequence, 0) }
        stuck?.tries += 1
        guard let tries = stuck?.tries, tries >= configuration.triesOfOne else { return .later(error) }
        if isGivenUp { return .refused(error) }
        hindrance = error.message
        if tries.isMultiple(of: configuration.triesOfOne) {
          logger.error(
            "the store takes an episode or message from the journal again and again not; everything behind it waits",
            metadata: ["journal.sequence": "\(sequence)", "journal.tries": "\(tries)", "error": "\(error)"])
        }
        return .later(error)
      }
    }
  }

  private func setAside(
    _ sequence: Int64, _ operation: JournalOperation?, _ error: StorageError
  ) async throws(StorageError) {
    try await journal.setAside(sequence, operation, reason: error.message)
    outage?.refused += 1
    logger.warning(
      "the store refused an operation from the journal; it is set aside",
      metadata: ["journal.sequence": "\(sequence)", "error": "\(error)"])
  }
}
