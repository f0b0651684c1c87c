import Supervision
import TestKit
import Testing

@Suite struct StopTests {
  let stage = Stage()

  @Test("Five children keep their order through a failure and a stop (OTP order_of_children)")
  func order() async throws {
    let ids = ["e", "a", "d", "b", "c"]
    let top = stage.supervisor(.restForOne, Intensity(), ids.map { stage.spec($0) })
    try await stage.running(top) { _ in
      stage.tell("d", .crash)
      try await until("all are back") { stage.log.all.count == 10 }
      try await top.until("e:running", "a:running", "d:running", "b:running", "c:running")
      #expect(stage.log.all.dropFirst(5) == ["stop c", "stop b", "start d", "start b", "start c"])
    }
    #expect(stage.log.all.suffix(5) == ["stop c", "stop b", "stop d", "stop a", "stop e"])
  }

  @Test(
    "A static child deaf to its stop is abandoned at its deadline, then its elder is stopped (OTP sup_stop_timeout)")
  func timeout() async throws {
    let clock = ManualClock()
    let stage = Stage(clock)
    stage.makeDeaf("b")
    let top = stage.supervisor([stage.spec("a"), stage.spec("b", shutdown: .deadline(.seconds(5)))])
    try await stage.running(top) { run in
      run.cancel()
      try await top.until("a:running", "b:stopping")
      clock.advance(by: .milliseconds(4999))
      #expect(await top.states() == ["a:running", "b:stopping"])
      clock.advance(by: .milliseconds(1))
      _ = try await stage.ended(run)
    }
    #expect(stage.log.all == ["start a", "start b", "stop a"])
    #expect(stage.zombies.count == 1)
    #expect(stage.events.all == [.init(path: ["top", "b"], kind: .abandoned(zombies: 1))])
    stage.release("b")
    try await until("the zombie is buried") { stage.zombies.count == 0 }
  }

  @Test(
    "Dynamic children stop in parallel: one deadline for all (OTP sup_stop_timeout_dynamic, simple_one_for_one_shutdown)"
  )
  func dynamic() async throws {
    let clock = ManualClock()
    let stage = Stage(clock)
    let top = stage.supervisor([stage.spec("s")])
    let ids = (0..<8).map { "d\($0)" }
    for id in ids where id != "d0" { stage.makeDeaf(id) }
    try await stage.running(top) { run in
      for id in ids { try await top.startChild(stage.spec(id, shutdown: .deadline(.seconds(5)))) }
      run.cancel()
      try await until("d0 has stopped") { stage.log.all.contains("stop d0") }
      try await top.until(
        "s:running", "d0:stopped", "d1:stopping", "d2:stopping", "d3:stopping", "d4:stopping", "d5:stopping",
        "d6:stopping", "d7:stopping")
      clock.advance(by: .seconds(5))
      _ = try await stage.ended(run)
    }
    #expect(stage.log.all.last == "stop s")
    #expect(stage.zombies.count == 7)
    for id in ids { stage.release(id) }
    try await until("the zombies are buried") { stage.zombies.count == 0 }
  }

  @Test(
    "A brutal stop fences at once and waits only for the grace (OTP sup_stop_brutal_kill, sup_stop_brutal_kill_dynamic)"
  )
  func brutal() async throws {
    let clock = ManualClock()
    let stage = Stage(clock)
    stage.makeDeaf("b", "c")
    let top = stage.supervisor([stage.spec("a", shutdown: .brutal), stage.spec("b", shutdown: .brutal)])
    try await stage.running(top) { run in
      try await top.startChild(stage.spec("c", shutdown: .brutal))
      #expect(stage.contexts.map(\.fence.isCurrent) == [true, true, true])
      run.cancel()
      try await top.until("a:running", "b:running", "c:stopping")
      #expect(stage.contexts.map(\.fence.isCurrent) == [true, true, false])
      clock.advance(by: Shutdown.brutalGrace)
      try await top.until("a:running", "b:stopping", "c:stopped")
      clock.advance(by: Shutdown.brutalGrace)
      _ = try await stage.ended(run)
    }
    #expect(stage.contexts.map(\.fence.isCurrent) == [false, false, false])
    #expect(stage.zombies.count == 2)
    stage.release("b")
    stage.release("c")
    try await until("the zombies are buried") { stage.zombies.count == 0 }
  }

  @Test("A stop without limit waits as long as it takes (OTP sup_stop_infinity)")
  func unlimited() async throws {
    let clock = ManualClock()
    let stage = Stage(clock)
    stage.makeDeaf("a")
    let top = stage.supervisor([stage.spec("a", shutdown: .unlimited)])
    try await stage.running(top) { run in
      run.cancel()
      try await top.until("a:stopping")
      clock.advance(by: .seconds(86_400))
      #expect(await top.states() == ["a:stopping"])
      stage.release("a")
      _ = try await stage.ended(run)
    }
    #expect(stage.zombies.count == 0)
  }

  @Test("A stop that meets a restart ends both, whichever comes first (OTP sup_stop_race)", arguments: 0..<20)
  func race(_ round: Int) async throws {
    let top = stage.supervisor(
      round.isMultiple(of: 2) ? .oneForAll : .oneForOne, Intensity(restarts: 100),
      ["a", "b", "c"].map { stage.spec($0) })
    let error = try await stage.running(top) { run in
      stage.tell("b", .crash)
      for _ in 0..<round { await Task.yield() }
      run.cancel()
      stage.tell("a", .crash)
      _ = try await stage.ended(run)
    }
    #expect(error == nil)
    #expect(await top.count().active == 0)
    #expect(stage.contexts.allSatisfy { !$0.fence.isCurrent })
  }

  @Test("A child is terminated in the middle of its restart, and stays terminated")
  func terminateRestarting() async throws {
    let clock = ManualClock()
    let stage = Stage(clock)
    let top = stage.supervisor([stage.spec("a", backoff: Backoff(initial: .seconds(1), jitter: 0))])
    try await stage.running(top) { _ in
      stage.tell("a", .crash)
      try await top.until("a:backing_off")
      try await top.terminateChild("a")
      #expect(await top.states() == ["a:stopped"])
      clock.advance(by: .seconds(10))
      try await top.startChild(stage.spec("b"))
      #expect(await top.states() == ["a:stopped", "b:running"])
    }
  }

  @Test("Who waits for a start learns that the child was terminated or the supervisor stopped")
  func waiters() async throws {
    let stage = Stage(ManualClock())
    let top = stage.supervisor()
    try await stage.running(top) { run in
      stage.next("a", .hangs)
      stage.next("b", .hangs)
      let first = Task { try await top.startChild(stage.spec("a")) }
      try await top.until("a:starting")
      try await top.terminateChild("a")
      #expect(await refusal { try await first.value } == .terminated)
      let second = Task { try await top.startChild(stage.spec("b")) }
      try await top.until("a:stopped", "b:starting")
      run.cancel()
      #expect(await refusal { try await second.value } == .notRunning)
    }
  }
}
