internal import Foundation
internal import Model
internal import Storage

/// One thing of a store as a line of an export: `{"item": …, "part": …}`.
///
/// Documents and samples have the shapes of their collections, entries those of `notifications`, with everything that
/// belongs to their state; of roll-ups the bytes are what counts, their readable value stands beside them.
enum StoreLine {
  typealias Malformed = ExactJSON.Malformed

  static func bytes(_ part: StorePart, _ item: StoreItem) throws(Malformed) -> [UInt8] {
    var out: [UInt8] = []
    try ExactJSON.write(["part": .string(part.rawValue), "item": value(item)], into: &out)
    out.append(0x0A)
    return out
  }

  // MARK: Writing

  private static func value(_ item: StoreItem) throws(Malformed) -> Value {
    switch item {
    case .document(let document): return document.value
    case .sample(let sample):
      var fields = sample.document.fields ?? [:]
      fields["updated"] = .string(ExactJSON.instant(StoredTime.date(sample)))
      return .object(fields)
    case .rollUp(let series, let rollUp):
      var fields = bucket(rollUp)
      fields.merge(names(series)) { $1 }
      // What cannot be read is moved all the same: the bytes are what counts.
      if let sample = try? rollUp.sample(of: series) { fields["value"] = sample.value }
      return .object(fields)
    case .rollUpState(let series, let state):
      var fields = names(series)
      fields["through"] = key(state.through)
      fields["open"] = .array(state.open.map { .object(bucket($0)) })
      fields["late"] = .array(state.late.map(key))
      return .object(fields)
    case .episode(let episode): return .object(try coded(episode))
    case .entry(let entry):
      // A payload's numbers and times are kept exactly: they go past the coder.
      var bare = entry
      bare.payload = [:]
      var fields = try coded(bare)
      fields["payload"] = .object(entry.payload)
      return .object(fields)
    case .forgotten(let counts):
      return [
        "accepted": .int(Int64(counts.accepted)), "delivered": .int(Int64(counts.delivered)),
        "merged": .int(Int64(counts.merged)), "dead": .int(Int64(counts.dead)),
      ]
    }
  }

  private static func names(_ series: Series) -> [String: Value] {
    var fields: [String: Value] = ["target": .string(series.target), "metric": .string(series.metric)]
    if let name = series.name { fields["name"] = .string(name) }
    return fields
  }

  private static func bucket(_ rollUp: RollUp) -> [String: Value] {
    [
      "type": .string(rollUp.type.rawValue), "start": .int(rollUp.start), "length": .int(rollUp.length),
      "encoded": .string(Data(rollUp.encoded).base64EncodedString()),
    ]
  }

  private static func key(_ key: SampleKey) -> Value { ["second": .int(key.second), "n": .int(Int64(key.n))] }

  private static func coded(_ thing: some Encodable) throws(Malformed) -> [String: Value] {
    let encoder = JSONEncoder()
    encoder.dateEncodingStrategy = .custom { date, encoder in
      var container = encoder.singleValueContainer()
      try container.encode(ExactJSON.instant(date))
    }
    let data: Data
    do { data = try encoder.encode(thing) } catch { throw Malformed("it cannot be written: \(error)") }
    var fields = try ExactJSON.read(data).fields ?? [:]
    fields["_id"] = fields.removeValue(forKey: "id")
    return fields
  }

  // MARK: Reading

  /// - Throws: what is wrong with the line.
  static func item(_ part: StorePart, _ value: Value) throws(Malformed) -> StoreItem {
    guard let fields = value.fields else { throw Malformed("item is no object") }
    switch part {
    case .documents: return .document(try document(fields))
    case .samples: return .sample(try sample(fields))
    case .roll_ups:
      if fields["through"] == nil { return .rollUp(try series(fields), try bucket(fields)) }
      let open = try list(fields, "open").map { element throws(Malformed) in try bucket(element.fields ?? [:]) }
      let late = try list(fields, "late").map(key)
      return .rollUpState(
        try series(fields), RollUpState(through: try key(fields["through"] ?? .null), open: open, late: late))
    case .episodes: return .episode(try decoded(Episode.self, fields))
    case .notifications:
      guard let payload = fields["payload"]?.fields else { throw Malformed("payload is missing or no object") }
      var bare = fields
      bare["payload"] = .object([:])
      var entry = try decoded(QueueEntry.self, bare)
      entry.payload = payload
      return .entry(entry)
    case .counts:
      var counts = QueueCounts()
      counts.delivered = try count(fields, "delivered")
      counts.merged = try count(fields, "merged")
      counts.dead = try count(fields, "dead")
      counts.accepted = try count(fields, "accepted")
      guard counts.accepted == counts.delivered + counts.merged + counts.dead else {
        throw Malformed("accepted is not the sum of delivered, merged and dead")
      }
      return .forgotten(counts)
    }
  }

