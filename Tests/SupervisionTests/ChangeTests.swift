import Supervision
import TestKit
import Testing

@Suite struct ChangeTests {
  let stage = Stage()

  @Test("Lives go on when the supervisor's rules change, and the new rules hold (OTP code_change)")
  func rules() async throws {
    let top = stage.supervisor([stage.spec("a"), stage.spec("b")])
    let error = try await stage.running(top) { run in
      try await top.reconfigure(strategy: .oneForAll, intensity: Intensity(restarts: 1, period: .seconds(3600)))
      #expect(stage.log.all == ["start a", "start b"])
      stage.tell("a", .crash)
      try await until("both are back") { stage.log.all.count == 5 }
      try await top.until("a:running", "b:running")
      #expect(stage.log.all.suffix(3) == ["stop b", "start a", "start b"])
      #expect(await refusal { try await top.reconfigure(intensity: Intensity(restarts: -1)) } == .badSpecification)
      stage.tell("a", .crash)
      _ = try await stage.ended(run)
    }
    #expect(error?.code == .intensityExceeded)
  }

  @Test("An equal digest changes the rules of a child and not its life (OTP code_change_map)")
  func equalDigest() async throws {
    let top = stage.supervisor([stage.spec("a", digest: "1"), stage.spec("b")])
    try await stage.running(top) { _ in
      try await top.replace(stage.spec("a", .temporary, digest: "1"))
      #expect(stage.log.all == ["start a", "start b"])
      stage.tell("a", .crash)
      try await top.until("b:running")
    }
  }

  @Test("Another digest gives a child a new life in its old place, which is no restart (OTP code_change_kant)")
  func otherDigest() async throws {
    let top = stage.supervisor([stage.spec("a", digest: "1"), stage.spec("b")])
    try await stage.running(top) { _ in
      try await top.replace(stage.spec("a", digest: "2"))
      let children = await top.children()
      #expect(children.map(\.id) == ["a", "b"])
      #expect(children.map(\.digest) == ["2", ""])
      #expect(children.map(\.restarts) == [0, 0])
      #expect(stage.log.all == ["start a", "start b", "stop a", "start a"])
      #expect(stage.contexts.map(\.fence.isCurrent) == [false, true, true])
      #expect(await refusal { try await top.replace(stage.spec("x")) } == .unknownChild)
    }
    #expect(stage.events.all == [])
  }

  @Test("A new specification that cannot start leaves the child at rest and the others alone (OTP code_change_simple)")
  func otherDigestFails() async throws {
    let top = stage.supervisor([stage.spec("b")])
    try await stage.running(top) { _ in
      try await top.startChild(stage.spec("a", digest: "1"))
      stage.next("a", .fails)
      await #expect(throws: SupervisorError.startFailed(child: "a", "no a")) {
        try await top.replace(stage.spec("a", digest: "2"))
      }
      #expect(await top.states() == ["b:running", "a:failed"])
      try await top.replace(stage.spec("a", digest: "3"))
      #expect(await top.states() == ["b:running", "a:running"])
    }
  }

  @Test("A child that rests after a failure starts at once with its new specification")
  func whileBackingOff() async throws {
    let stage = Stage(ManualClock())
    let backoff = Backoff(initial: .seconds(100), maximum: .seconds(100))
    let top = stage.supervisor([stage.spec("a", digest: "1", backoff: backoff)])
    try await stage.running(top) { _ in
      stage.tell("a", .crash)
      try await top.until("a:backing_off")
      try await top.replace(stage.spec("a", digest: "2"))
      #expect(await top.states() == ["a:running"])
    }
  }
}
