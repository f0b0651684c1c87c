import Supervision
import TestKit
import Testing

@Suite struct AdministrationTests {
  let stage = Stage()

  @Test("A child is added, terminated, restarted and deleted (OTP child_adm, child_specs, start_child)")
  func administration() async throws {
    let top = stage.supervisor()
    try await stage.running(top) { _ in
      #expect(await refusal { try await top.terminateChild("a") } == .unknownChild)
      #expect(await refusal { try await top.restartChild("a") } == .unknownChild)
      #expect(await refusal { try await top.deleteChild("a") } == .unknownChild)
      #expect(await refusal { try await top.startChild(stage.spec("")) } == .badSpecification)

      try await top.startChild(stage.spec("a"))
      #expect(await refusal { try await top.startChild(stage.spec("a")) } == .alreadyStarted)
      #expect(await refusal { try await top.restartChild("a") } == .alreadyStarted)
      #expect(await refusal { try await top.deleteChild("a") } == .alreadyStarted)

      try await top.terminateChild("a")
      #expect(await top.states() == ["a:stopped"])
      #expect(await refusal { try await top.startChild(stage.spec("a")) } == .alreadyPresent)
      try await top.terminateChild("a")
      try await top.restartChild("a")
      #expect(await top.states() == ["a:running"])

      try await top.terminateChild("a")
      try await top.deleteChild("a")
      #expect(await top.states() == [])
      #expect(await refusal { try await top.restartChild("a") } == .unknownChild)
    }
    #expect(stage.log.all == ["start a", "stop a", "start a", "stop a"])
  }

  @Test("A child that fails to start when added is forgotten, and the caller learns why (OTP child_adm)")
  func addFails() async throws {
    let top = stage.supervisor()
    try await stage.running(top) { _ in
      stage.next("a", .fails)
      await #expect(throws: SupervisorError.startFailed(child: "a", "no a")) {
        try await top.startChild(stage.spec("a"))
      }
      #expect(await top.states() == [])
      #expect(stage.events.all == [])
    }
  }

  @Test("A child that fails to start on request rests and may be asked again (OTP child_adm)")
  func restartFails() async throws {
    let top = stage.supervisor()
    try await stage.running(top) { _ in
      try await top.startChild(stage.spec("a"))
      try await top.terminateChild("a")
      stage.next("a", .fails)
      #expect(await refusal { try await top.restartChild("a") } == .startFailed)
      #expect(await top.states() == ["a:failed"])
      try await top.restartChild("a")
      #expect(await top.states() == ["a:running"])
    }
  }

  @Test("A child is stopped and forgotten in one step, alive or not")
  func remove() async throws {
    let top = stage.supervisor([stage.spec("a"), stage.spec("b")])
    try await stage.running(top) { _ in
      try await top.removeChild("a")
      try await top.terminateChild("b")
      try await top.removeChild("b")
      #expect(await top.states() == [])
      #expect(await refusal { try await top.removeChild("b") } == .unknownChild)
    }
    #expect(stage.log.all == ["start a", "start b", "stop a", "stop b"])
  }

  @Test("A terminated temporary child is forgotten (OTP temporary_normal, child_adm)")
  func temporary() async throws {
    let top = stage.supervisor()
    try await stage.running(top) { _ in
      try await top.startChild(stage.spec("a", .temporary))
      try await top.terminateChild("a")
      #expect(await top.states() == [])
    }
  }

  @Test("Counting and listing tell kinds and lives apart (OTP which_children, count_children)")
  func count() async throws {
    let nested = Supervisor("nested", surroundings: stage.surroundings)
    let top = stage.supervisor([
      stage.spec("a"), ChildSpec(id: "s", kind: .supervisor) { _ in nested }, stage.spec("c", .transient),
    ])
    try await stage.running(top) { _ in
      try await top.terminateChild("a")
      #expect(await top.count() == ChildCount(specs: 3, active: 2, supervisors: 1, workers: 2))
      #expect(
        await top.children().last
          == ChildInfo(
            id: "c", digest: "", kind: .worker, restart: .transient, isSignificant: false, isDynamic: false,
            state: .running, restarts: 0, lastError: nil))
    }
  }

  @Test("A child that waits for its restart is counted without a life (OTP count_restarting_children)")
  func countRestarting() async throws {
    let clock = ManualClock()
    let stage = Stage(clock)
    let backoff = Backoff(initial: .seconds(1), factor: 1, jitter: 0)
    let top = stage.supervisor([stage.spec("a", backoff: backoff), stage.spec("b")])
    try await stage.running(top) { _ in
      stage.tell("a", .crash)
      try await top.until("a:backing_off", "b:running")
      #expect(await top.count() == ChildCount(specs: 2, active: 1, supervisors: 0, workers: 2))
      #expect(await refusal { try await top.restartChild("a") } == .isRestarting)
      #expect(await refusal { try await top.deleteChild("a") } == .isRestarting)
      #expect(await refusal { try await top.startChild(stage.spec("a")) } == .alreadyPresent)
      clock.advance(by: .seconds(1))
      try await top.until("a:running", "b:running")
      #expect(await top.count().active == 2)
    }
  }

  @Test("A supervisor that does not run refuses requests at once")
  func notRunning() async throws {
    let top = stage.supervisor()
    #expect(await refusal { try await top.startChild(stage.spec("a")) } == .notRunning)
    try await stage.running(top)
    #expect(await refusal { try await top.startChild(stage.spec("a")) } == .notRunning)
  }

  @Test("A caller that is cancelled stops waiting, and the start goes on")
  func cancelledCaller() async throws {
    let stage = Stage(ManualClock())
    let top = stage.supervisor()
    try await stage.running(top) { _ in
      stage.next("a", .hangs)
      let caller = Task { try await top.startChild(stage.spec("a")) }
      try await top.until("a:starting")
      caller.cancel()
      await #expect(throws: CancellationError.self) { try await caller.value }
      #expect(await top.states() == ["a:starting"])
    }
  }
}
