import Foundation
import Model
import Storage
import Testing

/// The queue in its simplest form: a list, searched from the front. What a store must agree with after each step.
private struct QueueModel {
  struct Item {
    var id: String
    var key: String?
    var after: String?
    var state = QueueEntry.State.pending
    var due: Int
    var created: Int
    var owner = ""
    var epoch = 0
    var until = 0
    var heir: String?
    var touched: Int
  }

  var items: [Item] = []
  var gone: [QueueEntry.State: Int] = [:]
  var accepted = 0

  func index(_ id: String) -> Int? { items.firstIndex { $0.id == id } }

  func count(_ state: QueueEntry.State) -> Int { items.count { $0.state == state } + (gone[state] ?? 0) }

  mutating func add(_ item: Item) -> Int {
    if items.contains(where: { $0.id == item.id || ($0.key != nil && $0.key == item.key) }) { return 0 }
    items.append(item)
    accepted += 1
    return 1
  }

  mutating func rescue(_ now: Int) -> Int {
    let stranded = items.indices.filter { items[$0].state == .leased && items[$0].until <= now }
    for index in stranded {
      items[index].state = .pending
      items[index].touched = now
    }
    return stranded.count
  }

  /// The pending ones before an item, whether its news is untold, or nil when it has to wait.
  func before(_ item: Item) -> (merges: [Int], isUntold: Bool)? {
    var merges: [Int] = []
    var after = item.after
    // The random keys make rings, too.
    var seen: Set<String> = [item.id]
    while let key = after, let index = items.firstIndex(where: { $0.key == key }), seen.insert(items[index].id).inserted
    {
      switch items[index].state {
      case .leased: return nil
      case .pending:
        merges.append(index)
        after = items[index].after
      case .delivered: return (merges, !merges.isEmpty)
      case .dead: return (merges, true)
      case .merged: return (merges, !merges.isEmpty || items[index].heir == item.id)
      }
    }
    return (merges, !merges.isEmpty)
  }

  mutating func claim(_ owner: String, _ now: Int, until: Int) -> (id: String, isUntold: Bool, epoch: Int)? {
    let due = items.indices.filter { items[$0].state == .pending && items[$0].due <= now }
      .sorted { (items[$0].due, items[$0].created, $0) < (items[$1].due, items[$1].created, $1) }
    for index in due {
      guard let (merges, isUntold) = before(items[index]) else { continue }
      for merged in merges {
        items[merged].state = .merged
        items[merged].heir = items[index].id
        items[merged].touched = now
      }
      items[index].state = .leased
      items[index].owner = owner
      items[index].epoch += 1
      items[index].until = until
      items[index].touched = now
      return (items[index].id, isUntold, items[index].epoch)
    }
    return nil
  }

  func holds(_ lease: QueueLease) -> Int? {
    guard let index = index(lease.entry.id), items[index].state == .leased,
      items[index].owner == lease.entry.owner, items[index].epoch == lease.entry.epoch
    else { return nil }
    return index
  }

  mutating func prune(before bound: Int) -> Int {
    let old = items.filter { [.delivered, .merged, .dead].contains($0.state) && $0.touched < bound }
    for item in old { gone[item.state, default: 0] += 1 }
    items.removeAll { item in old.contains { $0.id == item.id } }
    return old.count
  }
}

