internal import Model

/// Documents as they stand in their collection: `{_id, …fields}`.
enum StoredDocument {
  /// The id that people see: text as it is, an ObjectId as hex, a number in digits.
  static func id(_ value: BSONValue?) -> String? {
    switch value {
    case .string(let text): text
    case .objectID(let id): id.hex
    case .int32(let number): String(number)
    case .int64(let number): String(number)
    case .double(let number): Int64(exactly: number).map { String($0) }
    default: nil
    }
  }

  /// Never an error: one document that is nested too deeply, or whose bytes make no sense, must not keep the others from
  /// being read. It comes in a form that ``Document/read(_:kind:origin:)`` refuses, with the reason. One whose `_id` is
  /// nothing that can be named has that `_id` among its fields.
  static func read(_ kind: DocumentKind, _ document: BSON) -> Document? {
    guard let id = id(document["_id"]) else { return unnameable(kind, document) }
    var fields: [String: Value]
    do {
      fields = try document.fields()
    } catch BSONError.tooDeep {
      guard let cut = try? BSONValue.document(document).cut(depth: 0).fields else { return unreadable(kind, id) }
      fields = cut
    } catch {
      return unreadable(kind, id)
    }
    fields["_id"] = nil
    // The collection is the kind; what says something else stays, so that it is refused where documents are checked.
    if fields["kind"]?.text.flatMap({ DocumentKind(name: $0) }) == kind || fields["kind"] == .null {
      fields["kind"] = nil
    }
    return Document(kind: kind, id: id, fields: fields)
  }

  /// It is shown as far as it can be, and its `_id` stands among its fields: so it is refused where documents are checked.
  private static func unnameable(_ kind: DocumentKind, _ document: BSON) -> Document {
    let written = document["_id"].flatMap { try? $0.value() } ?? .null
    var id = written.json()
    if case .binary(_, let bytes)? = document["_id"] {
      id = "binary " + bytes.prefix(32).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
    var fields: [String: Value] = ["_id": written]
    fields["target"] = document["target"]?.stringValue.map { .string($0) }
    fields["enabled"] = document["enabled"].flatMap { try? $0.value() }
    return Document(kind: kind, id: String(id.prefix(200)), fields: fields)
  }

  private static func unreadable(_ kind: DocumentKind, _ id: String) -> Document {
    Document(kind: kind, id: id, fields: ["kind": "unreadable: no BSON"])
  }

  /// Matches a document by what people call it.
  ///
  /// A target that another tool made has an ObjectId; one from a file that names no `_id` is called by its name. So a
  /// target is also found by its name, where its `_id` is an ObjectId.
  static func filter(_ kind: DocumentKind, id: String, _ writer: inout BSONWriter) {
    writer.array("$or") { alternatives in
      alternatives.document { $0.document("_id") { $0.array("$in") { ids(id, &$0) } } }
      if kind == .targets {
        alternatives.document {
          $0.string("target", id)
          $0.document("_id") { $0.string("$type", "objectId") }
        }
      }
    }
  }

  private static func ids(_ id: String, _ writer: inout BSONWriter) {
    writer.string("", id)
    if let objectID = BSONObjectID(hex: id) { writer.objectID("", objectID) }
    if let number = Int64(id), String(number) == id { writer.int("", number) }
  }

  /// The whole document under the `_id` that it has in the collection.
  static func write(_ fields: [String: Value], id: BSONValue, _ writer: inout BSONWriter) {
    writer.value("_id", id)
    writer.fields(fields.filter { $0.key != "_id" })
  }
}

extension BSONValue {
  /// The value with everything left out that is nested deeper than any document may be: enough is left that it is refused
  /// as nested too deeply, at the right place.
  fileprivate func cut(depth: Int) throws -> Value {
    switch self {
    case .document(let document):
      var fields: [String: Value] = [:]
      guard depth <= DocumentBounds.depth else { return .object(fields) }
      try document.forEach { fields[$0] = try $1.cut(depth: depth + 1) }
      return .object(fields)
    case .array(let array):
      guard depth <= DocumentBounds.depth else { return .array([]) }
      return .array(try array.values().map { try $0.cut(depth: depth + 1) })
    default: return try value()
    }
  }
}
