internal import FoundationEssentials
internal import Model
internal import Storage

/// Writes a BSON document field by field, straight into its bytes.
///
/// In the body of ``array(_:_:)`` the names given are ignored: elements are numbered in the order they are written.
/// A zero in a name, which BSON cannot hold, becomes U+FFFD.
struct BSONWriter {
  /// What is written, and room behind it.
  private var bytes: [UInt8]
  /// How many of `bytes` are written.
  private(set) var count: Int
  /// The document that is open now.
  private var open: Open

  private struct Open {
    /// Where it begins.
    var start: Int
    /// The next number when it is an array, -1 otherwise.
    var number: Int
  }

  init(capacity: Int = 256) {
    bytes = [UInt8](repeating: 0, count: max(capacity, 16))
    count = 4
    open = Open(start: 0, number: -1)
  }

  /// Goes on where a finished document ended.
  init(continuing document: BSON) {
    bytes = document.bytes
    count = bytes.count - 1
    open = Open(start: 0, number: -1)
  }

  /// The document; nothing can be written afterwards.
  consuming func finished() -> BSON {
    close()
    bytes.removeLast(bytes.count - count)
    return BSON(trusted: bytes)
  }

  /// A place to go back to, within the document or array that is open.
  struct Mark {
    fileprivate var count: Int
    fileprivate var number: Int
  }

  var mark: Mark { Mark(count: count, number: open.number) }

  /// Takes back what was written since.
  mutating func goBack(to mark: Mark) {
    count = mark.count
    open.number = mark.number
  }

  // MARK: Fields

  mutating func string(_ key: String, _ value: String) {
    begin(0x02, key, room: 5 + value.utf8.count)
    text(value)
  }

  mutating func int(_ key: String, _ value: Int64) {
    begin(0x12, key, room: 8)
    put(value)
  }

  mutating func int(_ key: String, _ value: Int) { int(key, Int64(value)) }

  mutating func int32(_ key: String, _ value: Int32) {
    begin(0x10, key, room: 4)
    put(value)
  }

  mutating func double(_ key: String, _ value: Double) {
    begin(0x01, key, room: 8)
    put(value.bitPattern)
  }

  mutating func bool(_ key: String, _ value: Bool) {
    begin(0x08, key, room: 1)
    put(value ? 1 : 0 as UInt8)
  }

  mutating func null(_ key: String) { begin(0x0A, key, room: 0) }

  mutating func date(_ key: String, milliseconds: Int64) {
    begin(0x09, key, room: 8)
    put(milliseconds)
  }

  mutating func date(_ key: String, _ value: Date) { date(key, milliseconds: StoredTime.milliseconds(value)) }

  mutating func objectID(_ key: String, _ value: BSONObjectID) {
    begin(0x07, key, room: value.bytes.count)
    put(value.bytes)
  }

  mutating func binary(_ key: String, _ value: [UInt8], subtype: UInt8 = 0) {
    begin(0x05, key, room: 5 + value.count)
    put(UInt32(truncatingIfNeeded: value.count))
    put(subtype)
    put(value)
  }

  /// A document whose fields `body` writes.
  mutating func document(_ key: String = "", _ body: (inout BSONWriter) throws -> Void) rethrows {
    let outer = begin(0x03, key, isArray: false)
    try body(&self)
    close()
    open = outer
  }

  /// An array whose elements `body` writes; their names are ignored.
  mutating func array(_ key: String = "", _ body: (inout BSONWriter) throws -> Void) rethrows {
    let outer = begin(0x04, key, isArray: true)
    try body(&self)
    close()
    open = outer
  }

  /// A document that is written already.
  mutating func raw(_ key: String = "", _ document: BSON) {
    begin(0x03, key, room: document.bytes.count)
    put(document.bytes)
  }

  /// The fields of a document that is written already.
  mutating func fields(of document: BSON) {
    let fields = max(document.bytes.count - 5, 0)
    reserve(fields)
    document.bytes.withUnsafeBytes { put(UnsafeRawBufferPointer(rebasing: $0[4..<(4 + fields)])) }
  }

  mutating func strings(_ key: String, _ values: some Sequence<String>) {
    array(key) { for value in values { $0.string("", value) } }
  }

  mutating func documents(_ key: String, _ values: some Sequence<BSON>) {
    array(key) { for value in values { $0.raw("", value) } }
  }

  /// A value of a document or a sample; the fields of maps in the order of their names.
  mutating func value(_ key: String, _ value: Value) { _ = self.value(key, value, levels: .max) }

  /// As ``value(_:_:)``, unless lists and maps stand in each other more than `levels` deep.
  /// - Returns: false when they do; what was written is of no use then, see ``goBack(to:)``.
  mutating func value(_ key: String, _ value: Value, levels: Int) -> Bool {
    switch value {
    case .null: null(key)
    case .bool(let value): bool(key, value)
    case .int(let value): int(key, value)
    case .double(let value): double(key, value)
    case .string(let value): string(key, value)
    case .date(let value): date(key, value)
    case .array(let elements):
      guard levels > 0 else { return false }
      let outer = begin(0x04, key, isArray: true)
      for element in elements { guard self.value("", element, levels: levels - 1) else { return false } }
      close()
      open = outer
    case .object(let fields):
      guard levels > 0 else { return false }
      let outer = begin(0x03, key, isArray: false)
      guard self.fields(fields, levels: levels - 1) else { return false }
      close()
      open = outer
    }
    return true
  }

