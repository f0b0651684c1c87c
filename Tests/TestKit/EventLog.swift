internal import Foundation

/// What happened, in order, for tests to wait on: append-only, read by position, every wait has a deadline.
///
/// Holds at most `capacity` elements; what comes later is counted in `droppedCount` and not kept.
package final class EventLog<Element: Sendable>: @unchecked Sendable {
  // Sendable is true: every stored property below is only touched while `lock` is held.
  private let lock = NSLock()
  private var elements: [Element] = []
  private var waiters: [Int: Waiter] = [:]
  private var nextWaiter = 0
  private var isFinished = false
  private var dropped = 0
  private let capacity: Int

  private struct Waiter {
    var position: Int
    var matches: @Sendable (Element) -> Bool
    var continuation: CheckedContinuation<Result<(Int, Element), EventLogError>, Never>
    var deadline: Task<Void, Never>?
  }

  package init(capacity: Int = 100_000) {
    self.capacity = capacity
  }

  /// Everything so far.
  package var all: [Element] { lock.withLock { elements } }

  package var droppedCount: Int { lock.withLock { dropped } }

  package func append(_ element: Element) {
    let woken: [(Waiter, Int)] = lock.withLock {
      guard elements.count < capacity else {
        dropped += 1
        return []
      }
      elements.append(element)
      let position = elements.count - 1
      var found: [(Waiter, Int)] = []
      for (id, waiter) in waiters where waiter.position <= position && waiter.matches(element) {
        waiters[id] = nil
        found.append((waiter, position))
      }
      return found
    }
    for (waiter, position) in woken {
      waiter.deadline?.cancel()
      waiter.continuation.resume(returning: .success((position, element)))
    }
  }

  /// No more will come: who waits fails with `.finished`.
  package func finish() {
    let left: [Waiter] = lock.withLock {
      isFinished = true
      defer { waiters = [:] }
      return Array(waiters.values)
    }
    for waiter in left {
      waiter.deadline?.cancel()
      waiter.continuation.resume(returning: .failure(.finished))
    }
  }

  /// The first element at or after `position` that matches, waiting for it at most `deadline`.
  ///
  /// - Returns: the element and its position; go on from `position + 1`.
  /// - Throws: `EventLogError.timedOut`, or `.finished` when no more elements can come.
  package func first(
    from position: Int = 0, within deadline: Duration = .seconds(10),
    where matches: @escaping @Sendable (Element) -> Bool = { _ in true }
  ) async throws -> (position: Int, element: Element) {
    let result = await withCheckedContinuation { continuation in
      let now: Result<(Int, Element), EventLogError>? = lock.withLock {
        if let index = elements.indices.dropFirst(max(0, position)).first(where: { matches(elements[$0]) }) {
          return .success((index, elements[index]))
        }
        if isFinished { return .failure(.finished) }
        let id = nextWaiter
        nextWaiter += 1
        waiters[id] = Waiter(
          position: position, matches: matches, continuation: continuation,
          deadline: Task { [weak self] in
            guard (try? await Task.sleep(for: deadline)) != nil else { return }
            self?.expire(id)
          })
        return nil
      }
      if let now { continuation.resume(returning: now) }
    }
    return try result.get()
  }

  private func expire(_ id: Int) {
    let waiter = lock.withLock { waiters.removeValue(forKey: id) }
    waiter?.continuation.resume(returning: .failure(.timedOut))
  }
}

/// Why a wait on an `EventLog` ended without an element.
package enum EventLogError: Error {
  case timedOut
  case finished
}
