internal import Foundation

/// A clock that stands still until a test advances it.
///
/// Sleepers wake in the order of their deadlines (those of one instant in the order in which they lay down). A sleeper
/// whose deadline has already passed does not park at all. Cancelling the task of a parked sleeper wakes it with
/// `CancellationError`, as with the clocks of the standard library.
///
/// A test must not advance before the code under test is asleep, or the time is gone unseen. It waits for that with
/// ``sleepers(atLeast:within:)``:
/// ```swift
/// try await clock.sleepers(atLeast: 1)
/// clock.advance(by: .seconds(30))
/// ```
package final class ManualClock: Clock, Sendable {
  /// A point in the time of this clock: the distance from the clock's creation.
  package struct Instant: InstantProtocol, CustomStringConvertible {
    package var offset: Duration

    package init(offset: Duration = .zero) { self.offset = offset }
    package func advanced(by duration: Duration) -> Instant { Instant(offset: offset + duration) }
    package func duration(to other: Instant) -> Duration { other.offset - offset }
    package static func < (left: Instant, right: Instant) -> Bool { left.offset < right.offset }
    package var description: String { "\(offset)" }
  }

  /// Fewer tasks fell asleep than the test waited for.
  package struct NotAsleep: Error, CustomStringConvertible {
    package var expected: Int
    package var parked: Int
    package var description: String { "waited for \(expected) sleepers on the manual clock, found \(parked)" }
  }

  private struct Sleeper {
    var deadline: Instant
    var continuation: CheckedContinuation<Void, any Error>
  }

  private struct Watcher {
    var count: Int
    var continuation: CheckedContinuation<Void, any Error>
  }

  private struct State {
    var now = Instant()
    var nextID: UInt64 = 0
    /// Bounded by the number of tasks of the test.
    var sleepers: [UInt64: Sleeper] = [:]
    /// Tasks that were cancelled before their continuation arrived here.
    var cancelled: Set<UInt64> = []
    var watchers: [UInt64: Watcher] = [:]

    mutating func makeID() -> UInt64 {
      nextID += 1
      return nextID
    }

    mutating func takeSatisfiedWatchers() -> [Watcher] {
      let ids = watchers.filter { $0.value.count <= sleepers.count }.map(\.key)
      return ids.compactMap { watchers.removeValue(forKey: $0) }
    }
  }

  private let box = Box(State())

  package init() {}

  package var now: Instant { box.withLock { $0.now } }

  package var minimumResolution: Duration { .nanoseconds(1) }

  /// How many tasks are asleep at this moment.
  package var sleeperCount: Int { box.withLock { $0.sleepers.count } }

  /// The nearest instant at which somebody wants to wake, or nil when nobody sleeps.
  package var nextDeadline: Instant? { box.withLock { $0.sleepers.values.map(\.deadline).min() } }

  /// When the sleepers want to wake, the nearest first.
  package var deadlines: [Instant] { box.withLock { $0.sleepers.values.map(\.deadline).sorted() } }

  package func sleep(until deadline: Instant, tolerance: Duration? = nil) async throws {
    try Task.checkCancellation()
    let id = box.withLock { $0.makeID() }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let (outcome, watchers): (Result<Void, any Error>?, [Watcher]) = box.withLock { state in
          if state.cancelled.remove(id) != nil { return (.failure(CancellationError()), []) }
          if deadline <= state.now { return (.success(()), []) }
          state.sleepers[id] = Sleeper(deadline: deadline, continuation: continuation)
          return (nil, state.takeSatisfiedWatchers())
        }
        if let outcome { continuation.resume(with: outcome) }
        for watcher in watchers { watcher.continuation.resume() }
      }
    } onCancel: {
      let sleeper = box.withLock { state -> Sleeper? in
        if let sleeper = state.sleepers.removeValue(forKey: id) { return sleeper }
        state.cancelled.insert(id)
        return nil
      }
      sleeper?.continuation.resume(throwing: CancellationError())
    }
    // A cancellation that came after the wake-up leaves its mark behind; the number is never used again.
    box.withLock { _ = $0.cancelled.remove(id) }
  }

  /// Moves time forward and wakes, in order, everyone whose deadline has come. A negative duration does nothing.
  package func advance(by duration: Duration) {
    wake { $0.now.advanced(by: duration) }
  }

  /// Moves time forward to `instant`, as ``advance(by:)``. An instant in the past does nothing.
  package func advance(to instant: Instant) {
    wake { _ in instant }
  }

  /// Moves time to the nearest deadline and wakes its sleepers. Returns false when nobody sleeps.
  @discardableResult
  package func advanceToNextDeadline() -> Bool {
    guard let next = nextDeadline else { return false }
    advance(to: next)
    return true
  }

  private func wake(_ target: (State) -> Instant) {
    let woken = box.withLock { state -> [Sleeper] in
      let instant = target(state)
      guard instant > state.now else { return [] }
      state.now = instant
      let due = state.sleepers.filter { $0.value.deadline <= instant }
      for id in due.keys { state.sleepers[id] = nil }
      return due.sorted { ($0.value.deadline, $0.key) < ($1.value.deadline, $1.key) }.map(\.value)
    }
    for sleeper in woken { sleeper.continuation.resume() }
  }

  /// Waits until at least `count` tasks are asleep on this clock at once.
  ///
  /// - Parameters:
  ///   - count: how many; 0 returns at once.
  ///   - limit: real time after which the test has failed; generous, because it is only reached by a defect.
  /// - Throws: ``NotAsleep`` when the limit has passed, `CancellationError` when the waiting task was cancelled.
  package func sleepers(atLeast count: Int, within limit: Duration = .seconds(30)) async throws {
    let id = box.withLock { $0.makeID() }
    let timer = Task {
      try await Task.sleep(for: limit)
      self.giveUpWatching(id) { NotAsleep(expected: count, parked: $0) }
    }
    defer { timer.cancel() }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
        let outcome = box.withLock { state -> Result<Void, any Error>? in
          if state.cancelled.remove(id) != nil { return .failure(CancellationError()) }
          if state.sleepers.count >= count { return .success(()) }
          state.watchers[id] = Watcher(count: count, continuation: continuation)
          return nil
        }
        if let outcome { continuation.resume(with: outcome) }
      }
    } onCancel: {
      giveUpWatching(id) { _ in CancellationError() }
    }
    box.withLock { _ = $0.cancelled.remove(id) }
  }

  private func giveUpWatching(_ id: UInt64, _ error: (Int) -> any Error) {
    let (watcher, parked) = box.withLock { state -> (Watcher?, Int) in
      if let watcher = state.watchers.removeValue(forKey: id) { return (watcher, state.sleepers.count) }
      state.cancelled.insert(id)
      return (nil, 0)
    }
    watcher?.continuation.resume(throwing: error(parked))
  }

  /// A value behind a lock that the thread sanitizer sees.
  ///
  /// `@unchecked Sendable`: `value` is touched only between `lock()` and `unlock()` of the one lock beside it.
  private final class Box<Value>: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Value

    init(_ value: Value) { self.value = value }

    func withLock<Result>(_ body: (inout Value) -> Result) -> Result {
      lock.lock()
      defer { lock.unlock() }
      return body(&value)
    }
  }
}
