internal import FoundationEssentials
package import Model

/// A store that lives and dies with the process: for tests, and for looking around without leaving anything behind.
///
/// It behaves as the others do, durability left out. Its size is bounded by the retention rules it is given.
package actor MemoryStorage: Storage {
  struct DocumentKey: Hashable {
    var kind: DocumentKind
    var id: String
  }

  struct HistoryKey: Hashable {
    var series: Series
    var type: SampleType
  }

  var documents: [DocumentKey: Document] = [:]
  var revision: Int64 = 0
  /// Each in the order of its keys.
  var histories: [HistoryKey: [Sample]] = [:]
  /// Roll-ups: the closed buckets of a series and type by their start.
  var closedBuckets: [HistoryKey: [Int64: RollUp]] = [:]
  /// Where the roll-ups of a series stand, and in the name of which fence that was written.
  var seriesStates: [Series: (fence: Int64, state: RollUpState)] = [:]
  var episodes: [String: Episode] = [:]
  /// The open ones by their condition.
  var openEpisodes: [ConditionKey: String] = [:]
  /// In the name of which fence an episode was written.
  var episodeFences: [String: Int64] = [:]
  /// The highest that was raised.
  var fence: Int64 = 0
  var leases: [String: Lease] = [:]
  /// By id, with the order in which they came.
  var entries: [String: (sequence: Int64, entry: QueueEntry)] = [:]
  var idsByKey: [String: String] = [:]
  var nextSequence: Int64 = 0
  var tally = QueueCounts()
  private var isClosed = false

  package init() {}

  func open() throws(StorageError) {
    if isClosed { throw StorageError(.closed, "the store is closed") }
  }

  // MARK: Documents

  package func documents(_ kind: DocumentKind) throws(StorageError) -> [Document] {
    try open()
    return documents.values.filter { $0.kind == kind }.sorted { $0.id.precedesInBytes($1.id) }
  }

  package func document(_ kind: DocumentKind, id: String) throws(StorageError) -> Document? {
    try open()
    return documents[DocumentKey(kind: kind, id: id)]
  }

  package func put(_ documents: [Document]) throws(StorageError) -> [PutOutcome] {
    try open()
    var outcomes: [PutOutcome] = []
    for document in documents {
      let key = DocumentKey(kind: document.kind, id: document.id)
      let (stored, outcome) = document.stored(over: self.documents[key])
      self.documents[key] = stored
      outcomes.append(outcome)
    }
    if outcomes.contains(where: { $0 != .unchanged }) { revision += 1 }
    return outcomes
  }

  package func delete(_ kind: DocumentKind, id: String) throws(StorageError) -> Bool {
    try open()
    guard documents.removeValue(forKey: DocumentKey(kind: kind, id: id)) != nil else { return false }
    revision += 1
    return true
  }

  package func documentRevision() throws(StorageError) -> Int64 {
    try open()
    return revision
  }

  package func mergeDetectedSpecs(_ specs: [String: Value], targetID: String) throws(StorageError) {
    try open()
    documents[DocumentKey(kind: .targets, id: targetID)]?.merge(detectedSpecs: specs)
  }

  // MARK: Samples

  package func append(_ samples: [Sample]) throws(StorageError) {
    try open()
    for sample in samples.map(\.stored) where !sample.type.isRollUp {
      let key = SampleKey(sample)
      var history = histories.removeValue(forKey: HistoryKey(series: sample.series, type: sample.type)) ?? []
      // Nearly always the newest: look from the end.
      var index = history.count
      while index > 0, key < SampleKey(history[index - 1]) { index -= 1 }
      if index == 0 || SampleKey(history[index - 1]) != key { history.insert(sample, at: index) }
      histories[HistoryKey(series: sample.series, type: sample.type)] = history
    }
  }

  package func latest(_ series: Series, type: SampleType) throws(StorageError) -> Sample? {
    try open()
    if type.isRollUp { return try latestRollUp(HistoryKey(series: series, type: type)) }
    return histories[HistoryKey(series: series, type: type)]?.last
  }

  package func samples(_ query: SampleQuery) throws(StorageError) -> [Sample] {
    try open()
    if query.type.isRollUp { return try rollUpSamples(query) }
    let since = query.since.map(StoredTime.stored)
    let until = query.until.map(StoredTime.stored)
    let found = histories.filter { key, _ in
      key.type == query.type && key.series.target == query.series.target && key.series.metric == query.series.metric
        && (!query.matchesName || key.series.name == query.series.name)
    }.values.joined().filter { sample in
      since.map { sample.at >= $0 } ?? true && until.map { sample.at < $0 } ?? true
    }
    return Array(found.sorted(by: SampleQuery.isListedBefore).suffix(max(0, query.limit)))
  }

  package func series(type: SampleType, target: String?) throws(StorageError) -> [Series] {
    try open()
    if type.isRollUp { return rollUpSeries(type: type, target: target) }
    return histories.filter { key, samples in
      key.type == type && !samples.isEmpty && (target == nil || key.series.target == target)
    }.map(\.key.series).sorted(by: SampleQuery.isListedBefore)
  }

  package func prune(_ rules: [RetentionRule]) throws(StorageError) -> Int {
    try open()
    var count = 0
    for rule in rules {
      if rule.type.isRollUp {
        count += pruneRollUps(rule)
        continue
      }
      let key = HistoryKey(series: rule.series, type: rule.type)
      guard let history = histories[key] else { continue }
      let kept: [Sample]
      switch rule.keep {
      case .newest(let limit): kept = history.suffix(max(0, limit))
      case .since(let date):
        let bound = StoredTime.stored(date)
        kept = history.filter { $0.at >= bound }
      }
      count += history.count - kept.count
      histories[key] = kept.isEmpty ? nil : kept
    }
    return count
  }

  // MARK: Itself

  package func check() throws(StorageError) -> [String: Value] {
    try open()
    return ["store": "memory", "durable": false]
  }

  package func close() {
    isClosed = true
  }
}
