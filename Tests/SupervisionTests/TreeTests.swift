import Foundation
import Supervision
import TestKit
import Testing

@Suite struct TreeTests {
  @Test("The tree shows nested supervisors, ages, restarts and errors, and reads back from JSON")
  func nested() async throws {
    let clock = ManualClock()
    let stage = Stage(clock)
    let target = ChildSpec(id: "t1", name: "Aggregator for web", kind: .supervisor) { context in
      Supervisor("target", children: [stage.spec("cpu"), stage.spec("mem")], surroundings: context.surroundings)
    }
    let aggregator = ChildSpec(id: "aggregator", kind: .supervisor) { context in
      Supervisor("Aggregator", children: [target], surroundings: context.surroundings)
    }
    let top = stage.supervisor([aggregator, stage.spec("store")])
    try await stage.running(top) { _ in
      try await until("the tree is up") { stage.log.all.count == 3 }
      try await until("all run") { flat(top.snapshot()).allSatisfy { $0.state == .running } }
      stage.tell("mem", .crash)
      try await until("mem is back") { stage.log.all.count == 4 }
      try await until("all run") { flat(top.snapshot()).allSatisfy { $0.state == .running } }
      clock.advance(by: .seconds(7))
      func leaf(_ id: String, _ restarts: Int = 0, _ error: String? = nil) -> TreeNode {
        TreeNode(name: id, id: id, kind: .worker, state: .running, restarts: restarts, ageSeconds: 7, lastError: error)
      }
      func inner(_ name: String, _ id: String, _ children: [TreeNode]) -> TreeNode {
        TreeNode(name: name, id: id, kind: .supervisor, state: .running, ageSeconds: 7, children: children)
      }
      let tree = inner(
        "top", "top",
        [
          inner(
            "aggregator", "aggregator",
            [
              inner("Aggregator for web", "t1", [leaf("cpu"), leaf("mem", 1, "crash of mem")])
            ]), leaf("store"),
        ])
      #expect(top.snapshot() == tree)
      let json = try JSONEncoder().encode(tree)
      #expect(try JSONDecoder().decode(TreeNode.self, from: json) == tree)
      #expect(stage.events.all.map(\.path) == [["top", "aggregator", "t1", "mem"]])
    }
  }

  @Test("The tree is read while a child hangs in its start and another is deaf to its stop")
  func neverBlocked() async throws {
    let clock = ManualClock()
    let stage = Stage(clock)
    stage.makeDeaf("b")
    stage.next("c", .hangs)
    let top = stage.supervisor([stage.spec("b"), stage.spec("c")])
    try await stage.running(top, isReady: false) { run in
      try await until("c starts") { top.snapshot().children.map(\.state) == [.running, .starting] }
      run.cancel()
      try await until("b stops") { top.snapshot().children.map(\.state) == [.stopping, .stopped] }
      #expect(top.snapshot().state == .stopping)
      clock.advance(by: .seconds(5))
    }
    #expect(top.snapshot().zombies == 1)
    stage.release("b")
    try await until("it is buried") { stage.zombies.count == 0 }
  }

  private func flat(_ node: TreeNode) -> [TreeNode] { [node] + node.children.flatMap(flat) }
}
