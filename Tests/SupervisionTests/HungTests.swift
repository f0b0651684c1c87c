import Foundation
import Supervision
import Synchronization
import TestKit
import Testing

/// A sink that, as every sink must, refuses what carries a fence that no longer counts.
private final class Sink: Sendable {
  let accepted = Atomic<Int>(0)
  let refused = Atomic<Int>(0)

  func accept(from fence: Fence) {
    if fence.isCurrent { accepted.add(1, ordering: .relaxed) } else { refused.add(1, ordering: .relaxed) }
  }
}

@Suite struct HungTests {
  @Test("A child that misses its beat is stopped and started anew; one that beats is left alone")
  func heartbeat() async throws {
    let clock = ManualClock()
    let stage = Stage(clock)
    let top = stage.supervisor([
      stage.spec("a", heartbeat: .seconds(10)), stage.spec("b", heartbeat: .seconds(10)), stage.spec("c"),
    ])
    try await stage.running(top) { _ in
      for _ in 0..<3 {
        clock.advance(by: .seconds(9))
        stage.contexts[0].beat()
        stage.contexts[1].beat()
        try await top.startChild(stage.spec("turn", .temporary))
        try await top.terminateChild("turn")
      }
      #expect(stage.events.all == [])
      clock.advance(by: .seconds(9))
      stage.contexts[1].beat()
      clock.advance(by: .seconds(1))
      try await until("a is back") { stage.log.all.suffix(2) == ["stop a", "start a"] }
      try await top.until("a:running", "b:running", "c:running")
      #expect(
        stage.events.all == [
          .init(path: ["top", "a"], kind: .hung(limit: .seconds(10))),
          .init(path: ["top", "a"], kind: .restarted(error: "hung: no beat within 10.0 seconds", restarts: 1)),
        ])
    }
  }

  @Test(
    "A child deaf to cancellation is fenced and replaced at its deadline, and its late effects are refused (F39)",
    arguments: 0..<25)
  func deaf(_ round: Int) async throws {
    let clock = ManualClock()
    let stage = Stage(clock)
    let sink = Sink()
    stage.makeDeaf("a")
    let top = stage.supervisor([stage.spec("a", shutdown: .deadline(.seconds(5)), heartbeat: .seconds(10))])
    try await stage.running(top) { _ in
      let old = try #require(stage.contexts.first)
      sink.accept(from: old.fence)
      stage.hears("a")
      clock.advance(by: .seconds(10))
      try await top.until("a:stopping")
      #expect(stage.zombies.count == 0)
      clock.advance(by: .seconds(5))
      try await until("a is replaced") { stage.contexts.count == 2 }
      try await top.until("a:running")
      #expect(stage.zombies.count == 1)
      #expect(top.snapshot().zombies == 1)
      for _ in 0...round { sink.accept(from: old.fence) }
      sink.accept(from: stage.contexts[1].fence)
      #expect(sink.accepted.load(ordering: .relaxed) == 2)
      #expect(sink.refused.load(ordering: .relaxed) == round + 1)
      #expect(
        stage.events.all.map(\.kind) == [
          .hung(limit: .seconds(10)), .abandoned(zombies: 1),
          .restarted(error: "hung: no beat within 10.0 seconds", restarts: 1),
        ])
      stage.release("a")
      try await until("the zombie is buried") { stage.zombies.count == 0 }
    }
  }

  @Test("The seventeenth zombie of the process is reported as one too many")
  func limit() async throws {
    let clock = ManualClock()
    let stage = Stage(clock)
    let ids = (0..<17).map { "z\($0)" }
    for id in ids { stage.makeDeaf(id) }
    // Two supervisors share the count.
    let one = stage.supervisor()
    let two = Supervisor("two", surroundings: stage.surroundings)
    try await stage.running(one) { _ in
      try await stage.running(two) { _ in
        for (index, id) in ids.enumerated() {
          let top = index.isMultiple(of: 2) ? one : two
          try await top.startChild(stage.spec(id, .temporary))
          let stop = Task { try await top.terminateChild(id) }
          try await until("\(id) is being stopped") {
            await top.children().contains { $0.id == id && $0.state == .stopping }
          }
          clock.advance(by: .seconds(5))
          try await stop.value
        }
        #expect(stage.zombies.count == 17)
        #expect(stage.events.all.map(\.kind).filter { $0 == .zombieLimit(zombies: 17) }.count == 1)
        #expect(stage.events.all.last == .init(path: ["top", "z16"], kind: .zombieLimit(zombies: 17)))
        #expect(stage.events.all.count == 18)
      }
    }
    for id in ids { stage.release(id) }
    try await until("all are buried") { stage.zombies.count == 0 }
  }

  @Test("A child that blocks its thread is fenced and replaced in real time, and others go on (F39)")
  func blocking() async throws {
    // A process of its own: the thread that is blocked is one of the few that all tests share.
    await #expect(processExitsWith: .success) {
      let stage = Stage()
      let gate = DispatchSemaphore(value: 0)
      let lives = Atomic<Int>(0)
      let blocker = ChildSpec(
        id: "a", shutdown: .deadline(.milliseconds(100)), heartbeat: .milliseconds(100)
      ) { context in
        Routine {
          if lives.add(1, ordering: .relaxed).newValue == 1 { block(gate) }
          while true {
            context.beat()
            try await Task.sleep(for: .milliseconds(5))
          }
        }
      }
      let top = stage.supervisor([stage.spec("b"), blocker])
      try await stage.running(top) { _ in
        let found = try await stage.events.first { $0.kind == .abandoned(zombies: 1) }
        #expect(found.element.path == ["top", "a"])
        let start = ContinuousClock.now
        try await until("a is replaced") { await top.states() == ["b:running", "a:running"] }
        #expect(ContinuousClock.now - start < .seconds(1))
        #expect(stage.zombies.count == 1)
        let answered = EventLog<Int>()
        stage.tell("b", .answer { answered.append(1) })
        _ = try await answered.first()
        gate.signal()
        try await until("the zombie is buried") { stage.zombies.count == 0 }
      }
    }
  }
}

/// Blocks the thread, as no code of ours may.
private func block(_ gate: DispatchSemaphore) { gate.wait() }
