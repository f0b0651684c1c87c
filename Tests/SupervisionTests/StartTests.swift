import Supervision
import TestKit
import Testing

@Suite struct StartTests {
  let stage = Stage()

  @Test("Children start in order and stop in reverse order (OTP sup_start_normal, sup_stop_infinity)")
  func normal() async throws {
    let top = stage.supervisor(children("a", "b"))
    let error = try await stage.running(top) { _ in
      #expect(await top.states() == ["a:running", "b:running"])
    }
    #expect(error == nil)
    #expect(stage.log.all == ["start a", "start b", "stop b", "stop a"])
    #expect(top.snapshot().state == .stopped)
  }

  @Test("A supervisor without children runs until it is stopped (OTP sup_start_ignore_init)")
  func empty() async throws {
    let top = stage.supervisor()
    let run = Task { try await top.run() }
    try await top.ready()
    #expect(await top.count() == ChildCount(specs: 0, active: 0, supervisors: 0, workers: 0))
    await top.stop()
    #expect(try await stage.ended(run) == nil)
  }

  @Test("A child with nothing to do stays known and has no life (OTP sup_start_ignore_child)")
  func ignore() async throws {
    stage.next("a", .ignores)
    let top = stage.supervisor(children("a", "b"))
    try await stage.running(top) { _ in
      #expect(await top.states() == ["a:ignored", "b:running"])
      #expect(await top.count() == ChildCount(specs: 2, active: 1, supervisors: 0, workers: 2))
      try await top.restartChild("a")
      #expect(await top.states() == ["a:running", "b:running"])
    }
  }

  @Test("A temporary child with nothing to do is forgotten (OTP sup_start_ignore_temporary_child)")
  func ignoreTemporary() async throws {
    stage.next("a", .ignores)
    stage.next("c", .ignores)
    let top = stage.supervisor([stage.spec("a", .temporary), stage.spec("b", .temporary)])
    try await stage.running(top) { _ in
      #expect(await top.states() == ["b:running"])
      try await top.startChild(stage.spec("c", .temporary))
      #expect(await top.states() == ["b:running"])
    }
  }

  @Test(
    "A failing start undoes what has started and says which child and why (OTP sup_start_fail, sup_start_error_return)")
  func failure() async throws {
    stage.next("b", .fails)
    let top = stage.supervisor(children("a", "b", "c"))
    let error = try await stage.running(top, isReady: false) { run in _ = try await stage.ended(run) }
    #expect(error == .startFailed(child: "b", "no b"))
    #expect(error?.message == #"child "b" did not start: no b"#)
    #expect(stage.log.all == ["start a", "fail b", "stop a"])
  }

  @Test("The same tree starts again after a failed start (OTP sup_start_error_return)")
  func again() async throws {
    stage.next("a", .fails)
    let top = stage.supervisor(children("a"))
    let first = try await stage.running(top, isReady: false) { run in _ = try await stage.ended(run) }
    #expect(first?.code == .startFailed)
    #expect(try await stage.running(top) == nil)
    #expect(stage.log.all == ["fail a", "start a", "stop a"])
  }

  @Test(
    "A bad specification is refused with what is wrong and what to do (OTP sup_start_map_faulty_specs)",
    arguments: [
      (0, "its id is empty; give a name that is unique among its siblings"),
      (1, "its id is given twice; give a name that is unique among its siblings"),
      (2, "it is significant and permanent; a significant child must be transient or temporary"),
      (3, "it is significant, but its supervisor's autoShutdown is never; set anySignificant or allSignificant"),
      (4, "the shutdown deadline is -1.0 seconds; give more than 0"),
      (5, "heartbeat is 0.0 seconds; give more than 0"),
      (6, "backoff.factor is 0.5; give 1 or more"),
      (7, "backoff.jitter is nan; give 0 to 1"),
      (8, "heartbeat is 1000000000.0 seconds; give at most ten years"),
    ])
  func faulty(_ number: Int, _ problem: String) async throws {
    let bad: [ChildSpec] = [
      stage.spec(""), stage.spec("x"), stage.spec("x", .permanent, significant: true),
      stage.spec("x", .transient, significant: true), stage.spec("x", shutdown: .deadline(.seconds(-1))),
      stage.spec("x", heartbeat: .zero), stage.spec("x", backoff: Backoff(factor: 0.5)),
      stage.spec("x", backoff: Backoff(jitter: .nan)), stage.spec("x", heartbeat: .seconds(1_000_000_000)),
    ]
    let spec = bad[number]
    let top = stage.supervisor(number == 1 ? [spec, spec] : [spec])
    let error = try await stage.running(top, isReady: false) { run in _ = try await stage.ended(run) }
    #expect(error == .badSpecification(child: spec.id, problem))
    #expect(stage.log.all == [])
  }

  @Test(
    "Faulty rules of the supervisor itself are refused (OTP sup_start_map_faulty_specs)",
    arguments: [Intensity(restarts: -1), Intensity(period: .zero)])
  func faultyRules(_ intensity: Intensity) async throws {
    let top = stage.supervisor(.oneForOne, intensity, children("a"))
    let error = try await stage.running(top, isReady: false) { run in _ = try await stage.ended(run) }
    #expect(error?.code == .badSpecification)
    #expect(stage.log.all == [])
  }

  @Test("A supervisor that was started elsewhere is not run twice (OTP already_started_outside_supervisor)")
  func startedOutside() async throws {
    let outside = Supervisor("outside", children: children("a"), surroundings: stage.surroundings)
    let run = Task { try await outside.run() }
    try await outside.ready()
    let spec = ChildSpec(id: "outside", kind: .supervisor) { _ in outside }
    let top = stage.supervisor(.oneForOne, Intensity(restarts: 0), [spec])
    let error = try await stage.running(top, isReady: false) { run in _ = try await stage.ended(run) }
    #expect(error?.code == .intensityExceeded)
    #expect(error?.cause == #"supervisor "outside" was started elsewhere and still runs; give each place its own"#)
    #expect(await outside.states() == ["a:running"])
    run.cancel()
    #expect(try await stage.ended(run) == nil)
  }

  @Test("A start that never returns holds up neither the supervisor nor other children, and is given up in time")
  func hangingStart() async throws {
    let clock = ManualClock()
    let stage = Stage(clock)
    let top = stage.supervisor()
    try await stage.running(top) { _ in
      stage.next("slow", .hangs)
      let slow = Task { try await top.startChild(stage.spec("slow")) }
      try await top.until("slow:starting")
      try await top.startChild(stage.spec("b"))
      #expect(await top.states() == ["slow:starting", "b:running"])
      clock.advance(by: .seconds(30))
      #expect(await refusal { try await slow.value } == .startFailed)
      #expect(await top.states() == ["b:running"])
    }
    #expect(stage.events.all == [SupervisionEvent(path: ["top", "slow"], kind: .hung(limit: .seconds(30)))])
  }

  private func children(_ ids: String...) -> [ChildSpec] { ids.map { stage.spec($0) } }
}
