internal import FoundationEssentials
internal import Model

/// Reads `Decodable` values from BSON bytes, without a detour.
///
/// A whole number may stand there as int32, int64 or a whole double; text also as an ObjectId (its hex digits); a date
/// also as text in ISO 8601.
struct BSONDecoder {
  init() {}

  func decode<T: Decodable>(_ type: T.Type, from document: BSON) throws -> T {
    try BSONSource(value: .document(document), depth: 0).decode(type, [])
  }
}

/// One value that is being read.
private struct BSONSource {
  var value: BSONValue
  var depth: Int

  func decode<T: Decodable>(_ type: T.Type, _ path: [any CodingKey]) throws -> T {
    guard depth < BSON.depthBound else { throw BSONError.tooDeep }
    let result: Any?
    // By type first: a cast of each kind in turn costs more.
    if type == String.self {
      result = value.stringValue ?? value.objectIDValue?.hex
    } else if type == Bool.self {
      result = value.boolValue
    } else if type == Int.self {
      result = value.intValue
    } else if type == Int64.self {
      result = value.int64Value
    } else if type == Double.self {
      result = value.doubleValue
    } else if type == Date.self {
      result = value.dateValue ?? value.stringValue.flatMap(Instant.parse)
    } else if type == Value.self {
      result = try value.value()
    } else if type == [UInt8].self, let bytes = value.binaryValue {
      result = bytes
    } else if type == Data.self {
      result = value.binaryValue.map { Data($0) }
    } else {
      return try T(from: ValueDecoder(source: self, codingPath: path))
    }
    guard let result = result as? T else { throw mismatch(type, path) }
    return result
  }

  func whole<Number: FixedWidthInteger>(_ type: Number.Type, _ path: [any CodingKey]) throws -> Number {
    guard let number = value.int64Value.flatMap({ Number(exactly: $0) }) else { throw mismatch(type, path) }
    return number
  }

  func mismatch(_ type: Any.Type, _ path: [any CodingKey]) -> DecodingError {
    .typeMismatch(type, .init(codingPath: path, debugDescription: "expected \(type), found something else"))
  }
}

private struct ValueDecoder: Decoder {
  let source: BSONSource
  let codingPath: [any CodingKey]
  var userInfo: [CodingUserInfoKey: Any] { [:] }

  func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
    guard let document = source.value.documentValue else { throw source.mismatch([String: Any].self, codingPath) }
    return KeyedDecodingContainer(try KeyedReader(document, depth: source.depth, codingPath: codingPath))
  }
  func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
    guard let array = source.value.arrayValue else { throw source.mismatch([Any].self, codingPath) }
    return UnkeyedReader(values: try array.values(), depth: source.depth, codingPath: codingPath)
  }
  func singleValueContainer() throws -> any SingleValueDecodingContainer {
    SingleReader(source: source, codingPath: codingPath)
  }
}

private final class FieldCursor {
  /// Where to look first: fields mostly come in the order they are asked for.
  var next = 0
}

private struct KeyedReader<Key: CodingKey>: KeyedDecodingContainerProtocol {
  let codingPath: [any CodingKey]
  private let reader: BSONReader
  private let elements: [BSONReader.Element]
  private let depth: Int
  private let cursor = FieldCursor()

  init(_ document: BSON, depth: Int, codingPath: [any CodingKey]) throws {
    var reader = BSONReader(document)
    var elements: [BSONReader.Element] = []
    while let element = try reader.next() { elements.append(element) }
    self.reader = reader
    self.elements = elements
    self.depth = depth
    self.codingPath = codingPath
  }

  var allKeys: [Key] { elements.compactMap { Key(stringValue: reader.key(of: $0)) } }

  private func element(_ key: String) -> BSONReader.Element? {
    var index = cursor.next
    for _ in elements.indices {
      if index >= elements.count { index = 0 }
      if reader.isKey(of: elements[index], key) {
        cursor.next = index + 1
        return elements[index]
      }
      index += 1
    }
    return nil
  }

