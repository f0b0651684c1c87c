internal import Foundation
internal import Logging
internal import Model
internal import MongoStorage
internal import Storage
internal import TestKit
internal import Testing

extension EndToEnd {
  /// F28: the wall clock of the machine that gathers is set while the service is at work.
  @Suite(
    .serialized,
    .enabled(
      if: Scene.isPossible && MongoServer.isExpected && WallClock.isExpected,
      "needs sshd, mongod, python3 with aiosmtpd and pymongo, and a compiler for C"))
  struct SetClock {
    /// How long the clock goes to and fro.
    private static let strobe: Duration = Kills.isLong ? .seconds(300) : .seconds(15)

    /// A count of samples, and when the last of them came.
    private struct Mark {
      var count: Int
      var at: ContinuousClock.Instant
    }

    private static let series = Series(target: "box", metric: "Vitals.RAM")

    /// Of a type, whatever the clock shows: a question to the service has a window that goes by it.
    private func samples(_ store: MongoStorage, _ type: SampleType = .realTime) async throws -> [Sample] {
      try await store.samples(SampleQuery(Self.series, type: type, limit: 10_000))
    }

    /// Waits for the next sample.
    private func mark(_ store: MongoStorage) async throws -> Mark {
      let before = try await samples(store).count
      let end = ContinuousClock.now + .seconds(10)
      while .now < end {
        let count = try await samples(store).count
        if count > before { return Mark(count: count, at: .now) }
        try await Task.sleep(for: .milliseconds(50))
      }
      throw ManagedProcessError("no sample came for 10 s")
    }

    /// One sample a second came between two marks: one more at most; a busy machine may leave a few out.
    private func expectRuns(_ what: String, _ first: Mark, _ last: Mark) {
      let passed = first.at.duration(to: last.at)
      let count = last.count - first.count
      print("\(what): \(count) samples in \(seconds(passed))")
      let more = (Duration.seconds(count) - passed) / .seconds(1)
      #expect(more <= 1.5, "\(what)")
      #expect(more >= -max(2.5, 0.15 * (passed / .seconds(1))), "\(what)")
    }

