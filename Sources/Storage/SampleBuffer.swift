internal import Model

/// The recorder's bounded buffer: samples in the order in which they came, and which of them are on their way.
struct SampleBuffer: Sendable {
  private struct Item {
    var order: Int64
    var sample: Sample
  }

  /// A queue on an array: what has left the front is cut off when it is more than what is left.
  private struct Line {
    var items: [Item] = []
    var head = 0
    var count: Int { items.count - head }
    var first: Item? { head < items.count ? items[head] : nil }

    mutating func removeFirst() {
      guard head < items.count else { return }
      head += 1
      if head > 64, head * 2 > items.count {
        items.removeFirst(head)
        head = 0
      }
    }
  }

  let capacity: Int
  /// Given up for good.
  private(set) var droppedCount = 0
  private var metrics = Line()
  private var events = Line()
  /// Metrics that were lent and must not go to the store yet.
  private var held = Line()
  private var next: Int64 = 0
  /// What is on its way to the store: the newest that is not from `held`, how many from there, and the order of each.
  private var lent: Int64 = -1
  private var lentHeld = 0
  private var lentOrders: [Int64] = []
  /// Dropped while on their way: lost only when the store does not get them.
  private var droppedLent: Set<Int64> = []

  init(capacity: Int) { self.capacity = capacity }

  var count: Int { freshCount + held.count }
  var heldCount: Int { held.count }
  /// All but those held back.
  var freshCount: Int { metrics.count + events.count }
  var isEmpty: Bool { count == 0 }

  mutating func append(_ sample: Sample) {
    while count >= capacity { dropOldest() }
    let item = Item(order: next, sample: sample)
    next += 1
    if sample.type == .event { events.items.append(item) } else { metrics.items.append(item) }
  }

  private mutating func dropOldest() {
    let isLent: Bool
    guard let item = held.first ?? metrics.first ?? events.first else { return }
    if held.first != nil {
      held.removeFirst()
      isLent = lentHeld > 0
      lentHeld -= isLent ? 1 : 0
    } else {
      if metrics.first != nil { metrics.removeFirst() } else { events.removeFirst() }
      isLent = item.order <= lent
    }
    if isLent { droppedLent.insert(item.order) } else { droppedCount += 1 }
  }

  /// The oldest `limit` samples in order; at most half of them were held back before, unless there are no others. They
  /// stay here until ``settle(_:holding:)`` or ``takeBack()``.
  mutating func lend(_ limit: Int) -> [Sample] {
    let limit = max(1, limit)
    var result: [Sample] = []
    lentOrders = []
    lentHeld = min(held.count, max(limit / 2, limit - freshCount))
    for item in held.items[held.head..<held.head + lentHeld] {
      result.append(item.sample)
      lentOrders.append(item.order)
    }
    var metric = metrics.head
    var event = events.head
    while result.count < limit {
      let nextMetric = metric < metrics.items.count ? metrics.items[metric] : nil
      let nextEvent = event < events.items.count ? events.items[event] : nil
      guard let item = [nextMetric, nextEvent].compactMap({ $0 }).min(by: { $0.order < $1.order }) else { break }
      if item.order == nextMetric?.order { metric += 1 } else { event += 1 }
      result.append(item.sample)
      lentOrders.append(item.order)
      lent = item.order
    }
    return result
  }

  /// What was lent is in the store, but for those at the places in `holding`: these wait on.
  mutating func settle(_ samples: [Sample], holding: Set<Int>) {
    for _ in 0..<lentHeld { held.removeFirst() }
    while let first = metrics.first, first.order <= lent { metrics.removeFirst() }
    while let first = events.first, first.order <= lent { events.removeFirst() }
    for place in holding.sorted() where place < min(samples.count, lentOrders.count) {
      if droppedLent.remove(lentOrders[place]) != nil {
        droppedCount += 1
      } else {
        held.items.append(Item(order: lentOrders[place], sample: samples[place]))
      }
    }
    endLoan()
  }

  /// The store did not take what was lent.
  mutating func takeBack() {
    droppedCount += droppedLent.count
    endLoan()
  }

  private mutating func endLoan() {
    (lent, lentHeld, lentOrders, droppedLent) = (-1, 0, [], [])
  }
}
