import Foundation
import Model
import Storage
import Testing

@Suite("Moving everything from one store to another")
struct PortableContractTests {
  private let cpu = Series(target: "web-1", metric: "Vitals.CPU")
  private let log = Series(target: "web-1", metric: "Files.Log", name: "syslog")

  /// Everything, page by page, in the order of a store; sorted where stores differ.
  private func export(_ store: any WholeStorage, limit: Int = 7) async throws -> [StorePart: [StoreItem]] {
    var all: [StorePart: [StoreItem]] = [:]
    for part in StorePart.allCases {
      var cursor: String?
      var pages = 0
      repeat {
        let page = try await store.export(part, after: cursor, limit: limit)
        #expect(page.items.count <= limit || limit < 1)
        all[part, default: []] += page.items
        cursor = page.next
        pages += 1
      } while cursor != nil && pages < 1000
      #expect(cursor == nil)
    }
    return all
  }

  /// What one has and the other has not.
  private func difference(_ a: [StorePart: [StoreItem]], _ b: [StorePart: [StoreItem]]) -> [StoreItem] {
    StorePart.allCases.flatMap { part in
      Array(Set(a[part] ?? []).symmetricDifference(b[part] ?? []).prefix(3))
    }
  }

  /// - Returns: how many were new.
  private func restore(_ parts: [StorePart: [StoreItem]], into store: any WholeStorage) async throws -> Int {
    var count = 0
    for part in StorePart.allCases {
      var items = (parts[part] ?? [])[...]
      while !items.isEmpty {
        count += try await store.restore(Array(items.prefix(5)))
        items = items.dropFirst(5)
      }
    }
    return count
  }

  private func episode(_ id: String, element: String, isOpen: Bool) -> Episode {
    var episode = Episode(
      id: id, key: ConditionKey(reaction: "r", target: "t", metric: "M", element: element), severity: .warning,
      state: isOpen ? .firing : .ok, since: time(0.125), value: "93.1 %", limit: "at most 90 %")
    if !isOpen { episode.ended_at = time(30) }
    return episode
  }

  /// Some of everything: all states of entries, a tally of forgotten ones, both kinds of samples, roll-ups.
  private func fill(_ store: any WholeStorage) async throws {
    _ = try await store.put([
      Document(kind: .targets, id: "a/b \u{1F600}", fields: ["target": "a", "port": 22, "labels": ["x": [1.5, nil]]]),
      Document(kind: .targets, id: "", fields: [:]), Document(kind: .aggregation_options, id: "a", fields: ["x": "y"]),
    ])
    try await store.mergeDetectedSpecs(["os": "Debian 12"], targetID: "a/b \u{1F600}")
    for number in 0..<20 {
      let at = time(Double(number) + 0.25)
      try await store.append([
        Sample(series: cpu, at: at, value: ["percent": .double(Double(number) / 4)]),
        Sample(series: cpu, at: at, n: 1, error: "no answer"),
        Sample(series: log, type: .event, at: at, value: ["line": .string("text \(number)")]),
      ])
    }
    for number in 0..<9 {
      _ = try await store.record(
        episode("e\(number)", element: "/\(number)", isOpen: number % 3 == 0),
        queueing: [entry("\(number)", key: "k\(number)", created: Double(number), episode: "e\(number)")])
    }
    _ = try await store.record(nil, queueing: [entry("late", key: "k-late", after: "k8", created: 20, due: 500)])
    for (second, settlement) in [
      Settlement.delivered(receipt: "250 ok"), .dead(answer: "550 no"), .delivered(receipt: "250 ok 2"),
      .again(at: time(90), outcome: "again", answer: "451 later"), .dead(answer: "550 no 2"),
    ].enumerated() {
      let now = time(30 + Double(second))
      let lease = try #require(try await store.claim(owner: "w", now: now, lease: .seconds(60)))
      #expect(try await store.settle(lease, as: settlement, now: now, adding: []))
    }
    // Two are forgotten, one delivered and one dead.
    #expect(try await store.pruneQueue(settledBefore: time(32)) == 2)
    for series in [cpu, log] {
      let start: Int64 = 1_795_248_000
      let buckets = (0..<9).map { number in
        RollUp(type: .variable, start: start + 60 * number, length: 60, encoded: Self.bucket)
      }
      let state = RollUpState(
        through: SampleKey(second: start + 545, n: 1),
        open: [RollUp(type: .hour, start: start, length: 3600, encoded: Self.bucket)],
        late: [SampleKey(second: start + 3, n: 0)])
      try await store.store([RollUpUpdate(series: series, closed: buckets, state: state)])
    }
  }

