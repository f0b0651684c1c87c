internal import Model

/// Where the roll-ups of one series stand, in memory: the open buckets, and what is not stored yet.
///
/// No call of it waits. Belongs to the one ``RollUpKeeper`` that made it.
final class RollUpStanding {
  struct Bucket {
    var type: SampleType
    var start: Int64
    var length: Int64
    var leaves = RollUpLeaves()

    func contains(_ second: Int64) -> Bool { second >= start && second - start < length }
  }

  struct BucketID: Hashable {
    var type: SampleType
    var start: Int64
  }

  /// What a stored update covers.
  struct Mark {
    var version: Int
    var unsaved: Int
  }

  static let types: [SampleType] = [.variable, .hour, .day]
  /// Most closed buckets that wait while the store is away. With more of them all is forgotten, and made anew from RT.
  static let closedBound = 128

  let series: Series
  private(set) var through: SampleKey?
  private(set) var open: [Bucket] = []
  /// Closed and not stored since they changed.
  private(set) var closed: [BucketID: RollUp] = [:]
  /// Late samples that are in, in the order in which they came: more than one append holds, of which the newest are
  /// stored.
  private(set) var late: [SampleKey] = []
  static let lateBound = 4096
  /// What late data went into last, for each type: so that it is not read again for each sample.
  private var reopened: [SampleType: RollUp] = [:]
  private var layout = RollUpLayout()
  /// The end and the length of the newest variable bucket: where a changed length may begin.
  private(set) var lastVariable: (end: Int64, length: Int64)?

  private(set) var hasUnsavedLate = false
  /// New samples that are in and not in the stored state.
  private(set) var unsavedCount = 0
  /// Grows with each change.
  private(set) var version = 0
  private var savedVersion = 0

  /// What came in the batch that is being taken in, and where samples and variable buckets ended before it.
  private var batch: (number: UInt64, before: SampleKey?, last: (end: Int64, length: Int64)?, keys: [SampleKey]) =
    (0, nil, nil, [])

  /// Used by the keeper: since when it is dirty, whether it should be stored at once, when it was last used.
  var dirtySince: Duration?
  var isUrgent = false
  var lastUsed: Duration = .zero
  /// RT may have samples newer than ``through``: it has to be read before the next are taken in.
  var isUncertain = false

  init(_ series: Series) { self.series = series }

  /// - Throws: `corrupt` when the state's bytes are damaged.
  init(_ series: Series, _ state: RollUpState) throws(StorageError) {
    self.series = series
    through = state.through
    late = state.late
    for stored in state.open.prefix(Self.types.count) where stored.length > 0 {
      var bucket = Bucket(type: stored.type, start: stored.start, length: stored.length)
      do {
        try RollUpCodec.decode(stored.encoded, start: stored.start, into: &layout, leaves: &bucket.leaves)
      } catch {
        throw StorageError(.corrupt, "an open roll-up of \(series.target) \(series.metric) is damaged")
      }
      open.append(bucket)
      if stored.type == .variable { remember(variable: bucket) }
    }
  }

  var isDirty: Bool { version != savedVersion }
  var mark: Mark { Mark(version: version, unsaved: unsavedCount) }
  /// How many values had no room since the last time the layout was made anew.
  var ignoredCount: Int { layout.ignored }

  func contains(_ key: SampleKey) -> Bool { late.contains(key) }

  /// The newest closed variable bucket, found in the store.
  func remember(variable stored: RollUp) {
    if lastVariable == nil, stored.length > 0 { lastVariable = (stored.start &+ stored.length, stored.length) }
  }

  private func remember(variable bucket: Bucket) { lastVariable = (bucket.start &+ bucket.length, bucket.length) }

  func begin(batch number: UInt64) {
    if batch.number != number { batch = (number, through, lastVariable, []) }
  }

  func noteInBatch(_ key: SampleKey) { batch.keys.append(key) }

  /// Whether a key that is not newer than ``through`` came first in this batch.
  func isNewInBatch(_ key: SampleKey) -> Bool {
    (batch.before.map { key > $0 } ?? true) && !batch.keys.contains(key)
  }

  // MARK: New samples

  /// Takes in a sample that is newer than ``through``.
  /// - Parameters:
  ///   - value: nil for an error, which moves `through` and nothing else.
  ///   - variable: the wanted length of variable buckets, in seconds.
  /// - Returns: whether a bucket was closed.
  @discardableResult
  func fold(_ key: SampleKey, _ value: Value?, variable: Int64) -> Bool {
    let hasClosed = closeBuckets(before: key.second)
    through = key
    unsavedCount += 1
    version &+= 1
    guard let value else { return hasClosed }
    var observations: [RollUpObservation] = []
    observations.reserveCapacity(layout.count)
    layout.observe(value, into: &observations)
    for type in Self.types {
      if !open.contains(where: { $0.type == type }) { openBucket(type, at: key.second, variable: variable) }
      for index in open.indices where open[index].type == type { open[index].leaves.fold(observations, key: key) }
    }
    return hasClosed
  }

  private func closeBuckets(before second: Int64) -> Bool {
    guard open.contains(where: { !$0.contains(second) }) else { return false }
    for bucket in open where !bucket.contains(second) {
      put(
        RollUp(
          type: bucket.type, start: bucket.start, length: bucket.length, leaves: bucket.leaves, layout: layout))
    }
    open.removeAll { !$0.contains(second) }
    renewLayout()
    return true
  }

  private func openBucket(_ type: SampleType, at second: Int64, variable: Int64) {
    let place = place(type, of: second, variable: variable)
    let bucket = Bucket(type: type, start: place.start, length: place.length)
    open.append(bucket)
    if type == .variable { remember(variable: bucket) }
  }

