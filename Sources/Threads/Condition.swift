internal import Glibc

/// A value behind a mutex, with a condition to wait on: for threads of our own, never for the cooperative pool.
package final class Condition<Value>: @unchecked Sendable {
  // Sendable is true: `value` is only touched between lock and unlock of `mutex`.
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>
  private var value: Value

  package init(_ value: sending Value) {
    self.value = value
    mutex = .allocate(capacity: 1)
    condition = .allocate(capacity: 1)
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(condition, nil)
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  /// Runs `body` alone with the value and wakes one waiter where `body` returned true.
  package func change(_ body: (inout Value) -> Bool) {
    pthread_mutex_lock(mutex)
    let wakes = body(&value)
    pthread_mutex_unlock(mutex)
    if wakes { pthread_cond_signal(condition) }
  }

  /// Runs `body` alone with the value and wakes all waiters.
  package func changeForAll(_ body: (inout Value) -> Void) {
    pthread_mutex_lock(mutex)
    body(&value)
    pthread_mutex_unlock(mutex)
    pthread_cond_broadcast(condition)
  }

  /// Runs `body` alone with the value and returns what it returns.
  package func withLock<Result>(_ body: (inout Value) -> sending Result) -> sending Result {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return body(&value)
  }

  /// Waits until `body` returns something, looking again after each wake-up.
  @discardableResult
  package func wait<Result>(_ body: (inout Value) -> sending Result?) -> sending Result {
    pthread_mutex_lock(mutex)
    while true {
      if let result = body(&value) {
        pthread_mutex_unlock(mutex)
        return result
      }
      pthread_cond_wait(condition, mutex)
    }
  }
}