@Suite("The queue against a model")
struct QueueModelTests {
  @Test("agrees after each of many random steps, and nothing is ever lost", arguments: StoreKind.allCases)
  func randomSteps(_ kind: StoreKind) async throws {
    var (random, seed) = SeededGenerator.seeded("queue model (\(kind.rawValue))")
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    var model = QueueModel()
    var leases: [QueueLease] = []
    var now = 0
    var number = 0
    var firstID = 0
    var kinds: [String: Int] = [:]

    /// A new entry, or one whose id or key is known; often in a chain behind another.
    func make() -> QueueEntry {
      number += 1
      let isCopy = Int.random(in: 0..<12, using: &random) == 0
      let id = isCopy ? "\(Int.random(in: firstID...number, using: &random))" : "\(number)"
      let key =
        Int.random(in: 0..<6, using: &random) == 0
        ? nil : "k\(isCopy ? Int.random(in: 0...number, using: &random) : number)"
      let after = Bool.random(using: &random) ? "k\(number - Int.random(in: 1...4, using: &random))" : nil
      return entry(
        id, key: key, after: after, created: Double(now), due: Double(now + Int.random(in: -2...15, using: &random)))
    }
    func item(_ entry: QueueEntry) -> QueueModel.Item {
      QueueModel.Item(
        id: entry.id, key: entry.key, after: entry.after, due: Int(entry.next_at.timeIntervalSince(time())),
        created: Int(entry.created.timeIntervalSince(time())), touched: now)
    }

    // Each step is several round trips there.
    let steps = kind.isMongo ? 600 : 2000
    for step in 0..<steps {
      now += Int.random(in: 0...3, using: &random)
      let date = time(Double(now))
      let comment: Comment = "step \(step), SYSCRAP_SEED=\(seed)"
      let lease = leases.randomElement(using: &random)
      let someID = "\(Int.random(in: firstID...(number + 1), using: &random))"
      switch Int.random(in: 0..<20, using: &random) {
      case 0..<5:
        let new = (0..<Int.random(in: 1...3, using: &random)).map { _ in make() }
        var expected = 0
        for one in new { expected += model.add(item(one)) }
        try #require(try await store.record(nil, queueing: new) == expected, comment)
        kinds["added", default: 0] += expected
      case 5..<11:
        let owner = "w\(Int.random(in: 0..<3, using: &random))"
        let length = Int.random(in: 5...20, using: &random)
        let expected = model.claim(owner, now, until: now + length)
        let got = try await store.claim(owner: owner, now: date, lease: .seconds(length))
        try #require(got?.entry.id == expected?.id, comment)
        try #require(got.map { $0.predecessor == .untold } == expected?.isUntold, comment)
        try #require(got?.entry.epoch == expected?.epoch, comment)
        if let got {
          leases.append(got)
          kinds[got.predecessor == .untold ? "untold" : "claimed", default: 0] += 1
        }
        if leases.count > 12 { leases.removeFirst() }
      case 11..<17:
        guard let lease else { continue }
        let held = model.holds(lease)
        let settlement: Settlement
        let adding = Int.random(in: 0..<5, using: &random) == 0 ? [make()] : []
        switch Int.random(in: 0..<6, using: &random) {
        case 0..<3: settlement = .delivered(receipt: "ok")
        case 3..<5: settlement = .again(at: time(Double(now + 5)), outcome: "again", answer: "")
        default: settlement = .dead(answer: "no")
        }
        if let held {
          model.items[held].touched = now
          switch settlement {
          case .delivered: model.items[held].state = .delivered
          case .dead: model.items[held].state = .dead
          case .again:
            model.items[held].state = .pending
            model.items[held].due = now + 5
          }
          for one in adding { _ = model.add(item(one)) }
        }
        try #require(try await store.settle(lease, as: settlement, now: date, adding: adding) == (held != nil), comment)
        kinds[held == nil ? "refused" : "settled", default: 0] += 1
      case 17:
        if let lease {
          let held = model.holds(lease)
          if let held { model.items[held].until = now + 10 }
          try #require(try await store.extend(lease, until: time(Double(now + 10))) == (held != nil), comment)
        }
        try #require(try await store.rescue(now: date) == model.rescue(now), comment)
      case 18:
        if Bool.random(using: &random) {
          let index = model.index(someID).flatMap { [.pending, .dead].contains(model.items[$0].state) ? $0 : nil }
          if let index {
            model.items[index].state = .pending
            model.items[index].due = now
            model.items[index].touched = now
          }
          try #require(try await store.retry(id: someID, now: date) == (index != nil), comment)
        } else {
          let index = model.index(someID).flatMap { [.pending, .leased].contains(model.items[$0].state) ? $0 : nil }
          if let index {
            model.items[index].state = .dead
            model.items[index].touched = now
          }
          try #require(try await store.drop(id: someID, reason: "by hand", now: date) == (index != nil), comment)
        }
      default:
        let bound = now - 200
        try #require(
          try await store.pruneQueue(settledBefore: time(Double(bound))) == model.prune(before: bound), comment)
        firstID = max(firstID, number - 150)
      }

      let counts = try await store.queueCounts(now: date)
      try #require(counts.imbalance == 0, comment)
      var expected = QueueCounts()
      expected.accepted = model.accepted
      expected.delivered = model.count(.delivered)
      expected.merged = model.count(.merged)
      expected.dead = model.count(.dead)
      expected.leased = model.count(.leased)
      let pending = model.items.filter { $0.state == .pending }
      expected.pending = pending.count
      expected.due = pending.count { $0.due <= now }
      expected.oldestPending = pending.map(\.created).min().map { time(Double($0)) }
      try #require(counts == expected, comment)
      try #require(try await store.nextDue() == pending.map(\.due).min().map { time(Double($0)) }, comment)
    }
    // The random walk has been everywhere.
    for kind in ["added", "claimed", "untold", "settled", "refused"] {
      #expect((kinds[kind] ?? 0) > steps / 100, "\(kind)")
    }
  }
}
