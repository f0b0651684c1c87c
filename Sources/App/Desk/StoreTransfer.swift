package import FoundationEssentials
package import Model
package import Storage

/// Moves everything between two stores by way of lines of JSON.
///
/// The first line is a header, then one line a thing, part by part; the last line counts each part, so that a file which
/// was cut off is known as such. At most a page of things is held at a time.
package enum StoreTransfer {
  /// The format's version, in the header.
  package static let version: Int64 = 1
  /// Things that are asked for, and put in, at a time.
  static let page = 500
  /// Broken lines that are named; the others are counted.
  package static let namedBound = 20

  package typealias Counts = [StorePart: Int]

  package struct BrokenLine: Sendable, Hashable, CustomStringConvertible {
    package var line: Int
    package var reason: String
    package var description: String { "line \(line): \(reason)" }
  }

  /// What a file holds.
  package struct Content: Sendable, Hashable {
    package var counts: Counts = [:]
    package var broken: [BrokenLine] = []
    package var brokenCount = 0
    /// Why it is not whole; nil: the last line is there and agrees.
    package var gap: String?
    /// How many things were new to the store.
    package var new = 0
    package var isWhole: Bool { brokenCount == 0 && gap == nil }
  }

  // MARK: Out

  /// Writes everything a store holds.
  ///
  /// - Parameters:
  ///   - kind: the store's kind, for the header.
  ///   - write: takes the bytes of whole lines.
  ///   - progress: hears how many there are by now.
  package static func export(
    _ store: any PortableStorage, kind: String, created: Date = Date(),
    write: ([UInt8]) async throws -> Void, progress: (Counts) -> Void = { _ in }
  ) async throws(OperationError) -> Counts {
    var counts: Counts = [:]
    do {
      try await write(
        line([
          "syscrap_export": .int(version), "schema": .int(version), "created": .string(ExactJSON.instant(created)),
          "store": .string(kind), "version": .string(Version.text),
        ]))
      for part in StorePart.allCases {
        counts[part] = 0
        var cursor: String?
        repeat {
          let page = try await store.export(part, after: cursor, limit: page)
          var bytes: [UInt8] = []
          for item in page.items { bytes += try StoreLine.bytes(part, item) }
          if !bytes.isEmpty { try await write(bytes) }
          counts[part, default: 0] += page.items.count
          progress(counts)
          // The same place again would go on for ever.
          guard page.next == nil || page.next != cursor else {
            throw OperationError(.failed, "the store does not get on with its \(part.rawValue)")
          }
          cursor = page.next
        } while cursor != nil
      }
      try await write(line(["end": value(counts)]))
      return counts
    } catch {
      throw failure(error)
    }
  }

  private static func line(_ value: Value) throws(ExactJSON.Malformed) -> [UInt8] {
    var out: [UInt8] = []
    try ExactJSON.write(value, into: &out)
    return out + [0x0A]
  }

  private static func value(_ counts: Counts) -> Value {
    .object(Dictionary(counts.map { ($0.key.rawValue, .int(Int64($0.value))) }, uniquingKeysWith: { $1 }))
  }

  // MARK: In

  /// Reads a whole file, and with a store puts in what is right.
  ///
  /// - Parameters:
  ///   - lines: gives the next line without its end, or how long one was that is too long; nil at the end.
  ///   - store: nil: it is only looked at.
  /// - Throws: `refused` when it is no export, or one of a newer version.
  package static func read(
    _ lines: () async throws -> ExportLine?, into store: (any PortableStorage)? = nil,
    progress: (Counts) -> Void = { _ in }
  ) async throws(OperationError) -> Content {
    var content = Content()
    for part in StorePart.allCases { content.counts[part] = 0 }
    do {
      try header(try await lines())
      var number = 1
      var isEnded = false
      var waiting: [StoreItem] = []
      var sinceProgress = 0
      content.gap = "the last line, which counts everything, is missing: the file was cut off"
      while let line = try await lines() {
        number += 1
        if isEnded {
          content.gap = "something stands after the last line, from line \(number) on"
          break
        }
        do throws(ExactJSON.Malformed) {
          let value = try line.value()
          if let end = value["end"] {
            isEnded = true
            // Lines that are broken are missing from the count, and said.
            content.gap = end == self.value(content.counts) || content.brokenCount > 0 ? nil : "the counts do not agree"
            continue
          }
          guard let part = value["part"]?.text.flatMap(StorePart.init(rawValue:)), let item = value["item"] else {
            throw ExactJSON.Malformed("neither a part that is known nor the end")
          }
          waiting.append(try StoreLine.item(part, item))
          content.counts[part, default: 0] += 1
        } catch {
          content.brokenCount += 1
          if content.broken.count < namedBound {
            content.broken.append(BrokenLine(line: number, reason: error.description))
          }
        }
        sinceProgress += 1
        if waiting.count >= page {
          if let store { content.new += try await store.restore(waiting) }
          waiting = []
        }
        if sinceProgress >= page {
          sinceProgress = 0
          progress(content.counts)
        }
      }
      if let store, !waiting.isEmpty { content.new += try await store.restore(waiting) }
      progress(content.counts)
      return content
    } catch {
      throw failure(error)
    }
  }

  private static func header(_ line: ExportLine?) throws(OperationError) {
    guard let value = try? line?.value(), let found = value["syscrap_export"]?.integer else {
      throw OperationError(.refused, "this is no export of Syscrap: its first line is not {\"syscrap_export\": …}")
    }
    guard found <= version, found > 0 else {
      throw OperationError(
        .refused, "this export is of version \(found), this program reads up to \(version): use a newer one")
    }
  }

  private static func failure(_ error: any Error) -> OperationError {
    switch error {
    case let error as OperationError: error
    case let error as StorageError: OperationError(store: error)
    default: OperationError(.failed, "\(error)")
    }
  }
}

/// A line of an export, or the length of one that is too long to be read.
package enum ExportLine: Sendable, Hashable {
  case bytes([UInt8])
  case tooLong

  fileprivate func value() throws(ExactJSON.Malformed) -> Value {
    switch self {
    case .bytes(let bytes): return try ExactJSON.read(bytes)
    case .tooLong: throw ExactJSON.Malformed("longer than \(ExportReader.lineBound >> 20) MiB")
    }
  }
}
