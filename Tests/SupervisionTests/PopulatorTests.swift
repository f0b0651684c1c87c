import Foundation
import Supervision
import TestKit
import Testing

/// The desired children, as a store would hold them.
private final class Documents: @unchecked Sendable {
  // Sendable is true: all but `reads` is only touched while `lock` is held.
  private let lock = NSLock()
  private var specs: [ChildSpec]
  private var error: (any Error)?
  let reads = EventLog<Int>()

  init(_ specs: [ChildSpec] = []) { self.specs = specs }

  func put(_ specs: ChildSpec...) { lock.withLock { (self.specs, error) = (specs, nil) } }
  func fail(_ error: any Error) { lock.withLock { self.error = error } }

  func read() throws -> [ChildSpec] {
    reads.append(0)
    return try lock.withLock {
      if let error { throw error }
      return specs
    }
  }
}

@Suite struct PopulatorTests {
  let clock: ManualClock
  let stage: Stage
  let top: Supervisor
  private let documents = Documents()

  init() {
    clock = ManualClock()
    stage = Stage(clock)
    top = stage.supervisor([stage.spec("static")])
  }

  private func populator(_ settings: Populator.Settings = .init()) -> Populator {
    Populator(of: top, settings: settings, surroundings: stage.surroundings) { [documents] in try documents.read() }
  }

  /// Runs the supervisor and the populator around `body`.
  private func populating(_ populator: Populator, _ body: (Task<Void, any Error>) async throws -> Void) async throws {
    let life = Task { try await populator.run() }
    defer { life.cancel() }
    try await stage.running(top) { _ in try await body(life) }
  }

  private func rounds(_ count: Int, _ populator: Populator) async throws {
    try await until("round \(count)") { await populator.loops >= count }
  }

  @Test("Each step starts what is missing, stops and forgets what is surplus, and leaves the rest alone (SY-03)")
  func step() async throws {
    documents.put(stage.spec("a"), stage.spec("b"))
    let populator = populator()
    try await populating(populator) { _ in
      try await rounds(1, populator)
      #expect(await top.states() == ["static:running", "a:running", "b:running"])
      let untouched = try #require(stage.contexts.last).fence
      documents.put(stage.spec("b"), stage.spec("c"))
      clock.advance(by: .seconds(30))
      try await rounds(2, populator)
      #expect(await top.states() == ["static:running", "b:running", "c:running"])
      #expect(Set(stage.log.all) == ["start static", "start a", "start b", "stop a", "start c"])
      #expect(stage.log.all.count == 5)
      #expect(untouched.isCurrent || stage.contexts[1].fence.isCurrent)
      clock.advance(by: .seconds(30))
      try await rounds(3, populator)
      #expect(stage.log.all.count == 5)
    }
    #expect(stage.events.all == [])
  }

  @Test("A child that is there but dead is started again (SY-03)", arguments: ["finish", "terminate", "fail"])
  func dead(_ way: String) async throws {
    documents.put(stage.spec("a", .transient, digest: "1"))
    let populator = populator()
    try await populating(populator) { _ in
      try await rounds(1, populator)
      switch way {
      case "finish":
        stage.tell("a", .finish)
        try await top.until("static:running", "a:finished")
      case "terminate":
        try await top.terminateChild("a")
      default:
        stage.next("a", .fails)
        #expect(await refusal { try await top.replace(stage.spec("a", .transient, digest: "2")) } == .startFailed)
        documents.put(stage.spec("a", .transient, digest: "2"))
      }
      clock.advance(by: .seconds(30))
      try await rounds(2, populator)
      #expect(await top.states() == ["static:running", "a:running"])
    }
  }

  @Test("A child whose content changed gets a new life within one step, and only that one (SY-05)")
  func digest() async throws {
    documents.put(stage.spec("a", digest: "1"), stage.spec("b", digest: "1"))
    let populator = populator()
    try await populating(populator) { _ in
      try await rounds(1, populator)
      documents.put(stage.spec("a", digest: "2"), stage.spec("b", digest: "1"))
      clock.advance(by: .seconds(30))
      try await rounds(2, populator)
      #expect(await top.children().map(\.digest) == ["", "2", "1"])
      #expect(stage.log.all.suffix(2) == ["stop a", "start a"])
      #expect(await top.children().map(\.restarts) == [0, 0, 0])
    }
  }

  @Test("A failing read keeps what runs, is reported, and the next good one goes on")
  func failingRead() async throws {
    documents.put(stage.spec("a"))
    let populator = populator()
    try await populating(populator) { _ in
      try await rounds(1, populator)
      documents.fail(Stage.Crash(description: "no store"))
      clock.advance(by: .seconds(30))
      try await rounds(2, populator)
      #expect(await top.states() == ["static:running", "a:running"])
      let problem = "the desired children could not be read: no store"
      #expect(stage.events.all == [.init(path: [], kind: .populationFailed(error: problem))])
      documents.put(stage.spec("b"))
      clock.advance(by: .seconds(30))
      try await rounds(3, populator)
      #expect(await top.states() == ["static:running", "b:running"])
    }
  }

