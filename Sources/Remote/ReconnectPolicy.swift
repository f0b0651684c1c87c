/// When a target may be tried again: full jitter for outages, a breaker for refused credentials.
///
/// A value without a clock: time is a parameter, counted from any fixed moment that only moves forward. Outages wait
/// `random(0, min(cap, base · 2^n))`, which spreads a herd of targets; `n` starts anew after a while of health. Refused
/// credentials and untrusted host keys wait from a minute to an hour, and refused credentials are tried at most three
/// times an hour, so that no server locks us out (PerSourcePenalties, fail2ban).
package struct ReconnectPolicy: Sendable, Hashable {
  /// First bound of the random wait, doubled by each failure. 1 s.
  package var base: Duration = .seconds(1)
  /// Largest bound of the random wait. 60 s.
  package var cap: Duration = .seconds(60)
  /// A connection that lived this long has proved itself: failures count from the start again. 60 s.
  package var healthy: Duration = .seconds(60)
  /// First wait after a refused credential, doubled by each. 60 s.
  package var breakerBase: Duration = .seconds(60)
  /// Longest wait after a refused credential. 1 h.
  package var breakerCap: Duration = .seconds(3600)
  /// Most refused logins within `attemptSpan`. 3 in 1 h.
  package var attemptLimit = 3
  package var attemptSpan: Duration = .seconds(3600)

  /// Failures in a row that were outages.
  package private(set) var failures = 0
  /// Refusals in a row: credentials, host keys.
  package private(set) var refusals = 0
  /// When the last refused logins happened, at most `attemptLimit` of them.
  private var refused: [Duration] = []
  private var connectedAt: Duration?

  package init() {}

  /// A connection was made and authenticated.
  package mutating func connected(at now: Duration) {
    connectedAt = now
    refusals = 0
    refused = []
  }

  /// A connection ended, or an attempt failed: how long to wait before the next attempt.
  ///
  /// - Parameters:
  ///   - error: why; `nil` when we closed it ourselves.
  ///   - now: the time of the failure.
  ///   - random: uniform in 0..<1; values outside are clamped.
  package mutating func failed(_ error: RemoteError?, at now: Duration, random: Double) -> Duration {
    let random = random.isNaN ? 0.5 : min(max(random, 0), 1)
    if let since = connectedAt, now - since >= healthy { failures = 0 }
    connectedAt = nil
    switch error?.code {
    case .authenticationFailed, .noCredential:
      let isRefusal = error?.code == .authenticationFailed
      if isRefusal { refused = Array((refused + [now]).suffix(max(1, attemptLimit))) }
      var wait = breaker(random)
      if isRefusal, refused.count >= attemptLimit, let oldest = refused.first {
        wait = max(wait, oldest + attemptSpan - now)
      }
      return wait
    case .hostKeyUnknown, .hostKeyChanged, .hostKeyRevoked, .noCommonAlgorithm:
      return breaker(random)
    case .refusedByPolicy:
      // The server is up and has too many strangers: never at once, and with a wide spread.
      failures = max(failures, 4)
      return jitter(random)
    default:
      return jitter(random)
    }
  }

  private mutating func jitter(_ random: Double) -> Duration {
    let bound = Self.doubled(base, times: failures, atMost: cap)
    failures = min(failures + 1, 64)
    return bound * random
  }

  /// Up to a tenth is added, so that targets that share a wrong key do not march in step.
  private mutating func breaker(_ random: Double) -> Duration {
    let wait = Self.doubled(breakerBase, times: refusals, atMost: breakerCap)
    refusals = min(refusals + 1, 64)
    return min(wait + wait * (random * 0.1), max(breakerCap, wait))
  }

  private static func doubled(_ value: Duration, times: Int, atMost limit: Duration) -> Duration {
    var result = value
    for _ in 0..<times where result < limit { result *= 2 }
    return min(result, limit)
  }
}
