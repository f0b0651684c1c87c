internal import Foundation
internal import Glibc
internal import Model
internal import TestKit
internal import Testing

extension EndToEnd {
  /// Beginnings and ends of the service: crashes, restarts, signals.
  @Suite(.serialized, .enabled(if: Scene.isPossible, Scene.absence)) struct Life {
    /// When the service is killed: once the mail is in the ledger, or before its delivery could be written down, which
    /// takes as long as its lease to come right.
    enum Moment: CaseIterable {
      case delivered, inFlight
      static let all = ProcessInfo.processInfo.environment["SYSCRAP_LONG"] == "1" ? allCases : [.delivered]
    }

    @Test(
      "After kill -9 episodes go on: no second firing mail under another key, and the end belongs to the beginning",
      arguments: Moment.all)
    func crash(_ moment: Moment) async throws {
      try await Scene.with { scene in
        try await scene.apply(scene.target(), Scene.vitals, scene.email(), Scene.disk(max: 0))
        try await scene.service.start()
        let firing = try await scene.mail.message("[FIRING critical]", within: .seconds(60))
        if moment == .delivered {
          _ = try await scene.service.eventually("the delivery in the ledger") {
            try await scene.service.values("objects/notifications").first { $0["state"]?.text == "delivered" }
          }
        }
        try await scene.service.kill()
        let documents = try await scene.service.run(["get", "reaction_targets", "-o", "name"])
        #expect(documents.lines == ["reaction_targets/disk-full"])
        let kept = try await scene.service.run(["get", "aggregations", "box", "-o", "json"])
        let before = try #require(try Value(json: kept.output).elements)
        #expect(before.contains { $0["metric"]?.text == "Vitals.Disk" })

        try await scene.service.start()
        // Two looks at the disk after the start: whatever would be said again has been said.
        let started = Date()
        _ = try await scene.service.eventually("two looks at the disk", within: .seconds(60)) {
          let looks = try await scene.service.history("box", "Vitals.Disk").filter {
            ($0["updated"]?.instant).map { $0 > started } == true
          }
          return looks.count >= 2 ? looks : nil
        }
        let samples = try await scene.service.values("objects/aggregations/box")
        #expect(before.allSatisfy(samples.contains))
        try await scene.apply(Scene.disk(max: 100))
        let resolved = try await scene.mail.message("[RESOLVED]", within: .seconds(75))
        let episode = try #require(firing.header("X-Syscrap-Episode"))
        #expect(resolved.header("X-Syscrap-Episode") == episode)
        // A mail whose delivery the crash kept from being written down may come again, as the same mail.
        let identifiers = scene.mail.messages().filter { $0.subject.hasPrefix("[FIRING") }.map {
          $0.header("Message-ID")
        }
        #expect(Set(identifiers).count == 1, "\(identifiers)")
        #expect(resolved.header("References")?.contains(try #require(firing.header("Message-ID"))) == true)
        let entries = try await scene.service.eventually("a settled queue", within: .seconds(75)) {
          let entries = try await scene.service.values("objects/notifications")
          return entries.allSatisfy { ["delivered", "merged"].contains($0["state"]?.text) } ? entries : nil
        }
        #expect(entries.compactMap { $0["kind"]?.text }.sorted() == ["firing", "resolved"])
        #expect(Set(entries.compactMap { $0["episode"]?.text }) == [episode])
        #expect(try await scene.service.values("objects/episodes").compactMap { $0["_id"]?.text } == [episode])
        #expect(try await scene.service.figure("syscrap_queue_imbalance") == 0)
      }
    }

    @Test("The alive file is touched within 6 s of the start, and again within 6 s")
    func alive() async throws {
      try await Scene.with { scene in
        let started = Date()
        try await scene.service.start()
        let path = scene.service.stateDirectory + "/alive"
        let first = try await scene.service.eventually("the alive file") { Self.changed(path) }
        #expect(first.timeIntervalSince(started) < 6)
        let second = try await scene.service.eventually("another touch", within: .seconds(60)) {
          Self.changed(path).flatMap { $0 > first ? $0 : nil }
        }
        #expect(second.timeIntervalSince(first) < 6)
      }
    }

    @Test("Touching the restart file restarts in place: same process, new start, the queue intact")
    func restartFile() async throws {
      let slow = try await Scene.relay { $0.answers = ["mail": "451 4.3.0 Come back later"] }
      try await Scene.with(mail: slow) { scene in
        try await scene.apply(scene.target(), Scene.vitals, scene.email(), Scene.disk(max: 0))
        try await scene.service.start()
        let process = await scene.service.processIdentifier
        let waiting = try await scene.service.eventually("a mail that waits") {
          try await scene.service.values("objects/notifications").first {
            $0["state"]?.text == "pending" && $0["attempts"]?.elements?.isEmpty == false
          }
        }
        let position = scene.service.log.all.count
        let restart = scene.service.stateDirectory + "/restart"
        #expect(utimensat(AT_FDCWD, restart, nil, 0) == 0)
        try await scene.service.listens(after: position)
        #expect(await scene.service.processIdentifier == process)
        #expect(await scene.service.isRunning)
        #expect(scene.service.log.all.count { $0.contains(" info Started ") } == 2)
        try await scene.mail.configure(try await Scene.relay())
        let id = try #require(waiting["_id"]?.text)
        let retried = try await scene.service.run(["queue", "retry", id])
        #expect(retried.status == 0, "\(retried.errorText)")
        _ = try await scene.mail.message("[FIRING critical]", within: .seconds(60))
        let delivered = try await scene.service.eventually("the delivery in the ledger") {
          try await scene.service.values("objects/notifications/\(id)").first { $0["state"]?.text == "delivered" }
        }
        #expect(delivered["key"] == waiting["key"])
        #expect(try await scene.service.values("objects/notifications").count == 1)
        #expect(try await scene.service.figure("syscrap_queue_imbalance") == 0)
      }
    }

    @Test("SIGTERM drains and ends with 0 within 20 s, with everything that was gathered in the store")
    func terminate() async throws {
      try await Scene.with { scene in
        try await scene.apply(scene.target(), Scene.vitals)
        try await scene.service.start()
        let last = try await scene.service.eventually("samples") {
          let samples = try await scene.service.history("box", "Vitals.RAM")
          return samples.count >= 2 ? samples.last : nil
        }
        let clock = ContinuousClock()
        let began = clock.now
        await scene.service.signal(SIGTERM)
        #expect(try await scene.service.exit(within: .seconds(20)) == 0)
        print("SIGTERM: the service ended after \(seconds(clock.now - began))")
        #expect(scene.service.log.all.last?.contains(" info Stopped") == true)
        let kept = try await scene.service.run(["get", "aggregations", "box", "-o", "json"])
        #expect(try #require(try Value(json: kept.output).elements).contains(last))
      }
    }

    @Test("SIGTERM lets a mail that is under way arrive, and the ledger knows of it")
    func terminateWhileSending() async throws {
      // The server stops reading in the middle of the message for a while.
      let slow = try await Scene.relay {
        $0.hang = .message
        $0.pause = 1
      }
      try await Scene.with(mail: slow) { scene in
        try await scene.apply(scene.target(), Scene.vitals, scene.email(), Scene.disk(max: 0))
        try await scene.service.start()
        try await scene.mail.event(within: .seconds(60)) { if case .hung(_, .message) = $0 { true } else { false } }
        await scene.service.signal(SIGTERM)
        #expect(try await scene.service.exit(within: .seconds(20)) == 0)
        let sent = try await scene.mail.messages(atLeast: 1, within: .seconds(60))
        #expect(sent.count == 1)
        let queue = try await scene.service.run(["get", "notifications", "-o", "json"])
        #expect(
          try Value(json: queue.output).elements?.compactMap { $0["state"]?.text } == ["delivered"], "\(queue.text)")
      }
    }

