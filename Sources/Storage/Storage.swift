package import FoundationEssentials
package import Model

/// Where documents, samples, episodes and the queue are kept. All stores behave the same; one suite proves it.
///
/// Every call is bounded in time by the store itself and may be made from any task. A slow or absent store makes calls
/// throw ``StorageError``; it never changes what anything means.
package protocol Storage: Sendable {
  // MARK: Documents

  /// All documents of a kind, in the order of their ids.
  func documents(_ kind: DocumentKind) async throws(StorageError) -> [Document]
  func document(_ kind: DocumentKind, id: String) async throws(StorageError) -> Document?
  /// Inserts or replaces; fields that the service writes (`detected_specs`) are kept when the new document has none.
  /// Only what people write decides whether a document changed (``Document/content``); unchanged ones do not move
  /// ``documentRevision()``.
  /// - Returns: what became of each, in order. All or none.
  func put(_ documents: [Document]) async throws(StorageError) -> [PutOutcome]
  /// - Returns: false when there was none.
  func delete(_ kind: DocumentKind, id: String) async throws(StorageError) -> Bool
  /// Grows whenever any document was put or deleted by anyone, also by another process or another tool. Cheap: populators
  /// ask every step. Numbers are compared within one process only.
  func documentRevision() async throws(StorageError) -> Int64
  /// Merges what the service found out into a target's `detected_specs`. Does not move ``documentRevision()``.
  func mergeDetectedSpecs(_ specs: [String: Value], targetID: String) async throws(StorageError)

  // MARK: Samples

  /// Appends raw samples and events. A sample that is there already (same series, type, tag, n) is left as it is.
  /// Samples of a roll-up's type are left out: they come by ``RollUpStorage/store(_:)``.
  func append(_ samples: [Sample]) async throws(StorageError)
  func latest(_ series: Series, type: SampleType) async throws(StorageError) -> Sample?
  /// Oldest first; within one tag by `n`, then by the instance's name. Roll-ups come as samples at their bucket's start,
  /// the open bucket (as last stored) included.
  func samples(_ query: SampleQuery) async throws(StorageError) -> [Sample]
  /// All series that have samples of this type, optionally of one target.
  func series(type: SampleType, target: String?) async throws(StorageError) -> [Series]
  /// Deletes what is over the caps, oldest first.
  /// - Returns: how many went.
  func prune(_ rules: [RetentionRule]) async throws(StorageError) -> Int

  // MARK: Episodes and the queue

  /// Stores an episode and queues its messages as one step: durably, or not at all. This is the promise of the house.
  ///
  /// An entry whose `key` or `id` is known already is not queued again. An entry with `after` stays behind that entry.
  /// Whatever state an entry is given in, it is taken in as pending. Times are kept to the millisecond.
  /// - Returns: how many entries were new.
  func record(_ episode: Episode?, queueing entries: [QueueEntry]) async throws(StorageError) -> Int
  /// `reaction` nil: of all. Open ones first, then the newest ended; at most `limit`.
  func episodes(reaction: String?, openOnly: Bool, limit: Int) async throws(StorageError) -> [Episode]

  /// Takes the first pending entry that is due (``Model/QueueEntry/isDue(at:)``), for `lease` from `now`.
  ///
  /// An entry whose `after` is still pending takes that one in (it becomes `merged`, its ledger's last line names the
  /// entry that tells its news), and what stands before that one likewise; while one of them is leased the entry waits.
  /// In the order of `next_at`, `created`, arrival; behind all these come those that only a clock that was set back
  /// makes due. What is leased stays so, whatever the time: only ``rescue(_:now:)`` takes a lease away.
  func claim(owner: String, now: Date, lease: Duration) async throws(StorageError) -> QueueLease?
  /// - Returns: false when the lease is no longer ours.
  func extend(_ lease: QueueLease, until: Date) async throws(StorageError) -> Bool
  /// Ends a lease, and queues `adding` in the same step (alternates). When there are any, the entry's own `alternates`
  /// are emptied. A lease whose time is up still counts until the entry was rescued or claimed by another.
  /// - Returns: false when the lease was no longer ours; nothing changed then.
  func settle(
    _ lease: QueueLease, as settlement: Settlement, now: Date, adding: [QueueEntry]
  ) async throws(StorageError) -> Bool
  /// What is in somebody's hands now, those first that end first; at most `limit`.
  func heldLeases(limit: Int) async throws(StorageError) -> [QueueLease]
  /// Gives back those of these leases that still stand just so (owner, epoch, `lease_until`): their entries are pending
  /// again, with a line `rescued` in the ledger, or `crashed` (``QueueLease/hasOwnerEnded``). Finishes whatever else a crash left half done, also without leases.
  /// - Returns: how many were given back.
  func rescue(_ leases: [QueueLease], now: Date) async throws(StorageError) -> Int
  func queueCounts(now: Date) async throws(StorageError) -> QueueCounts
  /// How much there is to do; cheaper than ``queueCounts(now:)``, for the pool that asks every second.
  func queueLoad(now: Date) async throws(StorageError) -> QueueLoad
  /// When the next pending entry is due; `nil`: nothing is pending. In the past while that entry waits for a leased
  /// predecessor: a worker sleeps a little in any case when ``claim(owner:now:lease:)`` has nothing.
  func nextDue() async throws(StorageError) -> Date?
  /// Newest first.
  func queue(_ query: QueueQuery) async throws(StorageError) -> [QueueEntry]
  func queueEntry(id: String) async throws(StorageError) -> QueueEntry?
  /// Makes a pending or dead entry due now. - Returns: false when there is none in such a state.
  func retry(id: String, now: Date) async throws(StorageError) -> Bool
  /// Gives an entry up by hand: dead, with the reason in its ledger. - Returns: false when it is settled or unknown.
  func drop(id: String, reason: String, now: Date) async throws(StorageError) -> Bool
  /// Forgets entries that were settled, and episodes that ended, before `date`. - Returns: how many entries.
  func pruneQueue(settledBefore date: Date) async throws(StorageError) -> Int

  // MARK: Itself

  /// One write and one read; for /readyz and `doctor`. Returns facts such as version, size, journal mode.
  func check() async throws(StorageError) -> [String: Value]
  func close() async
}

