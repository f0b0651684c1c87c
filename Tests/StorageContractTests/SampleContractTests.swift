import Foundation
import Model
import Storage
import Testing

@Suite("Samples, in every store")
struct SampleContractTests {
  private let cpu = Series(target: "web-1", metric: "Vitals.CPU")

  private func sample(_ series: Series, _ seconds: Double, n: Int = 0, _ value: Value = 1) -> Sample {
    Sample(series: series, at: time(seconds), n: n, value: value)
  }

  @Test("are ordered by tag and n, whatever order they came in", arguments: StoreKind.allCases)
  func order(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    let sorted = [
      sample(cpu, 0.5, n: 0, ["percent": 12.5]), sample(cpu, 0.25, n: 1), sample(cpu, 1), sample(cpu, 2.75),
      Sample(series: cpu, at: time(60), error: "connection lost: \u{1F4A5}"),
    ]
    try await store.append([sorted[4], sorted[2], sorted[1]])
    try await store.append([sorted[0], sorted[3]])
    #expect(try await store.samples(SampleQuery(cpu)) == sorted)
    #expect(try await store.latest(cpu, type: .realTime) == sorted[4])
    #expect(try await store.latest(cpu, type: .hour) == nil)
    #expect(try await store.samples(SampleQuery(cpu, limit: 2)) == Array(sorted.suffix(2)))
    #expect(try await store.samples(SampleQuery(cpu, limit: 0)) == [])
  }

  @Test("that are there already are left as they are", arguments: StoreKind.allCases)
  func duplicates(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    try await store.append([sample(cpu, 0, 1), sample(cpu, 0, 2)])
    try await store.append([sample(cpu, 0.9, 3), sample(cpu, 0, n: 1, 4)])
    var event = sample(cpu, 0, 5)
    event.type = .event
    try await store.append([event])
    #expect(try await store.samples(SampleQuery(cpu)) == [sample(cpu, 0, 1), sample(cpu, 0, n: 1, 4)])
    #expect(try await store.samples(SampleQuery(cpu, type: .event)) == [event])
  }

