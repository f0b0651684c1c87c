internal import Foundation

/// Lets calls into the database as long as it is open, and closes it only when the last of them has left.
///
/// Sendable is true: every stored property is only touched while `lock` is held.
final class Gate: @unchecked Sendable {
  private let lock = NSLock()
  private var isClosed = false
  private var insideCount = 0
  /// Who waits for the last call to leave: the callers of `close`.
  private var waiters: [CheckedContinuation<Void, Never>] = []

  /// - Returns: false when the database is closed; otherwise `leave()` has to follow.
  func enter() -> Bool {
    lock.withLock {
      if isClosed { return false }
      insideCount += 1
      return true
    }
  }

  func leave() {
    let woken: [CheckedContinuation<Void, Never>] = lock.withLock {
      insideCount -= 1
      guard insideCount == 0 else { return [] }
      defer { waiters = [] }
      return waiters
    }
    for waiter in woken { waiter.resume() }
  }

  /// Lets nobody in any more and waits until all have left. - Returns: true for the first caller only.
  func close() async -> Bool {
    let isFirst = lock.withLock {
      defer { isClosed = true }
      return !isClosed
    }
    await withCheckedContinuation { continuation in
      let isEmpty = lock.withLock {
        if insideCount > 0 { waiters.append(continuation) }
        return insideCount == 0
      }
      if isEmpty { continuation.resume() }
    }
    return isFirst
  }
}
