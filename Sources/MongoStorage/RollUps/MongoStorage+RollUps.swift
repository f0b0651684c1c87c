internal import Logging
package import Model
package import Storage

extension MongoStorage: RollUpStorage {
  package func rollUpStates(_ series: [Series]) async throws(StorageError) -> [Series: RollUpState] {
    var states: [Series: RollUpState] = [:]
    var rest = series[...]
    while !rest.isEmpty {
      // Bounds one command and one answer.
      let part = rest.prefix(500)
      rest = rest.dropFirst(part.count)
      let found = try await pool.run("reading roll-up states") { connection in
        try connection.find(
          BSON { writer in
            writer.string("find", SampleNames.rollUpStates)
            writer.document("filter") { writer in
              writer.document("_id") { writer in
                writer.array("$in") { writer in
                  for one in part { writer.document { $0.seriesFields(one) } }
                }
              }
            }
          }, limit: part.count
        ).map(RollUpStateDocument.read)
      }
      for (series, state) in found { states[series] = state }
    }
    return states
  }

  package func rollUps(
    _ series: Series, type: SampleType, starts: [Int64]
  ) async throws(StorageError) -> [RollUp] {
    let wanted = Set(starts)
    let blocks = Array(Set(starts.map { RollUpBlock(series, type, of: $0) }))
    if blocks.isEmpty { return [] }
    return try await pool.run("reading roll-ups") { connection in
      var found: [RollUp] = []
      var rest = blocks[...]
      while !rest.isEmpty {
        let part = rest.prefix(100)
        rest = rest.dropFirst(part.count)
        let documents = try connection.find(
          BSON { writer in
            writer.string("find", SampleNames.rollUps)
            writer.document("filter") { writer in
              writer.document("_id") { writer in
                writer.array("$in") { writer in
                  for block in part { block.writeID(&writer, as: "") }
                }
              }
            }
          }, limit: part.count)
        found += try documents.flatMap { try RollUpBlock.rollUps($0).rollUps }.filter { wanted.contains($0.start) }
      }
      return found.sorted { $0.start < $1.start }
    }
  }

  package func newestRolledUp(until second: Int64) async throws(StorageError) -> Int64? {
    try await pool.run("reading how far roll-ups go") { connection in
      try connection.find(
        BSON { writer in
          writer.string("find", SampleNames.rollUpStates)
          writer.document("filter") { $0.document("through.second") { $0.int("$lte", second) } }
          writer.document("sort") { $0.int32("through.second", -1) }
          writer.document("projection") { $0.int32("through", 1) }
          writer.int32("limit", 1)
        }, limit: 1
      ).first?["through"]?.documentValue?["second"]?.int64Value
    }
  }

  package func store(_ updates: [RollUpUpdate]) async throws(StorageError) {
    let fence = self.fence
    let logger = self.logger
    var rest = updates[...]
    while !rest.isEmpty {
      let part = Array(rest.prefix(RollUpCommands.updatesBound))
      rest = rest.dropFirst(part.count)
      try await pool.run("storing roll-ups") { connection in
        try connection.refuseFenced(part.map(\.series), fence: fence)
        var leftOut = part.reduce(0) { $0 + $1.closed.count { !RollUpCommands.fits($0) } }
        for command in RollUpCommands.blocks(part) {
          let reply = try connection.write(command, ignoring: RollUpCommands.tooLarge)
          leftOut += try reply["writeErrors"]?.arrayValue?.values().count ?? 0
        }
        if leftOut > 0 {
          logger.error("roll-ups are too large to be stored and are left out", metadata: ["count": "\(leftOut)"])
        }
        for command in RollUpCommands.states(part, fence: fence) {
          do {
            _ = try connection.write(command)
          } catch let failure as MongoFailure where failure.isDuplicateKey {
            // The filter found no state with this fence or a lower one, and there is one.
            throw StorageRefusal.fenced("a roll-up state")
          }
        }
      }
    }
  }
}

