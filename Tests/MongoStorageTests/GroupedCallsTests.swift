import Foundation
import Model
import Storage
import TestKit
import Testing

@testable import MongoStorage

@Suite("Calls that come together")
struct GroupedCallsTests {
  /// Notes the groups and holds each until it is let go.
  private actor Counter {
    private(set) var groups: [[Int]] = []
    private(set) var refusals: [StorageError.Code] = []
    private var held: [CheckedContinuation<Void, Never>] = []
    private var isOpen = false

    func enter(_ group: [Int]) async {
      groups.append(group)
      if !isOpen { await withCheckedContinuation { held.append($0) } }
    }

    func refused(_ error: any Error) {
      if let code = (error as? StorageError)?.code { refusals.append(code) }
    }

    func open() {
      isOpen = true
      for waiter in held { waiter.resume() }
      held = []
    }
  }

  private func calls(_ counter: Counter) -> GroupedCalls<Int, Int> {
    GroupedCalls { requests in
      await counter.enter(requests)
      return requests.map {
        $0 == 13 ? .failure(StorageError(.conflict, "unlucky")) : .success($0 * 10)
      }
    }
  }

  @Test("who comes alone goes at once; who comes meanwhile goes in one group, and each has its own outcome")
  func groups() async throws {
    let counter = Counter()
    let calls = calls(counter)
    async let first = calls.call(1, doing: "counting")
    #expect(try await eventually(within: .seconds(10)) { await counter.groups == [[1]] })
    let others = Task {
      await withTaskGroup(of: Int?.self) { group in
        for number in 11...17 { group.addTask { try? await calls.call(number, doing: "counting") } }
        var answers: [Int] = []
        for await answer in group { if let answer { answers.append(answer) } }
        return answers
      }
    }
    #expect(try await eventually(within: .seconds(10)) { calls.waitingCount == 7 })
    await counter.open()
    #expect(try await first == 10)
    // All but the one that was refused.
    let answers = await others.value
    #expect(answers.sorted() == [110, 120, 140, 150, 160, 170])
    let groups = await counter.groups
    #expect(groups.count == 2)
    #expect(groups.last?.sorted() == Array(11...17))
    // Nobody is under way any more.
    #expect(try await calls.call(5, doing: "counting") == 50)
    #expect(await counter.groups.last == [5])
  }

  @Test("a group has a bound, and so has what waits")
  func bounds() async throws {
    let counter = Counter()
    let calls = calls(counter)
    let bound = GroupedCalls<Int, Int>.waitingBound
    let all = Task {
      await withTaskGroup(of: Void.self) { group in
        for number in 0..<(bound + 3) {
          group.addTask {
            do {
              _ = try await calls.call(number == 13 ? 0 : number, doing: "counting")
            } catch {
              await counter.refused(error)
            }
          }
        }
      }
    }
    // One is under way, so many wait, and two were refused.
    let isFull = try await eventually(within: .seconds(30)) {
      let refusals = await counter.refusals
      return calls.waitingCount == bound && refusals == [.unavailable, .unavailable]
    }
    #expect(isFull)
    await counter.open()
    await all.value
    #expect(await counter.refusals.count == 2)
    let groups = await counter.groups
    let expected: [Int] = [1] + Array(repeating: 16, count: bound / 16)
    #expect(groups.map(\.count) == expected)
  }

  @Test(
    "a group takes the first that are due, each once, and none that a later message takes in",
    .enabled(if: MongoServer.isExpected, Comment(rawValue: MongoServer.absence)))
  func order() async throws {
    let store = try await QueueStage(try await MongoServer.shared()).open()
    _ = try await store.record(
      nil,
      queueing: [
        QueueStage.entry("a", created: 0), QueueStage.entry("b", created: 1),
        // Over before it could be sent: its end is due first.
        QueueStage.entry("end", after: "key-begin", created: 3, due: 2),
        QueueStage.entry("begin", created: 2, due: 2.5),
        QueueStage.entry("c", created: 4),
      ])
    @Sendable func claim(_ count: Int) async throws -> [QueueLease?] {
      let address = store.pool.address
      let requests = (0..<count).map { ClaimRequest(owner: "w\($0)", now: instant(9), until: instant(69)) }
      return try await store.queue("claiming") { session in
        try QueueGroupClaim(session: session, requests: requests).run(address, doing: "claiming").map { try $0.get() }
      }
    }
    let first = try await claim(2)
    #expect(first.map { $0?.entry.id } == ["a", "b"])
    #expect(first.map { $0?.entry.owner } == ["w0", "w1"])
    #expect(first.map { $0?.entry.epoch } == [1, 1])
    let second = try await claim(4)
    #expect(second.map { $0?.entry.id } == ["end", "c", nil, nil])
    #expect(try await store.queueEntry(id: "begin")?.state == .merged)
    // Each is held as its lease says.
    for lease in (first + second).compactMap({ $0 }) {
      #expect(try await store.extend(lease, until: instant(129)))
      #expect(try await store.settle(lease, as: .delivered(receipt: ""), now: instant(10), adding: []))
    }
    #expect(try await store.queueCounts(now: instant(11)).imbalance == 0)
    await store.close()
  }

  @Test(
    "eight workers empty a queue with fewer commands than messages, and no message goes to two",
    .enabled(if: MongoServer.isExpected, Comment(rawValue: MongoServer.absence)))
  func fewerCommands() async throws {
    let server = try await MongoServer.start(.standalone)
    let store = try await QueueStage(server).open()
    for start in stride(from: 0, to: 400, by: 100) {
      let entries = (start..<start + 100).map { QueueStage.entry("\($0)", created: Double($0)) }
      _ = try await store.record(nil, queueing: entries)
    }
    @Sendable func commands() async throws -> Int {
      let lines = try await server.python(
        "c = client().admin.command('serverStatus')['metrics']['commands']\nprint(sum(c[n]['total'] for n in ('update', 'findAndModify')))"
      )
      return try #require(Int(lines.last ?? ""))
    }
    let before = try await commands()
    let claimed = try await withThrowingTaskGroup(of: [String].self) { group in
      for worker in 0..<8 { group.addTask { try await store.deliverAll("w\(worker)", now: instant(3000)) } }
      return try await group.reduce(into: []) { $0 += $1 }
    }
    #expect(claimed.count == 400 && Set(claimed).count == 400)
    let used = try await commands() - before
    print("400 messages claimed and settled by 8 workers with \(used) commands")
    #expect(used < 600)
    await store.close()
    await server.end()
  }
}
