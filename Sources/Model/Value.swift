package import FoundationEssentials

/// Whatever a document or a sample can hold: the types that JSON, YAML and BSON share, and an instant.
package enum Value: Sendable, Hashable {
  case null
  case bool(Bool)
  case int(Int64)
  case double(Double)
  case string(String)
  /// A UTC instant; ISO 8601 in files and JSON, a date in MongoDB.
  case date(Date)
  case array([Value])
  case object([String: Value])
}

extension Value {
  package subscript(_ key: String) -> Value? {
    if case .object(let fields) = self { fields[key] } else { nil }
  }

  /// The value at a dotted path such as `status.5xx`; array elements by number.
  package func at(_ path: String) -> Value? {
    var current = self
    for part in path.split(separator: ".", omittingEmptySubsequences: false) {
      switch current {
      case .object(let fields):
        guard let next = fields[String(part)] else { return nil }
        current = next
      case .array(let elements):
        guard let index = Int(part), elements.indices.contains(index) else { return nil }
        current = elements[index]
      default: return nil
      }
    }
    return current
  }

  /// The number this value is; `nil` for everything that is not a number. May be NaN.
  package var number: Double? {
    switch self {
    case .int(let value): Double(value)
    case .double(let value): value
    default: nil
    }
  }

  /// A whole number; a double counts when it is exactly whole and in range.
  package var integer: Int64? {
    switch self {
    case .int(let value): value
    case .double(let value): Int64(exactly: value)
    default: nil
    }
  }

  package var text: String? { if case .string(let value) = self { value } else { nil } }
  package var flag: Bool? { if case .bool(let value) = self { value } else { nil } }
  package var elements: [Value]? { if case .array(let value) = self { value } else { nil } }
  package var fields: [String: Value]? { if case .object(let value) = self { value } else { nil } }
  package var isNull: Bool { self == .null }

  /// An instant: a date, or a string in ISO 8601.
  package var instant: Date? {
    switch self {
    case .date(let value): value
    case .string(let value): Instant.parse(value)
    default: nil
    }
  }

  /// What kind of thing this is, in the words of an error message.
  package var kindName: String {
    switch self {
    case .null: "nothing"
    case .bool: "true/false"
    case .int, .double: "a number"
    case .string: "text"
    case .date: "a time"
    case .array: "a list"
    case .object: "a map"
    }
  }
}

extension Value: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
  ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
  package init(stringLiteral value: String) { self = .string(value) }
  package init(integerLiteral value: Int64) { self = .int(value) }
  package init(floatLiteral value: Double) { self = .double(value) }
  package init(booleanLiteral value: Bool) { self = .bool(value) }
  package init(arrayLiteral elements: Value...) { self = .array(elements) }
  package init(dictionaryLiteral elements: (String, Value)...) {
    self = .object(Dictionary(elements, uniquingKeysWith: { _, last in last }))
  }
  package init(nilLiteral: ()) { self = .null }
}

extension Value: Codable {
  package init(from decoder: any Decoder) throws {
    if let keyed = try? decoder.container(keyedBy: AnyKey.self) {
      var fields: [String: Value] = [:]
      for key in keyed.allKeys { fields[key.stringValue] = try keyed.decode(Value.self, forKey: key) }
      self = .object(fields)
    } else if var unkeyed = try? decoder.unkeyedContainer() {
      var elements: [Value] = []
      while !unkeyed.isAtEnd { elements.append(try unkeyed.decode(Value.self)) }
      self = .array(elements)
    } else {
      let single = try decoder.singleValueContainer()
      if single.decodeNil() {
        self = .null
      } else if let value = try? single.decode(Bool.self) {
        self = .bool(value)
      } else if let value = try? single.decode(Int64.self) {
        self = .int(value)
      } else if let value = try? single.decode(Double.self) {
        self = .double(value)
      } else {
        self = .string(try single.decode(String.self))
      }
    }
  }

  package func encode(to encoder: any Encoder) throws {
    switch self {
    case .null:
      var single = encoder.singleValueContainer()
      try single.encodeNil()
    case .bool(let value): try value.encode(to: encoder)
    case .int(let value): try value.encode(to: encoder)
    case .double(let value):
      var single = encoder.singleValueContainer()
      if value.isFinite { try single.encode(value) } else { try single.encodeNil() }
    case .string(let value): try value.encode(to: encoder)
    case .date(let value): try Instant.format(value).encode(to: encoder)
    case .array(let value): try value.encode(to: encoder)
    case .object(let value): try value.encode(to: encoder)
    }
  }

  private struct AnyKey: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }
}
