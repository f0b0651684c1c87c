internal import FoundationEssentials

/// Bounds how fast tokens can be guessed from one address. Pure: time comes in with each call.
///
/// After ten failures within a minute every further failure is answered "too many". After ten *different* wrong tokens
/// within a minute nothing is looked at any more, not even the right one: otherwise guessing would go on unhindered.
/// A client that shows one outdated token again and again is told so, but locks nobody out.
struct GuessLimiter: Sendable {
  static let limit = 10
  static let window: Duration = .seconds(60)
  /// Most addresses at a time. When all are taken by fresh failures, the other addresses share one entry.
  static let bound = 1024
  private static let others = "others"

  private struct Entry {
    /// At most ``limit`` each, oldest first.
    var failures: [Duration] = []
    var guesses: [(digest: Data, at: Duration)] = []

    mutating func forget(at now: Duration) {
      failures.removeAll { now - $0 >= GuessLimiter.window }
      guesses.removeAll { now - $0.at >= GuessLimiter.window }
    }
  }

  private var entries: [String: Entry] = [:]

  /// Notes a token that was shown.
  /// - Parameters:
  ///   - digest: the shown token's hash.
  ///   - isRight: whether it was the right one.
  /// - Returns: nil when the verdict may be told, else how long the client has to wait.
  mutating func judge(_ address: String, digest: Data, isRight: Bool, now: Duration) -> Duration? {
    let key = place(for: address, now: now)
    var entry = entries[key] ?? Entry()
    entry.forget(at: now)
    defer { entries[key] = entry.failures.isEmpty && entry.guesses.isEmpty ? nil : entry }
    if entry.guesses.count >= Self.limit, let oldest = entry.guesses.first {
      return Self.window - (now - oldest.at)
    }
    guard !isRight else { return nil }
    if !entry.guesses.contains(where: { $0.digest == digest }) { entry.guesses.append((digest, now)) }
    if entry.failures.count >= Self.limit, let oldest = entry.failures.first {
      return Self.window - (now - oldest)
    }
    entry.failures.append(now)
    return nil
  }

  var count: Int { entries.count }

  private mutating func place(for address: String, now: Duration) -> String {
    if entries[address] != nil || entries.count < Self.bound { return address }
    for key in entries.keys {
      entries[key]?.forget(at: now)
      if let entry = entries[key], entry.failures.isEmpty, entry.guesses.isEmpty { entries[key] = nil }
    }
    return entries.count < Self.bound ? address : Self.others
  }
}
