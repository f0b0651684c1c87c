/// The collections of the queue, and the fields that several of its operations name.
///
/// `notifications` has the contract's fields, and of ours in addition: `kind option recipient alternates after`, and
/// - `sequence`: the order of arrival, for entries of the same time; never changed;
/// - `token`: a new random number with each change, by which a write knows its own work again;
/// - `uncounted: true` until the entry was added to the tally (see ``QueueTally``);
/// - `outbox`, `outbox_number`, `unfinished: true`: entries that this document promises (see ``Outbox``);
/// - `pruning: true`: counted as forgotten, or about to be; nobody changes it any more.
enum QueueNames {
  static let notifications = "notifications"
  /// `{_id, reaction, condition, open, listed, fence, body}`, and an outbox.
  static let episodes = "episodes"
  /// Outboxes of several entries that belong to no episode: `{_id, outbox, outbox_number, unfinished}`.
  static let outboxes = "outboxes"
  static let meta = "meta"

  /// The collections that may hold an outbox.
  static let withOutbox = [episodes, outboxes, notifications]

  static let claimIndex = "claim"
  static let touchedIndex = "touched"
  static let conditionIndex = "open_condition"
}
