internal import Glibc

/// An operating-system thread of our own: the place for calls that may wait.
package struct OSThread: Sendable {
  private let handle: pthread_t

  /// Starts a thread that runs `body` once.
  ///
  /// - Parameters:
  ///   - name: what `ps -T` shows; cut to 15 bytes.
  ///   - body: must return, or ``join()`` never does.
  /// - Throws: `ThreadError` when the system has no thread left.
  package init(named name: String, _ body: @escaping @Sendable () -> Void) throws(ThreadError) {
    let context = Unmanaged.passRetained(Start(name: name, body: body))
    var handle = pthread_t()
    let code = pthread_create(
      &handle, nil,
      { argument in
        guard let argument else { return nil }
        let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
        OSThread.setName(start.name)
        start.body()
        return nil
      }, context.toOpaque())
    guard code == 0 else {
      context.release()
      throw ThreadError("cannot start thread \(name): errno \(code)")
    }
    self.handle = handle
  }

  /// The name goes through /proc: pthread_setname_np and prctl cannot be called from Swift.
  private static func setName(_ name: String) {
    let file = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return }
    let bytes = Array(name.utf8.prefix(15))
    _ = write(file, bytes, bytes.count)
    close(file)
  }

  /// Waits for the thread's end. Blocks: never call it in the cooperative pool unless the thread is known to be ending.
  /// Call exactly one of `join()` and `detach()`, once.
  package func join() { pthread_join(handle, nil) }

  /// Gives the thread's end away: its memory is freed when it ends.
  package func detach() { pthread_detach(handle) }

  private final class Start: Sendable {
    let name: String
    let body: @Sendable () -> Void
    init(name: String, body: @escaping @Sendable () -> Void) {
      self.name = name
      self.body = body
    }
  }
}

/// A thread could not be had, or its pool takes no more work.
package struct ThreadError: Error, Sendable, Hashable, CustomStringConvertible {
  package var description: String
  package init(_ description: String) { self.description = description }
}
