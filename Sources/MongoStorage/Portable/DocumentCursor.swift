internal import FoundationEssentials
internal import Storage

/// Where an export goes on, as a text for callers: which collection, behind which `_id`, and from which place within that
/// document on.
struct DocumentCursor: Sendable, Hashable {
  /// The collection's place in the part; parts that lie in several collections go through them in order.
  var step: Int
  /// Behind this `_id`; nil: from the first.
  var id: BSONValue?
  /// Of the document with this `_id`, items from this place on are still to come; 0: it is done.
  var offset = 0

  init(step: Int, id: BSONValue? = nil, offset: Int = 0) {
    self.step = step
    self.id = id
    self.offset = offset
  }

  /// - Throws: `internalError` when the text is no cursor of this store.
  init(_ text: String?) throws(StorageError) {
    guard let text else {
      self.init(step: 0)
      return
    }
    guard let data = Data(base64Encoded: text), let document = try? BSON(checking: Array(data)),
      let step = document["step"]?.intValue, let offset = document["offset"]?.intValue, step >= 0, offset >= 0
    else {
      throw StorageError(.internalError, "the export cannot go on: its cursor is not one of this store's: \(text)")
    }
    self.init(step: step, id: document["id"], offset: offset)
  }

  var text: String {
    let document = BSON { writer in
      writer.int("step", step)
      writer.int("offset", offset)
      if let id { writer.value("id", id) }
    }
    return Data(document.bytes).base64EncodedString()
  }
}

extension MongoConnection {
  /// The next documents of a collection in the order of `_id`, whatever its type, from the one with the cursor's `_id`
  /// (when some of its items are still to come) or from the one behind it on.
  func page(_ collection: String, from cursor: DocumentCursor, limit: Int, filter: BSON = BSON()) throws -> [BSON] {
    let documents = try find(
      BSON { writer in
        writer.string("find", collection)
        writer.raw("filter", filter)
        if let id = cursor.id {
          // Unlike a comparison in a filter, this goes on from one type of `_id` to the next.
          writer.document("min") { $0.value("_id", id) }
        }
        writer.document("hint") { $0.int32("_id", 1) }
        writer.document("sort") { $0.int32("_id", 1) }
        writer.limit(limit + 1)
      }, limit: limit + 1)
    guard let id = cursor.id, cursor.offset == 0, documents.first?["_id"] == id else {
      return Array(documents.prefix(limit))
    }
    return Array(documents.dropFirst())
  }
}
