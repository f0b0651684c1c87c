internal import Foundation

/// What a number of polls came to.
struct Tally: Sendable {
  var latencies: [Double] = []
  var errors = 0
  var bytes = 0
  var wall = 0.0

  mutating func add(_ bytes: Int?, _ latency: Duration) {
    latencies.append(latency.seconds)
    if let bytes { self.bytes += bytes } else { errors += 1 }
  }

  mutating func merge(_ other: Tally) {
    latencies += other.latencies
    errors += other.errors
    bytes += other.bytes
  }

  /// Milliseconds below which this part of the polls stayed; 0 without polls.
  func latency(_ part: Double) -> Double {
    let sorted = latencies.sorted()
    guard !sorted.isEmpty else { return 0 }
    return sorted[min(sorted.count - 1, Int(Double(sorted.count) * part))] * 1000
  }

  /// The line of the bench's protocol.
  var line: String {
    String(
      format: "DONE polls=%d errors=%d bytes=%d wall=%.4f p50=%.3f p99=%.3f max=%.3f", latencies.count, errors, bytes,
      wall, latency(0.5), latency(0.99), latency(1))
  }
}
