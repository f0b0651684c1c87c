internal import Foundation

/// An answer that one task waits for and another gives.
///
/// `@unchecked Sendable`: `state` is touched only between `lock()` and `unlock()` of the one lock beside it.
final class OneShot<Value: Sendable>: @unchecked Sendable {
  private enum State {
    /// Nobody waits, nothing is known: becomes `waiting` or `done`.
    case empty
    /// One task waits: becomes `done`.
    case waiting(CheckedContinuation<Value, any Error>)
    /// The answer is here and stays.
    case done(Result<Value, any Error>)
  }

  // Foundation's lock is a pthread mutex, which the thread sanitizer sees.
  private let lock = NSLock()
  private var state = State.empty

  /// Gives the answer. Only the first one counts.
  func fulfil(_ result: Result<Value, any Error>) {
    lock.lock()
    let before = state
    if case .done = before {} else { state = .done(result) }
    lock.unlock()
    if case .waiting(let continuation) = before { continuation.resume(with: result) }
  }

  /// Waits for the answer; a single task may. Cancellation is no answer here: the caller says what it means.
  func value() async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
      let answer = lock.withLock { () -> Result<Value, any Error>? in
        if case .done(let result) = state { return result }
        state = .waiting(continuation)
        return nil
      }
      if let answer { continuation.resume(with: answer) }
    }
  }

  /// As ``value()``, but cancellation of the waiting task ends the wait with `CancellationError`.
  func cancellableValue() async throws -> Value {
    try await withTaskCancellationHandler {
      try await value()
    } onCancel: {
      fulfil(.failure(CancellationError()))
    }
  }
}
