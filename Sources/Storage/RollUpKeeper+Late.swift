internal import FoundationEssentials
internal import Model

extension RollUpKeeper {
  /// Takes in those of the samples that came late: all of them, or none when the store cannot be asked.
  /// - Returns: whether it could.
  func takeLate(_ samples: [Sample], _ series: Series) async -> Bool {
    guard let standing = standings[series] else { return false }
    // Older notes first: so there are never more that are not stored than one append has samples.
    if standing.hasUnsavedLate, await !save([series]) { return false }
    let asked = samples.filter { !standing.contains(SampleKey($0)) }
    if asked.isEmpty { return true }
    guard !isPausing else { return false }
    let plan = plan(series.target)
    var new: [(key: SampleKey, value: Value)] = []
    var buckets: [RollUp] = []
    do throws(StorageError) {
      let stored = try await storedKeys(series, asked.map { SampleKey($0) })
      for sample in asked {
        let key = SampleKey(sample)
        guard let value = sample.value, !stored.contains(key), !new.contains(where: { $0.key == key }) else {
          counters.duplicates += 1
          continue
        }
        new.append((key, value))
      }
      for type in RollUpStanding.types {
        for (key, _) in new where !buckets.contains(where: { $0.type == type && $0.contains(key.second) }) {
          if let bucket = try await closedBucket(type, at: key.second, standing, plan, beside: buckets) {
            buckets.append(bucket)
          }
        }
      }
    } catch {
      note(error)
      return false
    }
    for (key, value) in new {
      for type in RollUpStanding.types {
        if standing.isOpen(type, at: key.second, variable: plan.variableSeconds) {
          standing.foldLateIntoOpen(type, key, value, variable: plan.variableSeconds)
        } else if let bucket = standing.knownBucket(type, at: key.second)
          ?? buckets.first(where: { $0.type == type && $0.contains(key.second) })
        {
          put(key, value, bucket, standing)
        }
      }
      standing.remember(late: key)
      counters.folded += 1
      counters.late += 1
    }
    if !new.isEmpty { touch(standing) }
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

  /// Which of these keys RT has.
  private func storedKeys(_ series: Series, _ keys: [SampleKey]) async throws(StorageError) -> Set<SampleKey> {
    guard let first = keys.min(), let last = keys.max() else { return [] }
    let limit = 10_000
    let found = try await rawKeys(series, first.second...last.second, limit: limit)
    if found.count < limit { return found }
    // Much lies between them: each second for itself.
    var stored: Set<SampleKey> = []
    for second in Set(keys.map(\.second)) {
      stored.formUnion(try await rawKeys(series, second...second, limit: 1_000_000))
    }
    return stored
  }

  private func rawKeys(
    _ series: Series, _ seconds: ClosedRange<Int64>, limit: Int
  ) async throws(StorageError) -> Set<SampleKey> {
    let found = try await store.samples(
      SampleQuery(
        series, since: StoredTime.date(second: seconds.lowerBound, millisecond: 0),
        until: StoredTime.date(second: seconds.upperBound &+ 1, millisecond: 0), limit: limit))
    return Set(found.map { SampleKey($0) })
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

  /// The closed bucket for late data of an instant, a new one where the store has none; nil when an open one takes it,
  /// or it would be deleted at once: a part of a bucket that is gone is worse than none.
  /// - Parameter others: new buckets that nobody else knows of yet.
  private func closedBucket(
    _ type: SampleType, at second: Int64, _ standing: RollUpStanding, _ plan: RollUpPlan, beside others: [RollUp]
  ) async throws(StorageError) -> RollUp? {
    let variable = plan.variableSeconds
    if standing.isOpen(type, at: second, variable: variable) { return nil }
    if let known = standing.knownBucket(type, at: second) { return known }
    if second < wall() &- plan.age(type).components.seconds { return nil }
    guard type == .variable else {
      let none = standing.newBucket(type, at: second, plan)
      return try await store.rollUps(standing.series, type: type, starts: [none.start]).first ?? none
    }
    // Buckets of another length may be from before an edit.
    var beside = others.filter { $0.type == .variable }.map { (start: $0.start, length: $0.length) }
    if let before = try await newestVariable(standing.series, before: second &+ 1) {
      if before.contains(second) { return before }
      beside.append((before.start, before.length))
    }
    let none = standing.newBucket(type, at: second, plan, beside: beside)
    let inTheWay = try await store.samples(
      SampleQuery(
        standing.series, type: .variable, since: StoredTime.date(second: second &+ 1, millisecond: 0),
        until: StoredTime.date(second: none.start &+ none.length, millisecond: 0), limit: Int(none.length)))
    guard let after = inTheWay.first else { return none }
    // Where it ends is of no interest: it begins after the instant.
    beside.append((SampleKey(after).second, 1))
    return standing.newBucket(type, at: second, plan, beside: beside)
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
  /// A bucket for late data where there is none. After an edit variable buckets of several lengths stand side by side, and
  /// no two overlap: of the wanted length where there is room for it, else of the one's before it, else of a length of
  /// which both edges of the room are multiples.
  /// - Parameter beside: where variable buckets are that only the caller knows of.
  func newBucket(
    _ type: SampleType, at second: Int64, _ plan: RollUpPlan, beside: [(start: Int64, length: Int64)] = []
  ) -> RollUp {
    let wanted = plan.variableSeconds
    guard type == .variable else {
      let place = place(type, of: second, variable: wanted)
      return RollUp(type: type, start: place.start, length: place.length, encoded: [])
    }
    let taken = knownPlaces(variable: wanted) + beside
    let before = taken.filter { $0.start &+ $0.length <= second }.max { $0.start &+ $0.length < $1.start &+ $1.length }
    let from = before.map { $0.start &+ $0.length }
    let until = taken.map(\.start).filter { $0 > second }.min()
    var lengths = [wanted]
    if let before { lengths.append(before.length) }
    let fitting = lengths.first { length in
      let start = Self.floor(second, length)
      return from.map { start >= $0 } ?? true && until.map { start &+ length <= $0 } ?? true
    }
    let length = fitting ?? [from, until].compactMap { $0 }.reduce(wanted, Self.commonDivisor)
    return RollUp(type: type, start: Self.floor(second, length), length: length, encoded: [])
  }

  private static func commonDivisor(_ a: Int64, _ b: Int64) -> Int64 {
    var (a, b) = (a, b)
    while b != 0 { (a, b) = (b, a % b) }
    return max(1, abs(a))
  }
}
