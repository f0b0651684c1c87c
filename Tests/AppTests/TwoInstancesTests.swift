internal import Foundation
internal import Glibc
internal import Model
internal import TestKit
internal import Testing

extension EndToEnd {
  /// Two services on one MongoDB: one gathers, the other waits for its end.
  @Suite(.serialized, .enabled(if: Scene.isPossible && MongoServer.isExpected, Scene.absence)) struct TwoInstances {
    private static let isLong = ProcessInfo.processInfo.environment["SYSCRAP_LONG"] == "1"

    /// A target, a mail server, a MongoDB, and two services with state folders of their own.
    private struct Pair: Sendable {
      var mongo: MongoServer
      var scene: Scene
      var services: [SyscrapProcess]

      static func with(_ body: @Sendable (Pair) async throws -> Void) async throws {
        let mongo = try await MongoServer.start(.replicaSet(1))
        let ssh = try await SSHServer.start()
        let mail = try await SMTPServer.start(try await Scene.relay())
        let configuration =
          try await SyscrapProcess.ssh(to: ssh) + "\nstore: '\(mongo.uri(database: "syscrap"))'\n"
        let services = [try SyscrapProcess(configuration), try SyscrapProcess(configuration)]
        try services[0].directory.write("password", Scene.password + "\n")
        let scene = Scene(
          ssh: ssh, mail: mail, service: services[0], authority: try await Scene.certificates.value.authority)
        func end() async {
          for service in services {
            await service.signal(SIGCONT)
            await service.stop()
          }
          await mail.stop()
          await ssh.stop()
          await mongo.end()
        }
        do {
          try await body(Pair(mongo: mongo, scene: scene, services: services))
          await end()
        } catch {
          for (index, service) in services.enumerated() {
            print("the last lines of service \(index):\n" + service.log.all.suffix(40).joined(separator: "\n"))
          }
          await end()
          throw error
        }
      }

      /// Starts both; the first one is active.
      func start() async throws {
        try await services[0].start()
        try await becomes("active", 0, within: .seconds(30))
        try await services[1].start()
        try await becomes("standby", 1, within: .seconds(30))
      }

      func report(_ index: Int) async throws -> Value {
        try Value(json: try await services[index].request("GET", "/readyz").body)
      }

      /// Waits until an instance says that it plays this part. - Returns: how long that took.
      @discardableResult
      func becomes(_ role: String, _ index: Int, within limit: Duration) async throws -> Duration {
        let began = ContinuousClock.now
        _ = try await services[index].eventually("the role \(role)", within: limit) {
          try await report(index)["role"]?.text == role ? true : nil
        }
        return ContinuousClock.now - began
      }

      /// Applies documents by one of the instances.
      func apply(_ document: String, by index: Int) async throws {
        let done = try await services[index].run(["apply", "-f", "-"], input: document + "\n")
        #expect(done.status == 0, "\(done.text)\(done.errorText)")
      }

      /// The different mails that begin so, by their Message-IDs.
      func told(_ prefix: String) -> Set<String> {
        Set(scene.mail.messages().filter { $0.subject.hasPrefix(prefix) }.compactMap { $0.header("Message-ID") })
      }

      func waitForMails(_ prefix: String, _ count: Int) async throws {
        _ = try await services[0].eventually("\(count) mails \(prefix)", within: .seconds(90)) {
          told(prefix).count >= count ? true : nil
        }
      }

      /// Waits until everything in the queue was delivered, as this instance sees it.
      func settles(_ index: Int) async throws -> [Value] {
        try await services[index].eventually("a settled queue", within: .seconds(90)) {
          let entries = try await services[index].values("objects/notifications")
          return entries.allSatisfy { ["delivered", "merged"].contains($0["state"]?.text) } ? entries : nil
        }
      }
    }

    @Test(
      "One gathers; after kill -9 the other takes over within 45 s and goes on with the episode: no news twice, none lost"
    )
    func takeover() async throws {
      try await Pair.with { pair in
        try await pair.scene.apply(
          pair.scene.target(), Scene.vitals, pair.scene.email(), Scene.disk(max: 0))
        try await pair.start()
        try await pair.waitForMails("[FIRING", 1)
        _ = try await pair.settles(0)

        // Exactly one gathers, and the other says who.
        let holder = try await pair.report(0)["instance"]?.text
        let standby = try await pair.report(1)
        #expect(standby["holder"]?.text == holder)
        #expect(standby["status"]?.text == "ready", "\(standby.json())")
        #expect(pair.scene.ssh.acceptedCount == 1)
        #expect(try await pair.services[1].tree().names(below: "Aggregator") == [])
        #expect(try await pair.services[1].tree().names(below: "Reactor") == [])
        let shown = try await pair.services[1].value("fleet").elements?.first
        #expect(shown?["state"]?.text == "standby", "\(String(describing: shown?.json()))")
        let kept = try await pair.services[1].values("objects/episodes")
        #expect(kept.count == 1)
        let described = try await pair.services[1].value("describe/target/box")
        #expect(described["episodes"]?.elements?.count == 1)

        var active = 0
        var (firings, ends, isFiring) = (1, 0, true)
        for round in 0..<(Self.isLong ? 20 : 1) {
          // The first time in the middle of an episode; later the news comes together with the end.
          if round > 0 {
            try await pair.apply(Scene.disk(max: isFiring ? 100 : 0), by: active)
            isFiring.toggle()
            if isFiring { firings += 1 } else { ends += 1 }
          }
          try await pair.services[active].kill()
          let taken = try await pair.becomes("active", 1 - active, within: .seconds(60))
          print("round \(round): the other one gathered \(seconds(taken)) after kill -9")
          #expect(taken < .seconds(45))
          try await pair.services[active].start()
          try await pair.becomes("standby", active, within: .seconds(30))
          active = 1 - active
          try await pair.waitForMails("[FIRING", firings)
          try await pair.waitForMails("[RESOLVED]", ends)
        }
        let last = active
        if isFiring {
          // Two looks at the disk by the one that took over: whatever would be said again has been said.
          let since = Date()
          _ = try await pair.services[last].eventually("two looks at the disk") {
            let looks = try await pair.services[last].history("box", "Vitals.Disk").filter {
              ($0["updated"]?.instant).map { $0 > since } == true
            }
            return looks.count >= 2 ? looks : nil
          }
          try await pair.apply(Scene.disk(max: 100), by: last)
          ends += 1
          try await pair.waitForMails("[RESOLVED]", ends)
        }
        let entries = try await pair.settles(last)
        #expect(pair.told("[FIRING").count == firings)
        #expect(pair.told("[RESOLVED]").count == ends)
        #expect(entries.count == firings + ends)
        if !Self.isLong {
          #expect(Set(entries.compactMap { $0["episode"]?.text }).count == 1)
          #expect(pair.scene.mail.messages().count == 2)
        }
        #expect(try await pair.services[last].figure("syscrap_queue_imbalance") == 0)

        // A planned stop gives the lease back.
        let began = ContinuousClock.now
        async let stopped: Void = pair.services[last].stop()
        try await pair.becomes("active", 1 - last, within: .seconds(30))
        let taken = ContinuousClock.now - began
        await stopped
        print("after SIGTERM the other one gathered within \(seconds(taken))")
        #expect(taken < .seconds(6))
      }
    }

    @Test(
      "An active instance that stood still for a while steps back when it wakes and says nothing that was said meanwhile"
    )
    func pause() async throws {
      try await Pair.with { pair in
        try await pair.scene.apply(
          pair.scene.target(), Scene.vitals, pair.scene.email(), Scene.disk(max: 100))
        try await pair.start()
        _ = try await pair.services[0].eventually("a first look at the disk") {
          try await pair.services[0].history("box", "Vitals.Disk").first
        }
        let began = ContinuousClock.now
        await pair.services[0].signal(SIGSTOP)
        // Who stands by delivers: nobody else can now.
        try await pair.mongo.python(
          """
          db.notifications.insert_one({"reaction": "backup", "target": "box", "type": "email",
            "payload": {"from": "backup@example.org", "to": ["ops@example.org"], "subject": "backup done", "body": "all well"},
            "updated": datetime.datetime.now(datetime.timezone.utc)})
          """, database: "syscrap")
        let bare = try await pair.scene.mail.message("backup done", within: .seconds(25))
        #expect(bare.recipients == ["ops@example.org"])
        #expect(try await pair.report(1)["role"]?.text == "standby")
        print("the one that stands by delivered within \(seconds(ContinuousClock.now - began))")
        try await pair.becomes("active", 1, within: .seconds(60))
        // The news comes while the first one stands still.
        try await pair.apply(Scene.disk(max: 0), by: 1)
        try await pair.waitForMails("[FIRING", 1)
        let rest = (Self.isLong ? Duration.seconds(60) : .seconds(45)) - (ContinuousClock.now - began)
        if rest > .zero { try await Task.sleep(for: rest) }
        await pair.services[0].signal(SIGCONT)
        let back = try await pair.becomes("standby", 0, within: .seconds(30))
        print("the one that stood still said that it stands by \(seconds(back)) after it went on")
        _ = try await pair.services[0].eventually("no workers") {
          try await pair.services[0].tree().names(below: "Aggregator") == [] ? true : nil
        }
        let since = Date()
        _ = try await pair.services[1].eventually("two looks at the disk") {
          let looks = try await pair.services[1].history("box", "Vitals.Disk").filter {
            ($0["updated"]?.instant).map { $0 > since } == true
          }
          return looks.count >= 2 ? looks : nil
        }
        try await pair.apply(Scene.disk(max: 100), by: 0)
        try await pair.waitForMails("[RESOLVED]", 1)
        let entries = try await pair.settles(1)
        #expect(entries.compactMap { $0["kind"]?.text }.sorted() == ["firing", "notice", "resolved"])
        #expect(pair.scene.mail.messages().count == 3)
        #expect(try await pair.services[0].request("GET", "/healthz").status == 200)
      }
    }

    @Test("A service starts while MongoDB is away, says so, and begins by itself when it is there")
    func lateStore() async throws {
      let mongo = try await MongoServer.start(.replicaSet(1))
      let uri = mongo.uri(database: "syscrap", options: ["serverSelectionTimeoutMS=1000"])
      do {
        try await Scene.with(configuration: "store: '\(uri)'") { scene in
          try await scene.apply(scene.target(), Scene.vitals)
          await mongo.stop()
          try await scene.service.start()
          let reply = try await scene.service.request("GET", "/readyz")
          #expect(reply.status == 503)
          let report = try Value(json: reply.body)
          #expect(report["role"]?.text == "standby")
          #expect(report.at("checks.store")?.text?.contains("away") == true, "\(report.json())")
          #expect(try await scene.service.request("GET", "/healthz").status == 200)
          let doctor = try await scene.service.run(["doctor"])
          #expect(doctor.status == 1)
          #expect(doctor.text.contains("is mongod running"), "\(doctor.text)")
          try await mongo.restart()
          _ = try await scene.service.eventually("readiness", within: .seconds(60)) {
            let reply = try await scene.service.request("GET", "/readyz")
            let role = try Value(json: reply.body)["role"]?.text
            return reply.status == 200 && role == "active" ? true : nil
          }
          _ = try await scene.service.eventually("a sample in the store", within: .seconds(60)) {
            try await scene.service.values("objects/aggregations/box").first { $0["value"] != nil }
          }
          let healthy = try await scene.service.run(["doctor"])
          #expect(healthy.text.contains("store clock"), "\(healthy.text)")
          #expect(healthy.text.contains("replica set"), "\(healthy.text)")
        }
      } catch {
        await mongo.end()
        throw error
      }
      await mongo.end()
    }
  }
}