  private static func document(_ fields: [String: Value]) throws(Malformed) -> Document {
    guard let kind = DocumentKind(name: try text(fields, "kind")) else { throw Malformed("kind is unknown") }
    var rest = fields
    rest["kind"] = nil
    rest["_id"] = nil
    return Document(kind: kind, id: try text(fields, "_id"), fields: rest)
  }

  private static func sample(_ fields: [String: Value]) throws(Malformed) -> Sample {
    guard let type = SampleType(rawValue: try text(fields, "type")), type == .realTime || type == .event else {
      throw Malformed("type is neither RT nor event")
    }
    guard let at = ExactJSON.date(try text(fields, "updated")) else { throw Malformed("updated is no time") }
    let n = try count(fields, "n")
    let series = try series(fields)
    let sample: Sample
    switch (fields["value"], fields["error"]) {
    case (let value?, nil): sample = Sample(series: series, type: type, at: at, n: n, value: value)
    case (nil, .string(let error)?): sample = Sample(series: series, type: type, at: at, n: n, error: error)
    default: throw Malformed("there must be either value or error")
    }
    if let tag = fields["tag"], tag.integer != sample.tag { throw Malformed("tag and updated are different times") }
    return sample
  }

  private static func series(_ fields: [String: Value]) throws(Malformed) -> Series {
    let name = try fields["name"] == nil ? nil : text(fields, "name")
    return Series(target: try text(fields, "target"), metric: try text(fields, "metric"), name: name)
  }

  private static func bucket(_ fields: [String: Value]) throws(Malformed) -> RollUp {
    guard let type = SampleType(rawValue: try text(fields, "type")), [.variable, .hour, .day].contains(type) else {
      throw Malformed("type is none of variable, hour, day")
    }
    guard let start = fields["start"]?.integer, let length = fields["length"]?.integer, length > 0 else {
      throw Malformed("start or length is missing or no number")
    }
    guard let bytes = Data(base64Encoded: try text(fields, "encoded")) else { throw Malformed("encoded is not base64") }
    return RollUp(type: type, start: start, length: length, encoded: Array(bytes))
  }

  private static func key(_ value: Value) throws(Malformed) -> SampleKey {
    guard let second = value["second"]?.integer, let n = value["n"]?.integer.flatMap({ Int(exactly: $0) }) else {
      throw Malformed("second or n is missing or no number")
    }
    return SampleKey(second: second, n: n)
  }

  private static func decoded<Result: Decodable>(
    _ type: Result.Type, _ fields: [String: Value]
  ) throws(Malformed) -> Result {
    var renamed = fields
    renamed["id"] = renamed.removeValue(forKey: "_id")
    var bytes: [UInt8] = []
    try ExactJSON.write(.object(renamed), into: &bytes)
    let decoder = JSONDecoder()
    decoder.dateDecodingStrategy = .custom { decoder in
      let text = try decoder.singleValueContainer().decode(String.self)
      guard let date = ExactJSON.date(text) else { throw Malformed("\(text.prefix(40)) is no time") }
      return date
    }
    do {
      return try decoder.decode(type, from: Data(bytes))
    } catch let error as Malformed {
      throw error
    } catch DecodingError.keyNotFound(let key, _) {
      throw Malformed("\(key.stringValue == "id" ? "_id" : key.stringValue) is missing")
    } catch DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context),
      DecodingError.dataCorrupted(let context)
    {
      throw Malformed(
        "\(context.codingPath.map(\.stringValue).joined(separator: ".")) holds something else than it should")
    } catch {
      throw Malformed("it cannot be read: \(error)")
    }
  }

  private static func text(_ fields: [String: Value], _ name: String) throws(Malformed) -> String {
    guard let text = fields[name]?.text else { throw Malformed("\(name) is missing or no text") }
    return text
  }

  private static func count(_ fields: [String: Value], _ name: String) throws(Malformed) -> Int {
    guard let number = fields[name]?.integer, (0...Int64(1 << 53)).contains(number) else {
      throw Malformed("\(name) is missing or no count")
    }
    return Int(number)
  }

  private static func list(_ fields: [String: Value], _ name: String) throws(Malformed) -> [Value] {
    guard let elements = fields[name]?.elements else { throw Malformed("\(name) is missing or no list") }
    return elements
  }
}

extension StoredTime {
  /// The time that a store keeps of a sample.
  static func date(_ sample: Sample) -> Date {
    let parts = parts(sample.at)
    return date(second: parts.second, millisecond: parts.millisecond)
  }
}
