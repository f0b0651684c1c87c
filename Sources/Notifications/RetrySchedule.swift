/// When a message that could not be delivered is tried again.
///
/// The first try is at once; then after 5 s, 15 s, 1 min, 3 min, 10 min, 30 min, then hourly until the message is 72 h
/// old. Each pause varies by ±20 %, so that messages which failed together do not come back together.
package struct RetrySchedule: Sendable, Hashable {
  /// The pause after the first failure, the second …; the last one is repeated.
  package var pauses: [Duration] = [
    .seconds(5), .seconds(15), .seconds(60), .seconds(180), .seconds(600), .seconds(1800), .seconds(3600),
  ]
  /// How old a message may be when it is tried for the last time.
  package var lifetime: Duration = .seconds(72 * 3600)
  /// Which part of a pause may be added or taken away at random, 0…1.
  package var jitter = 0.2
  /// The longest pause that a peer may ask for (`Retry-After`); longer ones are cut to this.
  package var longestRequest: Duration = .seconds(3600)
  /// How long a channel may fail before the next one in the list is used as well.
  package var patience: Duration = .seconds(60)

  package init() {}

  /// The pause before the next try.
  /// - Parameters:
  ///   - failures: how many tries have failed, this one included; at least 1.
  ///   - age: how long ago the message was made.
  ///   - requested: what the peer asked for; it wins over the schedule.
  ///   - random: a number from 0 up to 1.
  /// - Returns: nil when the message is too old: give it up.
  package func pause(failures: Int, age: Duration, requested: Duration? = nil, random: Double) -> Duration? {
    guard age < lifetime else { return nil }
    // Less than a second is no wish to wait: such a peer would be asked without end.
    if let requested, requested >= .seconds(1) { return min(requested, longestRequest) }
    guard let last = pauses.last else { return nil }
    let index = max(failures, 1) - 1
    let base = index < pauses.count ? pauses[index] : last
    let portion = random.isFinite ? min(max(random, 0), 1) : 0.5
    return base * (1 + jitter * (2 * portion - 1))
  }
}
