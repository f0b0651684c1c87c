/// How long a failed child rests before it is started again.
///
/// The n-th failure in a row waits `initial × factor^n`, at most `maximum`; then up to the share `jitter` of it is taken
/// away at random, so that a thousand children do not return to a recovering server in the same instant. A resting child
/// holds up nobody but, with a group strategy, the group that is to be restarted with it.
package struct Backoff: Sendable, Equatable {
  /// The wait after the first failure. Zero: at once.
  package var initial: Duration
  /// By which each further wait grows; at least 1.
  package var factor: Double
  package var maximum: Duration
  /// 0…1: the greatest share of the wait that chance takes away.
  package var jitter: Double
  /// A child that has run this long before it failed starts again from `initial`.
  package var resetAfter: Duration

  package init(
    initial: Duration = .milliseconds(200), factor: Double = 1.5, maximum: Duration = .seconds(30),
    jitter: Double = 0.25, resetAfter: Duration = .seconds(60)
  ) {
    self.initial = initial
    self.factor = factor
    self.maximum = maximum
    self.jitter = jitter
    self.resetAfter = resetAfter
  }

  /// Start again at once, as OTP does.
  package static let none = Backoff(initial: .zero, factor: 1, maximum: .zero, jitter: 0)

  /// The wait before attempt number `attempt`, counted from 0.
  package func delay(attempt: Int, using random: inout some RandomNumberGenerator) -> Duration {
    var seconds = initial.inSeconds
    let limit = maximum.inSeconds
    guard seconds > 0 else { return .zero }
    for _ in 0..<max(0, attempt) where seconds < limit { seconds *= factor }
    seconds = min(seconds, limit)
    if jitter > 0 { seconds -= seconds * Double.random(in: 0...jitter, using: &random) }
    return .seconds(seconds)
  }

  /// What is wrong with these figures, or nil.
  var problem: String? {
    if let problem = Bounds.problem(of: initial, "backoff.initial", isZeroAllowed: true) { return problem }
    if let problem = Bounds.problem(of: maximum, "backoff.maximum", isZeroAllowed: true) { return problem }
    if let problem = Bounds.problem(of: resetAfter, "backoff.resetAfter", isZeroAllowed: true) { return problem }
    if !(factor >= 1 && factor.isFinite) { return "backoff.factor is \(factor); give 1 or more" }
    if !(jitter >= 0 && jitter <= 1) { return "backoff.jitter is \(jitter); give 0 to 1" }
    return nil
  }
}

/// The range of every duration here, so that no sum of two can overflow.
enum Bounds {
  static let longest: Duration = .seconds(10 * 366 * 86_400)

  static func problem(of duration: Duration?, _ name: String, isZeroAllowed: Bool = false) -> String? {
    guard let duration else { return nil }
    if duration < .zero || (duration == .zero && !isZeroAllowed) { return "\(name) is \(duration); give more than 0" }
    if duration > longest { return "\(name) is \(duration); give at most ten years" }
    return nil
  }
}

extension Duration {
  /// As a floating-point number of seconds, for figures that people read and for the growth of a wait.
  var inSeconds: Double {
    let (seconds, attoseconds) = components
    return Double(seconds) + Double(attoseconds) * 1e-18
  }
}