extension Storage {
  /// Gives back the leases that are over by the time `now`: for who knows that no clock was set meanwhile.
  /// - Returns: how many.
  @discardableResult
  package func rescue(now: Date) async throws(StorageError) -> Int {
    let over = try await heldLeases(limit: 10_000).filter { $0.entry.isStranded(at: now) }
    return try await rescue(over, now: now)
  }
}

package enum PutOutcome: String, Sendable, Hashable {
  case created, changed, unchanged
}

package struct SampleQuery: Sendable, Hashable {
  package var series: Series
  /// True: only the series' own name; false: all instances of the metric.
  package var matchesName: Bool
  package var type: SampleType
  /// From this instant on.
  package var since: Date?
  /// Up to, but not including.
  package var until: Date?
  /// The newest `limit` that match.
  package var limit: Int

  package init(
    _ series: Series, matchesName: Bool = true, type: SampleType = .realTime, since: Date? = nil, until: Date? = nil,
    limit: Int = 1000
  ) {
    self.series = series
    self.matchesName = matchesName
    self.type = type
    self.since = since
    self.until = until
    self.limit = limit
  }
}

/// A cap on one series and type.
package struct RetentionRule: Sendable, Hashable {
  package enum Keep: Sendable, Hashable {
    case newest(Int)
    case since(Date)
  }
  package var series: Series
  package var type: SampleType
  package var keep: Keep
  package init(_ series: Series, type: SampleType, keep: Keep) {
    self.series = series
    self.type = type
    self.keep = keep
  }
}

/// A worker's right to deliver one entry. `entry.epoch` and `entry.owner` prove it.
package struct QueueLease: Sendable, Hashable {
  package enum Predecessor: Sendable, Hashable {
    /// There was none, or it was delivered.
    case none
    /// Its news was never told: it was pending and is merged into this one, or it is dead.
    case untold
  }
  package var entry: QueueEntry
  package var predecessor: Predecessor
  /// Why nobody can deliver it, in a person's words: another program wrote what makes no sense. Whoever claimed it gives
  /// it up and says so. nil: all is well.
  package var problem: String?
  /// The process that had it is known to have ended; whoever looks through the leases may know that, no store does.
  package var hasOwnerEnded = false
  package init(entry: QueueEntry, predecessor: Predecessor = .none, problem: String? = nil) {
    self.entry = entry
    self.predecessor = predecessor
    self.problem = problem
  }
}

/// How a lease ended.
package enum Settlement: Sendable, Hashable {
  case delivered(receipt: String)
  /// Try again at that time.
  case again(at: Date, outcome: String, answer: String)
  case dead(answer: String)
}

/// The conservation law: `accepted = delivered + merged + dead + pending + leased`, settled ones that were pruned included.
package struct QueueCounts: Sendable, Hashable {
  package var accepted = 0
  package var delivered = 0
  package var merged = 0
  package var dead = 0
  package var pending = 0
  package var leased = 0
  /// Pending entries whose time has come.
  package var due = 0
  package var oldestPending: Date?
  package init() {}
  /// Must be 0.
  package var imbalance: Int { accepted - delivered - merged - dead - pending - leased }
}

package struct QueueLoad: Sendable, Hashable {
  /// Pending entries whose time has come.
  package var due: Int
  package var leased: Int
  package init(due: Int = 0, leased: Int = 0) {
    self.due = due
    self.leased = leased
  }
}

package struct QueueQuery: Sendable, Hashable {
  package var states: Set<QueueEntry.State>
  package var episode: String?
  package var limit: Int
  package init(states: Set<QueueEntry.State> = Set(QueueEntry.State.allCases), episode: String? = nil, limit: Int = 200)
  {
    self.states = states
    self.episode = episode
    self.limit = limit
  }
}

package struct StorageError: Error, Sendable, Hashable, CustomStringConvertible {
  package enum Code: String, Sendable, Hashable {
    /// The store cannot be reached or does not answer in time.
    case unavailable
    /// The disk or a quota is full.
    case full
    /// The store is there but its content or schema is not what we can use.
    case corrupt
    case conflict
    case closed
    case internalError
  }
  package var code: Code
  package var message: String
  /// The library's own number.
  package var rawCode: Int?
  package init(_ code: Code, _ message: String, rawCode: Int? = nil) {
    self.code = code
    self.message = message
    self.rawCode = rawCode
  }
  package var description: String { message }
}
