package import Model

/// How many messages a channel may send in a time: `rate: 10/m`, `5/s`, `100/h`, or a number, which is messages a
/// minute.
package struct DeliveryRate: Sendable, Hashable {
  package var count: Int
  package var period: Duration

  package init(count: Int, period: Duration) {
    self.count = count
    self.period = period
  }

  /// Reads the `rate` of a notification_options document; `nil`: there is none that makes sense.
  package init?(_ value: Value?) {
    if let number = value?.number, number >= 1, number <= 100_000 {
      self.init(count: Int(number), period: .seconds(60))
      return
    }
    // A part of one message a minute is one message in a longer time.
    if let number = value?.number, number > 0, number < 1 {
      self.init(count: 1, period: .seconds(min(60 / number, 86_400)))
      return
    }
    let parts = (value?.text ?? "").split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, let count = Int(parts[0]), (1...100_000).contains(count) else { return nil }
    switch parts[1] {
    case "s": self.init(count: count, period: .seconds(1))
    case "m": self.init(count: count, period: .seconds(60))
    case "h": self.init(count: count, period: .seconds(3600))
    default: return nil
    }
  }

  /// The time that one message takes up.
  var interval: Duration { period / count }
}
