internal import Crypto
internal import FoundationEssentials

/// One-time tokens, the sessions made of them, and failed attempts. Tokens and sessions are random 256-bit values of which
/// only the hash is kept.
///
/// Bounds: ``bound`` of each; the oldest goes when another is made. Failures: ``GuessLimiter``.
actor SessionBook {
  static let bound = 256
  static let tokenLife: Duration = .seconds(600)

  /// What became of a one-time token.
  enum Login: Sendable, Equatable {
    case opened(session: String)
    /// Unknown, used or too old.
    case refused
    case tooMany(wait: Duration)
  }

  private let now: @Sendable () -> Duration
  private let sessionLife: Duration
  private var tokens: [Data: Duration] = [:]
  private var sessions: [Data: Duration] = [:]
  private var guesses = GuessLimiter()
  private var told: Duration?

  /// - Parameter now: a monotonic time.
  init(sessionLife: Duration, now: @escaping @Sendable () -> Duration) {
    self.sessionLife = sessionLife
    self.now = now
  }

  /// A token that opens one session within ten minutes.
  func makeToken() -> String { Self.make(&tokens, until: now() + Self.tokenLife) }

  /// Trades a one-time token for a session.
  func open(with token: String, from client: String) -> Login {
    let hash = Self.hash(token)
    let isRight = tokens[hash].map { $0 > now() } ?? false
    if let wait = guesses.judge(client, digest: hash, isRight: isRight, now: now()) { return .tooMany(wait: wait) }
    tokens[hash] = nil
    return isRight ? .opened(session: Self.make(&sessions, until: now() + sessionLife)) : .refused
  }

  /// Notes that the service's token, or what was meant to be it, was shown.
  /// - Returns: nil when the verdict may be told, else how long the client has to wait.
  func note(shown token: String, isRight: Bool, from client: String) -> Duration? {
    guesses.judge(client, digest: Self.hash(token), isRight: isRight, now: now())
  }

  /// Whether the log should hear of too many wrong tokens: at most once a minute, or guessing would fill it.
  func isWorthTelling() -> Bool {
    if let told, now() - told < GuessLimiter.window { return false }
    told = now()
    return true
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
