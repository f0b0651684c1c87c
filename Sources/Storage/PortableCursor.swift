/// Where a page ended: words that a store writes and only it reads again.
package enum PortableCursor {
  /// One text of several parts, each with its length before it.
  package static func text(_ parts: [String]) -> String {
    parts.map { "\($0.utf8.count):\($0)" }.joined()
  }

  /// - Throws: `internalError` when it is not ``text(_:)`` of so many parts.
  package static func parts(_ text: String, count: Int) throws(StorageError) -> [String] {
    var rest = Substring(text).utf8
    var parts: [String] = []
    while !rest.isEmpty {
      guard let colon = rest.firstIndex(of: 58), let length = Int(Substring(rest[..<colon])), length >= 0 else {
        throw unreadable(text)
      }
      let body = rest[rest.index(after: colon)...]
      guard length <= body.count, let part = String(body.prefix(length)) else { throw unreadable(text) }
      parts.append(part)
      rest = body.dropFirst(length)
    }
    guard parts.count == count else { throw unreadable(text) }
    return parts
  }

  /// The same for whole numbers.
  package static func numbers(_ text: String, count: Int) throws(StorageError) -> [Int64] {
    let numbers = try parts(text, count: count).compactMap { Int64($0) }
    guard numbers.count == count else { throw unreadable(text) }
    return numbers
  }

  private static func unreadable(_ text: String) -> StorageError {
    StorageError(.internalError, "the export cannot go on: its cursor is not one of this store's: \(text)")
  }
}

extension QueueCounts {
  /// Settled entries alone, as they are kept of those that were forgotten: `accepted` is the sum of the others.
  package init(forgottenDelivered delivered: Int, merged: Int, dead: Int) {
    self.init()
    self.delivered = delivered
    self.merged = merged
    self.dead = dead
    accepted = delivered + merged + dead
  }
}
