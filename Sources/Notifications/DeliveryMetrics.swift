internal import Metrics

/// The figures of the queue's workers, under the names of the reliability goals.
struct DeliveryMetrics: Sendable {
  func attempted(channel: String, result: String, took: Duration) {
    Counter(label: "delivery_attempts_total", dimensions: [("channel", channel), ("result", result)]).increment()
    Timer(label: "delivery_seconds", dimensions: [("channel", channel)]).recordNanoseconds(Self.nanoseconds(took))
  }

  /// How many were delivered stands in the store, beside what the conservation law needs.
  /// - Parameter age: from the message's making until the peer took it.
  func delivered(age: Duration) {
    Timer(label: "end_to_end_seconds").recordNanoseconds(Self.nanoseconds(age))
  }

  func gaveUp(channel: String) {
    Counter(label: "notifications_given_up_total", dimensions: [("channel", channel)]).increment()
  }

  func leaseLost() {
    Counter(label: "lease_lost_total").increment()
  }

  func rescued(_ count: Int) {
    Counter(label: "lease_rescues_total").increment(by: count)
  }

  private static func nanoseconds(_ duration: Duration) -> Int64 {
    let parts = duration.components
    // 100 years stay far from the bounds of Int64.
    let seconds = min(max(parts.seconds, 0), 3_155_760_000)
    return seconds * 1_000_000_000 + (parts.seconds < 0 ? 0 : parts.attoseconds / 1_000_000_000)
  }
}
