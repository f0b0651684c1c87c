package import Glibc

/// A value that several threads share, behind a pthread mutex.
///
/// A pthread mutex rather than `Synchronization.Mutex`: the thread sanitizer sees it. Never hold the lock over a
/// call that may wait; take what is needed, leave, then act.
package final class Locked<Value>: @unchecked Sendable {
  // Sendable is true: `value` is only ever touched between lock and unlock of `mutex`.
  @usableFromInline let mutex: UnsafeMutablePointer<pthread_mutex_t>
  @usableFromInline var value: Value

  package init(_ value: sending Value) {
    self.value = value
    mutex = .allocate(capacity: 1)
    pthread_mutex_init(mutex, nil)
  }

  deinit {
    pthread_mutex_destroy(mutex)
    mutex.deallocate()
  }

  /// Runs `body` alone with the value and returns what it returns.
  @inlinable package func withLock<Result, Failure: Error>(
    _ body: (inout Value) throws(Failure) -> sending Result
  ) throws(Failure) -> sending Result {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return try body(&value)
  }
}