  private func source(_ key: Key) throws -> BSONSource {
    guard let element = element(key.stringValue) else {
      throw DecodingError.keyNotFound(
        key, .init(codingPath: codingPath, debugDescription: "there is no field \(key.stringValue)"))
    }
    return BSONSource(value: try reader.value(of: element), depth: depth + 1)
  }

  func contains(_ key: Key) -> Bool { element(key.stringValue) != nil }
  func decodeNil(forKey key: Key) throws -> Bool { try source(key).value.isNull }
  func decode<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T {
    try source(key).decode(type, codingPath + [key])
  }
  private func decoder(_ key: Key) throws -> ValueDecoder {
    ValueDecoder(source: try source(key), codingPath: codingPath + [key])
  }
  func nestedContainer<Nested: CodingKey>(
    keyedBy type: Nested.Type, forKey key: Key
  ) throws -> KeyedDecodingContainer<Nested> { try decoder(key).container(keyedBy: type) }
  func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
    try decoder(key).unkeyedContainer()
  }
  func superDecoder() throws -> any Decoder {
    guard let key = Key(stringValue: "super") else { throw BSONError.malformed }
    return try decoder(key)
  }
  func superDecoder(forKey key: Key) throws -> any Decoder { try decoder(key) }
}

private struct UnkeyedReader: UnkeyedDecodingContainer {
  let values: [BSONValue]
  let depth: Int
  let codingPath: [any CodingKey]
  var currentIndex = 0
  var count: Int? { values.count }
  var isAtEnd: Bool { currentIndex >= values.count }

  private func current() throws -> BSONSource {
    guard !isAtEnd else {
      throw DecodingError.valueNotFound(
        Any.self, .init(codingPath: codingPath, debugDescription: "there are only \(values.count) elements"))
    }
    return BSONSource(value: values[currentIndex], depth: depth + 1)
  }

  mutating func decodeNil() throws -> Bool {
    guard try current().value.isNull else { return false }
    currentIndex += 1
    return true
  }
  mutating func decode<T: Decodable>(_ type: T.Type) throws -> T {
    let result = try current().decode(type, codingPath)
    currentIndex += 1
    return result
  }
  private mutating func step() throws -> ValueDecoder {
    let source = try current()
    currentIndex += 1
    return ValueDecoder(source: source, codingPath: codingPath)
  }
  mutating func nestedContainer<Nested: CodingKey>(
    keyedBy type: Nested.Type
  ) throws -> KeyedDecodingContainer<Nested> { try step().container(keyedBy: type) }
  mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer { try step().unkeyedContainer() }
  mutating func superDecoder() throws -> any Decoder { try step() }
}

private struct SingleReader: SingleValueDecodingContainer {
  let source: BSONSource
  let codingPath: [any CodingKey]

  func decodeNil() -> Bool { source.value.isNull }
  func decode<T: Decodable>(_ type: T.Type) throws -> T { try source.decode(type, codingPath) }
  func decode(_ type: Float.Type) throws -> Float { Float(try source.decode(Double.self, codingPath)) }
  func decode(_ type: Int8.Type) throws -> Int8 { try source.whole(type, codingPath) }
  func decode(_ type: Int16.Type) throws -> Int16 { try source.whole(type, codingPath) }
  func decode(_ type: Int32.Type) throws -> Int32 { try source.whole(type, codingPath) }
  func decode(_ type: UInt.Type) throws -> UInt { try source.whole(type, codingPath) }
  func decode(_ type: UInt8.Type) throws -> UInt8 { try source.whole(type, codingPath) }
  func decode(_ type: UInt16.Type) throws -> UInt16 { try source.whole(type, codingPath) }
  func decode(_ type: UInt32.Type) throws -> UInt32 { try source.whole(type, codingPath) }
  func decode(_ type: UInt64.Type) throws -> UInt64 { try source.whole(type, codingPath) }
}
