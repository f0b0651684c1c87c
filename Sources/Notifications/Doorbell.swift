internal import Foundation

/// Wakes the queue's workers when this process has queued something, so that it leaves within milliseconds.
///
/// Rings are counted: one that comes between a look into the queue and the wait is not lost. Rings never queue up.
package final class Doorbell: @unchecked Sendable {
  // Sendable is true: every stored property below is only touched while `lock` is held.
  private let lock = NSLock()
  private var rings: UInt64 = 0
  private var nextID: UInt64 = 0
  /// Bounded by the number of tasks that wait.
  private var waiting: [UInt64: CheckedContinuation<Void, Never>] = [:]
  /// Waits that were cancelled before they began.
  private var cancelled: Set<UInt64> = []

  package init() {}

  /// How often it rang; to be read before looking into the queue.
  package var count: UInt64 { lock.withLock { rings } }

  /// Wakes everybody who waits. Never blocks.
  package func ring() {
    let woken = lock.withLock {
      rings &+= 1
      defer { waiting = [:] }
      return Array(waiting.values)
    }
    for continuation in woken { continuation.resume() }
  }

  /// Returns when it rang since `seen`, when `limit` has passed, or when the task is cancelled.
  package func wait(after seen: UInt64, atMost limit: Duration, clock: any Clock<Duration>) async {
    await withTaskGroup(of: Void.self) { group in
      group.addTask { try? await clock.sleep(for: limit) }
      group.addTask { await self.wait(after: seen) }
      await group.next()
      group.cancelAll()
    }
  }

  /// Returns when it rang since `seen`, or when the task is cancelled.
  package func wait(after seen: UInt64) async {
    let id = lock.withLock {
      nextID += 1
      return nextID
    }
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isOver = lock.withLock {
          if cancelled.remove(id) != nil || rings != seen { return true }
          waiting[id] = continuation
          return false
        }
        if isOver { continuation.resume() }
      }
    } onCancel: {
      let continuation = lock.withLock {
        let found = waiting.removeValue(forKey: id)
        if found == nil { cancelled.insert(id) }
        return found
      }
      continuation?.resume()
    }
    // A cancellation that came after the ring leaves its mark behind; the number is never used again.
    lock.withLock { _ = cancelled.remove(id) }
  }
}
