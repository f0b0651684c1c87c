import Supervision
import TestKit
import Testing

@Suite struct RestartTests {
  let stage = Stage()

  @Test(
    "Whether an ended child lives again depends on its kind and its end (OTP permanent_normal, permanent_shutdown, permanent_abnormal, transient_normal, transient_shutdown, transient_abnormal, temporary_normal, temporary_shutdown, temporary_abnormal)",
    arguments: [
      (Restart.permanent, "finish", ["a:running", "b:running"]), (.permanent, "cancelled", ["a:running", "b:running"]),
      (.permanent, "crash", ["a:running", "b:running"]), (.transient, "finish", ["a:finished", "b:running"]),
      (.transient, "cancelled", ["a:finished", "b:running"]), (.transient, "crash", ["a:running", "b:running"]),
      (.temporary, "finish", ["b:running"]), (.temporary, "cancelled", ["b:running"]),
      (.temporary, "crash", ["b:running"]),
    ])
  func kinds(_ restart: Restart, _ end: String, _ after: [String]) async throws {
    let top = stage.supervisor([stage.spec("a", restart), stage.spec("b")])
    try await stage.running(top) { _ in
      let commands: [String: Stage.Command] = ["finish": .finish, "cancelled": .cancelled, "crash": .crash]
      let command = try #require(commands[end])
      stage.tell("a", command)
      let starts = after.contains("a:running") ? 3 : 2
      try await until("a has met its end") {
        stage.contexts[0].fence.isCurrent == false && stage.log.all.count == starts
      }
      try await until("\(after)") { await top.states() == after }
      let gaveUp = stage.events.all.contains(.init(path: ["top", "a"], kind: .gaveUp(error: "crash of a")))
      #expect(gaveUp == (restart == .temporary && end == "crash"))
    }
  }

