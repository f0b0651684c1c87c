internal import CSSH2
internal import Glibc

/// Watches one descriptor for an owner that has several, and closes it. Confined to its loop.
final class DescriptorWatch: EventHandler {
  let descriptor: Int32
  private let loop: EventLoop
  private let onEvent: (UInt32) -> Void
  private let onStop: () -> Void
  private var isOpen = true

  /// Takes the descriptor over.
  /// - Returns: `nil` when the loop cannot watch it; it is closed then.
  init?(
    _ descriptor: Int32, on loop: EventLoop, onStop: @escaping () -> Void, onEvent: @escaping (UInt32) -> Void
  ) {
    self.descriptor = descriptor
    self.loop = loop
    self.onEvent = onEvent
    self.onStop = onStop
    guard loop.add(descriptor, self) else {
      Glibc.close(descriptor)
      return nil
    }
  }

  func ready(_ events: UInt32) { onEvent(events) }

  func loopStops() { onStop() }

  /// Idempotent.
  func close() {
    guard isOpen else { return }
    isOpen = false
    loop.remove(descriptor)
    Glibc.close(descriptor)
  }

  /// Reads until the descriptor would block. Returns false once its end was met.
  ///
  /// - Parameter take: gets what was read; returns false when it wants no more.
  func drain(_ take: (UnsafeRawBufferPointer) -> Bool) -> Bool {
    while isOpen {
      let count = read(descriptor, loop.readBuffer.baseAddress, loop.readBuffer.count)
      if count < 0 {
        if errno == EINTR { continue }
        return errno == EAGAIN || errno == EWOULDBLOCK
      }
      if count == 0 { return false }
      guard take(UnsafeRawBufferPointer(rebasing: loop.readBuffer.prefix(count))) else { return true }
    }
    return false
  }

  /// Two connected sockets, close-on-exec from the start; ours does not block.
  static func pair() -> (ours: Int32, theirs: Int32)? {
    var ends: [Int32] = [-1, -1]
    guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
      return nil
    }
    _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
    return (ends[0], ends[1])
  }
}
