internal import Model
package import Storage

extension MongoStorage: PortableStorage {
  /// Items on one page at most; a caller that asks for more gets this many.
  private static let pageBound = 10_000

  package func export(
    _ part: StorePart, after cursor: String?, limit: Int
  ) async throws(StorageError) -> StorePage {
    let start = try DocumentCursor(cursor)
    let limit = min(max(1, limit), Self.pageBound)
    switch part {
    case .documents: return try await exportDocuments(from: start, limit: limit)
    case .samples:
      return try await pool.run("exporting samples") { try $0.exportSamples(from: start, limit: limit) }
    case .roll_ups:
      return try await pool.run("exporting roll-ups") { try $0.exportRollUps(from: start, limit: limit) }
    case .episodes: return try await exportEpisodes(from: start, limit: limit)
    case .notifications: return try await exportEntries(from: start, limit: limit)
    case .counts: return StorePage(items: [.forgotten(try await forgotten())], next: nil)
    }
  }

  /// Kind after kind, in the order of ids. There are few of them: each page reads its kind anew.
  private func exportDocuments(from start: DocumentCursor, limit: Int) async throws(StorageError) -> StorePage {
    var items: [StoreItem] = []
    let kinds = DocumentKind.allCases
    var cursor = start
    while kinds.indices.contains(cursor.step) {
      let last = cursor.id?.stringValue
      for document in try await documents(kinds[cursor.step])
      where last.map({ $0.precedesInBytes(document.id) }) ?? true {
        if items.count == limit { return StorePage(items: items, next: cursor.text) }
        items.append(.document(document))
        cursor.id = .string(document.id)
      }
      cursor = DocumentCursor(step: cursor.step + 1)
    }
    return StorePage(items: items, next: nil)
  }
}

extension MongoConnection {
  /// Documents of which no sample can be made are left out: other tools' own.
  fileprivate func exportSamples(from start: DocumentCursor, limit: Int) throws -> StorePage {
    let documents = try page(SampleNames.aggregations, from: start, limit: limit)
    let items = try documents.compactMap { document in
      try SampleDocument.sample(document).flatMap { $0.type.isRollUp ? nil : StoreItem.sample($0) }
    }
    guard documents.count == limit, let last = documents.last?["_id"] else { return StorePage(items: items, next: nil) }
    return StorePage(items: items, next: DocumentCursor(step: 0, id: last).text)
  }

  /// First the states, then the closed buckets: what a state says to be closed was there before it, see ``StorePart``.
  fileprivate func exportRollUps(from start: DocumentCursor, limit: Int) throws -> StorePage {
    var items: [StoreItem] = []
    var cursor = start
    if cursor.step == 0 {
      let documents = try page(SampleNames.rollUpStates, from: cursor, limit: limit)
      items = try documents.map { document in
        let (series, state) = try RollUpStateDocument.read(document)
        return .rollUpState(series, state)
      }
      if items.count == limit, let last = documents.last?["_id"] {
        return StorePage(items: items, next: DocumentCursor(step: 0, id: last).text)
      }
      cursor = DocumentCursor(step: 1)
    }
    while true {
      let documents = try page(SampleNames.rollUps, from: cursor, limit: min(limit, 200))
      for document in documents {
        let (block, rollUps) = try RollUpBlock.rollUps(document)
        let id = document["_id"]
        // Not by their number: buckets go from a document and come to it meanwhile.
        let first = block.start &+ Int64(id == cursor.id ? cursor.offset : 0)
        let rest = rollUps.drop { $0.start < first }
        let part = rest.prefix(limit - items.count)
        items += part.map { .rollUp(block.series, $0) }
        let next = rest.dropFirst(part.count).first.map { Int($0.start &- block.start) }
        cursor = DocumentCursor(step: 1, id: id, offset: next ?? 0)
        if items.count == limit { return StorePage(items: items, next: cursor.text) }
      }
      if documents.count < min(limit, 200) { return StorePage(items: items, next: nil) }
    }
  }
}
