internal import Logging
internal import Storage

/// Entries that a document promises to the queue.
///
/// The promise is made by one write, together with what it belongs to (an episode's news, the end of a lease): field
/// `outbox` with the entries as they shall stand in `notifications`, `outbox_number` with a new number, `unfinished`.
/// Then the entries are put into the queue, then the three fields are taken away if the number is still the same.
///
/// When the process ends
/// - before the promise: nothing has happened, and nobody was told otherwise;
/// - between promise and queue, or in the middle of the insert: whoever looks next (``QueueSession/finishOutboxes()``:
///   each handle, once a second while it claims, and with each rescue) puts in what is missing;
/// - before the fields are gone: the same, and finds each entry there by its `_id` or key.
///
/// The promise of an episode that nobody had stored before counts only once it is confirmed
/// (``QueueSession/confirm(_:id:)``).
///
/// Two that fulfil one promise at once do the same insert; each entry is there once, by `_id` and by the unique key. A
/// promise that is added to another one keeps the other's entries (`$push`) and changes the number, so that who has
/// fulfilled the first only does not strike out both. An entry that was delivered meanwhile is still there: it is
/// forgotten after 30 days at the earliest, and never while its outbox stands.
struct Outbox {
  var collection: String
  var id: BSONValue
  var number: Int64
  var entries: [BSON]

  init(collection: String, id: BSONValue, number: Int64, entries: [BSON]) {
    self.collection = collection
    self.id = id
    self.number = number
    self.entries = entries
  }

  /// The outbox of a document as it is stored; nil: it has none.
  init?(_ document: BSON, in collection: String) throws {
    guard let id = document["_id"], let number = document["outbox_number"]?.int64Value,
      let list = document["outbox"]?.arrayValue
    else { return nil }
    self.init(collection: collection, id: id, number: number, entries: try list.values().compactMap(\.documentValue))
  }

  /// Adds the promise to an update's `$set`.
  static func set(_ number: Int64, _ w: inout BSONWriter) {
    w.int("outbox_number", number)
    w.bool("unfinished", true)
  }

  /// Adds the promised entries to an update.
  static func push(_ entries: [BSON], _ w: inout BSONWriter) {
    w.document("$push") { w in
      w.document("outbox") { $0.documents("$each", entries) }
    }
  }
}

extension QueueSession {
  /// Most outboxes that one look takes from each collection; the rest comes with the next.
  private static let outboxBound = 100

  /// Fulfils a promise and strikes it out.
  /// - Returns: how many entries were new.
  func finish(_ outbox: Outbox) throws -> Int {
    let count = try insert(outbox.entries)
    try memory.reached(.inserted)
    if outbox.collection == QueueNames.outboxes {
      _ = try self.count(delete: outbox.collection) { $0.value("_id", outbox.id) }
    } else {
      _ = try self.count(
        update: outbox.collection,
        where: { w in
          w.value("_id", outbox.id)
          w.int("outbox_number", outbox.number)
        },
        { w in
          w.document("$unset") { w in for field in ["outbox", "outbox_number", "unfinished"] { w.string(field, "") } }
        })
    }
    return count
  }

  /// Fulfils a promise that is stored. A failure is only told: the promise stands, and the next look finishes it.
  /// - Returns: how many entries were new; all of them where that is not known.
  func fulfil(_ outbox: Outbox, at step: QueueStep) -> Int {
    do {
      try memory.reached(step)
      return try finish(outbox)
    } catch {
      logger.warning(
        "messages are stored and not in the queue yet; they follow",
        metadata: ["notification.count": "\(outbox.entries.count)", "error": "\(error)"])
      return outbox.entries.count
    }
  }

  /// Fulfils all promises that were left.
  /// - Returns: how many entries were new.
  func finishOutboxes() throws -> Int {
    var count = 0
    for collection in QueueNames.withOutbox {
      let command = BSON { w in
        w.string("find", collection)
        w.document("filter") { $0.bool("unfinished", true) }
        w.document("projection", EpisodeDocument.promise)
        w.int("limit", Self.outboxBound)
      }
      for document in try connection.find(command, limit: Self.outboxBound) {
        let promised = (try? document["outbox"]?.arrayValue?.values().count) ?? 0
        do {
          if collection == QueueNames.episodes, document["unconfirmed"] != nil, let id = document["_id"]?.stringValue {
            // The promise was made in the name of one that may have lost the gathering.
            if try confirm(document, id: id) == .takenBack {
              logger.notice("an episode was taken back: another instance has the gathering now")
              continue
            }
          }
          guard let outbox = try Outbox(document, in: collection) else { continue }
          count += try finish(outbox)
        } catch let error as MongoFailure where error.isFinal {
          // One that the store refuses must not keep the others back.
          logger.error(
            "messages that were promised are refused by the store",
            metadata: [
              "notification.count": "\(promised)", "store.collection": "\(collection)",
              "error": "\(error)",
            ])
        }
      }
    }
    return count
  }
}

extension MongoFailure {
  /// The server has answered, and will not answer otherwise when it is asked again.
  var isFinal: Bool { domain == Self.server && !isUnknownOutcome && !isRetryable && !isTransient }
}
