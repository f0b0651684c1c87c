internal import CSSH2
internal import Glibc

/// Bytes between two that work at their own pace, first in, first out.
///
/// Holds at most `capacity` bytes; what does not fit is not taken, and whoever brought it waits. Memory is taken as
/// needed and given back when the queue has run empty.
struct ByteQueue {
  let capacity: Int
  private var bytes: [UInt8] = []
  private var start = 0

  init(capacity: Int) { self.capacity = capacity }

  var count: Int { bytes.count - start }
  var isEmpty: Bool { count == 0 }
  var room: Int { capacity - count }

  /// Takes as much as there is room for. - Returns: how many bytes that was.
  mutating func append(_ source: UnsafeRawBufferPointer) -> Int {
    let taken = source.prefix(room)
    if taken.isEmpty { return 0 }
    // Moved together only when as much was read as is left, so that each byte moves once on average.
    if start > 0, start >= count {
      bytes.removeFirst(start)
      start = 0
    }
    bytes.append(contentsOf: taken)
    return taken.count
  }

  /// The oldest bytes, lent; ``removeFirst(_:)`` says how many of them were used.
  func withFirst<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    bytes.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0.dropFirst(start))) }
  }

  mutating func removeFirst(_ used: Int) {
    start += min(max(0, used), count)
    guard start == bytes.count else { return }
    start = 0
    bytes.removeAll(keepingCapacity: bytes.capacity <= 16 << 10)
  }

  /// Moves the oldest bytes to `target`. - Returns: how many that were.
  mutating func read(into target: UnsafeMutableRawBufferPointer) -> Int {
    let moved = withFirst { source in
      let part = source.prefix(target.count)
      target.copyBytes(from: part)
      return part.count
    }
    removeFirst(moved)
    return moved
  }
}
