internal import Model

/// Walks over the fields of one document without copying it.
struct BSONReader {
  /// Where a field stands in the bytes.
  struct Element {
    var type: UInt8
    var key: Range<Int>
    var body: Range<Int>
  }

  let bytes: [UInt8]
  private var position: Int
  /// Behind the last field: where the document's zero stands.
  private let end: Int

  init(_ document: BSON) {
    bytes = document.bytes
    position = 4
    end = max(4, bytes.count - 1)
  }

  /// Reads the document that stands at `range` of the same bytes.
  init(_ bytes: [UInt8], _ range: Range<Int>) throws(BSONError) {
    guard Self.isFramed(bytes, from: range.lowerBound, to: range.upperBound) else { throw .malformed }
    self.bytes = bytes
    position = range.lowerBound + 4
    end = range.upperBound - 1
  }

  /// Whether a length in front and a zero at the end make a document of exactly these bytes.
  static func isFramed(_ bytes: [UInt8], from start: Int, to end: Int) -> Bool {
    guard start >= 0, end <= bytes.count, end - start >= 5, bytes[end - 1] == 0 else { return false }
    return int32(bytes, start) == Int32(exactly: end - start)
  }

  /// The next field; nil at the end.
  mutating func next() throws(BSONError) -> Element? {
    guard position < end else {
      guard position == end else { throw .malformed }
      return nil
    }
    let type = bytes[position]
    let keyStart = position + 1
    guard let keyEnd = zero(from: keyStart), let length = length(of: type, at: keyEnd + 1) else { throw .malformed }
    let start = keyEnd + 1
    guard length <= end - start else { throw .malformed }
    position = start + length
    return Element(type: type, key: keyStart..<keyEnd, body: start..<position)
  }

  /// All fields as ``Value``s; a name that comes twice counts once, the last.
  func fields(depth: Int) throws -> [String: Value] {
    guard depth < BSON.depthBound else { throw BSONError.tooDeep }
    var result: [String: Value] = [:]
    var reader = self
    while let element = try reader.next() {
      // Documents are read where they stand.
      result[key(of: element)] =
        element.type == 3
        ? .object(try BSONReader(bytes, element.body).fields(depth: depth + 1))
        : try value(of: element).value(depth: depth + 1)
    }
    return result
  }

  func key(of element: Element) -> String { String(decoding: bytes[element.key], as: UTF8.self) }

  func isKey(of element: Element, _ key: String) -> Bool {
    key.utf8.count == element.key.count && bytes[element.key].elementsEqual(key.utf8)
  }

  func value(of element: Element) throws(BSONError) -> BSONValue {
    let start = element.body.lowerBound
    switch element.type {
    case 0x01: return .double(Double(bitPattern: UInt64(bitPattern: Self.int64(bytes, start))))
    case 0x02, 0x0D, 0x0E: return .string(try text(of: element))
    case 0x03, 0x04:
      guard Self.isFramed(bytes, from: start, to: element.body.upperBound) else { throw .malformed }
      let document = BSON(trusted: Array(bytes[element.body]))
      return element.type == 3 ? .document(document) : .array(document)
    case 0x05: return .binary(subtype: bytes[start + 4], Array(bytes[(start + 5)..<element.body.upperBound]))
    case 0x07: return .objectID(BSONObjectID(bytes, at: start))
    case 0x08:
      guard bytes[start] <= 1 else { throw .malformed }
      return .bool(bytes[start] == 1)
    case 0x09: return .date(milliseconds: Self.int64(bytes, start))
    case 0x0A: return .null
    case 0x0B:
      let pattern = bytes[element.body].prefix { $0 != 0 }
      let options = bytes[(start + pattern.count + 1)..<(element.body.upperBound - 1)]
      return .regex(
        pattern: String(decoding: pattern, as: UTF8.self), options: String(decoding: options, as: UTF8.self))
    case 0x10: return .int32(Self.int32(bytes, start))
    case 0x11: return .timestamp(UInt64(bitPattern: Self.int64(bytes, start)))
    case 0x12: return .int64(Self.int64(bytes, start))
    default: return .other(type: element.type, Array(bytes[element.body]))
    }
  }

  /// The text of a string field, its length and ending zero left out.
  func text(of element: Element) throws(BSONError) -> String {
    let start = element.body.lowerBound + 4
    let end = element.body.upperBound - 1
    guard start <= end, bytes[end] == 0 else { throw .malformed }
    return String(decoding: bytes[start..<end], as: UTF8.self)
  }

  /// How many bytes a value of this type takes; nil when that cannot be. The result may reach beyond the end.
  private func length(of type: UInt8, at start: Int) -> Int? {
    func counted(_ more: Int, atLeast least: Int32) -> Int? {
      guard end - start >= 4 else { return nil }
      let count = Self.int32(bytes, start)
      return count >= least ? Int(count) + more : nil
    }
    switch type {
    case 0x06, 0x0A, 0x7F, 0xFF: return 0
    case 0x08: return 1
    case 0x10: return 4
    case 0x01, 0x09, 0x11, 0x12: return 8
    case 0x07: return 12
    case 0x13: return 16
    case 0x02, 0x0D, 0x0E: return counted(4, atLeast: 1)
    case 0x0C: return counted(16, atLeast: 1)
    case 0x05: return counted(5, atLeast: 0)
    case 0x03, 0x04: return counted(0, atLeast: 5)
    case 0x0F: return counted(0, atLeast: 14)
    case 0x0B:
      guard let pattern = zero(from: start), let options = zero(from: pattern + 1) else { return nil }
      return options + 1 - start
    default: return nil
    }
  }

  private func zero(from start: Int) -> Int? {
    guard start < end else { return nil }
    return bytes.withUnsafeBufferPointer { buffer in
      var index = start
      while index < end {
        if buffer[index] == 0 { return index }
        index += 1
      }
      return nil
    }
  }

  /// Four bytes, the lowest first; the caller has checked that they are there.
  static func int32(_ bytes: [UInt8], _ start: Int) -> Int32 {
    load(bytes, start)
  }

  static func int64(_ bytes: [UInt8], _ start: Int) -> Int64 {
    load(bytes, start)
  }

  @inline(__always)
  private static func load<Number: FixedWidthInteger & BitwiseCopyable>(_ bytes: [UInt8], _ start: Int) -> Number {
    bytes.withUnsafeBytes { buffer in
      precondition(start >= 0 && buffer.count - start >= MemoryLayout<Number>.size)
      return Number(littleEndian: buffer.loadUnaligned(fromByteOffset: start, as: Number.self))
    }
  }
}
