package import FoundationEssentials

/// One message to one recipient: a document of `notifications`, which is both the queue and the ledger.
///
/// `state` moves pending → leased → delivered, back to pending with `next_at`, or to dead; or it is merged into another.
package struct QueueEntry: Sendable, Hashable, Codable {
  package enum State: String, Sendable, Hashable, Codable, CaseIterable {
    /// Waits for `next_at`, then for a worker.
    case pending
    /// A worker has it until `lease_until`; after that it is pending again.
    case leased
    case delivered
    /// Given up; kept 30 days, can be retried by a person.
    case dead
    /// Its news is told by another entry.
    case merged
  }

  package struct Attempt: Sendable, Hashable, Codable {
    package var at: Date
    /// `delivered`, `again`, `gave_up`, `unknown` (the peer may have taken it), `deferred` (not tried), `merged`,
    /// `rescued` (its lease ran out), `crashed` (the process that had it ended).
    package var outcome: String
    /// What the peer or the library said; no secrets, at most 512 bytes.
    package var answer: String
    package init(at: Date, outcome: String, answer: String) {
      self.at = at
      self.outcome = outcome
      self.answer = answer
    }
  }

  package var id: String
  /// The idempotency key; unique where present. Messages other programs queue have none.
  package var key: String?
  package var reaction: String
  package var target: String
  /// `email` …
  package var type: String
  /// For e-mail: `from`, `to` (text or list), `subject`, `body`.
  package var payload: [String: Value]
  package var updated: Date

  package var episode: String?
  /// `firing`, `repeat n`, `resolved`, `test`, `notice`.
  package var kind: String
  /// The notification_options document it goes out by; `nil`: found by type and target.
  package var option: String?
  package var recipient: String?
  /// Options to try, in order, when this one has failed for a minute or for good; emptied once handed on.
  package var alternates: [String]
  /// The key of the entry that must be settled first (resolved after firing).
  package var after: String?
  package var severity: Severity?
  package var state: State
  /// At most ``attemptsBound``, the oldest go first (the first of all is kept).
  package var attempts: [Attempt]
  package var next_at: Date
  package var owner: String?
  /// Grows with every lease; a late worker's epoch no longer counts.
  package var epoch: Int
  package var lease_until: Date?
  package var created: Date
  package var delivered_at: Date?
  /// What the peer answered when it took the message.
  package var receipt: String?

  package static let attemptsBound = 50

  package init(
    id: String, key: String?, reaction: String, target: String, type: String, payload: [String: Value],
    episode: String? = nil, kind: String = "notice", option: String? = nil, recipient: String? = nil,
    alternates: [String] = [], after: String? = nil, severity: Severity? = nil, created: Date, next_at: Date? = nil
  ) {
    self.id = id
    self.key = key
    self.reaction = reaction
    self.target = target
    self.type = type
    self.payload = payload
    self.updated = created
    self.episode = episode
    self.kind = kind
    self.option = option
    self.recipient = recipient
    self.alternates = alternates
    self.after = after
    self.severity = severity
    self.state = .pending
    self.attempts = []
    self.next_at = next_at ?? created
    self.epoch = 0
    self.created = created
  }
}
