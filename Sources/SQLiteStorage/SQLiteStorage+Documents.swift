internal import FoundationEssentials
internal import GRDB
package import Model
package import Storage

extension SQLiteStorage {
  package func documents(_ kind: DocumentKind) async throws(StorageError) -> [Document] {
    try await read("reading documents") { db in
      try db.rows("SELECT id, fields FROM documents WHERE kind = ? ORDER BY id", [kind.rawValue]) { row in
        Document(kind: kind, id: try row.text(0), fields: try Self.fields(row.bytes(1)))
      }
    }
  }

  package func document(_ kind: DocumentKind, id: String) async throws(StorageError) -> Document? {
    try await read("reading a document") { db in try Self.document(kind, id: id, db) }
  }

  package func put(_ documents: [Document]) async throws(StorageError) -> [PutOutcome] {
    try await write("storing documents", isDurable: true) { db in
      var outcomes: [PutOutcome] = []
      for document in documents {
        let old = try Self.document(document.kind, id: document.id, db)
        let (stored, outcome) = document.stored(over: old)
        outcomes.append(outcome)
        if stored != old { try Self.store(stored, db) }
      }
      if outcomes.contains(where: { $0 != .unchanged }) { try Self.moveRevision(db) }
      return outcomes
    }
  }

  package func delete(_ kind: DocumentKind, id: String) async throws(StorageError) -> Bool {
    try await write("deleting a document", isDurable: true) { db in
      guard try db.run("DELETE FROM documents WHERE kind = ? AND id = ?", [kind.rawValue, id.storable]) > 0 else {
        return false
      }
      try Self.moveRevision(db)
      return true
    }
  }

  package func documentRevision() async throws(StorageError) -> Int64 {
    try await read("reading the documents' revision") { db in
      try db.row("SELECT value FROM meta WHERE name = 'document_revision'") { try $0.integer(0) } ?? 0
    }
  }

  package func mergeDetectedSpecs(_ specs: [String: Value], targetID: String) async throws(StorageError) {
    try await write("storing detected specs", isDurable: false, room: .spare) { db in
      guard let old = try Self.document(.targets, id: targetID, db) else { return }
      var new = old
      new.merge(detectedSpecs: specs)
      if new != old { try Self.store(new, db) }
    }
  }

  static func document(_ kind: DocumentKind, id: String, _ db: Database) throws -> Document? {
    try db.row("SELECT id, fields FROM documents WHERE kind = ? AND id = ?", [kind.rawValue, id.storable]) { row in
      Document(kind: kind, id: try row.text(0), fields: try fields(row.bytes(1)))
    }
  }

  static func store(_ document: Document, _ db: Database) throws {
    try db.run(
      "INSERT INTO documents (kind, id, fields) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET fields = excluded.fields",
      [document.kind.rawValue, document.id.storable, Data(try ValueCodec.encode(.object(document.fields)))])
  }

  /// In the same transaction as the change: who sees the new number sees the new documents, in any process.
  static func moveRevision(_ db: Database) throws {
    try db.run("UPDATE meta SET value = value + 1 WHERE name = 'document_revision'")
  }

  static func fields(_ bytes: [UInt8]) throws -> [String: Value] {
    guard case .object(let fields) = try ValueCodec.decode(bytes[...]) else { throw ValueCodec.Malformed() }
    return fields
  }
}