    @Test("SIGHUP with a broken configuration changes nothing and shows the problem; with a changed one it restarts")
    func reload() async throws {
      try await Scene.with { scene in
        try await scene.service.start()
        let process = await scene.service.processIdentifier
        try scene.service.configure("populaton: {step: 1s}\nlog: {level: warn}")
        await scene.service.signal(SIGHUP)
        let problem = try await scene.service.eventually("the problem") {
          try await scene.service.values("objects/problems").first { $0["path"]?.text == "log.level" }
        }
        #expect(problem["kind"]?.text == "configuration")
        #expect(problem["file"]?.text == scene.service.configurationPath)
        #expect(problem["hint"]?.text == "did you mean warning?")
        #expect(await scene.service.isRunning)
        #expect(scene.service.log.all.count { $0.contains(" info Started ") } == 1)

        let position = scene.service.log.all.count
        try scene.service.configure("population: {step: 1s}")
        await scene.service.signal(SIGHUP)
        try await scene.service.listens(after: position)
        #expect(scene.service.log.all.count { $0.contains(" info Started ") } == 2)
        #expect(await scene.service.processIdentifier == process)
      }
    }

    @Test("Under --respawn a killed service is started again, and SIGTERM ends both")
    func respawn() async throws {
      try await Scene.with { scene in
        try await scene.service.start(["run", "--respawn"])
        let parent = try #require(await scene.service.processIdentifier)
        let first = try #require(Self.children(of: parent).first)
        let position = scene.service.log.all.count
        kill(first, SIGKILL)
        do {
          try await scene.service.listens(after: position)
        } catch {
          for child in Self.children(of: parent) { kill(child, SIGKILL) }
          throw error
        }
        let second = try #require(Self.children(of: parent).first)
        #expect(second != first)
        #expect(try await scene.service.request("GET", "/healthz").status == 200)
        await scene.service.signal(SIGTERM)
        do {
          #expect(try await scene.service.exit(within: .seconds(20)) == 0)
        } catch {
          kill(second, SIGKILL)
          throw error
        }
        #expect(kill(second, 0) != 0)
      }
    }

    @Test("Behind a unix socket the service is found by the same commands, and no stranger can reach it")
    func unixSocket() async throws {
      try await Scene.with(configuration: "http: {listen: state/socket}") { scene in
        try await scene.apply(scene.target())
        try await scene.service.start()
        let tree = try await scene.service.run(["tree"])
        #expect(tree.status == 0, "\(tree.errorText)")
        #expect(tree.text.contains("Aggregator for box"))
        let attributes = try FileManager.default.attributesOfItem(atPath: scene.service.stateDirectory + "/socket")
        let mode = try #require(attributes[.posixPermissions] as? NSNumber)
        #expect(mode.intValue & 0o007 == 0)
        await scene.service.stop()
        #expect(try await scene.service.run(["tree"]).status == 3)
        try await scene.service.start()
        #expect(try await scene.service.run(["tree"]).status == 0)
      }
    }

    private static func changed(_ path: String) -> Date? {
      try? FileManager.default.attributesOfItem(atPath: path)[.modificationDate] as? Date
    }

    private static func children(of process: Int32) -> [Int32] {
      let threads = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/task")) ?? []
      return threads.flatMap { thread in
        ((try? String(contentsOfFile: "/proc/\(process)/task/\(thread)/children", encoding: .utf8)) ?? "")
          .split(separator: " ").compactMap { Int32($0) }
      }
    }
  }
}
