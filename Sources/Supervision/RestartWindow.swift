/// The times of a supervisor's latest restarts: at most one more than its intensity allows, since that one ends it.
struct RestartWindow {
  private var times: [Duration] = []
  /// Times before this index have left the window.
  private var first = 0

  /// Adds a restart and drops those that are older than `period`.
  /// - Returns: how many there are in the window now.
  mutating func add(_ now: Duration, period: Duration) -> Int {
    times.append(now)
    while times[first] < now - period { first += 1 }
    if first > 32 && first > times.count / 2 {
      times.removeFirst(first)
      first = 0
    }
    return times.count - first
  }
}
