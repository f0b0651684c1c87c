import Supervision
import TestKit
import Testing

@Suite struct DynamicTests {
  let stage = Stage()

  @Test("A dynamic child that fails too often escalates (OTP simple_one_for_one_escalation)")
  func escalation() async throws {
    let top = stage.supervisor(.oneForOne, Intensity(restarts: 1))
    let error = try await stage.running(top) { run in
      for id in ["a", "b"] { try await top.startChild(stage.spec(id)) }
      stage.tell("a", .crash)
      try await until("a is back") { stage.log.all.count == 3 }
      try await top.until("a:running", "b:running")
      stage.tell("a", .crash)
      _ = try await stage.ended(run)
    }
    #expect(error?.code == .intensityExceeded)
    #expect(stage.log.all == ["start a", "start b", "start a", "stop b"])
  }

  @Test("A dynamic child is restarted and the others are left alone (OTP simple_one_for_one)")
  func restart() async throws {
    let top = stage.supervisor()
    try await stage.running(top) { _ in
      for id in ["a", "b"] { try await top.startChild(stage.spec(id)) }
      stage.tell("a", .crash)
      try await until("a is back") { stage.log.all.count == 3 }
      try await top.until("a:running", "b:running")
      #expect(stage.log.all == ["start a", "start b", "start a"])
    }
  }

  @Test(
    "A restart that finds nothing to do leaves the child known and without a life (OTP simple_one_for_one_restart_ignored)"
  )
  func restartIgnored() async throws {
    let top = stage.supervisor()
    try await stage.running(top) { _ in
      try await top.startChild(stage.spec("a"))
      stage.next("a", .ignores)
      stage.tell("a", .crash)
      try await top.until("a:ignored")
      #expect(await top.count() == ChildCount(specs: 1, active: 0, supervisors: 0, workers: 1))
    }
  }

  @Test("There are never more children than the maximum, and a restarting one counts (Elixir max_children)")
  func maximum() async throws {
    let clock = ManualClock()
    let stage = Stage(clock)
    let top = stage.supervisor(.oneForOne, Intensity(), maximum: 2)
    try await stage.running(top) { _ in
      try await top.startChild(stage.spec("a", backoff: Backoff(initial: .seconds(1), jitter: 0)))
      try await top.startChild(stage.spec("b", .temporary))
      stage.tell("a", .crash)
      try await top.until("a:backing_off", "b:running")
      #expect(await refusal { try await top.startChild(stage.spec("c")) } == .tooManyChildren)
      stage.tell("b", .finish)
      try await top.until("a:backing_off")
      try await top.startChild(stage.spec("c"))
    }
  }

  @Test("Dynamic children are forgotten when the supervisor ends; the first ones start again with it")
  func forgotten() async throws {
    let top = stage.supervisor([stage.spec("s")])
    try await stage.running(top) { _ in try await top.startChild(stage.spec("d")) }
    try await stage.running(top) { _ in #expect(await top.states() == ["s:running"]) }
  }

  @Test("Children of mixed kinds of shutdown all stop (Elixir terminate_children with mixed shutdown)")
  func mixed() async throws {
    let top = stage.supervisor()
    try await stage.running(top) { _ in
      try await top.startChild(stage.spec("a", shutdown: .brutal))
      try await top.startChild(stage.spec("b", shutdown: .deadline(.seconds(5))))
      try await top.startChild(stage.spec("c", shutdown: .unlimited))
    }
    #expect(Set(stage.log.all.suffix(3)) == ["stop a", "stop b", "stop c"])
    #expect(stage.zombies.count == 0)
  }
}
