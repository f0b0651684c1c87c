import Supervision
import TestKit
import Testing

@Suite struct SignificantTests {
  let stage = Stage()

  private func top(_ autoShutdown: AutoShutdown, _ children: [ChildSpec]) -> Supervisor {
    stage.supervisor(.oneForOne, Intensity(), autoShutdown: autoShutdown, children)
  }

  @Test(
    "One significant child that ends is enough under anySignificant (OTP significant_simple, significant_any)",
    arguments: [Restart.transient, .temporary])
  func any(_ restart: Restart) async throws {
    let top = top(
      .anySignificant,
      [
        stage.spec("a"), stage.spec("s", restart, significant: true), stage.spec("t", restart, significant: true),
      ])
    let error = try await stage.running(top) { run in
      stage.tell("s", .finish)
      _ = try await stage.ended(run)
    }
    #expect(error == nil)
    #expect(stage.log.all == ["start a", "start s", "start t", "stop t", "stop a"])
    #expect(top.snapshot().state == .finished)
  }

  @Test("The last significant child that ends is it under allSignificant (OTP significant_all)")
  func all() async throws {
    let top = top(
      .allSignificant,
      [
        stage.spec("a"), stage.spec("s", .transient, significant: true), stage.spec("t", .temporary, significant: true),
      ])
    try await stage.running(top) { run in
      stage.tell("s", .finish)
      try await top.until("a:running", "s:finished", "t:running")
      stage.tell("t", .crash)
      _ = try await stage.ended(run)
    }
    #expect(stage.log.all.last == "stop a")
  }

  @Test("A significant child that is restarted ends nothing (OTP significant_transient)")
  func transient() async throws {
    let top = top(.anySignificant, [stage.spec("s", .transient, significant: true)])
    try await stage.running(top) { run in
      stage.tell("s", .crash)
      try await until("s is back") { stage.log.all.count == 2 }
      try await top.until("s:running")
      stage.tell("s", .finish)
      _ = try await stage.ended(run)
    }
    #expect(stage.log.all == ["start s", "start s"])
  }

  @Test("A temporary significant child ends its supervisor even by a failure (OTP significant_temporary)")
  func temporary() async throws {
    let top = top(.anySignificant, [stage.spec("a"), stage.spec("s", .temporary, significant: true)])
    let error = try await stage.running(top) { run in
      stage.tell("s", .crash)
      _ = try await stage.ended(run)
    }
    #expect(error == nil)
    #expect(stage.log.all == ["start a", "start s", "stop a"])
  }

  @Test("A significant child that is stopped on request ends nothing (OTP significant_terminate)")
  func terminated() async throws {
    let top = top(.anySignificant, [stage.spec("s", .transient, significant: true), stage.spec("a")])
    try await stage.running(top) { _ in
      try await top.terminateChild("s")
      #expect(await top.states() == ["s:stopped", "a:running"])
      #expect(top.snapshot().state == .running)
    }
  }

  @Test("A significant child that ends as a bystander ends nothing (OTP significant_bystander)")
  func bystander() async throws {
    let top = stage.supervisor(
      .oneForAll, Intensity(), autoShutdown: .anySignificant,
      [stage.spec("a"), stage.spec("s", .temporary, significant: true)])
    try await stage.running(top) { _ in
      stage.tell("a", .crash)
      try await until("a is back") { stage.log.all.count == 4 }
      try await top.until("a:running")
      #expect(top.snapshot().state == .running)
    }
  }

  @Test("Auto-shutdown of a nested supervisor is a normal end to its parent (OTP significant_escalation)")
  func escalation() async throws {
    let stage = stage
    let nested = ChildSpec(id: "nested", kind: .supervisor, restart: .transient) { context in
      Supervisor(
        "nested", autoShutdown: .anySignificant, children: [stage.spec("s", .transient, significant: true)],
        surroundings: context.surroundings)
    }
    let top = stage.supervisor([nested])
    try await stage.running(top) { _ in
      try await until("s lives") { !stage.log.all.isEmpty }
      try await until("s runs") { top.snapshot().children.first?.children.first?.state == .running }
      stage.tell("s", .finish)
      try await top.until("nested:finished")
    }
    #expect(stage.log.all == ["start s"])
    #expect(stage.events.all == [])
  }

  @Test("Significance and auto-shutdown change at run time (OTP significant_upgrade_child, significant_upgrade_any)")
  func upgrade() async throws {
    let top = top(.never, [stage.spec("a"), stage.spec("s", .transient)])
    try await stage.running(top) { run in
      #expect(
        await refusal { try await top.replace(stage.spec("s", .transient, significant: true)) } == .badSpecification)
      try await top.reconfigure(autoShutdown: .anySignificant)
      try await top.replace(stage.spec("s", .transient, significant: true))
      #expect(await refusal { try await top.reconfigure(autoShutdown: .never) } == .badSpecification)
      stage.tell("s", .finish)
      _ = try await stage.ended(run)
    }
    #expect(stage.log.all == ["start a", "start s", "stop a"])
  }
}
