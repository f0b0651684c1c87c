internal import Foundation
internal import Logging
internal import Model
internal import SQLiteStorage
internal import Storage
internal import TestKit
internal import Testing

extension EndToEnd {
  /// The limits of documents, where a running service keeps to them.
  @Suite(.serialized, .enabled(if: Scene.isPossible, Scene.absence)) struct Limits {
    private static func options(_ limits: String) -> String {
      """
      {kind: aggregation_options, _id: generic, target: generic, variable: 1d, limits: {\(limits)},
       metrics: {Vitals.RAM: {interval: 1s}, Vitals.CPU: {interval: 1s}}}
      """
    }

    @Test("A history of five stays at five while it is written to, and the oldest goes first")
    func realTime() async throws {
      try await Scene.with { scene in
        try await scene.apply(scene.target(), Self.options("RT: 5"))
        try await scene.service.start()
        var seen: [Date] = []
        var counts: [Int] = []
        _ = try await scene.service.eventually("five samples", within: .seconds(90)) {
          try await scene.service.history("box", "Vitals.RAM").count == 5 ? true : nil
        }
        let clock = ContinuousClock()
        let deadline = clock.now + .seconds(90)
        while seen.count < 20, clock.now < deadline {
          let kept = try await scene.service.history("box", "Vitals.RAM").compactMap { $0["updated"]?.instant }
          counts.append(kept.count)
          // What is kept is the newest of what was ever seen, without a gap: what went was the oldest.
          let newer = kept.filter { one in seen.last.map { one > $0 } ?? true }
          seen += newer
          #expect(kept == Array(seen.suffix(kept.count)))
          try await clock.sleep(for: .milliseconds(200))
        }
        print("limits RT 5: \(seen.count) samples seen, kept \(counts)")
        #expect(seen.count >= 20)
        // Some may have come since the last were counted.
        #expect(counts.allSatisfy { (5...10).contains($0) })
        #expect(counts.count { $0 == 5 } > counts.count / 2)
        await scene.service.stop()
        let left = try await scene.service.run(["get", "aggregations", "box", "-o", "json"])
        let ram = try #require(try Value(json: left.output).elements).filter {
          $0["metric"]?.text == "Vitals.RAM" && $0["type"]?.text == "RT"
        }
        #expect(ram.count == 5)
      }
    }

    @Test("Who asks for one history has the roll-ups of that one stored, and of no other")
    func asked() async throws {
      try await Scene.with { scene in
        try await scene.apply(scene.target(), Self.options("RT: 100000"))
        try await scene.service.start()
        let store = try await SQLiteStorage.open(
          SQLiteStorage.Configuration(path: scene.service.stateDirectory + "/syscrap.db"),
          logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let (ram, cpu) = (Series(target: "box", metric: "Vitals.RAM"), Series(target: "box", metric: "Vitals.CPU"))
        func progress(_ metric: String) async throws -> [RollUpState?] {
          let before = try await scene.service.eventually("more samples of both") {
            let raw = try await store.latest(cpu, type: .realTime)
            let states = try await store.rollUpStates([ram, cpu])
            // Something of the other one is not stored.
            return raw.map { SampleKey($0) != states[cpu]?.through } == true ? states : nil
          }
          _ = try await scene.service.history("box", metric)
          let after = try await store.rollUpStates([ram, cpu])
          return [before[ram], after[ram], before[cpu], after[cpu]]
        }
        var isQuiet = false
        // At the turn of an hour, and once a minute, all are stored in any case.
        for _ in 0..<3 where !isQuiet {
          let states = try await progress("Vitals.RAM")
          #expect(states[1] != nil)
          isQuiet = states[2] == states[3]
        }
        #expect(isQuiet)
        let latest = try await store.latest(cpu, type: .realTime).map { SampleKey($0) }
        _ = try await scene.service.run(["describe", "target", "box"])
        _ = try await scene.service.history("box", "Vitals.CPU")
        let asked = try await store.rollUpStates([cpu])[cpu]?.through
        #expect(try #require(asked) >= #require(latest))
        await store.close()
      }
    }
  }
}