extension MongoConnection {
  /// Before anything is written: a state that carries a higher fence says that all of it is somebody else's. A state
  /// that comes by it after this look is still safe: it is written by comparing its fence.
  fileprivate func refuseFenced(_ series: [Series], fence: Int64) throws {
    if series.isEmpty { return }
    let higher = try find(
      BSON { writer in
        writer.string("find", SampleNames.rollUpStates)
        writer.document("filter") { writer in
          writer.document("_id") { writer in
            writer.array("$in") { writer in
              for one in series { writer.document { $0.seriesFields(one) } }
            }
          }
          writer.document("fence") { $0.int("$gt", fence) }
        }
        writer.document("projection") { $0.int32("fence", 1) }
        writer.int32("limit", 1)
      }, limit: 1)
    if !higher.isEmpty { throw StorageRefusal.fenced("a roll-up state") }
  }
}

/// The update commands that put buckets and states.
enum RollUpCommands {
  /// Series in one round: bounds the memory that a call takes, and how long it has a thread.
  static let updatesBound = 500
  /// Bytes of buckets in one command; it may take 16 MiB.
  private static let bytesBound = 4 << 20
  /// What MongoDB says when a document would outgrow 16 MiB. One history must not hold up all.
  static let tooLarge: Set<Int32> = [10334, 17419, 17420]

  /// Bytes that one bucket may take; a larger one is left out. A block of these fits into a document only when they are
  /// few, see ``tooLarge``.
  static let bucketBound = 1 << 20

  static func fits(_ rollUp: RollUp) -> Bool { rollUp.encoded.count <= bucketBound }

  /// Puts all closed buckets, those of one block with one statement, or a few when they are large.
  static func blocks(_ updates: [RollUpUpdate]) -> [BSON] {
    var order: [RollUpBlock] = []
    // Twice the same start: the last one counts, as if they had been put one after the other.
    var buckets: [RollUpBlock: [Int64: RollUp]] = [:]
    for update in updates {
      for rollUp in update.closed where fits(rollUp) {
        let block = RollUpBlock(update.series, rollUp.type, of: rollUp.start)
        if buckets[block] == nil { order.append(block) }
        buckets[block, default: [:]][rollUp.start] = rollUp
      }
    }
    let statements = order.flatMap { block in
      parts(buckets[block, default: [:]].values.sorted { $0.start < $1.start }).map { (block: block, rollUps: $0) }
    }
    return commands(SampleNames.rollUps, statements) { block, rollUps in
      BSON { writer in
        writer.document("q") { block.writeID(&$0) }
        writer.document("u") { writer in
          writer.document("$set") { writer in
            for rollUp in rollUps {
              writer.binary(RollUpBlock.path(rollUp.start, in: block.start), RollUpBlock.bytes(rollUp))
            }
          }
        }
        writer.bool("upsert", true)
      }
    }
  }

  private static func parts(_ rollUps: [RollUp]) -> [[RollUp]] {
    var parts: [[RollUp]] = []
    var bytes = 0
    for rollUp in rollUps {
      if parts.isEmpty || bytes + rollUp.encoded.count > bytesBound {
        parts.append([])
        bytes = 0
      }
      parts[parts.count - 1].append(rollUp)
      bytes += rollUp.encoded.count
    }
    return parts
  }

  /// Puts each state, unless one with a higher fence is there: then the upsert meets a key that is taken.
  static func states(_ updates: [RollUpUpdate], fence: Int64) -> [BSON] {
    var last: [Series: RollUpUpdate] = [:]
    for update in updates { last[update.series] = update }
    return commands(SampleNames.rollUpStates, Array(last.values)) { update in
      BSON { writer in
        writer.document("q") { writer in
          RollUpStateDocument.writeID(update.series, into: &writer)
          writer.document("fence") { $0.int("$lte", fence) }
        }
        writer.document("u") {
          RollUpStateDocument.write(update.state, of: update.series, fence: fence, into: &$0)
        }
        writer.bool("upsert", true)
      }
    }
  }

  static func commands<Item>(_ collection: String, _ items: [Item], statement: (Item) -> BSON) -> [BSON] {
    var commands: [BSON] = []
    var statements: [BSON] = []
    var bytes = 0
    func finish() {
      if !statements.isEmpty { commands.append(update(collection, statements)) }
      statements = []
      bytes = 0
    }
    for item in items {
      let statement = statement(item)
      if bytes + statement.bytes.count > bytesBound { finish() }
      statements.append(statement)
      bytes += statement.bytes.count
    }
    finish()
    return commands
  }

  static func update(_ collection: String, _ statements: [BSON]) -> BSON {
    BSON { writer in
      writer.string("update", collection)
      writer.bool("ordered", false)
      writer.documents("updates", statements)
    }
  }
}