  /// Fields that no open bucket has any more make room for others.
  private func renewLayout() {
    let used = open.map { $0.leaves.usedNodes(in: layout) }
    let isFull = layout.ignored > 0
    let hasUnused = (1..<max(1, layout.count)).contains { node in !used.contains { $0[node] } }
    guard hasUnused, isFull || open.isEmpty || layout.count > 64 else { return }
    var renewed = RollUpLayout()
    for index in open.indices {
      var leaves = RollUpLeaves()
      leaves.merge(open[index].leaves, from: layout, into: &renewed)
      open[index].leaves = leaves
    }
    layout = renewed
  }

  /// Which bucket an instant falls into when none is there.
  ///
  /// A changed length of variable buckets counts from the first instant at which a bucket of the new length begins and no
  /// other is there: no two buckets overlap.
  func place(_ type: SampleType, of second: Int64, variable: Int64) -> (start: Int64, length: Int64) {
    switch type {
    case .hour: return (Self.floor(second, 3600), 3600)
    case .day: return (Self.floor(second, 86_400), 86_400)
    case .variable, .realTime, .event:
      let start = Self.floor(second, variable)
      guard let last = lastVariable, last.length != variable, start < last.end else { return (start, variable) }
      return (Self.floor(second, last.length), last.length)
    }
  }

  static func floor(_ second: Int64, _ length: Int64) -> Int64 {
    let remainder = second % length
    return second - (remainder < 0 ? remainder + length : remainder)
  }

  // MARK: Late samples

  /// Whether late data of this instant goes into an open bucket: one that is there, or the one that ``through`` is in.
  func isOpen(_ type: SampleType, at second: Int64, variable: Int64) -> Bool {
    if open.contains(where: { $0.type == type && $0.contains(second) }) { return true }
    guard let through, !open.contains(where: { $0.type == type }) else { return false }
    let place = place(type, of: through.second, variable: variable)
    return second >= place.start && second - place.start < place.length
  }

  /// A closed bucket that is known without asking the store.
  func knownBucket(_ type: SampleType, at second: Int64) -> RollUp? {
    if let waiting = closed.values.first(where: { $0.type == type && $0.contains(second) }) { return waiting }
    return reopened[type].flatMap { $0.contains(second) ? $0 : nil }
  }

  /// The places of the variable buckets that are known without asking the store, and of the one that is open next.
  func knownPlaces(variable: Int64) -> [(start: Int64, length: Int64)] {
    var places = open.filter { $0.type == .variable }.map { (start: $0.start, length: $0.length) }
    if places.isEmpty, let through { places.append(place(.variable, of: through.second, variable: variable)) }
    places += closed.values.filter { $0.type == .variable }.map { ($0.start, $0.length) }
    if let bucket = reopened[.variable] { places.append((bucket.start, bucket.length)) }
    places += [lastVariable, batch.last].compactMap { $0 }.map { ($0.end &- $0.length, $0.length) }
    return places
  }

  func foldLateIntoOpen(_ type: SampleType, _ key: SampleKey, _ value: Value, variable: Int64) {
    if !open.contains(where: { $0.type == type }), let through {
      openBucket(type, at: through.second, variable: variable)
    }
    var observations: [RollUpObservation] = []
    layout.observe(value, into: &observations)
    for index in open.indices where open[index].type == type { open[index].leaves.fold(observations, key: key) }
    version &+= 1
  }

  /// - Parameter bucket: as it is stored; with no bytes where there was none.
  func foldLate(into bucket: RollUp, _ key: SampleKey, _ value: Value) throws(StorageError) {
    var content = bucket.encoded.isEmpty ? RollUpContent() : try bucket.content()
    content.fold(value, key: key)
    let changed = RollUp(
      type: bucket.type, start: bucket.start, length: bucket.length, leaves: content.leaves, layout: content.layout)
    reopened[bucket.type] = changed
    if bucket.type == .variable, lastVariable.map({ bucket.start &+ bucket.length > $0.end }) ?? true {
      lastVariable = (bucket.start &+ bucket.length, bucket.length)
    }
    put(changed)
  }

  /// Remembers that a late sample is in.
  func remember(late key: SampleKey) {
    late.append(key)
    hasUnsavedLate = true
    if late.count > Self.lateBound { late.removeFirst(late.count - Self.lateBound) }
    noteUnsaved()
  }

  /// One more sample in RT that the stored state does not have.
  func noteUnsaved() {
    unsavedCount += 1
    version &+= 1
  }

  private func put(_ bucket: RollUp) {
    closed[BucketID(type: bucket.type, start: bucket.start)] = bucket
    version &+= 1
  }

  // MARK: Storing

  /// What has to be stored; nil when nothing was ever taken in.
  var update: RollUpUpdate? {
    guard let through else { return nil }
    let buckets = open.map {
      RollUp(type: $0.type, start: $0.start, length: $0.length, leaves: $0.leaves, layout: layout)
    }
    return RollUpUpdate(
      series: series, closed: closed.values.sorted { ($0.start, $0.length) < ($1.start, $1.length) },
      state: RollUpState(through: through, open: buckets, late: Array(late.suffix(RollUpState.lateBound))))
  }

  /// What ``update`` gave at this mark is in the store.
  func settle(_ update: RollUpUpdate, _ mark: Mark) {
    for bucket in update.closed {
      let id = BucketID(type: bucket.type, start: bucket.start)
      if closed[id] == bucket { closed[id] = nil }
    }
    savedVersion = mark.version
    if !isDirty { hasUnsavedLate = false }
    unsavedCount -= min(mark.unsaved, unsavedCount)
  }
}