    @Test(
      "F28: set by an hour, by a day and to and fro, nothing runs too often or not at all, nothing is deleted or lost")
    func set() async throws {
      let server = try await MongoServer.start(.replicaSet(1))
      let uri = server.uri(database: "syscrap")
      let clock = try await WallClock()
      try await Scene.with(configuration: "store: '\(uri)'") { scene in
        let service = scene.service
        let own = scene.email("own", to: "admins@example.org").replacingOccurrences(
          of: "target: box", with: "target: generic")
        // Caps by age that are shorter than the steps are long: without a pause all of it would go.
        let vitals = """
          {kind: aggregation_options, target: generic, limits: {RT: 5000, variable: 30m, hour: 12h, day: 12h},
           variable: 3s, metrics: {Vitals.RAM: {interval: 1s}, Vitals.Disk: {interval: 5s}}}
          """
        try await scene.apply(scene.target(), vitals, scene.email(), own, Scene.disk(max: 0))
        try await service.start(environment: clock.environment)
        _ = try await scene.mail.message("[FIRING critical]", within: .seconds(60))
        let store = try await MongoStorage.open(.init(uri: uri), logger: Logger(label: "test"))
        let lease = try #require(try await store.lease("gathering"))
        _ = try await service.eventually("buckets") {
          try await samples(store, .variable).count > 2 ? true : nil
        }
        let begin = try await mark(store)

        var subjects: [String] = []
        for (round, name, ahead) in [
          (1, "an hour forward", Duration.seconds(3600)), (2, "an hour back", .zero),
          (3, "a day back", .seconds(-86_400)), (4, "a day forward", .zero),
        ] {
          // Of two messages one waits for another try, and one is in a worker's hands.
          try await scene.mail.configure(
            try await Scene.relay {
              $0.greylistCount = round
              $0.hang = .message
              $0.pause = 4
            })
          let events = scene.mail.events().count
          subjects += ["first, \(name)", "second, \(name)"]
          try await server.python(
            """
            db.notifications.insert_many([{"reaction": "backup", "target": "box", "type": "email",
              "payload": {"from": "backup@example.org", "to": ["ops@example.org"], "subject": f"{n}, \(name)",
                "body": "all well"}, "updated": datetime.datetime.now(datetime.timezone.utc)} for n in ("first", "second")])
            """, database: "syscrap")
          _ = try await service.eventually("a message in a worker's hands and one that waits", within: .seconds(30)) {
            let hung = scene.mail.events().dropFirst(events).contains { if case .hung = $0 { true } else { false } }
            let counts = try await store.queueCounts(now: Date())
            return hung && counts.pending == 1 ? true : nil
          }
          let kept = try await samples(store, .variable).map(\.tag)
          let before = try await mark(store)
          let set = ContinuousClock.now
          try clock.set(ahead: ahead)
          try await scene.mail.configure(try await Scene.relay())
          for subject in subjects.suffix(2) { _ = try await scene.mail.message(subject, within: .seconds(70)) }
          print("\(name): both messages were there after \(seconds(.now - set))")
          // Deletes by age come with the end of a bucket: one ends every 3 s.
          try await Task.sleep(for: max(.zero, .seconds(4) - (.now - set)))
          expectRuns(name, before, try await mark(store))
          let left = Set(try await samples(store, .variable).map(\.tag))
          let gone = kept.filter { !left.contains($0) }
          #expect(gone.isEmpty, "\(name): deleted for their age: \(gone)")
        }
        #expect(try await service.figure("syscrap_clock_steps_total") == 4)
        #expect(try await service.figure("syscrap_history_deletes_paused") == 1)

        let before = try await mark(store)
        var isAhead = false
        while .now - before.at < Self.strobe {
          isAhead.toggle()
          try clock.set(ahead: isAhead ? .seconds(1) : .zero)
          try await Task.sleep(for: .seconds(1))
        }
        try clock.set(ahead: .zero)
        let end = try await mark(store)
        expectRuns("to and fro by a second for \(Self.strobe)", before, end)
        expectRuns("all of it", begin, end)

        // Recorded: each step in the log's count, and a notice to people.
        let told = service.log.all.filter { $0.contains("The wall clock was set") }
        print("steps in the log: \(told.count)")
        #expect(told.contains { $0.contains("clock.step_seconds=") && $0.contains("history.deletes_paused=\"true\"") })
        _ = try await scene.mail.event(within: .seconds(60)) {
          guard case .message(let message) = $0 else { return false }
          return message.recipients == ["admins@example.org"] && message.subject.contains("the clock of this machine")
        }
        // Nobody else was thought to be needed.
        let now = try #require(try await store.lease("gathering"))
        #expect(now.owner == lease.owner && now.epoch == lease.epoch && now.beat > lease.beat)
        #expect(try Value(json: try await service.request("GET", "/readyz").body)["role"]?.text == "active")
        let metrics = try await service.request("GET", "/metrics").text
        #expect(!metrics.contains("syscrap_lease_lost_total{") && !metrics.contains("syscrap_takeovers_total"))
        #expect(try await service.figure("syscrap_queue_imbalance") == 0)
        // Each once: what was queued, and the condition that has been there all along.
        let mails = scene.mail.messages().map(\.subject)
        for subject in subjects { #expect(mails.count { $0 == subject } == 1, "\(subject)") }
        #expect(mails.count { $0.hasPrefix("[FIRING critical] Vitals.Disk") } == 1)
        #expect(!mails.contains { $0.hasPrefix("[RESOLVED]") })
        // Every sample is in exactly one bucket, and none came twice.
        await service.stop()
        let raw = try await samples(store).filter { $0.value != nil }
        let buckets = try await samples(store, .variable)
        let sum = buckets.reduce(0) { $0 + ($1.value?["percent"]?["count"]?.integer ?? 0) }
        print("\(raw.count) samples, \(buckets.count) buckets that hold \(sum)")
        #expect(sum == raw.count)
        await store.close()
      }
      await server.end()
    }
  }
}
