internal import Foundation
package import Logging
package import Model
internal import Threads

/// Keeps the last good versions of the documents over restarts, in a small file of this instance.
///
/// Without it a document that was broken by an edit would be missing after a restart as if it had been deleted. The file
/// holds what documents hold, and those hold no secrets; it is bounded by ``bound`` bytes, beyond which nothing is kept
/// and that is logged.
package struct DocumentMemory: Sendable {
  package struct Content: Sendable, Hashable {
    package var documents: [Document] = []
    /// Which document each target's name belongs to.
    package var names: [String: String] = [:]

    package init(documents: [Document] = [], names: [String: String] = [:]) {
      self.documents = documents
      self.names = names
    }
  }

  /// Largest file that is read or written.
  package static let bound = 64 * 1024 * 1024
  private static let format: Int64 = 1

  private let place: String
  private let logger: Logger
  private let read: @Sendable () async throws -> [UInt8]?
  private let write: @Sendable ([UInt8]) async throws -> Void

  /// - Parameters:
  ///   - place: the store that the documents are of; what was kept of another one does not count.
  ///   - read: the file's bytes, nil where there is none.
  ///   - write: replaces the file as one step.
  package init(
    place: String, logger: Logger, read: @escaping @Sendable () async throws -> [UInt8]?,
    write: @escaping @Sendable ([UInt8]) async throws -> Void
  ) {
    self.place = place
    self.logger = logger
    self.read = read
    self.write = write
  }

  /// In the state folder, read and written on the pool's threads.
  init(_ configuration: Configuration, pool: BlockingPool, logger: Logger) {
    let path = configuration.documentsPath
    self.init(
      place: configuration.storeName, logger: logger,
      read: { try await pool.run { try Self.file(path) } },
      write: { bytes in
        try await pool.run { try PrivateFile.write(String(decoding: bytes, as: UTF8.self), to: path) }
      })
  }

  /// The file's bytes; nil where there is none.
  static func file(_ path: String) throws -> [UInt8]? {
    guard let handle = FileHandle(forReadingAtPath: path) else {
      guard FileManager.default.fileExists(atPath: path) else { return nil }
      throw PrivateFile.Failure(description: "\(path) cannot be read")
    }
    defer { try? handle.close() }
    let data = try handle.read(upToCount: bound + 1) ?? Data()
    guard data.count <= bound else { throw PrivateFile.Failure(description: "\(path) is larger than \(bound) bytes") }
    return Array(data)
  }

  /// What was kept; empty where there is nothing that can be used, with a line in the log where there should be.
  func load() async -> Content {
    do {
      return try await read().flatMap { try Self.content($0, place: place) } ?? Content()
    } catch {
      logger.warning(
        "The last good versions of the documents could not be read; those in the store count alone",
        metadata: ["error": "\(error)"])
      return Content()
    }
  }

  /// - Parameter isQuiet: a failure was said before.
  /// - Returns: whether it is kept.
  func save(_ content: Content, isQuiet: Bool) async -> Bool {
    do {
      let bytes = try Self.bytes(content, place: place)
      guard bytes.count <= Self.bound else {
        throw PrivateFile.Failure(description: "they take more than \(Self.bound) bytes")
      }
      try await write(bytes)
      return true
    } catch {
      if !isQuiet {
        logger.warning(
          "The last good versions of the documents could not be kept for the next start",
          metadata: ["error": "\(error)"])
      }
      return false
    }
  }

  // MARK: The file's form

  package static func bytes(_ content: Content, place: String) throws -> [UInt8] {
    let documents = content.documents.map { document -> Value in
      [
        "kind": .string(document.kind.rawValue), "id": .string(document.id), "fields": document.content,
      ]
    }
    var out: [UInt8] = []
    try ExactJSON.write(
      [
        "format": .int(format), "store": .string(place), "documents": .array(documents),
        "names": .object(content.names.mapValues(Value.string)),
      ], into: &out)
    out.append(UInt8(ascii: "\n"))
    return out
  }

  /// nil: it is of another store.
  package static func content(_ bytes: [UInt8], place: String) throws -> Content? {
    let file = try ExactJSON.read(bytes)
    guard file["format"]?.integer == format, let documents = file["documents"]?.elements else {
      throw ExactJSON.Malformed("it is not what this version writes")
    }
    guard file["store"]?.text == place else { return nil }
    let names = (file["names"]?.fields ?? [:]).compactMapValues(\.text)
    return Content(
      documents: documents.compactMap { document in
        guard let kind = document["kind"]?.text.flatMap(DocumentKind.init(rawValue:)), let id = document["id"]?.text,
          let fields = document["fields"]?.fields
        else { return nil }
        return Document(kind: kind, id: id, fields: fields)
      }, names: names)
  }
}

extension Configuration {
  /// Where the last good versions of the documents are kept.
  package var documentsPath: String { stateDirectory + "/documents.json" }
}