  /// Bytes that mean nothing to a store.
  private static let bucket: [UInt8] = [0, 1, 2, 255]

  @Test("comes through all stores and back the same; again, it changes nothing")
  func roundTrip() async throws {
    let source = try await StoreKind.memory.make()
    defer { source.end() }
    try await fill(source.store)
    let all = try await export(source.store)
    let counts = try await source.store.queueCounts(now: time(600))
    #expect(counts.accepted == 10 && counts.imbalance == 0)
    #expect(all[.counts] == [.forgotten(QueueCounts(forgottenDelivered: 1, merged: 0, dead: 1))])
    var parts = all
    for kind in StoreKind.allCases + [.sqlite] {
      let fixture = try await kind.make()
      let total = parts.values.reduce(0) { $0 + $1.count }
      #expect(try await restore(parts, into: fixture.store) == total, "\(kind)")
      let revision = try await fixture.store.documentRevision()
      #expect(try await restore(parts, into: fixture.store) == 0, "\(kind)")
      #expect(try await fixture.store.documentRevision() == revision)
      parts = try await export(fixture.store)
      #expect(difference(parts, all) == [], "\(kind)")
      #expect(parts.mapValues(\.count) == all.mapValues(\.count))
      // The order in which entries came is kept.
      #expect(parts[.notifications] == all[.notifications])
      #expect(try await fixture.store.queueCounts(now: time(600)) == counts)
      #expect(
        try await fixture.store.samples(SampleQuery(cpu)) == source.store.samples(SampleQuery(cpu)), "\(kind)")
      await fixture.store.close()
      fixture.end()
    }
  }

  @Test("pages hold every item once, however small they are", arguments: StoreKind.allCases, [1, 2, 1000])
  func pages(_ kind: StoreKind, _ limit: Int) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    try await fill(fixture.store)
    let whole = try await export(fixture.store, limit: 50)
    #expect(try await export(fixture.store, limit: limit) == whole)
    let error = await #expect(throws: StorageError.self) {
      try await fixture.store.export(.samples, after: "nonsense", limit: 1)
    }
    #expect(error?.code == .internalError)
  }

  // MARK: While a service gathers

  private static let plan: RollUpPlan = {
    var limits = HistoryLimits()
    (limits.realTime, limits.variable) = (100, .seconds(1e6))
    return RollUpPlan(limits: limits, variable: .seconds(10))
  }()

  private func recorder(_ store: any WholeStorage) -> Recorder {
    let keeper = RollUpKeeper(store: store, now: { time(1000) }, plan: { _ in Self.plan })
    return Recorder(store: store, now: { time(1000) }, limits: { _ in Self.plan.limits }, rollUps: keeper)
  }

  @Test("no bucket is missing that closed while a store was exported, nor after that", arguments: StoreKind.allCases)
  func closesMeanwhile(_ kind: StoreKind) async throws {
    let source = try await kind.make()
    defer { source.end() }
    let fleet = (0..<5).map { Series(target: "web-\($0)", metric: "Vitals.CPU") }
    let gathering = recorder(source.store)
    // One sample a second of each; each second's is stored at once.
    func gather(_ seconds: Range<Int>, by recorder: Recorder) async throws {
      for second in seconds {
        await recorder.record(
          fleet.map { Sample(series: $0, at: time(Double(second)), value: ["percent": .int(Int64(second))]) })
        #expect(await recorder.flush())
      }
    }
    try await gather(0..<75, by: gathering)
    var end = 75
    var items: [StoreItem] = []
    for part in StorePart.allCases {
      var cursor: String?
      repeat {
        let page = try await source.store.export(part, after: cursor, limit: part == .samples ? 100 : 3)
        items += page.items
        cursor = page.next
        // A bucket of every series closes between any two pages.
        if part == .samples || part == .roll_ups, end < 400 {
          try await gather(end..<end + 11, by: gathering)
          end += 11
        }
      } while cursor != nil
    }
    #expect(end > 200)
    let copy = try await kind.make()
    defer { copy.end() }
    while !items.isEmpty {
      _ = try await copy.store.restore(Array(items.prefix(4)))
      items.removeFirst(min(4, items.count))
    }
    let states = try await copy.store.rollUpStates(fleet)
    try await gather(600..<620, by: recorder(copy.store))
    for one in fleet {
      let through = try #require(states[one]?.through.second) - 1_795_248_000
      #expect(through >= 75)
      let found = try await copy.store.samples(SampleQuery(one, type: .variable, limit: 1000))
      var counts: [Int64: Int64] = [:]
      for bucket in found {
        counts[SampleKey(bucket).second - 1_795_248_000] = bucket.value?["percent"]?["count"]?.integer
      }
      for start in stride(from: Int64(0), to: through / 10 * 10, by: 10) {
        #expect(counts[start] == 10, "\(one.target): \(start) of \(through)")
      }
      // The one that was open goes on from where its state stood.
      #expect((counts[through / 10 * 10] ?? 0) > through % 10, "\(one.target)")
      #expect(counts[600] == 10)
    }
  }

  @Test(
    "buckets that go for their age while a store is exported take no others with them",
    arguments: StoreKind.allCases.filter(\.isOnDisk))
  func agesMeanwhile(_ kind: StoreKind) async throws {
    let source = try await kind.make()
    defer { source.end() }
    try await fill(source.store)
    let whole = try #require(try await export(source.store)[.roll_ups])
    var found: [StoreItem] = []
    var cursor: String?
    var age: Double = 0
    repeat {
      let page = try await source.store.export(.roll_ups, after: cursor, limit: 3)
      found += page.items
      cursor = page.next
      age += 60
      _ = try await source.store.prune(
        [cpu, log].map { RetentionRule($0, type: .variable, keep: .since(time(min(age, 180)))) })
    } while cursor != nil
    #expect(Set(found).count == found.count)
    let gone = Set(whole).subtracting(found).map { item in
      if case .rollUp(_, let rollUp) = item { rollUp.start - 1_795_248_000 } else { Int64.max }
    }
    #expect(gone.allSatisfy { $0 < 180 }, "\(gone)")
  }

  @Test("what is there stays; leases are given back; a condition keeps one open episode", arguments: StoreKind.allCases)
  func meeting(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    let here = Document(kind: .targets, id: "a", fields: ["target": "here"])
    _ = try await store.put([here])
    _ = try await store.record(episode("mine", element: "/", isOpen: true), queueing: [entry("1", key: "k1")])
    let held = try #require(try await store.claim(owner: "w", now: time(5), lease: .seconds(60)))
    var leased = entry("2", key: "k2").accepted
    leased.state = .leased
    leased.owner = "elsewhere"
    leased.epoch = 4
    leased.lease_until = time(9999)
    let count = try await store.restore([
      .document(Document(kind: .targets, id: "a", fields: ["target": "there"])),
      .episode(episode("other", element: "/", isOpen: true)), .entry(entry("3", key: "k1")), .entry(leased),
    ])
    #expect(count == 2)
    #expect(try await store.documents(.targets) == [here])
    #expect(try await store.episodes(reaction: nil, openOnly: true, limit: 9).map(\.id) == ["mine"])
    let ended = try await store.episodes(reaction: nil, openOnly: false, limit: 9).first { $0.id == "other" }
    #expect(ended?.end_reason == "superseded" && ended?.ended_at == time(0.125))
    #expect(try await store.queueEntry(id: "3") == nil)
    let given = try #require(try await store.claim(owner: "w", now: time(5), lease: .seconds(60)))
    #expect(given.entry.id == "2" && given.entry.epoch == 5 && given.entry.attempts.isEmpty)
    #expect(try await store.settle(held, as: .delivered(receipt: ""), now: time(6), adding: []))
    let counts = try await store.queueCounts(now: time(6))
    #expect(counts.accepted == 2 && counts.imbalance == 0)
  }
}
