internal import FoundationEssentials
internal import Model

extension MemoryStorage: PortableStorage {
  package func export(_ part: StorePart, after cursor: String?, limit: Int) throws(StorageError) -> StorePage {
    try open()
    let limit = max(1, limit)
    switch part {
    case .documents:
      let after = try cursor.map { text throws(StorageError) in try PortableCursor.parts(text, count: 2) }
      let all = documents.values.sorted { Self.key($0).lexicographicallyPrecedes(Self.key($1)) }
      let left = all.filter { document in after.map { $0.lexicographicallyPrecedes(Self.key(document)) } ?? true }
      return page(left, limit, { .document($0) }, { PortableCursor.text(Self.key($0)) })
    case .samples:
      return try pageByNumber(
        histories.filter { $0.key.type == .realTime || $0.key.type == .event }.sorted { Self.precedes($0.key, $1.key) }
          .flatMap(\.value).map { .sample($0) }, cursor, limit)
    case .roll_ups:
      let buckets = closedBuckets.sorted { Self.precedes($0.key, $1.key) }.flatMap { key, buckets in
        buckets.sorted { $0.key < $1.key }.map { StoreItem.rollUp(key.series, $0.value) }
      }
      let states = seriesStates.sorted { SampleQuery.isListedBefore($0.key, $1.key) }.map { series, known in
        StoreItem.rollUpState(series, known.state)
      }
      return try pageByNumber(states + buckets, cursor, limit)
    case .episodes:
      let left = episodes.values.filter { episode in cursor.map { $0.precedesInBytes(episode.id) } ?? true }
      return page(left.sorted { $0.id.precedesInBytes($1.id) }, limit, { .episode($0) }, \.id)
    case .notifications:
      let after = try cursor.map { text throws(StorageError) in try PortableCursor.numbers(text, count: 1) }?.first
      let left = entries.values.filter { row in after.map { row.sequence > $0 } ?? true }
      return page(
        left.sorted { $0.sequence < $1.sequence }, limit, { .entry($0.entry) },
        { PortableCursor.text(["\($0.sequence)"]) })
    case .counts:
      return StorePage(items: [.forgotten(forgotten)], next: nil)
    }
  }

  package func restore(_ items: [StoreItem]) throws(StorageError) -> Int {
    try open()
    var count = 0
    var hasNewDocument = false
    for item in items where try restore(item) {
      count += 1
      if case .document = item { hasNewDocument = true }
    }
    if hasNewDocument { revision += 1 }
    return count
  }

  /// - Returns: whether it was new.
  private func restore(_ item: StoreItem) throws(StorageError) -> Bool {
    switch item {
    case .document(let document):
      let key = DocumentKey(kind: document.kind, id: document.id)
      guard documents[key] == nil else { return false }
      documents[key] = document.stored(over: nil).document
    case .sample(let sample):
      let key = HistoryKey(series: sample.series, type: sample.type)
      let before = histories[key]?.count ?? 0
      try append([sample])
      return (histories[key]?.count ?? 0) > before
    case .rollUp(let series, let rollUp):
      let key = HistoryKey(series: series, type: rollUp.type)
      guard closedBuckets[key]?[rollUp.start] == nil else { return false }
      closedBuckets[key, default: [:]][rollUp.start] = rollUp
    case .rollUpState(let series, let state):
      guard seriesStates[series] == nil else { return false }
      seriesStates[series] = (fence, state)
    case .episode(let episode):
      guard episodes[episode.id] == nil else { return false }
      let isDouble = episode.isOpen && hasOpenEpisode(episode.key, beside: episode.id)
      keep(isDouble ? episode.stored.superseded : episode.stored)
    case .entry(let entry):
      return restore(entry.moved)
    case .forgotten(let counts):
      guard forgotten.accepted == 0, counts.accepted > 0 else { return false }
      tally.delivered += counts.delivered
      tally.merged += counts.merged
      tally.dead += counts.dead
      tally.accepted += counts.delivered + counts.merged + counts.dead
    }
    return true
  }

  private func restore(_ entry: QueueEntry) -> Bool {
    if entries[entry.id] != nil { return false }
    if let key = entry.key {
      if idsByKey[key] != nil { return false }
      idsByKey[key] = entry.id
    }
    entries[entry.id] = (nextSequence, entry)
    nextSequence += 1
    tally.accepted += 1
    switch entry.state {
    case .pending, .leased: break
    case .delivered: tally.delivered += 1
    case .merged: tally.merged += 1
    case .dead: tally.dead += 1
    }
    return true
  }

  /// What was settled and is no longer there.
  private var forgotten: QueueCounts {
    func present(_ state: QueueEntry.State) -> Int { entries.values.count { $0.entry.state == state } }
    return QueueCounts(
      forgottenDelivered: tally.delivered - present(.delivered), merged: tally.merged - present(.merged),
      dead: tally.dead - present(.dead))
  }

  private static func key(_ document: Document) -> [String] { [document.kind.rawValue, document.id] }

  private static func precedes(_ a: HistoryKey, _ b: HistoryKey) -> Bool {
    a.series == b.series ? a.type.rawValue < b.type.rawValue : SampleQuery.isListedBefore(a.series, b.series)
  }

  private func page<Element>(
    _ left: [Element], _ limit: Int, _ item: (Element) -> StoreItem, _ cursor: (Element) -> String
  ) -> StorePage {
    let found = left.prefix(limit)
    return StorePage(items: found.map(item), next: left.count > limit ? found.last.map(cursor) : nil)
  }

  /// By place in the whole list: what is added before that place meanwhile makes an item come twice, which harms nothing.
  private func pageByNumber(_ all: [StoreItem], _ cursor: String?, _ limit: Int) throws(StorageError) -> StorePage {
    let start = try cursor.map { text throws(StorageError) in try PortableCursor.numbers(text, count: 1) }?.first ?? 0
    let left = all.dropFirst(max(0, Int(start)))
    let end = Int(start) + min(left.count, limit)
    return StorePage(
      items: Array(left.prefix(limit)), next: left.count > limit ? PortableCursor.text(["\(end)"]) : nil)
  }
}
