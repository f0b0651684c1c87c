internal import FoundationEssentials
internal import Model

/// Writes `Encodable` values as BSON bytes, without a detour.
///
/// Dates become BSON dates (milliseconds), whole numbers int64, `Data` and `[UInt8]` binary, ``Value``s what they are.
struct BSONEncoder {
  init() {}

  /// - Throws: `EncodingError` when the value is not a document at its top.
  func encode(_ value: some Encodable) throws -> BSON {
    let node = BSONNode()
    try value.encode(to: NodeEncoder(node, codingPath: []))
    guard node.kind == .document else {
      throw EncodingError.invalidValue(value, .init(codingPath: [], debugDescription: "only documents can be stored"))
    }
    return BSON(trusted: node.finished())
  }
}

/// One document or array while it is written; containers that outlive a call are put in at the end.
private final class BSONNode {
  enum Kind { case none, document, array, scalar }
  var kind = Kind.none
  /// Fields so far, without length and end.
  var writer = BSONWriter()
  var count = 0
  /// Documents whose writers still have them, in order.
  var pending: [(key: String, node: BSONNode)] = []

  func begin(_ kind: Kind) { if self.kind == .none { self.kind = kind } }

  /// Puts in what was handed out before: whoever writes the next field is done with the one before.
  func settle() {
    for (key, node) in pending { put(node, key) }
    pending = []
  }

  func put(_ node: BSONNode, _ key: String) {
    switch node.kind {
    case .none, .document: writer.value(key, .document(BSON(trusted: node.finished())))
    case .array: writer.value(key, .array(BSON(trusted: node.finished())))
    case .scalar:
      node.settle()
      if let value = BSON(trusted: node.finished())["v"] { writer.value(key, value) }
    }
  }

  func finished() -> [UInt8] {
    settle()
    let copy = writer
    return copy.finished().bytes
  }

  func write<T: Encodable>(_ value: T, _ key: String, _ path: [any CodingKey]) throws {
    settle()
    switch value {
    case let value as String: writer.string(key, value)
    case let value as Bool: writer.bool(key, value)
    case let value as Int: writer.int(key, value)
    case let value as Int64: writer.int(key, value)
    case let value as Double: writer.double(key, value)
    case let value as Date: writer.date(key, value)
    case let value as Value: writer.value(key, value)
    // An empty array of anything passes as an empty one of bytes.
    case let value as [UInt8] where T.self == [UInt8].self: writer.binary(key, value)
    case let value as Data: writer.binary(key, Array(value))
    default:
      let node = BSONNode()
      try value.encode(to: NodeEncoder(node, codingPath: path))
      put(node, key)
    }
  }

  func nextKey() -> String {
    defer { count += 1 }
    return String(count)
  }
}

private struct NodeEncoder: Encoder {
  let node: BSONNode
  let codingPath: [any CodingKey]
  var userInfo: [CodingUserInfoKey: Any] { [:] }

  init(_ node: BSONNode, codingPath: [any CodingKey]) {
    self.node = node
    self.codingPath = codingPath
  }

  func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
    node.begin(.document)
    return KeyedEncodingContainer(KeyedWriter(node: node, codingPath: codingPath))
  }

  func unkeyedContainer() -> any UnkeyedEncodingContainer {
    node.begin(.array)
    return UnkeyedWriter(node: node, codingPath: codingPath)
  }

  func singleValueContainer() -> any SingleValueEncodingContainer {
    SingleWriter(node: node, codingPath: codingPath)
  }
}

private struct KeyedWriter<Key: CodingKey>: KeyedEncodingContainerProtocol {
  let node: BSONNode
  let codingPath: [any CodingKey]

