internal import FoundationEssentials
internal import Model
package import Storage

extension MongoStorage {
  package func prune(_ rules: [RetentionRule]) async throws(StorageError) -> Int {
    var count = 0
    var rest = rules[...]
    while !rest.isEmpty {
      // One or two looks for each rule, then one delete for all: a thread is not held for long.
      let part = rest.prefix(100)
      rest = rest.dropFirst(part.count)
      count += try await pool.run("pruning samples") { connection in
        var removal = Removal()
        for rule in part {
          if rule.type.isRollUp {
            try connection.pruneRollUps(rule, &removal)
          } else {
            removal.samples += try connection.samplesToDelete(rule)
          }
        }
        try removal.flush(connection)
        return removal.count
      }
    }
    return count
  }
}

/// What is to go: collected over several rules, then done with one command for each collection and kind.
struct Removal {
  /// Delete statements for `aggregations`.
  var samples: [BSON] = []
  /// Delete and update statements for `roll_ups`.
  var blocks: [BSON] = []
  var trims: [BSON] = []
  var count = 0

  mutating func flush(_ connection: MongoConnection) throws {
    if !samples.isEmpty {
      count += try connection.write(Self.delete(SampleNames.aggregations, samples))["n"]?.intValue ?? 0
    }
    if !blocks.isEmpty { _ = try connection.write(Self.delete(SampleNames.rollUps, blocks)) }
    if !trims.isEmpty { _ = try connection.write(RollUpCommands.update(SampleNames.rollUps, trims)) }
    (samples, blocks, trims) = ([], [], [])
  }

  static func delete(_ collection: String, _ statements: [BSON]) -> BSON {
    BSON { writer in
      writer.string("delete", collection)
      writer.bool("ordered", false)
      writer.documents("deletes", statements)
    }
  }

  static func statement(_ series: Series, _ type: SampleType, _ more: (inout BSONWriter) -> Void) -> BSON {
    BSON { writer in
      writer.document("q") { writer in
        writer.sampleFields(series, type)
        more(&writer)
      }
      writer.int32("limit", 0)
    }
  }
}

extension MongoConnection {
  // MARK: RT and events

  /// The delete statements that bring one history within its cap; none when it is.
  fileprivate func samplesToDelete(_ rule: RetentionRule) throws -> [BSON] {
    switch rule.keep {
    case .newest(let limit) where limit <= 0: return [Removal.statement(rule.series, rule.type) { _ in }]
    case .newest(let limit):
      guard let oldest = try oldestToStay(limit, rule) else { return [] }
      return [
        Removal.statement(rule.series, rule.type) { writer in
          writer.document("tag") { writer in
            // A floor, so that only numbers are meant.
            writer.int("$gte", SampleWindow().tags.lowerBound)
            writer.value("$lt", oldest.tag)
          }
        },
        Removal.statement(rule.series, rule.type) { writer in
          writer.value("tag", oldest.tag)
          // Those without `n` stand before all others of their second.
          writer.array("$or") { writer in
            if !oldest.n.isNull { writer.document { $0.null("n") } }
            writer.document { $0.document("n") { $0.value("$lt", oldest.n) } }
          }
        },
      ]
    case .since(let date):
      let bound = StoredTime.milliseconds(date)
      let tag = SampleTag.tag(milliseconds: bound)
      var statements = [
        Removal.statement(rule.series, rule.type) { writer in
          writer.document("tag") { writer in
            writer.int("$gte", SampleWindow().tags.lowerBound)
            writer.int("$lt", tag)
          }
        }
      ]
      if bound % 1000 != 0 {
        statements.append(
          Removal.statement(rule.series, rule.type) { writer in
            writer.int("tag", tag)
            writer.document("updated") { $0.date("$lt", milliseconds: bound) }
          })
      }
      return statements
    }
  }

  /// The place in the index of the oldest sample that stays; nil when there are no more than may stay.
  private func oldestToStay(_ limit: Int, _ rule: RetentionRule) throws -> (tag: BSONValue, n: BSONValue)? {
    let found = try find(
      BSON { writer in
        writer.string("find", SampleNames.aggregations)
        writer.document("filter") { writer in
          writer.sampleFields(rule.series, rule.type)
          writer.tags(SampleWindow().tags)
        }
        writer.document("sort") { writer in
          writer.int32("tag", -1)
          writer.int32("n", -1)
        }
        writer.document("projection") { writer in
          writer.int32("_id", 0)
          writer.int32("tag", 1)
          writer.int32("n", 1)
        }
        writer.int("skip", Int64(limit - 1))
        // One more than that one: without it nothing is over the cap.
        writer.int32("limit", 2)
      }, limit: 2)
    guard found.count == 2, let oldest = found.first, let tag = oldest["tag"] else { return nil }
    return (tag, oldest["n"] ?? .null)
  }

  // MARK: Roll-ups

  fileprivate func pruneRollUps(_ rule: RetentionRule, _ removal: inout Removal) throws {
    let bound: Int64
    switch rule.keep {
    case .newest(let limit) where limit <= 0: bound = .max
    case .newest(let limit):
      let newest = try newestRollUps(limit, of: rule.series, type: rule.type, in: SampleWindow().starts)
      guard newest.count == limit, let oldest = newest.last else { return }
      bound = oldest.start
    case .since(let date): bound = SampleTag.secondUp(StoredTime.milliseconds(date))
    }
    try removeBuckets(rule.series, rule.type, before: bound, &removal)
  }

  /// Deletes blocks that lie wholly before `bound`, and takes the buckets before it out of the one that it lies in.
  private func removeBuckets(
    _ series: Series, _ type: SampleType, before bound: Int64, _ removal: inout Removal
  ) throws {
    let all = SampleWindow().starts
    if bound <= all.lowerBound { return }
    let starts = all.lowerBound..<min(bound, all.upperBound)
    let batch = 50
    while true {
      let documents = try find(
        BSON { writer in
          writer.string("find", SampleNames.rollUps)
          writer.document("filter") { $0.blocks(of: series, type, in: starts) }
          writer.document("sort") { $0.int32("_id", 1) }
          writer.limit(batch)
        }, limit: batch)
      for document in documents {
        let (block, rollUps) = try RollUpBlock.rollUps(document)
        let old = rollUps.filter { $0.start < bound }
        removal.count += old.count
        if old.count == rollUps.count {
          removal.blocks.append(
            BSON { writer in
              writer.document("q") { block.writeID(&$0) }
              writer.int32("limit", 1)
            })
        } else if !old.isEmpty {
          removal.trims.append(
            BSON { writer in
              writer.document("q") { block.writeID(&$0) }
              writer.document("u") { writer in
                writer.document("$unset") { writer in
                  for rollUp in old { writer.string(RollUpBlock.path(rollUp.start, in: block.start), "") }
                }
              }
            })
        }
      }
      if documents.count < batch { return }
      // All but the last of a full round go: the next one begins with what is left.
      try removal.flush(self)
    }
  }
}
