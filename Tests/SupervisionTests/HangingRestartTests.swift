import Supervision
import TestKit
import Testing

/// While a child fails its start again and again, the supervisor answers, and stops when it is told to.
@Suite struct HangingRestartTests {
  let stage = Stage()
  let many = Intensity(restarts: 1_000_000, period: .seconds(3600))

  @Test("A restart that fails for ever does not hold up the supervisor (OTP hanging_restart_loop)")
  func oneForOne() async throws {
    let top = stage.supervisor(.oneForOne, many, [stage.spec("a"), stage.spec("b")])
    let error = try await stage.running(top) { _ in
      stage.always("a", .fails)
      stage.tell("a", .crash)
      try await until("it has failed often") { stage.log.all.count > 100 }
      #expect(await top.states().last == "b:running")
      try await top.startChild(stage.spec("c"))
      #expect(await refusal { try await top.startChild(stage.spec("c")) } == .alreadyStarted)
      try await top.terminateChild("c")
      try await top.terminateChild("a")
      #expect(await top.states() == ["a:stopped", "b:running", "c:stopped"])
      stage.always("a", nil)
      try await top.restartChild("a")
      stage.always("a", .fails)
      stage.tell("a", .crash)
      try await until("it fails again") { stage.log.all.last == "fail a" }
    }
    #expect(error == nil)
    #expect(await top.count().active == 0)
  }

  @Test(
    "A group that never comes up does not hold up the supervisor (OTP hanging_restart_loop_rest_for_one)",
    arguments: [Strategy.restForOne, .oneForAll])
  func group(_ strategy: Strategy) async throws {
    let top = stage.supervisor(strategy, many, ["a", "b", "c"].map { stage.spec($0) })
    let error = try await stage.running(top) { _ in
      stage.always("b", .fails)
      stage.tell("b", .crash)
      try await until("it has failed often") { stage.log.all.filter { $0 == "fail b" }.count > 100 }
      // Whether it is in time for the next stop of the group or not: there is an answer.
      let answer = await refusal { try await top.startChild(stage.spec("d")) }
      #expect([nil, .isRestarting].contains(answer))
      #expect(await top.count().specs == 4)
      try await top.removeChild("d")
      #expect(await top.count().specs == 3)
      stage.always("b", nil)
      try await until("all live") { await top.states() == ["a:running", "b:running", "c:running"] }
      stage.always("b", .fails)
      stage.tell("b", .crash)
      try await until("it fails again") { stage.log.all.last == "fail b" }
    }
    #expect(error == nil)
    #expect(await top.count().active == 0)
  }

  @Test("A dynamic child whose restart fails for ever does not hold up the others (OTP hanging_restart_loop_simple)")
  func dynamic() async throws {
    let top = stage.supervisor(.oneForOne, many)
    let error = try await stage.running(top) { _ in
      for id in ["a", "b", "c"] { try await top.startChild(stage.spec(id)) }
      stage.always("b", .fails)
      stage.tell("b", .crash)
      try await until("it has failed often") { stage.log.all.count > 100 }
      #expect(await refusal { try await top.deleteChild("b") } != nil)
      try await top.terminateChild("c")
      #expect(await top.count().specs == 3)
      #expect(await top.states().first == "a:running")
    }
    #expect(error == nil)
    #expect(await top.count().active == 0)
  }
}
