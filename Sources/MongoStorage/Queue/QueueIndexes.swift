/// The indexes that the queue needs.
///
/// - `claim`: what is due, in its order, without a sort; with `uncounted` at its end it also counts without documents.
/// - `key`: one entry for each idempotency key. Partial: messages of other programs have none.
/// - `leased`: the leases that end first.
/// - `touched`: entries settled long ago; pending ones of a clock that was set back.
/// - `unfinished`, `uncounted`, `pruning`: the little that is left to do, found without looking at the rest.
/// - `listed`, `episode`, `reaction`: lists, newest first.
/// - `open_condition`: one open episode for each condition.
enum QueueIndexes {
  static let all: [IndexSpec] = [
    IndexSpec(
      QueueNames.notifications, QueueNames.claimIndex,
      keys: ["state": 1, "next_at": 1, "created": 1, "sequence": 1, "uncounted": 1]),
    IndexSpec(QueueNames.notifications, "key", keys: ["key": 1], unique: true, partial: exists("key")),
    IndexSpec(
      QueueNames.notifications, "leased", keys: ["lease_until": 1, "sequence": 1],
      partial: BSON { $0.string("state", "leased") }),
    IndexSpec(
      QueueNames.notifications, QueueNames.touchedIndex, keys: ["state": 1, "updated": 1, "sequence": 1]),
    IndexSpec(QueueNames.notifications, "unfinished", keys: ["unfinished": 1], partial: isTrue("unfinished")),
    IndexSpec(QueueNames.notifications, "uncounted", keys: ["uncounted": 1], partial: isTrue("uncounted")),
    IndexSpec(QueueNames.notifications, "pruning", keys: ["pruning": 1], partial: isTrue("pruning")),
    IndexSpec(QueueNames.notifications, "listed", keys: ["created": -1, "sequence": -1, "_id": -1]),
    IndexSpec(
      QueueNames.notifications, "episode", keys: ["episode": 1, "created": -1, "sequence": -1],
      partial: exists("episode")),
    IndexSpec(
      QueueNames.episodes, QueueNames.conditionIndex, keys: ["condition": 1], unique: true, partial: isTrue("open")),
    IndexSpec(QueueNames.episodes, "listed", keys: ["open": -1, "listed": -1, "_id": 1]),
    IndexSpec(QueueNames.episodes, "reaction", keys: ["reaction": 1, "open": -1, "listed": -1, "_id": 1]),
    IndexSpec(QueueNames.episodes, "unfinished", keys: ["unfinished": 1], partial: isTrue("unfinished")),
    IndexSpec(QueueNames.outboxes, "unfinished", keys: ["unfinished": 1], partial: isTrue("unfinished")),
  ]

  private static func exists(_ field: String) -> BSON { BSON { $0.document(field) { $0.bool("$exists", true) } } }
  private static func isTrue(_ field: String) -> BSON { BSON { $0.bool(field, true) } }
}