  @Test("A child that cannot start, or is desired twice, is reported and holds up no other")
  func badChild() async throws {
    documents.put(stage.spec("a"), stage.spec("b"), stage.spec("b"), stage.spec("static", digest: "9"))
    stage.next("a", .fails)
    let populator = populator()
    try await populating(populator) { _ in
      try await rounds(1, populator)
      #expect(await top.states() == ["static:running", "b:running"])
      #expect(
        stage.events.all.map(\.kind) == [
          .populationFailed(error: #""b" is desired twice; the first one counts"#),
          .populationFailed(error: #"child "a" did not start: no a"#),
        ])
      clock.advance(by: .seconds(30))
      try await rounds(2, populator)
      #expect(await top.states() == ["static:running", "b:running", "a:running"])
    }
  }

  @Test("A looper ends after its loops (SY-04)")
  func loops() async throws {
    let populator = populator(.init(form: .looper(step: .seconds(10)), maximumLoops: 3))
    try await populating(populator) { life in
      for count in 1...2 {
        try await rounds(count, populator)
        clock.advance(by: .seconds(10))
      }
      try await within("its end") { try await life.value }
      #expect(documents.reads.all.count == 3)
    }
  }

  @Test("A looper takes a new step while it waits (SY-04)")
  func liveStep() async throws {
    let populator = populator(.init(form: .looper(step: .seconds(1_000))))
    try await populating(populator) { _ in
      try await rounds(1, populator)
      await populator.update(.init(form: .looper(step: .seconds(5))))
      clock.advance(by: .seconds(5))
      try await rounds(2, populator)
      #expect(documents.reads.all.count == 2)
    }
  }

  @Test("A receiver works on a poke and only then, and pokes that come together are one (SY-04)")
  func receiver() async throws {
    documents.put(stage.spec("a"))
    let populator = populator(.init(form: .receiver))
    try await populating(populator) { _ in
      clock.advance(by: .seconds(86_400))
      #expect(await populator.loops == 0)
      await populator.poke()
      try await rounds(1, populator)
      #expect(await top.states() == ["static:running", "a:running"])
      documents.put()
      await populator.poke()
      try await rounds(2, populator)
      #expect(await top.states() == ["static:running"])
      #expect(documents.reads.all.count == 2)
    }
  }

  @Test("A stationary populator does nothing (SY-04)")
  func stationary() async throws {
    documents.put(stage.spec("a"))
    let populator = populator(.init(form: .stationary))
    try await populating(populator) { _ in
      await populator.poke()
      clock.advance(by: .seconds(86_400))
      await populator.poke()
      #expect(await populator.loops == 0)
      #expect(documents.reads.all.count == 0)
      await populator.update(.init(form: .receiver))
      try await rounds(1, populator)
    }
  }

  @Test("A supervisor that was restarted is populated anew")
  func restartedSupervisor() async throws {
    documents.put(stage.spec("a"))
    let populator = populator()
    let life = Task { try await populator.run() }
    defer { life.cancel() }
    try await stage.running(top) { _ in try await rounds(1, populator) }
    clock.advance(by: .seconds(30))
    try await stage.running(top) { _ in
      try await rounds(2, populator)
      #expect(await top.states() == ["static:running", "a:running"])
    }
  }

  @Test("An unknown module stands in the tree, harms nobody and says what is wrong every ten minutes (SY-07)")
  func undefined() async throws {
    let reports = EventLog<String>()
    let clock = clock
    let unknown = ChildSpec(id: "Bogus for web") { _ in
      UndefinedModule(problem: "there is no metric \"Bogus\"", clock: clock) { reports.append($0) }
    }
    try await stage.running(top) { _ in
      try await top.startChild(unknown)
      for count in 1...3 {
        try await until("report \(count)") { reports.all.count == count }
        try await clock.sleepers(atLeast: 1)
        try await until("it sleeps") { clock.deadlines.contains(.init(offset: .seconds(600 * count))) }
        clock.advance(by: .seconds(599))
        try await top.startChild(stage.spec("turn", .temporary))
        try await top.terminateChild("turn")
        #expect(reports.all.count == count)
        clock.advance(by: .seconds(1))
      }
      try await until("the fourth report") { reports.all.count == 4 }
      #expect(await top.states() == ["static:running", "Bogus for web:running"])
      #expect(reports.all.allSatisfy { $0 == "there is no metric \"Bogus\"" })
    }
    #expect(stage.events.all == [])
  }
}
