internal import Model
internal import Storage

/// The document of `roll_ups` that a bucket lies in.
///
/// One document holds the buckets of one series and type that start within one span of time, the block:
/// `{_id: {target, metric, name, type, block}, b: {"<offset>": <binary>, …}}`. `name` is null where there is none,
/// `block` the first second, `offset` the bucket's start in seconds from there, and the binary the bucket's length as
/// a varint, then its encoded form. So an index entry and a document's own weight are shared by a dozen buckets or
/// more, a bucket is put with one `$set` and forgotten with one `$unset`, and whole blocks go with one delete.
struct RollUpBlock: Sendable, Hashable {
  var series: Series
  var type: SampleType
  /// Seconds since 1970, a multiple of ``span(_:)``.
  var start: Int64

  /// Of `bucket`, a start in seconds since 1970.
  init(_ series: Series, _ type: SampleType, of bucket: Int64) {
    self.series = series
    self.type = type
    start = Self.start(of: bucket, type)
  }

  /// How many seconds a block takes. `variable`, whose buckets' length may be edited, is kept for an hour by default.
  static func span(_ type: SampleType) -> Int64 {
    switch type {
    case .variable, .realTime, .event: 3600
    case .hour: 86_400
    case .day: 32 * 86_400
    }
  }

  static func start(of bucket: Int64, _ type: SampleType) -> Int64 {
    // Within the years that a tag can hold: no arithmetic below can overflow.
    let low = StoredTime.range.lowerBound / 1000
    let high = StoredTime.range.upperBound / 1000
    let second = min(max(bucket, low), high)
    let remainder = second % span(type)
    return second - (remainder < 0 ? remainder + span(type) : remainder)
  }

  /// The path of a bucket in the document.
  static func path(_ bucket: Int64, in block: Int64) -> String { "b.\(bucket &- block)" }

  func writeID(_ writer: inout BSONWriter, as field: String = "_id") {
    writer.rollUpID(field, series, type, block: start)
  }

  // MARK: Buckets

  static func bytes(_ rollUp: RollUp) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(rollUp.encoded.count + 4)
    var rest = UInt64(bitPattern: rollUp.length)
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
    return bytes + rollUp.encoded
  }

  /// The buckets of a document, in the order of their starts.
  static func rollUps(_ document: BSON) throws -> (block: RollUpBlock, rollUps: [RollUp]) {
    guard let id = document["_id"]?.documentValue, let target = id["target"]?.stringValue,
      let metric = id["metric"]?.stringValue, let type = id["type"]?.stringValue.flatMap(SampleType.init(rawValue:)),
      let start = id["block"]?.int64Value
    else { throw corrupt("a document of roll_ups has an unknown _id") }
    let series = Series(target: target, metric: metric, name: id["name"]?.stringValue)
    var rollUps: [RollUp] = []
    try document["b"]?.documentValue?.forEach { key, field in
      guard let offset = Int64(key), let bytes = field.binaryValue else {
        throw corrupt("a document of roll_ups has an unknown bucket")
      }
      let (second, overflow) = start.addingReportingOverflow(offset)
      guard !overflow else { throw corrupt("a document of roll_ups has an unknown bucket") }
      rollUps.append(try rollUp(type, start: second, bytes))
    }
    return (RollUpBlock(series, type, of: start), rollUps.sorted { $0.start < $1.start })
  }

  private static func rollUp(_ type: SampleType, start: Int64, _ bytes: [UInt8]) throws -> RollUp {
    var length: UInt64 = 0
    var shift: UInt64 = 0
    var index = 0
    while index < bytes.count, shift < 64 {
      let byte = bytes[index]
      length |= UInt64(byte & 0x7F) << shift
      index += 1
      if byte & 0x80 == 0 {
        return RollUp(type: type, start: start, length: Int64(bitPattern: length), encoded: Array(bytes[index...]))
      }
      shift += 7
    }
    throw corrupt("a bucket in roll_ups has no length")
  }

  static func corrupt(_ message: String) -> StorageError {
    StorageError(.corrupt, "\(message); remove it, or restore the database from a backup")
  }
}

extension BSONWriter {
  /// The `_id` of a block. MongoDB compares such documents field by field, so that a range of them is a range of blocks.
  mutating func rollUpID(_ field: String, _ series: Series, _ type: SampleType, block: Int64) {
    document(field) { writer in
      writer.seriesFields(series)
      writer.string("type", type.rawValue)
      writer.int("block", block)
    }
  }

  mutating func seriesFields(_ series: Series) {
    string("target", series.target)
    string("metric", series.metric)
    if let name = series.name { string("name", name) } else { null("name") }
  }
}
