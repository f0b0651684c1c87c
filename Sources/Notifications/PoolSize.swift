package import FoundationEssentials

/// How many workers the queue needs: grows at once, shrinks when it has been quiet for a while.
package struct PoolSize: Sendable, Hashable {
  /// So many due messages ask for one worker more.
  package static let messagesPerWorker = 10
  /// How long fewer workers must have been enough before some are taken away.
  package static let quiet: Duration = .seconds(30)

  /// Never fewer.
  package let workers: Int
  /// Never more.
  package let maximum: Int
  /// What it is now.
  package private(set) var current: Int
  private var quietSince: Date?

  /// Bounds that make no sense are mended: at least one worker, and a maximum not below it, at most 64.
  package init(workers: Int, maximum: Int) {
    self.workers = min(max(1, workers), 64)
    self.maximum = min(max(self.workers, maximum), 64)
    current = self.workers
  }

  /// The need of this moment: one for each delivery in flight, and one for every ten messages that are due and wait.
  package static func desiredWorkers(due: Int, busy: Int = 0, workers: Int, max maximum: Int) -> Int {
    let waiting = due > 0 ? (due - 1) / messagesPerWorker + 1 : 0
    let need = max(0, busy).addingReportingOverflow(waiting)
    return min(max(need.overflow ? maximum : need.partialValue, workers), maximum)
  }

  /// Takes note of the queue's state.
  /// - Returns: how many workers there shall be.
  package mutating func adapt(due: Int, busy: Int, at now: Date) -> Int {
    let desired = Self.desiredWorkers(due: due, busy: busy, workers: workers, max: maximum)
    if desired >= current {
      current = desired
      quietSince = nil
    } else if let since = quietSince, now >= since {
      if now >= since.advanced(by: Self.quiet) {
        current = desired
        quietSince = nil
      }
    } else {
      quietSince = now
    }
    return current
  }
}
