/// The `_id` of an entry as the rest of the program and people know it: text is itself, an ObjectId its 24 hex digits, a
/// number its digits. Anything else has no words: it is empty text, by which nothing can be asked for.
enum QueueID {
  static func text(_ id: BSONValue) -> String {
    switch id {
    case .string(let text): return text
    case .objectID(let id): return id.hex
    default: break
    }
    if let number = id.int64Value { return String(number) }
    if let number = id.doubleValue, number.isFinite { return "\(number)" }
    return ""
  }

  /// The filter that finds an entry by ``text(_:)``. MongoDB compares numbers by their value, whatever their type.
  static func identify(_ text: String, _ w: inout BSONWriter) {
    if text.isEmpty { return wordless(&w) }
    let objectID = BSONObjectID(hex: text)
    let number = (Int64(text).map { .int64($0) } ?? Double(text).map { .double($0) })
      .flatMap { (number: BSONValue) in self.text(number) == text ? number : nil }
    if objectID == nil, number == nil { return w.string("_id", text) }
    w.document("_id") { w in
      w.array("$in") { w in
        w.string("", text)
        if let objectID { w.objectID("", objectID) }
        if let number { w.value("", number) }
      }
    }
  }

  /// All whose `_id` has no words, and numbers; only together with the owner and epoch of a lease does it say which.
  private static func wordless(_ w: inout BSONWriter) {
    w.array("$nor") { w in
      w.document { w in w.document("_id") { $0.string("$gt", "") } }
      w.document { w in w.document("_id") { $0.string("$type", "objectId") } }
    }
  }
}
