/// Deadlines in a binary heap. Cancelling leaves the heap's entry behind; when such entries outnumber the rest twice,
/// the heap is rebuilt.
struct TimerQueue {
  typealias ID = UInt64

  private struct Entry {
    var time: UInt64
    var id: ID
  }
  private var heap: [Entry] = []
  private var bodies: [ID: () -> Void] = [:]
  private var lastID: ID = 0

  var count: Int { bodies.count }

  mutating func add(at time: UInt64, _ body: @escaping () -> Void) -> ID {
    lastID += 1
    bodies[lastID] = body
    heap.append(Entry(time: time, id: lastID))
    siftUp(heap.count - 1)
    return lastID
  }

  mutating func cancel(_ id: ID) {
    guard bodies.removeValue(forKey: id) != nil else { return }
    if heap.count > 64 && heap.count > bodies.count * 3 {
      heap.removeAll { bodies[$0.id] == nil }
      for index in stride(from: heap.count / 2 - 1, through: 0, by: -1) { siftDown(index) }
    }
  }

  /// The next body whose time has come, taken out.
  mutating func popDue(at now: UInt64) -> (() -> Void)? {
    while let first = heap.first {
      if let body = bodies[first.id] {
        guard first.time <= now else { return nil }
        removeFirst()
        bodies[first.id] = nil
        return body
      }
      removeFirst()
    }
    return nil
  }

  /// Milliseconds until the next deadline, rounded up, for epoll_wait; -1 when there is none.
  mutating func wait(at now: UInt64) -> Int32 {
    while let first = heap.first, bodies[first.id] == nil { removeFirst() }
    guard let first = heap.first else { return -1 }
    guard first.time > now else { return 0 }
    return Int32(clamping: (first.time - now) / 1_000_000 + 1)
  }

  private mutating func removeFirst() {
    let last = heap.removeLast()
    guard !heap.isEmpty else { return }
    heap[0] = last
    siftDown(0)
  }

  private mutating func siftUp(_ start: Int) {
    var child = start
    while child > 0 {
      let parent = (child - 1) / 2
      guard heap[child].time < heap[parent].time else { return }
      heap.swapAt(child, parent)
      child = parent
    }
  }

  private mutating func siftDown(_ start: Int) {
    var parent = start
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && heap[child].time < heap[least].time {
        least = child
      }
      if least == parent { return }
      heap.swapAt(parent, least)
      parent = least
    }
  }
}
