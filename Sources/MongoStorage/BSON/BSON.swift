internal import Model

/// One BSON document as its bytes. Format: https://bsonspec.org/spec.html
///
/// Bytes may come from anywhere: everything that reads them checks every length, and none of it traps.
struct BSON: Sendable, Hashable {
  /// Deepest nesting of documents and arrays that is read. MongoDB may hold deeper ones: people's documents are then cut
  /// and refused, see ``StoredDocument``; of ours none comes near.
  static let depthBound = 128

  private(set) var bytes: [UInt8]

  /// The empty document.
  init() { bytes = [5, 0, 0, 0, 0] }

  /// - Throws: ``BSONError`` when the length in front or the zero at the end does not fit.
  init(checking bytes: [UInt8]) throws(BSONError) {
    guard BSONReader.isFramed(bytes, from: 0, to: bytes.count) else { throw .malformed }
    self.bytes = bytes
  }

  /// For bytes that were made or framed by this room.
  init(trusted bytes: [UInt8]) { self.bytes = bytes }

  /// Writes a document field by field: `BSON { $0.string("find", "targets") }`.
  init(_ body: (inout BSONWriter) throws -> Void) rethrows {
    var writer = BSONWriter()
    try body(&writer)
    self = writer.finished()
  }

  /// The first field of this name; nil when there is none or the bytes before it make no sense.
  subscript(_ key: String) -> BSONValue? {
    var reader = BSONReader(self)
    while let element = try? reader.next() {
      if reader.isKey(of: element, key) { return try? reader.value(of: element) }
    }
    return nil
  }

  /// Calls `body` with each field in order.
  func forEach(_ body: (_ key: String, _ value: BSONValue) throws -> Void) throws {
    var reader = BSONReader(self)
    while let element = try reader.next() { try body(reader.key(of: element), try reader.value(of: element)) }
  }

  /// The document in this field, to be read where it stands; nil when there is none.
  func reader(of key: String) throws -> BSONReader? {
    var reader = BSONReader(self)
    while let element = try reader.next() {
      if reader.isKey(of: element, key) { return element.type == 3 ? try BSONReader(bytes, element.body) : nil }
    }
    return nil
  }

  var isEmpty: Bool { bytes.count <= 5 }

  /// The values in order: what an array is.
  func values() throws -> [BSONValue] {
    var result: [BSONValue] = []
    var reader = BSONReader(self)
    while let element = try reader.next() { result.append(try reader.value(of: element)) }
    return result
  }

  /// The name of the first field: what a command is called.
  var firstKey: String? {
    var reader = BSONReader(self)
    guard let element = try? reader.next() else { return nil }
    return reader.key(of: element)
  }

  /// This document with more fields at its end; names must not be there already.
  func appending(_ body: (inout BSONWriter) -> Void) -> BSON {
    var writer = BSONWriter(continuing: self)
    body(&writer)
    return writer.finished()
  }

  /// The fields as ``Value``s; a name that comes twice counts once, the last.
  func fields() throws -> [String: Value] { try fields(depth: 0) }

  func fields(depth: Int) throws -> [String: Value] {
    return try BSONReader(self).fields(depth: depth)
  }

  /// Reads everything once. - Throws: ``BSONError`` when any part makes no sense or is nested too deeply.
  func validate() throws { _ = try fields() }
}

/// Bytes that are no BSON we can use.
enum BSONError: Error, Sendable, Hashable, CustomStringConvertible {
  case malformed
  case tooDeep

  var description: String {
    switch self {
    case .malformed: "the bytes are no BSON"
    case .tooDeep: "nested deeper than \(BSON.depthBound) levels"
    }
  }
}
