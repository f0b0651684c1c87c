package import FoundationEssentials
internal import Model

/// How it stands with a store that may be away, for whoever watches over it.
package struct StoreStatus: Sendable, Hashable {
  package enum Condition: String, Sendable, Hashable {
    case present
    /// What is accepted goes to the journal.
    case away
    /// It is back; the journal is being brought to it, and new operations still go to the journal's end.
    case replaying
  }
  package var condition: Condition
  /// The outage that lasts, or that was the last one of this process.
  package var outage: StoreOutage?
  /// What waits in the journal.
  package var journal: JournalSize
  /// Why the store, which answers, does not take the oldest operation of the journal; nil: it does, or is away.
  package var hindrance: String?
  package init(condition: Condition, outage: StoreOutage?, journal: JournalSize, hindrance: String? = nil) {
    self.condition = condition
    self.outage = outage
    self.journal = journal
    self.hindrance = hindrance
  }

  /// What is left to bring to a store that is back; nil where nothing is.
  ///
  /// Until it is done the store does not know everything that was accepted: open episodes are not read from it, and
  /// whoever has only just got the gathering waits with it.
  package var backlog: String? {
    guard condition == .replaying else { return nil }
    let since = journal.oldest.map { ", the oldest of \(Instant.format($0))" } ?? ""
    let trouble = hindrance.map { "; the store does not take it: \($0)" } ?? ""
    return """
      the journal is being brought to the store: \(journal.samples) samples and \(journal.entries) messages are \
      left\(since)\(trouble)
      """
  }
}

/// One time that the store was away, with what it cost.
package struct StoreOutage: Sendable, Hashable {
  package var since: Date
  /// When everything had been brought to the store.
  package var until: Date?
  /// Why it counts as away, in the words of the first failure.
  package var reason: String
  /// What was journaled.
  package var samples = 0
  package var entries = 0
  /// What was given up because the journal was full.
  package var dropped: [JournalLoss: Int] = [:]
  /// Operations that the store refused for good when they were brought to it.
  package var refused = 0
  package init(since: Date, reason: String) {
    self.since = since
    self.reason = reason
  }
}
