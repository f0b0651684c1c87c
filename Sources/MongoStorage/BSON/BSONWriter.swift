internal import FoundationEssentials
internal import Model
internal import Storage

/// Writes a BSON document field by field, straight into its bytes.
///
/// In the body of ``array(_:_:)`` the names given are ignored: elements are numbered in the order they are written.
/// A zero in a name, which BSON cannot hold, becomes U+FFFD.
struct BSONWriter {
  private(set) var bytes: [UInt8] = [0, 0, 0, 0]
  /// Where the documents begin that are open now.
  private var starts: [Int] = [0]
  /// For each open document: the next number when it is an array, nil otherwise.
  private var counters: [Int?] = [nil]

  init(capacity: Int = 256) { bytes.reserveCapacity(capacity) }

  /// Goes on where a finished document ended.
  init(continuing document: BSON) {
    bytes = document.bytes
    bytes.removeLast()
  }

  /// The document; nothing can be written afterwards.
  consuming func finished() -> BSON {
    while !starts.isEmpty { close() }
    return BSON(trusted: bytes)
  }

  // MARK: Fields

  mutating func string(_ key: String, _ value: String) {
    begin(0x02, key)
    text(value)
  }

  mutating func int(_ key: String, _ value: Int64) {
    begin(0x12, key)
    append(UInt64(bitPattern: value))
  }

  mutating func int(_ key: String, _ value: Int) { int(key, Int64(value)) }

  mutating func int32(_ key: String, _ value: Int32) {
    begin(0x10, key)
    append(UInt32(bitPattern: value))
  }

  mutating func double(_ key: String, _ value: Double) {
    begin(0x01, key)
    append(value.bitPattern)
  }

  mutating func bool(_ key: String, _ value: Bool) {
    begin(0x08, key)
    bytes.append(value ? 1 : 0)
  }

  mutating func null(_ key: String) { begin(0x0A, key) }

  mutating func date(_ key: String, milliseconds: Int64) {
    begin(0x09, key)
    append(UInt64(bitPattern: milliseconds))
  }

  mutating func date(_ key: String, _ value: Date) { date(key, milliseconds: StoredTime.milliseconds(value)) }

  mutating func objectID(_ key: String, _ value: BSONObjectID) {
    begin(0x07, key)
    bytes += value.bytes
  }

  mutating func binary(_ key: String, _ value: [UInt8], subtype: UInt8 = 0) {
    begin(0x05, key)
    append(UInt32(truncatingIfNeeded: value.count))
    bytes.append(subtype)
    bytes += value
  }

  /// A document whose fields `body` writes.
  mutating func document(_ key: String = "", _ body: (inout BSONWriter) throws -> Void) rethrows {
    open(0x03, key, isArray: false)
    try body(&self)
    close()
  }

  /// An array whose elements `body` writes; their names are ignored.
  mutating func array(_ key: String = "", _ body: (inout BSONWriter) throws -> Void) rethrows {
    open(0x04, key, isArray: true)
    try body(&self)
    close()
  }

  /// A document that is written already.
  mutating func raw(_ key: String = "", _ document: BSON) {
    begin(0x03, key)
    bytes += document.bytes
  }

  mutating func strings(_ key: String, _ values: some Sequence<String>) {
    array(key) { for value in values { $0.string("", value) } }
  }

  mutating func documents(_ key: String, _ values: some Sequence<BSON>) {
    array(key) { for value in values { $0.raw("", value) } }
  }

  /// A value of a document or a sample; the fields of maps in the order of their names.
  mutating func value(_ key: String, _ value: Value) {
    switch value {
    case .null: null(key)
    case .bool(let value): bool(key, value)
    case .int(let value): int(key, value)
    case .double(let value): double(key, value)
    case .string(let value): string(key, value)
    case .date(let value): date(key, value)
    case .array(let elements): array(key) { for element in elements { $0.value("", element) } }
    case .object(let fields): document(key) { $0.fields(fields) }
    }
  }

  /// The fields of a map, in the order of their names.
  mutating func fields(_ fields: [String: Value]) {
    for (name, field) in fields.sorted(by: { $0.key < $1.key }) { value(name, field) }
  }

  /// A value as it was read.
  mutating func value(_ key: String, _ value: BSONValue) {
    switch value {
    case .double(let value): double(key, value)
    case .string(let value): string(key, value)
    case .document(let value): raw(key, value)
    case .array(let value):
      begin(0x04, key)
      bytes += value.bytes
    case .binary(let subtype, let value): binary(key, value, subtype: subtype)
    case .objectID(let value): objectID(key, value)
    case .bool(let value): bool(key, value)
    case .date(let value): date(key, milliseconds: value)
    case .null: null(key)
    case .regex(let pattern, let options):
      begin(0x0B, key)
      name(pattern)
      name(options)
    case .int32(let value): int32(key, value)
    case .timestamp(let value):
      begin(0x11, key)
      append(value)
    case .int64(let value): int(key, value)
    case .other(let type, let value):
      begin(type, key)
      bytes += value
    }
  }

  // MARK: Bytes

  mutating func open(_ type: UInt8, _ key: String, isArray: Bool) {
    begin(type, key)
    starts.append(bytes.count)
    counters.append(isArray ? 0 : nil)
    append(UInt32(0))
  }

  mutating func close() {
    guard let start = starts.popLast() else { return }
    counters.removeLast()
    bytes.append(0)
    let length = UInt32(truncatingIfNeeded: bytes.count - start)
    for index in 0..<4 { bytes[start + index] = UInt8(truncatingIfNeeded: length >> UInt32(8 * index)) }
  }

  private mutating func begin(_ type: UInt8, _ key: String) {
    bytes.append(type)
    guard let last = counters.indices.last, let number = counters[last] else { return name(key) }
    counters[last] = number + 1
    if number < 10 {
      bytes.append(UInt8(48 + number))
      bytes.append(0)
    } else {
      name(String(number))
    }
  }

  private mutating func name(_ text: String) {
    var text = text
    text.withUTF8 { buffer in
      if !buffer.contains(0) {
        bytes.append(contentsOf: buffer)
      } else {
        for byte in buffer { if byte == 0 { bytes += [0xEF, 0xBF, 0xBD] } else { bytes.append(byte) } }
      }
    }
    bytes.append(0)
  }

  private mutating func text(_ value: String) {
    var value = value
    value.withUTF8 { buffer in
      append(UInt32(truncatingIfNeeded: buffer.count + 1))
      bytes.append(contentsOf: buffer)
    }
    bytes.append(0)
  }

  private mutating func append<Number: FixedWidthInteger>(_ number: Number) {
    withUnsafeBytes(of: number.littleEndian) { bytes.append(contentsOf: $0) }
  }
}