  @Test("are found by time: from since, up to but not including until", arguments: StoreKind.allCases)
  func window(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    let all = (0..<20).map { sample(cpu, Double($0) * 0.5, n: $0 % 2, .int(Int64($0))) }
    try await store.append(all)
    #expect(
      try await store.samples(SampleQuery(cpu, since: time(1.5), until: time(4.5))) == Array(all[3..<9]))
    #expect(try await store.samples(SampleQuery(cpu, since: time(9.5))) == [all[19]])
    #expect(try await store.samples(SampleQuery(cpu, until: time(0.5))) == [all[0]])
    #expect(
      try await store.samples(SampleQuery(cpu, since: .distantPast, until: .distantFuture, limit: 3))
        == Array(all.suffix(3)))
  }

  @Test("of one metric are told apart by name, and read together on demand", arguments: StoreKind.allCases)
  func instances(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    let plain = Series(target: "a", metric: "POL.Port")
    let ssh = Series(target: "a", metric: "POL.Port", name: "ssh")
    let other = Series(target: "b", metric: "POL.Port", name: "ssh")
    try await store.append([sample(ssh, 1), sample(plain, 1), sample(other, 1), sample(ssh, 0), sample(cpu, 5)])
    #expect(try await store.samples(SampleQuery(ssh)) == [sample(ssh, 0), sample(ssh, 1)])
    #expect(try await store.samples(SampleQuery(plain)) == [sample(plain, 1)])
    #expect(
      try await store.samples(SampleQuery(plain, matchesName: false))
        == [sample(ssh, 0), sample(plain, 1), sample(ssh, 1)])
    #expect(
      try await store.samples(SampleQuery(plain, matchesName: false, limit: 2)) == [sample(plain, 1), sample(ssh, 1)])
    #expect(try await store.series(type: .realTime, target: "a") == [plain, ssh])
    #expect(try await store.series(type: .realTime, target: nil) == [plain, ssh, other, cpu])
    #expect(try await store.series(type: .day, target: nil) == [])
  }

  @Test("are kept to the millisecond and never change their tag", arguments: StoreKind.allCases)
  func milliseconds(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    let odd = [0.0004, 1.9996, 2.123456, 3.999999].map { sample(cpu, $0) }
    try await store.append(odd)
    let stored = try await store.samples(SampleQuery(cpu))
    #expect(stored.map(\.tag) == odd.map(\.tag))
    #expect(stored.map(\.at) == [time(0), time(1.999), time(2.123), time(3.999)].map(StoredTime.stored))
    try await store.append(stored)
    #expect(try await store.samples(SampleQuery(cpu)) == stored)
  }

  @Test("leave by count, oldest first, and by age", arguments: StoreKind.allCases)
  func pruning(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    let ram = Series(target: "web-1", metric: "Vitals.RAM")
    let all = (0..<10).map { sample(cpu, Double($0 / 2), n: $0 % 2) }
    try await store.append(all + [sample(ram, 0)])
    #expect(try await store.prune([]) == 0)
    #expect(try await store.prune([RetentionRule(cpu, type: .realTime, keep: .newest(10))]) == 0)
    #expect(try await store.prune([RetentionRule(cpu, type: .event, keep: .newest(1))]) == 0)
    #expect(
      try await store.prune([
        RetentionRule(cpu, type: .realTime, keep: .newest(7)),
        RetentionRule(Series(target: "x", metric: "y"), type: .realTime, keep: .newest(0)),
      ]) == 3)
    #expect(try await store.samples(SampleQuery(cpu)) == Array(all.suffix(7)))
    #expect(try await store.prune([RetentionRule(cpu, type: .realTime, keep: .since(time(3)))]) == 3)
    #expect(try await store.samples(SampleQuery(cpu)) == Array(all.suffix(4)))
    #expect(try await store.prune([RetentionRule(cpu, type: .realTime, keep: .newest(-1))]) == 4)
    #expect(try await store.series(type: .realTime, target: nil) == [ram])
  }

  @Test("of a roll-up's type are left out: they come another way", arguments: StoreKind.allCases)
  func rollUpTypes(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    let raw = sample(cpu, 1)
    let rolled = [SampleType.variable, .hour, .day].map { Sample(series: cpu, type: $0, at: time(), value: 1) }
    try await store.append([rolled[0], raw] + rolled)
    try await store.append(rolled)
    for type in SampleType.allCases {
      #expect(try await store.samples(SampleQuery(cpu, type: type)) == (type == .realTime ? [raw] : []))
      #expect(try await store.series(type: type, target: nil) == (type == .realTime ? [cpu] : []))
    }
  }

  @Test("come back with every kind of value as it was", arguments: StoreKind.allCases)
  func values(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let values: [Value] = [
      .null, true, false, 0, -1, .int(.max), .int(.min), 0.1, 3.0, -0.0, .double(.infinity), "", "a\u{0}b",
      "é\u{1F4A5}",
      .date(time(0.125)), [], [:], [1, 1.0, "1", .null, [[]]],
      ["": 1, "$set": 2, "a.b": 3, "0": ["$x": [:]], "a\n": "\n", "Z": 1, "z": 2],
    ]
    let samples = values.enumerated().map { sample(cpu, Double($0), $1) }
    try await fixture.store.append(samples)
    #expect(try await fixture.store.samples(SampleQuery(cpu)) == samples)
    try await fixture.store.append([sample(cpu, 100, .double(.nan))])
    #expect(try await fixture.store.latest(cpu, type: .realTime)?.value?.number?.isNaN == true)
  }

  @Test(
    "with a value that cannot be stored leave an error in its place, and hold up none that came with it",
    arguments: StoreKind.allCases.filter(\.isOnDisk))
  func deepValue(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    var deep: Value = 1
    for _ in 0..<300 { deep = [deep] }
    let good = sample(cpu, 1)
    try await fixture.store.append([sample(cpu, 0, deep), good])
    let stored = try await fixture.store.samples(SampleQuery(cpu))
    #expect(stored.count == 2 && stored.last == good)
    #expect(stored.first?.at == time() && stored.first?.value == nil)
    #expect(stored.first?.error?.hasPrefix("the value is nested deeper than") == true)
  }

  @Test("come in any number at once", arguments: StoreKind.allCases)
  func many(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    // More than one command takes.
    let all = (0..<10_500).map { sample(cpu, Double($0), .int(Int64($0))) }
    try await fixture.store.append(all + all.suffix(300))
    #expect(try await fixture.store.samples(SampleQuery(cpu, limit: 20_000)) == all)
    #expect(try await fixture.store.prune([RetentionRule(cpu, type: .realTime, keep: .newest(10))]) == 10_490)
    #expect(try await fixture.store.samples(SampleQuery(cpu)) == Array(all.suffix(10)))
  }

  @Test("written a hundred times over the cap stay within it all the way", arguments: StoreKind.allCases)
  func hundredfold(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    var planner = RetentionPlanner()
    var limits = HistoryLimits()
    limits.realTime = 20
    let series = (0..<3).map { Series(target: "t", metric: "M", name: "\($0)") }
    for second in 0..<2000 {
      let batch = series.map { sample($0, Double(second), .int(Int64(second))) }
      try await store.append(batch)
      let rules = planner.rules(after: batch, limits: { _ in limits }, now: time(Double(second)))
      _ = try await store.prune(rules)
      if !rules.isEmpty || second % 97 == 0 {
        for one in series {
          let kept = try await store.samples(SampleQuery(one))
          #expect(kept.count <= (rules.contains { $0.series == one } ? 20 : 22))
          #expect(kept.last?.value == .int(Int64(second)))
          #expect(kept.first?.value == .int(Int64(second - kept.count + 1)))
        }
      }
    }
  }
}
