import Foundation
import Supervision
import TestKit
import Testing

/// As Akka's supervisor hierarchy test: a random tree, random failures, and in the end everybody answers.
///
/// `SYSCRAP_SEED` repeats a run; `SYSCRAP_LONG=1` deals out 10,000 failures instead of 2,000.
@Suite struct RandomTreeTests {
  private struct Plan {
    var random: Seeded
    var leaves: [String] = []
    var nodes = 1
    var total: Int

    init(seed: UInt64, total: Int) {
      random = Seeded(state: seed)
      self.total = total
    }

    /// A supervisor of up to six children, and below it as much of the rest as chance wants.
    mutating func children(_ prefix: String, depth: Int, stage: Stage, budget: Int) -> [ChildSpec] {
      let breadth = min(6, budget)
      var left = budget - breadth
      return (0..<breadth).map { index in
        let id = "\(prefix).\(index)"
        nodes += 1
        let share = index == breadth - 1 ? left : left / (breadth - index)
        if share == 0 {
          leaves.append(id)
          let restart: Restart = .permanent
          return stage.spec(id, restart, shutdown: .deadline(.seconds(30)))
        }
        left -= share
        let below = children(id, depth: depth + 1, stage: stage, budget: share)
        let strategy = [Strategy.oneForOne, .oneForAll, .restForOne][Int.random(in: 0..<3, using: &random)]
        return ChildSpec(id: id, kind: .supervisor) { context in
          Supervisor(
            id, strategy: strategy, intensity: Intensity(restarts: 20, period: .milliseconds(200)), children: below,
            surroundings: context.surroundings)
        }
      }
    }
  }

  struct Seeded: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
      // xorshift*, which needs a state other than 0.
      if state == 0 { state = 1 }
      state ^= state >> 12
      state ^= state << 25
      state ^= state >> 27
      return state &* 0x2545_F491_4F6C_DD1D
    }
  }

  @Test("A tree of 500 nodes survives random failures, and then every one answers", .timeLimit(.minutes(5)))
  func storm() async throws {
    let environment = ProcessInfo.processInfo.environment
    let seed = environment["SYSCRAP_SEED"].flatMap { UInt64($0) } ?? .random(in: 1...999_999)
    let failures = environment["SYSCRAP_LONG"] == "1" ? 10_000 : 2_000
    print("random tree: SYSCRAP_SEED=\(seed), \(failures) failures")
    let stage = Stage()
    var plan = Plan(seed: seed, total: 500)
    let children = plan.children("n", depth: 0, stage: stage, budget: 499)
    #expect(plan.nodes == 500)
    let top = Supervisor(
      "top", intensity: Intensity(restarts: 1_000_000), children: children, surroundings: stage.surroundings)
    let (leaves, seedNote) = (plan.leaves, "SYSCRAP_SEED=\(seed)")
    var random = plan.random
    let error = try await stage.running(top) { _ in
      try await until("the tree is up, \(seedNote)") { allRun(top.snapshot()) }
      for _ in 0..<failures {
        guard let leaf = leaves.randomElement(using: &random) else { break }
        // In the constructor, while being stopped, or in the work itself.
        if Int.random(in: 0..<5, using: &random) == 0 { stage.next(leaf, .fails) }
        if Int.random(in: 0..<5, using: &random) == 0 { stage.tell(leaf, .cancelled) } else { stage.tell(leaf, .crash) }
        for _ in 0..<Int.random(in: 0..<20, using: &random) { await Task.yield() }
      }
      try await until("the storm is over, \(seedNote)") { allRun(top.snapshot()) }
      let answers = EventLog<String>()
      var settled = false
      while !settled {
        // A failure that was dealt out may still be in a mailbox: ask until all have answered in their present lives.
        let before = answers.all.count
        for leaf in leaves { stage.tell(leaf, .answer { answers.append(leaf) }) }
        try await until("answers or restarts, \(seedNote)") {
          answers.all.count >= before + leaves.count || !allRun(top.snapshot())
        }
        settled = Set(answers.all.dropFirst(before)) == Set(leaves)
        if !settled { try await until("the storm is over, \(seedNote)") { allRun(top.snapshot()) } }
      }
      #expect(count(top.snapshot()) == 500, "\(seedNote)")
    }
    #expect(error == nil, "\(seedNote)")
    #expect(stage.zombies.count == 0, "\(seedNote)")
    let fences = stage.contexts.filter(\.fence.isCurrent).count
    #expect(fences == 0, "\(seedNote): all have ended")
    let starts = stage.log.all.filter { $0.hasPrefix("start") }.count
    #expect(starts > leaves.count + failures / 4, "\(seedNote): the storm reached them")
  }

  private func allRun(_ node: TreeNode) -> Bool { node.state == .running && node.children.allSatisfy(allRun) }

  private func count(_ node: TreeNode) -> Int { 1 + node.children.map(count).reduce(0, +) }
}
