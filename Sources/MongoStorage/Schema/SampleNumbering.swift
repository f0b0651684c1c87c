/// From schema 0 to 1: samples of an older Syscrap have no `n`; those of one second are numbered in the order of `_id`.
///
/// The number of a sample follows from its group alone, and is set only where there is none. So it can be ended at any
/// point and begun again, and two processes may do it at once.
enum SampleNumbering {
  static let collection = "aggregations"
  /// Updates that one command carries.
  static let batch = 1000

  private struct Group: Hashable {
    var target: BSONValue?
    var metric: BSONValue?
    var name: BSONValue?
    var type: BSONValue?
    var tag: BSONValue?

    init(_ document: BSON) {
      target = document["target"]
      metric = document["metric"]
      name = document["name"].flatMap { $0.isNull ? nil : $0 }
      type = document["type"]
      tag = document["tag"]
    }
  }

  /// - Returns: how many got a number.
  static func run(_ connection: MongoConnection) throws -> Int {
    var count = 0
    var updates: [BSON] = []
    var group: Group?
    /// The samples of the group: `_id`, and the number where there is one.
    var members: [(id: BSONValue, n: Int64?)] = []

    func flush(all: Bool) throws {
      if let numbers = numbers(members) { updates += numbers }
      members = []
      guard !updates.isEmpty, all || updates.count >= batch else { return }
      for start in stride(from: 0, to: updates.count, by: batch) {
        let part = updates[start..<min(start + batch, updates.count)]
        let reply = try connection.write(
          BSON {
            $0.string("update", collection)
            $0.documents("updates", part)
            $0.bool("ordered", false)
          })
        count += reply["nModified"]?.intValue ?? 0
      }
      updates = []
    }

    try connection.forEach(sorted) { document in
      guard let id = document["_id"] else { return true }
      let own = Group(document)
      if own != group {
        try flush(all: false)
        group = own
      }
      members.append((id, document["n"].flatMap { $0.isNull ? nil : $0.int64Value }))
      return true
    }
    try flush(all: true)
    return count
  }

  /// Everything in the order of the index to come, then of `_id`.
  private static let sorted = BSON {
    $0.string("aggregate", collection)
    $0.array("pipeline") {
      $0.document {
        $0.document("$project") {
          for field in ["target", "metric", "name", "type", "tag", "n"] { $0.int32(field, 1) }
        }
      }
      $0.document {
        $0.document("$sort") {
          for field in ["target", "metric", "name", "type", "tag", "_id"] { $0.int32(field, 1) }
        }
      }
    }
    $0.bool("allowDiskUse", true)
    $0.document("cursor") { $0.int32("batchSize", MongoConnection.batch) }
  }

  /// The place in the group is the number, unless somebody has it already: then the next that is free.
  private static func numbers(_ members: [(id: BSONValue, n: Int64?)]) -> [BSON]? {
    guard members.contains(where: { $0.n == nil }) else { return nil }
    var taken = Set(members.compactMap(\.n))
    var updates: [BSON] = []
    for (place, member) in members.enumerated() where member.n == nil {
      var number = Int64(place)
      while !taken.insert(number).inserted { number += 1 }
      updates.append(
        BSON {
          $0.document("q") {
            $0.value("_id", member.id)
            // Null counts as none.
            $0.null("n")
          }
          $0.document("u") { $0.document("$set") { $0.int("n", number) } }
        })
    }
    return updates
  }
}