  mutating func encodeNil(forKey key: Key) throws {
    node.settle()
    node.writer.null(key.stringValue)
  }
  mutating func encode<T: Encodable>(_ value: T, forKey key: Key) throws {
    try node.write(value, key.stringValue, codingPath + [key])
  }
  private func handOut(_ key: String, _ kind: BSONNode.Kind) -> BSONNode {
    node.settle()
    let child = BSONNode()
    child.begin(kind)
    node.pending.append((key, child))
    return child
  }
  mutating func nestedContainer<Nested: CodingKey>(
    keyedBy keyType: Nested.Type, forKey key: Key
  ) -> KeyedEncodingContainer<Nested> {
    KeyedEncodingContainer(
      KeyedWriter<Nested>(node: handOut(key.stringValue, .document), codingPath: codingPath + [key]))
  }
  mutating func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
    UnkeyedWriter(node: handOut(key.stringValue, .array), codingPath: codingPath + [key])
  }
  mutating func superEncoder() -> any Encoder { NodeEncoder(handOut("super", .none), codingPath: codingPath) }
  mutating func superEncoder(forKey key: Key) -> any Encoder {
    NodeEncoder(handOut(key.stringValue, .none), codingPath: codingPath + [key])
  }
}

private struct UnkeyedWriter: UnkeyedEncodingContainer {
  let node: BSONNode
  let codingPath: [any CodingKey]
  var count: Int { node.count }

  mutating func encodeNil() throws {
    node.settle()
    node.writer.null(node.nextKey())
  }
  mutating func encode<T: Encodable>(_ value: T) throws { try node.write(value, node.nextKey(), codingPath) }
  private func handOut(_ kind: BSONNode.Kind) -> BSONNode {
    node.settle()
    let child = BSONNode()
    child.begin(kind)
    node.pending.append((node.nextKey(), child))
    return child
  }
  mutating func nestedContainer<Nested: CodingKey>(
    keyedBy keyType: Nested.Type
  ) -> KeyedEncodingContainer<Nested> {
    KeyedEncodingContainer(KeyedWriter<Nested>(node: handOut(.document), codingPath: codingPath))
  }
  mutating func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer {
    UnkeyedWriter(node: handOut(.array), codingPath: codingPath)
  }
  mutating func superEncoder() -> any Encoder { NodeEncoder(handOut(.none), codingPath: codingPath) }
}

private struct SingleWriter: SingleValueEncodingContainer {
  let node: BSONNode
  let codingPath: [any CodingKey]

  mutating func encodeNil() throws {
    node.begin(.scalar)
    node.writer.null("v")
  }
  mutating func encode<T: Encodable>(_ value: T) throws {
    node.begin(.scalar)
    try node.write(value, "v", codingPath)
  }
  mutating func encode(_ value: Bool) throws { try scalar { $0.bool("v", value) } }
  mutating func encode(_ value: String) throws { try scalar { $0.string("v", value) } }
  mutating func encode(_ value: Double) throws { try scalar { $0.double("v", value) } }
  mutating func encode(_ value: Float) throws { try scalar { $0.double("v", Double(value)) } }
  mutating func encode(_ value: Int) throws { try whole(value) }
  mutating func encode(_ value: Int8) throws { try whole(value) }
  mutating func encode(_ value: Int16) throws { try whole(value) }
  mutating func encode(_ value: Int32) throws { try whole(value) }
  mutating func encode(_ value: Int64) throws { try whole(value) }
  mutating func encode(_ value: UInt) throws { try whole(value) }
  mutating func encode(_ value: UInt8) throws { try whole(value) }
  mutating func encode(_ value: UInt16) throws { try whole(value) }
  mutating func encode(_ value: UInt32) throws { try whole(value) }
  mutating func encode(_ value: UInt64) throws { try whole(value) }

  private func scalar(_ body: (inout BSONWriter) -> Void) throws {
    node.begin(.scalar)
    body(&node.writer)
  }

  private func whole(_ value: some BinaryInteger) throws {
    guard let number = Int64(exactly: value) else {
      throw EncodingError.invalidValue(
        value, .init(codingPath: codingPath, debugDescription: "\(value) does not fit into 64 bits with a sign"))
    }
    try scalar { $0.int("v", number) }
  }
}
