internal import CMongoC
internal import FoundationEssentials
internal import Model
internal import Storage

/// One field's value, as BSON types it.
enum BSONValue: Sendable, Hashable {
  case double(Double)
  case string(String)
  case document(BSON)
  case array(BSON)
  case binary(subtype: UInt8, [UInt8])
  case objectID(BSONObjectID)
  case bool(Bool)
  case date(milliseconds: Int64)
  case null
  case regex(pattern: String, options: String)
  case int32(Int32)
  case timestamp(UInt64)
  case int64(Int64)
  /// What nothing of ours uses (decimal128, code with scope, min and max key …), with its bytes.
  case other(type: UInt8, [UInt8])
}

extension BSONValue {
  /// A whole number; a double counts when it is exactly whole and in range.
  var int64Value: Int64? {
    switch self {
    case .int32(let value): Int64(value)
    case .int64(let value): value
    case .double(let value): Int64(exactly: value)
    default: nil
    }
  }

  var intValue: Int? { int64Value.flatMap { Int(exactly: $0) } }

  var doubleValue: Double? {
    switch self {
    case .double(let value): value
    case .int32(let value): Double(value)
    case .int64(let value): Double(value)
    default: nil
    }
  }

  var stringValue: String? { if case .string(let value) = self { value } else { nil } }
  var boolValue: Bool? { if case .bool(let value) = self { value } else { nil } }
  var documentValue: BSON? { if case .document(let value) = self { value } else { nil } }
  /// An array's elements as a document with the keys 0, 1 …
  var arrayValue: BSON? { if case .array(let value) = self { value } else { nil } }
  var binaryValue: [UInt8]? { if case .binary(_, let value) = self { value } else { nil } }
  var objectIDValue: BSONObjectID? { if case .objectID(let value) = self { value } else { nil } }
  var millisecondsValue: Int64? { if case .date(let value) = self { value } else { nil } }
  var dateValue: Date? { millisecondsValue.map { StoredTime.date(milliseconds: $0) } }
  var isNull: Bool { if case .null = self { true } else { false } }

  /// The value in the words of documents. An ObjectId is its hex text, a decimal a number where nothing is lost by that.
  ///
  /// What documents have no word for comes as MongoDB's extended JSON writes it (`{$numberDecimal: "1E+400"}`), which
  /// every reader of a document refuses with the path and what was found.
  func value() throws -> Value { try value(depth: 0) }

  func value(depth: Int) throws -> Value {
    switch self {
    case .double(let value): return .double(value)
    case .string(let value): return .string(value)
    case .document(let value): return .object(try value.fields(depth: depth))
    case .array(let value):
      guard depth < BSON.depthBound else { throw BSONError.tooDeep }
      var elements: [Value] = []
      var reader = BSONReader(value)
      while let element = try reader.next() { elements.append(try reader.value(of: element).value(depth: depth + 1)) }
      return .array(elements)
    case .binary(let subtype, let bytes):
      return ["$binary": .object(["bytes": .int(Int64(bytes.count)), "subType": .int(Int64(subtype))])]
    case .objectID(let id): return .string(id.hex)
    case .bool(let value): return .bool(value)
    case .date(let milliseconds): return .date(StoredTime.date(milliseconds: milliseconds))
    case .null: return .null
    case .regex(let pattern, let options):
      return ["$regularExpression": ["pattern": .string(pattern), "options": .string(options)]]
    case .int32(let value): return .int(Int64(value))
    case .int64(let value): return .int(value)
    case .timestamp(let value): return ["$timestamp": .string(String(value))]
    case .other(0x13, let bytes):
      let text = Self.decimal(bytes)
      return Self.number(decimal: text) ?? ["$numberDecimal": .string(text)]
    case .other(let type, _): return [Self.foreignNames[type] ?? "$type": .int(Int64(type))]
    }
  }

  /// What extended JSON calls the types that documents have no word for.
  private static let foreignNames: [UInt8: String] = [
    0x06: "$undefined", 0x0C: "$dbPointer", 0x0D: "$code", 0x0E: "$symbol", 0x0F: "$code", 0x7F: "$maxKey",
    0xFF: "$minKey",
  ]

  /// A decimal that is a whole number of 64 bits, or has no more digits than a double keeps; nil for all others.
  private static func number(decimal text: String) -> Value? {
    if let whole = Int64(text) { return .int(whole) }
    // "1E+3", "28222.0", "0.10": every decimal of up to 15 digits comes back from the nearest double as it was.
    let digits = text.prefix { $0 != "E" }.filter(\.isNumber).drop { $0 == "0" }
    guard digits.count <= 15, let number = Double(text), number.isFinite else { return nil }
    // So small that a double has fewer digits for it, or none.
    guard number.isNormal || digits.isEmpty else { return nil }
    return Int64(exactly: number).map { .int($0) } ?? .double(number)
  }

  private static func decimal(_ bytes: [UInt8]) -> String {
    guard bytes.count == 16 else { return "?" }
    var number = bson_decimal128_t()
    number.low = UInt64(bitPattern: BSONReader.int64(bytes, 0))
    number.high = UInt64(bitPattern: BSONReader.int64(bytes, 8))
    // BSON_DECIMAL128_STRING is 43 bytes, the ending zero included.
    return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { buffer in
      guard let base = buffer.baseAddress else { return "?" }
      bson_decimal128_to_string(&number, base)
      return String(cString: base)
    }
  }
}

/// The twelve bytes by which MongoDB's tools name documents.
struct BSONObjectID: Sendable, Hashable {
  let bytes: [UInt8]

  /// The caller has checked that twelve bytes are there.
  init(_ source: [UInt8], at start: Int) { bytes = Array(source[start..<(start + 12)]) }

  /// 24 hex digits; nil for anything else.
  init?(hex: String) {
    let digits = hex.utf8.compactMap { byte -> UInt8? in
      switch byte {
      case 48...57: byte - 48
      case 97...102: byte - 87
      case 65...70: byte - 55
      default: nil
      }
    }
    guard digits.count == 24, hex.utf8.count == 24 else { return nil }
    bytes = stride(from: 0, to: 24, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
  }

  /// A new one: time, this process, a counter.
  static func make() -> BSONObjectID {
    var id = bson_oid_t()
    bson_oid_init(&id, nil)
    return BSONObjectID(withUnsafeBytes(of: id) { Array($0) }, at: 0)
  }

  var hex: String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }
}