  /// The fields of a map, in the order of their names.
  mutating func fields(_ fields: [String: Value]) { _ = self.fields(fields, levels: .max) }

  private mutating func fields(_ fields: [String: Value], levels: Int) -> Bool {
    for (name, field) in fields.sorted(by: { $0.key < $1.key }) {
      guard value(name, field, levels: levels) else { return false }
    }
    return true
  }

  /// A value as it was read.
  mutating func value(_ key: String, _ value: BSONValue) {
    switch value {
    case .double(let value): double(key, value)
    case .string(let value): string(key, value)
    case .document(let value): raw(key, value)
    case .array(let value):
      begin(0x04, key, room: value.bytes.count)
      put(value.bytes)
    case .binary(let subtype, let value): binary(key, value, subtype: subtype)
    case .objectID(let value): objectID(key, value)
    case .bool(let value): bool(key, value)
    case .date(let value): date(key, milliseconds: value)
    case .null: null(key)
    case .regex(let pattern, let options):
      begin(0x0B, key, room: 0)
      name(pattern)
      name(options)
    case .int32(let value): int32(key, value)
    case .timestamp(let value):
      begin(0x11, key, room: 8)
      put(value)
    case .int64(let value): int(key, value)
    case .other(let type, let value):
      begin(type, key, room: value.count)
      put(value)
    }
  }

  // MARK: Bytes

  /// Begins a document or an array. - Returns: the one around it, to be put back into `open` afterwards.
  private mutating func begin(_ type: UInt8, _ key: String, isArray: Bool) -> Open {
    begin(type, key, room: 4)
    let outer = open
    open = Open(start: count, number: isArray ? 0 : -1)
    count += 4
    return outer
  }

  /// Writes the end and the length of what is open.
  private mutating func close() {
    reserve(1)
    put(0 as UInt8)
    let (start, length) = (open.start, UInt32(truncatingIfNeeded: count - open.start))
    bytes.withUnsafeMutableBytes { $0.storeBytes(of: length.littleEndian, toByteOffset: start, as: UInt32.self) }
  }

  /// Writes a field's type and name, and sees to it that there is room for its value.
  @inline(__always)
  private mutating func begin(_ type: UInt8, _ key: String, room: Int) {
    guard open.number < 0 else { return beginElement(type, room: room) }
    reserve(key.utf8.count + 2 + room)
    put(type)
    name(key, room: room)
  }

  private mutating func beginElement(_ type: UInt8, room: Int) {
    let number = open.number
    open.number = number + 1
    // A type, the digits of any number, a zero.
    reserve(24 + room)
    put(type)
    if number < 10 { put(UInt8(truncatingIfNeeded: 48 + number)) } else { put(Array(String(number).utf8)) }
    put(0 as UInt8)
  }

  /// A name and its zero. - Parameter room: what has to fit behind it.
  private mutating func name(_ text: String, room: Int = 0) {
    reserve(text.utf8.count + 1 + room)
    let start = count
    let hasZero =
      text.utf8.withContiguousStorageIfAvailable { name in
        bytes.withUnsafeMutableBytes { out in
          var hasZero = false
          for index in 0..<name.count {
            out[start + index] = name[index]
            if name[index] == 0 { hasZero = true }
          }
          out[start + name.count] = 0
          return hasZero
        }
      } ?? true
    if hasZero { return nameWithZero(text, room: room) }
    count = start + text.utf8.count + 1
  }

  private mutating func nameWithZero(_ text: String, room: Int) {
    let name = text.utf8.flatMap { $0 == 0 ? [0xEF, 0xBF, 0xBD] : [$0] }
    reserve(name.count + 1 + room)
    put(name)
    put(0 as UInt8)
  }

  /// A text with its length before it and a zero behind it; there is room for it.
  private mutating func text(_ value: String) {
    put(UInt32(truncatingIfNeeded: value.utf8.count + 1))
    let isDone: Void? = value.utf8.withContiguousStorageIfAvailable { put(UnsafeRawBufferPointer($0)) }
    if isDone == nil { put(Array(value.utf8)) }
    put(0 as UInt8)
  }

  @inline(__always)
  private mutating func reserve(_ room: Int) {
    if bytes.count - count < room { grow(room) }
  }

  @inline(never)
  private mutating func grow(_ room: Int) {
    let (written, size) = (count, max(bytes.count * 2, count + room, 256))
    bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, initialized in
      _ = buffer[..<written].initialize(fromContentsOf: bytes[..<written])
      buffer[written...].initialize(repeating: 0)
      initialized = size
    }
  }

  // For the following there is room already; where there is not, they trap and write nowhere else.

  @inline(__always)
  private mutating func put<Number: FixedWidthInteger & BitwiseCopyable>(_ number: Number) {
    let start = count
    bytes.withUnsafeMutableBytes { out in
      precondition(out.count - start >= MemoryLayout<Number>.size)
      out.storeBytes(of: number.littleEndian, toByteOffset: start, as: Number.self)
    }
    count = start + MemoryLayout<Number>.size
  }

  private mutating func put(_ source: [UInt8]) { source.withUnsafeBytes { put($0) } }

  private mutating func put(_ source: UnsafeRawBufferPointer) {
    if source.isEmpty { return }
    let start = count
    bytes.withUnsafeMutableBytes { out in
      precondition(out.count - start >= source.count)
      UnsafeMutableRawBufferPointer(rebasing: out[start..<(start + source.count)]).copyMemory(from: source)
    }
    count = start + source.count
  }
}
