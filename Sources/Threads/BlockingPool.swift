/// A few threads for calls that wait, such as name lookups, behind a bounded queue.
///
/// When the queue is full further work is refused with ``ThreadError`` at once. A call that never returns occupies its
/// thread for good; callers put a deadline around their wait and abandon the result.
package final class BlockingPool: Sendable {
  private struct State {
    var queue: [(id: Int, work: @Sendable () -> Void)] = []
    var nextID = 0
    var head = 0
    var threads = 0
    var idle = 0
    var isStopped = false
    var count: Int { queue.count - head }
  }
  private let state = Condition(State())
  private let name: String
  private let threadLimit: Int
  private let queueLimit: Int

  /// Threads start when work comes and end with `stop()`.
  ///
  /// - Parameters:
  ///   - threads: most calls at the same time.
  ///   - queueLimit: most calls that wait for a thread; beyond it work is refused.
  package init(named name: String, threads: Int = 8, queueLimit: Int = 1024) {
    self.name = name
    threadLimit = max(1, threads)
    self.queueLimit = max(1, queueLimit)
  }

  /// Hands `work` to a thread and returns at once.
  /// - Throws: `ThreadError` when the queue is full, the pool was stopped, or no thread can be had.
  package func submit(_ work: @escaping @Sendable () -> Void) throws(ThreadError) {
    enum Outcome: Sendable { case taken, takenWithThread(id: Int), full, stopped }
    let outcome: Outcome = state.withLock { state in
      if state.isStopped { return .stopped }
      if state.count >= queueLimit { return .full }
      state.nextID += 1
      state.queue.append((state.nextID, work))
      // `idle` counts threads that wait; those already owed a piece of work do not count.
      if state.idle < state.count && state.threads < threadLimit {
        state.threads += 1
        return .takenWithThread(id: state.nextID)
      }
      return .taken
    }
    switch outcome {
    case .full: throw ThreadError("\(name): \(queueLimit) calls wait already")
    case .stopped: throw ThreadError("\(name) is stopped")
    case .taken: state.change { _ in true }
    case .takenWithThread(let id):
      do {
        try OSThread(named: name) { [self] in run() }.detach()
      } catch {
        let mustFail = state.withLock { state -> Bool in
          state.threads -= 1
          // Another thread will come to it in time; without any, this very work is taken back, unless it was done already.
          guard state.threads == 0, let index = state.queue[state.head...].firstIndex(where: { $0.id == id }) else {
            return false
          }
          state.queue.remove(at: index)
          return true
        }
        if mustFail { throw error }
      }
    }
  }

  /// Runs `work` on a thread of the pool and returns what it returns.
  /// - Throws: what `work` throws, or `ThreadError` as ``submit(_:)``.
  package func run<Result: Sendable>(_ work: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
      do {
        try submit { continuation.resume(with: Swift.Result(catching: work)) }
      } catch {
        continuation.resume(throwing: error)
      }
    }
  }

  /// Refuses further work; what waits is still done, then the threads end. Idempotent.
  package func stop() {
    state.changeForAll { $0.isStopped = true }
  }

  private func run() {
    enum Next: Sendable { case work(@Sendable () -> Void), end }
    while true {
      var isIdle = false
      let next: Next = state.wait { state in
        if isIdle { state.idle -= 1 }
        isIdle = false
        if state.count > 0 {
          let work = state.queue[state.head].work
          state.head += 1
          if state.head == state.queue.count {
            state.queue = []
            state.head = 0
          } else if state.head > 64 && state.head * 2 > state.queue.count {
            state.queue.removeFirst(state.head)
            state.head = 0
          }
          return .work(work)
        }
        if state.isStopped {
          state.threads -= 1
          return .end
        }
        state.idle += 1
        isIdle = true
        return nil
      }
      guard case .work(let work) = next else { return }
      work()
    }
  }
}
