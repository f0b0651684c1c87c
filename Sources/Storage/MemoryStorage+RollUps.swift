package import FoundationEssentials
package import Model

extension MemoryStorage: RollUpStorage {
  package func rollUpStates(_ series: [Series]) throws(StorageError) -> [Series: RollUpState] {
    try open()
    var states: [Series: RollUpState] = [:]
    for one in series { states[one] = seriesStates[one]?.state }
    return states
  }

  package func rollUps(_ series: Series, type: SampleType, starts: [Int64]) throws(StorageError) -> [RollUp] {
    try open()
    let known = closedBuckets[HistoryKey(series: series, type: type)] ?? [:]
    return Set(starts).sorted().compactMap { known[$0] }
  }

  package func store(_ updates: [RollUpUpdate]) throws(StorageError) {
    try open()
    for update in updates where (seriesStates[update.series]?.fence ?? 0) > fence {
      throw StorageRefusal.fenced("a roll-up state")
    }
    for update in updates {
      for bucket in update.closed {
        closedBuckets[HistoryKey(series: update.series, type: bucket.type), default: [:]][bucket.start] = bucket
      }
      seriesStates[update.series] = (fence, update.state)
    }
  }

  package func newestRolledUp(until second: Int64) throws(StorageError) -> Int64? {
    try open()
    return seriesStates.values.lazy.map(\.state.through.second).filter { $0 <= second }.max()
  }

  package func remove(_ series: [Series], quietSince date: Date) throws(StorageError) -> Int {
    try open()
    let bound = StoredTime.stored(date)
    var count = 0
    for one in series {
      let keys = [SampleType.realTime, .event].map { HistoryKey(series: one, type: $0) }
      if let known = seriesStates[one] {
        let through = StoredTime.date(second: known.state.through.second, millisecond: 0)
        guard through < bound, known.fence <= fence else { continue }
      }
      guard keys.allSatisfy({ histories[$0]?.last.map { $0.at < bound } ?? true }) else { continue }
      seriesStates[one] = nil
      for key in keys { count += histories.removeValue(forKey: key)?.count ?? 0 }
    }
    return count
  }

  // MARK: Read as samples

  /// The buckets of a series that start in a window, oldest first, the open one included.
  private func buckets(_ key: HistoryKey, since: Date? = nil, until: Date? = nil) -> [RollUp] {
    var found: [Int64: RollUp] = [:]
    for bucket in seriesStates[key.series]?.state.open ?? [] where bucket.type == key.type {
      found[bucket.start] = bucket
    }
    // A bucket that is closed is complete; the state may be from before.
    found.merge(closedBuckets[key] ?? [:]) { _, closed in closed }
    return found.values.filter { bucket in
      let at = StoredTime.date(second: bucket.start, millisecond: 0)
      return since.map { at >= $0 } ?? true && until.map { at < $0 } ?? true
    }.sorted { $0.start < $1.start }
  }

  func latestRollUp(_ key: HistoryKey) throws(StorageError) -> Sample? {
    guard let newest = buckets(key).last else { return nil }
    return try newest.sample(of: key.series)
  }

  func rollUpSamples(_ query: SampleQuery) throws(StorageError) -> [Sample] {
    let limit = max(0, query.limit)
    var found: [Sample] = []
    let matching =
      query.matchesName
      ? [query.series]
      : rollUpSeries(type: query.type, target: query.series.target).filter { $0.metric == query.series.metric }
    for series in matching {
      let buckets = buckets(
        HistoryKey(series: series, type: query.type), since: query.since.map(StoredTime.stored),
        until: query.until.map(StoredTime.stored))
      for bucket in buckets.suffix(limit) { found.append(try bucket.sample(of: series)) }
    }
    return Array(found.sorted(by: SampleQuery.isListedBefore).suffix(limit))
  }

  func rollUpSeries(type: SampleType, target: String?) -> [Series] {
    var found = Set(closedBuckets.filter { $0.key.type == type && !$0.value.isEmpty }.map(\.key.series))
    for (series, known) in seriesStates where known.state.open.contains(where: { $0.type == type }) {
      found.insert(series)
    }
    return found.filter { target == nil || $0.target == target }.sorted(by: SampleQuery.isListedBefore)
  }

  /// Closed buckets only: the open one stays, it is not over.
  func pruneRollUps(_ rule: RetentionRule) -> Int {
    let key = HistoryKey(series: rule.series, type: rule.type)
    guard let known = closedBuckets[key] else { return 0 }
    let kept: [Int64: RollUp]
    switch rule.keep {
    case .newest(let limit) where limit <= 0: kept = [:]
    case .newest(let limit):
      let newest = buckets(key).suffix(limit)
      kept = known.filter { start, _ in newest.first.map { start >= $0.start } ?? false }
    case .since(let date):
      let bound = StoredTime.stored(date)
      kept = known.filter { start, _ in StoredTime.date(second: start, millisecond: 0) >= bound }
    }
    closedBuckets[key] = kept.isEmpty ? nil : kept
    return known.count - kept.count
  }
}