  @Test("A child that fails within the budget is restarted, beyond it the supervisor gives up (OTP multiple_restarts)")
  func budget() async throws {
    let stage = Stage(ManualClock())
    let top = stage.supervisor(.oneForOne, Intensity(restarts: 3, period: .seconds(5)), [stage.spec("a")])
    let error = try await stage.running(top) { run in
      for count in 1...3 {
        stage.tell("a", .crash)
        try await until("restart \(count)") { await top.children().map(\.restarts) == [count] }
        try await top.until("a:running")
      }
      stage.tell("a", .crash)
      _ = try await stage.ended(run)
    }
    #expect(error?.code == .intensityExceeded)
    #expect(
      error?.message == #"more than 3 restarts within 5.0 seconds; the last was of "a": crash of a"#)
    #expect(
      stage.events.all.map(\.kind) == [
        .restarted(error: "crash of a", restarts: 1), .restarted(error: "crash of a", restarts: 2),
        .restarted(error: "crash of a", restarts: 3), .escalated(error: error?.message ?? ""),
      ])
    #expect(top.snapshot().state == .failed)
  }

  @Test("The budget is a sliding window: restarts that are longer ago than the period do not count")
  func window() async throws {
    let clock = ManualClock()
    let stage = Stage(clock)
    let top = stage.supervisor(.oneForOne, Intensity(restarts: 2, period: .seconds(5)), [stage.spec("a")])
    let error = try await stage.running(top) { run in
      for count in 1...10 {
        stage.tell("a", .crash)
        try await until("restart \(count)") { await top.children().map(\.restarts) == [count] }
        try await top.until("a:running")
        clock.advance(by: .milliseconds(2501))
      }
      for count in 11...12 {
        stage.tell("a", .crash)
        if count == 11 { try await until("restart \(count)") { await top.children().map(\.restarts) == [count] } }
        try await until("running or over") { await top.states() != ["a:restarting"] }
      }
      _ = try await stage.ended(run)
    }
    #expect(error?.code == .intensityExceeded)
  }

  @Test(
    "A failed child takes along those its strategy names, and the order holds (OTP one_for_one, one_for_all, rest_for_one)",
    arguments: [
      (Strategy.oneForOne, ["start b"]),
      (.oneForAll, ["stop c", "stop a", "start a", "start b", "start c"]),
      (.restForOne, ["stop c", "start b", "start c"]),
    ])
  func strategies(_ strategy: Strategy, _ expected: [String]) async throws {
    let top = stage.supervisor(strategy, Intensity(), ["a", "b", "c"].map { stage.spec($0) })
    try await stage.running(top) { _ in
      stage.tell("b", .crash)
      try await until("all happened") { stage.log.all.count == 3 + expected.count }
      try await top.until("a:running", "b:running", "c:running")
      #expect(stage.log.all == ["start a", "start b", "start c"] + expected)
    }
  }

  @Test(
    "Beyond the budget the supervisor stops the siblings in reverse order and escalates (OTP one_for_one_escalation, one_for_all_escalation, rest_for_one_escalation)",
    arguments: [Strategy.oneForOne, .oneForAll, .restForOne])
  func escalation(_ strategy: Strategy) async throws {
    let top = stage.supervisor(strategy, Intensity(restarts: 0), ["a", "b", "c"].map { stage.spec($0) })
    let error = try await stage.running(top) { run in
      stage.tell("b", .crash)
      _ = try await stage.ended(run)
    }
    #expect(error == .intensityExceeded(child: "b", lastError: "crash of b", intensity: Intensity(restarts: 0)))
    #expect(stage.log.all == ["start a", "start b", "start c", "stop c", "stop a"])
  }

  @Test(
    "A sibling that fails its restart is tried again by the same strategy (OTP one_for_all_other_child_fails_restart, rest_for_one_other_child_fails_restart)",
    arguments: [
      (
        Strategy.oneForAll,
        ["stop c", "stop a", "start a", "start b", "fail c", "stop b", "stop a", "start a", "start b", "start c"]
      ), (.restForOne, ["stop c", "start b", "fail c", "start c"]),
      (.oneForOne, ["fail b", "start b"]),
    ])
  func siblingFails(_ strategy: Strategy, _ expected: [String]) async throws {
    let top = stage.supervisor(strategy, Intensity(), ["a", "b", "c"].map { stage.spec($0) })
    try await stage.running(top) { _ in
      stage.next(strategy == .oneForOne ? "b" : "c", .fails)
      stage.tell("b", .crash)
      try await until("all happened") { stage.log.all.count == 3 + expected.count }
      try await top.until("a:running", "b:running", "c:running")
      #expect(stage.log.all.dropFirst(3) == expected[...])
    }
  }

  @Test("A nested supervisor that gives up is an abnormal end to its parent, which starts it anew (SY-12)")
  func escalatesOneLevel() async throws {
    let stage = stage
    let nested = ChildSpec(id: "nested", restart: .transient) { context in
      Supervisor(
        "nested", intensity: Intensity(restarts: 1), children: [stage.spec("x")], surroundings: context.surroundings)
    }
    let top = stage.supervisor([nested, stage.spec("b")])
    try await stage.running(top) { _ in
      stage.tell("x", .crash)
      try await until("x is back") { stage.log.all.filter { $0 == "start x" }.count == 2 }
      stage.tell("x", .crash)
      try await until("nested is back") { await top.children().first?.restarts == 1 }
      try await until("x lives") { top.snapshot().children.first?.children.first?.state == .running }
      #expect(!stage.log.all.contains("stop b"))
    }
    #expect(
      stage.events.all.map(\.path) == [["top", "nested", "x"], ["top", "nested"], ["top", "nested"]])
  }

  @Test(
    "Temporary siblings of a failed child end and do not return (OTP temporary_bystander)",
    arguments: [Strategy.oneForAll, .restForOne])
  func bystander(_ strategy: Strategy) async throws {
    let top = stage.supervisor(strategy, Intensity(), [stage.spec("a"), stage.spec("t", .temporary)])
    try await stage.running(top) { _ in
      stage.tell("a", .crash)
      try await until("a is back") { stage.log.all.count == 4 }
      try await top.until("a:running")
      #expect(stage.log.all == ["start a", "start t", "stop t", "start a"])
    }
  }

  @Test("Failed children rest longer and longer, hold up nobody, and start afresh after health")
  func backoff() async throws {
    let clock = ManualClock()
    let stage = Stage(clock)
    let backoff = Backoff(
      initial: .seconds(10), factor: 2, maximum: .seconds(30), jitter: 0, resetAfter: .seconds(60))
    let top = stage.supervisor([stage.spec("a", backoff: backoff)])
    try await stage.running(top) { _ in
      for wait in [10, 20, 30, 30] {
        stage.tell("a", .crash)
        try await top.until("a:backing_off")
        clock.advance(by: .seconds(wait) - .milliseconds(1))
        try await top.startChild(stage.spec("b\(wait)", .temporary))
        #expect(await top.states().first == "a:backing_off")
        try await top.terminateChild("b\(wait)")
        clock.advance(by: .milliseconds(1))
        try await top.until("a:running")
      }
      clock.advance(by: .seconds(60))
      stage.tell("a", .crash)
      try await top.until("a:backing_off")
      clock.advance(by: .seconds(10))
      try await top.until("a:running")
    }
  }

  @Test("Jitter takes away at most its share, differs, and repeats with its seed")
  func jitter() {
    let backoff = Backoff(initial: .seconds(1), factor: 2, maximum: .seconds(8), jitter: 0.25)
    var random = SystemRandomNumberGenerator()
    for (attempt, full) in [(0, 1.0), (1, 2), (2, 4), (3, 8), (4, 8), (1_000_000, 8)] {
      let waits = (0..<50).map { _ in backoff.delay(attempt: attempt, using: &random) }
      #expect(waits.allSatisfy { $0 <= .seconds(full) && $0 >= .seconds(full * 0.75) })
      #expect(Set(waits).count > 1)
    }
    #expect(Backoff.none.delay(attempt: 3, using: &random) == .zero)
  }
}
