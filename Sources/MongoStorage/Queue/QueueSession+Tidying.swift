internal import FoundationEssentials
internal import Logging
internal import Model
internal import Storage

/// What others left for the queue to do, as one look at its indexes shows it.
struct QueueLeftovers: Sendable, Hashable {
  /// Entries came into the queue.
  var hasNew = false
  /// Pending entries were last changed in the future.
  var hasAhead = false
}

extension QueueSession {
  /// Most messages of other programs that one look takes in; the rest comes with the next.
  private static let adoptionBound = 500

  /// Finishes what a crash left half done and takes in what other programs queued. One round trip when there is nothing.
  func tidy(now: Date) throws -> QueueLeftovers {
    var result = QueueLeftovers()
    let left = try look(now: now)
    if left.contains("unfinished") { result.hasNew = try finishOutboxes() > 0 }
    if left.contains("foreign"), try adopt(now: now) > 0 { result.hasNew = true }
    result.hasAhead = left.contains("ahead")
    return result
  }

  /// One aggregation over the small indexes, each part ending at its first hit.
  private func look(now: Date) throws -> Set<String> {
    let ahead = try ahead(of: now)
    func stages(_ name: String, _ w: inout BSONWriter, _ filter: (inout BSONWriter) -> Void) {
      w.document { $0.document("$match", filter) }
      w.document { $0.int32("$limit", 1) }
      w.document { w in
        w.document("$project") { w in
          w.int32("_id", 0)
          w.document("left") { $0.string("$literal", name) }
        }
      }
    }
    func union(
      _ collection: String, _ name: String, _ w: inout BSONWriter, _ filter: (inout BSONWriter) -> Void
    ) {
      w.document { w in
        w.document("$unionWith") { w in
          w.string("coll", collection)
          w.array("pipeline") { stages(name, &$0, filter) }
        }
      }
    }
    let command = BSON { w in
      w.string("aggregate", QueueNames.notifications)
      w.array("pipeline") { w in
        stages("foreign", &w, Self.isForeign)
        union(QueueNames.notifications, "foreign", &w, Self.isWithoutTime)
        union(QueueNames.notifications, "ahead", &w) { w in
          w.string("state", QueueEntry.State.pending.rawValue)
          ahead.filter(&w)
        }
        for collection in QueueNames.withOutbox {
          union(collection, "unfinished", &w) { $0.bool("unfinished", true) }
        }
      }
      w.document("cursor") { _ in }
    }
    return Set(try connection.find(command, limit: 8).compactMap { $0["left"]?.stringValue })
  }

  /// When entries were last changed that only a clock that was set back makes due: later than any clock's error can
  /// explain (what `QueueEntry.isDue(at:)` says), and not later than this machine's clock ever stood.
  struct Ahead {
    var after: Date
    var through: Date

    func filter(_ w: inout BSONWriter) {
      w.document("updated") { w in
        w.date("$gt", after)
        w.date("$lte", through)
      }
    }
  }

  func ahead(of now: Date) throws -> Ahead {
    let latest = try memory.latest(now) {
      let command = BSON { w in
        w.string("find", QueueNames.notifications)
        w.document("filter") { w in
          w.string("state", QueueEntry.State.pending.rawValue)
          w.document("updated") { $0.date("$gt", now) }
        }
        w.document("sort") { w in
          w.int32("updated", -1)
          w.int32("sequence", -1)
        }
        w.document("projection") { $0.int32("updated", 1) }
        w.int32("limit", 1)
        w.string("hint", QueueNames.touchedIndex)
      }
      return try connection.find(command, limit: 1).first?["updated"]?.dateValue
    }
    return Ahead(
      after: StoredTime.stored(now).addingTimeInterval(QueueEntry.aheadBound), through: StoredTime.stored(latest))
  }

  /// No state of ours: the bare message of another program, or somebody's own word. Gaps in the index, not a scan.
  private static func isForeign(_ w: inout BSONWriter) {
    w.document("state") { $0.strings("$nin", QueueEntry.State.allCases.map(\.rawValue)) }
  }

  /// Pending, but nobody can tell since when: no date where `next_at` belongs.
  private static func isWithoutTime(_ w: inout BSONWriter) {
    w.string("state", QueueEntry.State.pending.rawValue)
    w.document("next_at") { w in w.document("$not") { $0.date("$gte", milliseconds: .min) } }
  }

  /// Takes messages of other programs in: pending and due now. Those that cannot be delivered, too: the worker that
  /// claims one gives it up, and says so.
  ///
  /// Each is one compare-and-set on its `token` (none), so that of several handles one takes it in; what its writer has
  /// set stays, only what the queue needs is added.
  /// - Returns: how many.
  private func adopt(now: Date) throws -> Int {
    var found = try find(limit: Self.adoptionBound, where: Self.isForeign)
    found += try find(limit: Self.adoptionBound, where: Self.isWithoutTime)
    var count = 0
    for stored in found {
      var entry = stored.entry
      entry.state = .pending
      entry.owner = nil
      entry.lease_until = nil
      entry.next_at = StoredTime.stored(now)
      if entry.created.timeIntervalSince1970 == 0 { entry.created = made(stored.id) ?? entry.next_at }
      entry.updated = StoredTime.stored(now)
      let isTaken = try replace(stored, with: entry) { w in
        w.date("created", entry.created)
        w.string("kind", entry.kind)
        w.strings("alternates", entry.alternates)
        // A state of somebody's own is overwritten here, and has to be spoken of.
        if let problem = stored.problem { w.string("problem", problem) }
      }
      if isTaken { count += 1 }
    }
    return count
  }

  /// When an ObjectId was made.
  private func made(_ id: BSONValue) -> Date? {
    guard let bytes = id.objectIDValue?.bytes, bytes.count == 12 else { return nil }
    return StoredTime.date(milliseconds: bytes.prefix(4).reduce(Int64(0)) { $0 << 8 | Int64($1) } * 1000)
  }

  /// Sets the epochs of pending entries that cannot be counted up to 0.
  func repairEpochs() throws -> Int {
    try count(
      update: QueueNames.notifications, many: true,
      where: { w in
        w.string("state", QueueEntry.State.pending.rawValue)
        w.document("epoch") { w in
          w.bool("$exists", true)
          w.document("$not") { w in
            w.int("$gte", 0)
            w.int("$lte", Int64(QueueDocument.epochBound))
          }
        }
      },
      { w in w.document("$set") { $0.int("epoch", 0) } })
  }
}
