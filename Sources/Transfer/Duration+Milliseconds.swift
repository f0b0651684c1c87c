extension Duration {
  /// Whole milliseconds, rounded up, between 1 and 2^31 - 1: 0 would mean "no bound" to libcurl.
  var positiveMilliseconds: Int {
    let (seconds, attoseconds) = components
    guard seconds < 2_000_000 else { return 2_000_000_000 }
    guard seconds >= 0 else { return 1 }
    return max(1, Int(seconds) * 1_000 + Int((attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000))
  }
}
