internal import FoundationEssentials
internal import Model

extension RollUpKeeper {
  /// Takes in those of the samples that came late. - Returns: false when the store could not say which these are.
  func takeLate(_ samples: [Sample], _ series: Series, isLastTry: Bool) async -> Bool {
    guard let standing = standings[series] else { return true }
    let keys = samples.map { SampleKey($0) }
    let known = await storedKeys(series, from: keys.filter { !standing.contains($0) })
    if known == nil, !isLastTry { return false }
    // Nothing is lost then; what was sent twice may count twice.
    let stored = known ?? []
    let plan = plan(series.target)
    var hasNew = false
    for (sample, key) in zip(samples, keys) {
      if standing.contains(key) || stored.contains(key) {
        counters.duplicates += 1
        continue
      }
      hasNew = true
      if let value = sample.value {
        for type in RollUpStanding.types where await !fold(key, value, into: type, standing, plan) {
          standing.wait(RollUpStanding.Waiting(type: type, key: key, value: value))
        }
        counters.folded += 1
        counters.late += 1
      }
      standing.remember(late: key)
    }
    if hasNew { touch(standing) }
    return true
  }

  /// A sample that was overtaken within its own batch: it is new, and its bucket is open or not yet stored.
  func foldOvertaken(_ sample: Sample, _ standing: RollUpStanding, _ plan: RollUpPlan) {
    let key = SampleKey(sample)
    guard let value = sample.value else { return }
    standing.noteUnsaved()
    for type in RollUpStanding.types {
      if standing.isOpen(type, at: key.second, variable: plan.variableSeconds) {
        standing.foldLateIntoOpen(type, key, value, variable: plan.variableSeconds)
      } else {
        let known = standing.knownBucket(type, at: key.second) ?? standing.newBucket(type, at: key.second, plan)
        put(key, value, known, standing)
      }
    }
    counters.folded += 1
    counters.late += 1
  }

  /// Which of these keys RT has; nil when the store does not say.
  private func storedKeys(_ series: Series, from keys: [SampleKey]) async -> Set<SampleKey>? {
    guard let first = keys.min(), let last = keys.max() else { return [] }
    if isPausing { return nil }
    do throws(StorageError) {
      let found = try await store.samples(
        SampleQuery(
          series, since: StoredTime.date(second: first.second, millisecond: 0),
          until: StoredTime.date(second: last.second &+ 1, millisecond: 0), limit: 10_000))
      return Set(found.map { SampleKey($0) })
    } catch {
      note(error)
      return nil
    }
  }

  /// Takes in what could not be read from the store before.
  func takeWaiting(_ series: Series) async {
    guard let standing = standings[series] else { return }
    let plan = plan(series.target)
    while !isPausing, let next = standing.waiting.first {
      guard await fold(next.key, next.value, into: next.type, standing, plan) else { return }
      standing.endWait(next)
    }
  }

  /// - Returns: false when the bucket could not be read from the store.
  private func fold(
    _ key: SampleKey, _ value: Value, into type: SampleType, _ standing: RollUpStanding, _ plan: RollUpPlan
  ) async -> Bool {
    let variable = plan.variableSeconds
    if standing.isOpen(type, at: key.second, variable: variable) {
      standing.foldLateIntoOpen(type, key, value, variable: variable)
      return true
    }
    if let known = standing.knownBucket(type, at: key.second) {
      put(key, value, known, standing)
      return true
    }
    // It would be deleted at once, and a part of a bucket that is gone is worse than none.
    let age = plan.age(type).components.seconds
    if key.second < wall() &- age { return true }
    if isPausing { return false }
    do throws(StorageError) {
      let found = try await closedBucket(type, at: key.second, standing, variable)
      put(key, value, found ?? standing.newBucket(type, at: key.second, plan), standing)
      return true
    } catch {
      // Without knowing what is there the bucket must not be replaced.
      note(error)
      return false
    }
  }

  private func put(_ key: SampleKey, _ value: Value, _ bucket: RollUp, _ standing: RollUpStanding) {
    do throws(StorageError) {
      try standing.foldLate(into: bucket, key, value)
    } catch {
      // Damaged: it stays as it is.
      counters.failures += 1
      counters.lastError = error
    }
  }

  /// The stored bucket that an instant lies in.
  private func closedBucket(
    _ type: SampleType, at second: Int64, _ standing: RollUpStanding, _ variable: Int64
  ) async throws(StorageError) -> RollUp? {
    let series = standing.series
    guard type == .variable else {
      let start = standing.place(type, of: second, variable: variable).start
      return try await store.rollUps(series, type: type, starts: [start]).first
    }
    // Buckets of another length may be from before an edit.
    let newest = try await newestVariable(series, before: second &+ 1)
    return newest.flatMap { $0.contains(second) ? $0 : nil }
  }

  /// The newest stored variable bucket that starts before an instant.
  func newestVariable(_ series: Series, before second: Int64?) async throws(StorageError) -> RollUp? {
    let until = second.map { StoredTime.date(second: $0, millisecond: 0) }
    let found = try await store.samples(SampleQuery(series, type: .variable, until: until, limit: 1))
    guard let newest = found.last else { return nil }
    return try await store.rollUps(series, type: .variable, starts: [SampleKey(newest).second]).first
  }
}

extension RollUpStanding {
  /// A bucket for late data where there is none. The shorter of two lengths: it overlaps less with what may be near.
  func newBucket(_ type: SampleType, at second: Int64, _ plan: RollUpPlan) -> RollUp {
    var place = place(type, of: second, variable: plan.variableSeconds)
    if type == .variable {
      let length = min(plan.variableSeconds, lastVariable?.length ?? plan.variableSeconds)
      place = (Self.floor(second, length), length)
    }
    return RollUp(type: type, start: place.start, length: place.length, encoded: [])
  }
}
