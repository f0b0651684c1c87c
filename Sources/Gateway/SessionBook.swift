internal import Crypto
internal import FoundationEssentials

/// One-time tokens and the sessions made of them. Both are random 256-bit values of which only the hash is kept.
///
/// Bounds: ``bound`` of each; the oldest goes when another is made.
actor SessionBook {
  static let bound = 256
  static let tokenLife: Duration = .seconds(600)

  private let now: @Sendable () -> Duration
  private let sessionLife: Duration
  private var tokens: [Data: Duration] = [:]
  private var sessions: [Data: Duration] = [:]

  /// - Parameter now: a monotonic time.
  init(sessionLife: Duration, now: @escaping @Sendable () -> Duration) {
    self.sessionLife = sessionLife
    self.now = now
  }

  /// A token that opens one session within ten minutes.
  func makeToken() -> String { Self.make(&tokens, until: now() + Self.tokenLife) }

  /// Trades a one-time token for a session; nil when it is unknown, used or too old.
  func open(with token: String) -> String? {
    guard token.utf8.count <= 512, let until = tokens.removeValue(forKey: Self.hash(token)), until > now() else {
      return nil
    }
    return Self.make(&sessions, until: now() + sessionLife)
  }

  func isLive(_ session: String) -> Bool {
    guard session.utf8.count <= 512, let until = sessions[Self.hash(session)] else { return false }
    return until > now()
  }

  private static func make(_ book: inout [Data: Duration], until: Duration) -> String {
    if book.count >= bound, let oldest = book.min(by: { $0.value < $1.value }) { book[oldest.key] = nil }
    let made = Self.random()
    book[hash(made)] = until
    return made
  }

  private static func hash(_ text: String) -> Data { Data(SHA256.hash(data: Data(text.utf8))) }

  /// 256 random bits in hexadecimal.
  static func random() -> String {
    var generator = SystemRandomNumberGenerator()
    return (0..<4).map { _ in
      let hex = String(generator.next(), radix: 16)
      return String(repeating: "0", count: 16 - hex.count) + hex
    }.joined()
  }
}
