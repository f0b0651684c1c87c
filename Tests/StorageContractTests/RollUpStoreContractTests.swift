import Foundation
import Model
import Testing

@testable import Storage

@Suite("Roll-ups, in every store")
struct RollUpStoreContractTests {
  private let cpu = Series(target: "web-1", metric: "Vitals.CPU")
  private let ssh = Series(target: "web-1", metric: "POL.Port", name: "ssh")
  /// 2026-11-21T08:00:00Z.
  private let start: Int64 = 1_795_248_000

  /// A bucket with one sample of this value.
  private func bucket(_ type: SampleType, _ offset: Int64, _ value: Double = 1, length: Int64 = 300) -> RollUp {
    var content = RollUpContent()
    content.fold(["percent": .double(value)], key: SampleKey(second: start + offset, n: 0))
    return RollUp(type: type, start: start + offset, length: length, leaves: content.leaves, layout: content.layout)
  }

  private func state(_ through: Int64, open: [RollUp] = [], late: [SampleKey] = []) -> RollUpState {
    RollUpState(through: SampleKey(second: start + through, n: 2), open: open, late: late)
  }

  private func sample(_ series: Series, _ rollUp: RollUp) throws -> Sample { try rollUp.sample(of: series) }

  @Test("and their states come back as they were put, and are replaced by start", arguments: StoreKind.allCases)
  func putting(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    #expect(try await store.rollUpStates([cpu]) == [:])
    #expect(try await store.rollUps(cpu, type: .hour, starts: [start]) == [])
    try await store.store([])
    let late = (0..<RollUpState.lateBound).map { SampleKey(second: start - Int64($0), n: $0) }
    let first = state(301, open: [bucket(.variable, 300), bucket(.hour, 0, length: 3600)], late: late)
    let buckets = [
      bucket(.variable, 0), bucket(.hour, -3600, 5, length: 3600), bucket(.day, -86_400, 7, length: 86_400),
      bucket(.day, -4_000_000_000, 7, length: 86_400),
    ]
    try await store.store([
      RollUpUpdate(series: cpu, closed: buckets, state: first),
      RollUpUpdate(series: ssh, closed: [], state: state(5, open: [bucket(.day, 0, length: 86_400)])),
    ])
    #expect(
      try await store.rollUpStates([cpu, ssh, Series(target: "x", metric: "y")])
        == [cpu: first, ssh: state(5, open: [bucket(.day, 0, length: 86_400)])])
    #expect(try await store.rollUps(cpu, type: .variable, starts: [start + 300, start, start]) == [buckets[0]])
    #expect(
      try await store.rollUps(cpu, type: .day, starts: [start - 86_400, start - 4_000_000_000, 0, .max, .min])
        == [buckets[3], buckets[2]])
    #expect(try await store.rollUps(ssh, type: .variable, starts: [start]) == [])
    // The length was edited: a bucket of the same start takes the place of the other.
    let edited = bucket(.variable, 0, 9, length: 600)
    try await store.store([RollUpUpdate(series: cpu, closed: [edited], state: state(700))])
    #expect(try await store.rollUps(cpu, type: .variable, starts: [start]) == [edited])
    #expect(try await store.rollUpStates([cpu]) == [cpu: state(700)])
  }

  @Test("are read as samples at their starts, the open bucket included", arguments: StoreKind.allCases)
  func reading(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    // Blocks, days and months are crossed; the last one is still open, and one is open that was closed since.
    let closed = (0..<100).map { bucket(.variable, Int64($0) * 300, Double($0)) }
    let open = [bucket(.variable, 99 * 300, -1), bucket(.hour, 28_800, length: 3600)]
    try await store.store([
      RollUpUpdate(series: cpu, closed: closed.shuffled(), state: state(29_990, open: open)),
      RollUpUpdate(series: ssh, closed: [closed[7]], state: state(2400, open: [bucket(.variable, 2400)])),
    ])
    let all = try closed.map { try sample(cpu, $0) }
    #expect(all[3].value == ["percent": ["min": 3.0, "max": 3.0, "mean": 3.0, "last": 3.0, "count": 1]])
    #expect(try await store.samples(SampleQuery(cpu, type: .variable)) == all)
    #expect(try await store.samples(SampleQuery(cpu, type: .variable, limit: 40)) == Array(all.suffix(40)))
    #expect(try await store.samples(SampleQuery(cpu, type: .variable, limit: 0)) == [])
    #expect(
      try await store.samples(SampleQuery(cpu, type: .variable, since: time(2999.5), until: time(6000)))
        == Array(all[10..<20]))
    #expect(
      try await store.samples(SampleQuery(cpu, type: .variable, since: time(3000), until: time(6000.5)))
        == Array(all[10...20]))
    #expect(
      try await store.samples(SampleQuery(cpu, type: .variable, until: time(6000), limit: 3)) == Array(all[17..<20]))
    #expect(try await store.samples(SampleQuery(cpu, type: .variable, since: time(90_000))) == [])
    #expect(try await store.samples(SampleQuery(cpu, type: .hour)) == [sample(cpu, open[1])])
    #expect(try await store.samples(SampleQuery(cpu, type: .day)) == [])
    #expect(try await store.latest(cpu, type: .variable) == all[99])
    #expect(try await store.latest(cpu, type: .day) == nil)
    #expect(try await store.latest(ssh, type: .variable) == sample(ssh, bucket(.variable, 2400)))
    let plain = Series(target: "web-1", metric: "POL.Port")
    #expect(
      try await store.samples(SampleQuery(plain, matchesName: false, type: .variable))
        == [sample(ssh, closed[7]), sample(ssh, bucket(.variable, 2400))])
    #expect(try await store.series(type: .variable, target: nil) == [ssh, cpu])
    #expect(try await store.series(type: .hour, target: "web-1") == [cpu])
    #expect(try await store.series(type: .variable, target: "web") == [])
    #expect(try await store.series(type: .realTime, target: nil) == [])
  }

  @Test("leave by age and by count, closed ones only", arguments: StoreKind.allCases)
  func pruning(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    let closed = (0..<1000).map { bucket(.variable, Int64($0) * 300, Double($0)) }
    let hours = (0..<50).map { bucket(.hour, Int64($0) * 3600, Double($0), length: 3600) }
    let open = [bucket(.variable, 300_000), bucket(.hour, 180_000, length: 3600)]
    try await store.store([
      RollUpUpdate(series: cpu, closed: closed + hours, state: state(300_001, open: open)),
      RollUpUpdate(series: ssh, closed: [closed[0]], state: state(400)),
    ])
    let all = try (closed + [open[0]]).map { try sample(cpu, $0) }
    func prune(_ type: SampleType, _ keep: RetentionRule.Keep) async throws -> Int {
      try await store.prune([RetentionRule(cpu, type: type, keep: keep)])
    }
    #expect(try await prune(.variable, .since(time(0))) == 0)
    // Into the middle of an hour, by a part of a second.
    #expect(try await prune(.variable, .since(time(900 * 300 + 0.5))) == 901)
    #expect(try await store.samples(SampleQuery(cpu, type: .variable)) == Array(all[901...]))
    #expect(try await prune(.variable, .newest(50)) == 50)
    #expect(try await store.samples(SampleQuery(cpu, type: .variable)) == Array(all[951...]))
    #expect(try await prune(.variable, .newest(50)) == 0)
    #expect(try await prune(.variable, .newest(0)) == 49)
    #expect(try await store.samples(SampleQuery(cpu, type: .variable)) == [all[1000]])
    #expect(try await store.samples(SampleQuery(cpu, type: .hour)).count == 51)
    #expect(try await prune(.hour, .since(.distantFuture)) == 50)
    #expect(try await store.samples(SampleQuery(ssh, type: .variable)) == [sample(ssh, closed[0])])
    #expect(try await prune(.day, .newest(1)) == 0)
  }

  @Test("are refused to who has lost the gathering, and nothing of the call stays", arguments: StoreKind.allCases)
  func fence(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    guard let another = fixture.another else { return }
    let other = try await another()
    let (old, new) = (fixture.store, other)
    try await old.raiseFence(to: 1)
    try await old.store([RollUpUpdate(series: cpu, closed: [bucket(.hour, 0)], state: state(1))])
    try await new.raiseFence(to: 2)
    try await new.store([RollUpUpdate(series: cpu, closed: [bucket(.hour, 0, 2)], state: state(2))])
    let error = await #expect(throws: StorageError.self) {
      try await old.store([
        RollUpUpdate(series: ssh, closed: [bucket(.hour, 0, 3)], state: state(3)),
        RollUpUpdate(series: cpu, closed: [bucket(.hour, 0, 3)], state: state(3)),
      ])
    }
    #expect(error?.code == .conflict)
    #expect(try await new.rollUpStates([cpu, ssh]) == [cpu: state(2)])
    #expect(try await new.rollUps(cpu, type: .hour, starts: [start]) == [bucket(.hour, 0, 2)])
    #expect(try await new.rollUps(ssh, type: .hour, starts: [start]) == [])
    await other.close()
  }

  @Test(
    "of series that nothing came of are forgotten with their samples, all others stay", arguments: StoreKind.allCases)
  func removing(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    let store = fixture.store
    func series(_ target: String) -> Series { Series(target: target, metric: "M", name: target == "b" ? "x" : nil) }
    func sample(_ target: String, _ seconds: Double, _ type: SampleType = .realTime) -> Sample {
      Sample(series: series(target), type: type, at: time(seconds), value: 1)
    }
    func update(_ target: String, _ through: Int64) -> RollUpUpdate {
      RollUpUpdate(series: series(target), closed: [], state: state(through, open: [bucket(.day, -28_800)]))
    }
    try await store.append(
      (0..<5).map { sample("a", Double($0)) } + [sample("a", 3, .event), sample("b", 1), sample("raw", 20.5)])
    try await store.append([sample("event", 1), sample("event", 20.5, .event), sample("through", 1)])
    try await store.store([
      update("a", 4), update("b", 1), update("through", 21), update("state", 2),
      RollUpUpdate(series: series("closed"), closed: [bucket(.hour, 0)], state: state(2)),
    ])
    #expect(try await store.newestRolledUp(until: start + 20) == start + 4)
    #expect(try await store.newestRolledUp(until: start + 21) == start + 21)
    #expect(try await store.newestRolledUp(until: start) == nil)
    let all = ["a", "b", "raw", "event", "through", "state", "closed", "none"].map(series)
    #expect(try await store.remove([], quietSince: time(20.5)) == 0)
    #expect(try await store.remove(all, quietSince: time(1)) == 0)
    #expect(try await store.remove(all, quietSince: time(20.5)) == 7)
    func left(_ type: SampleType) async throws -> [String] {
      try await store.series(type: type, target: nil).map(\.target)
    }
    #expect(try await left(.realTime) == ["event", "raw", "through"])
    #expect(try await left(.event) == ["event"])
    #expect(try await left(.day) == ["through"])
    // Closed buckets go by their own age.
    #expect(try await left(.hour) == ["closed"])
    #expect(try await Set(store.rollUpStates(all).keys) == [series("through")])
    _ = try await store.prune([RetentionRule(series("closed"), type: .hour, keep: .newest(0))])
    #expect(try await left(.hour) == [])
    try await store.append([sample("a", 7)])
    #expect(try await store.samples(SampleQuery(series("a"))) == [sample("a", 7)])
  }

  @Test("of series whose state another has written in the name of a higher fence stay", arguments: StoreKind.allCases)
  func removingFenced(_ kind: StoreKind) async throws {
    let fixture = try await kind.make()
    defer { fixture.end() }
    guard let another = fixture.another else { return }
    let other = try await another()
    try await other.raiseFence(to: 2)
    try await other.append([Sample(series: cpu, at: time(1), value: 1)])
    try await other.store([RollUpUpdate(series: cpu, closed: [], state: state(1))])
    #expect(try await fixture.store.remove([cpu], quietSince: time(100)) == 0)
    #expect(try await fixture.store.rollUpStates([cpu]) == [cpu: state(1)])
    #expect(try await other.remove([cpu], quietSince: time(100)) == 1)
    #expect(try await other.rollUpStates([cpu]) == [:])
    await other.close()
  }
}
