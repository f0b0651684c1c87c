package import FoundationEssentials
internal import Model
package import Storage

extension MongoStorage {
  /// How often it is counted anew because a batch moved meanwhile, or the count does not add up.
  private static let countTries = 6

  /// One aggregation along the index `claim`, which holds all that is asked, between two readings of the tally.
  ///
  /// An entry that changes its state while the index is walked may be seen twice or not at all. Where the account does
  /// not add up it is therefore counted again, and at last over the documents, where each has one place: what is missing
  /// then is missing.
  package func queueCounts(now: Date) async throws(StorageError) -> QueueCounts {
    try await queue("counting notifications") { session in
      var counts = QueueCounts()
      for attempt in 0..<Self.countTries {
        let before = try session.readTally()
        counts = try session.count(before, now: now, byIndex: attempt < Self.countTries / 2)
        let after = try session.readTally()
        if after.version == before.version, counts.imbalance == 0 || attempt >= Self.countTries / 2 { break }
      }
      return counts
    }
  }

  package func queueLoad(now: Date) async throws(StorageError) -> QueueLoad {
    try await queue("counting notifications") { session in
      QueueLoad(
        due: try session.count { w in
          w.string("state", QueueEntry.State.pending.rawValue)
          w.document("next_at") { $0.date("$lte", now) }
        } + session.countAhead(now),
        leased: try session.count { $0.string("state", QueueEntry.State.leased.rawValue) })
    }
  }

  package func nextDue() async throws(StorageError) -> Date? {
    try await queue("reading the queue") { session in
      let command = BSON { w in
        w.string("find", QueueNames.notifications)
        w.document("filter") { w in
          w.string("state", QueueEntry.State.pending.rawValue)
          w.document("next_at") { $0.date("$gte", milliseconds: .min) }
        }
        w.document("sort") { $0.int32("next_at", 1) }
        w.document("projection") { w in
          w.int32("_id", 0)
          w.int32("next_at", 1)
        }
        w.int32("limit", 1)
        w.string("hint", QueueNames.claimIndex)
      }
      return try session.connection.find(command, limit: 1).first?["next_at"]?.dateValue
    }
  }
}

extension QueueSession {
  /// How many entries match.
  func count(where filter: (inout BSONWriter) -> Void) throws -> Int {
    let command = BSON { w in
      w.string("count", QueueNames.notifications)
      w.document("query", filter)
    }
    return try connection.read(command)["n"]?.intValue ?? 0
  }

  /// Those that only a clock that was set back makes due.
  func countAhead(_ now: Date) throws -> Int {
    let ahead = try ahead(of: now)
    return try count { w in
      w.string("state", QueueEntry.State.pending.rawValue)
      ahead.filter(&w)
      w.document("next_at") { $0.date("$gt", now) }
    }
  }

  func count(_ tally: QueueTally, now: Date, byIndex: Bool) throws -> QueueCounts {
    var counts = tally.counts
    for group in try connection.find(Self.grouping(now: now, byIndex: byIndex), limit: 64) {
      guard let id = group["_id"]?.documentValue,
        let state = id["state"]?.stringValue.flatMap(QueueEntry.State.init(rawValue:))
      else { continue }
      let count = group["count"]?.intValue ?? 0
      if id["uncounted"]?.boolValue == true { counts.accepted += count }
      switch state {
      case .delivered: counts.delivered += count
      case .merged: counts.merged += count
      case .dead: counts.dead += count
      case .leased: counts.leased += count
      case .pending:
        counts.pending += count
        counts.due += group["due"]?.intValue ?? 0
        if let oldest = group["oldest"]?.dateValue {
          counts.oldestPending = min(counts.oldestPending ?? oldest, oldest)
        }
      }
    }
    counts.due += try countAhead(now)
    return counts
  }

  private static func grouping(now: Date, byIndex: Bool) -> BSON {
    BSON { w in
      w.string("aggregate", QueueNames.notifications)
      w.array("pipeline") { w in
        w.document { w in
          w.document("$match") { w in
            w.document("state") { $0.strings("$in", QueueEntry.State.allCases.map(\.rawValue)) }
          }
        }
        w.document { w in
          w.document("$group") { w in
            w.document("_id") { w in
              w.string("state", "$state")
              w.document("uncounted") { w in
                w.array("$eq") { w in
                  w.string("", "$uncounted")
                  w.bool("", true)
                }
              }
            }
            w.document("count") { $0.int32("$sum", 1) }
            w.document("due") { w in
              w.document("$sum") { w in
                w.array("$cond") { w in
                  w.document { w in
                    w.array("$lte") { w in
                      w.string("", "$next_at")
                      w.date("", now)
                    }
                  }
                  w.int32("", 1)
                  w.int32("", 0)
                }
              }
            }
            w.document("oldest") { $0.string("$min", "$created") }
          }
        }
      }
      w.document("cursor") { _ in }
      if byIndex {
        w.string("hint", QueueNames.claimIndex)
      } else {
        w.document("hint") { $0.int32("$natural", 1) }
      }
    }
  }
}
