internal import Foundation
internal import Model
internal import TestKit
internal import Testing

extension EndToEnd {
  /// The main job while MongoDB changes its primary, is slow, does not confirm what it has done, or is edited all the
  /// time.
  @Suite(
    .serialized,
    .enabled(
      if: Scene.isPossible && MongoServer.isExpected, "needs sshd, mongod, and python3 with aiosmtpd and pymongo"))
  struct MongoFaults {
    private static let isLong = ProcessInfo.processInfo.environment["SYSCRAP_LONG"] == "1"

    /// A scene whose store is this server, or `uri`.
    private static func with(
      _ server: MongoServer, uri: String? = nil, _ body: @Sendable (Scene) async throws -> Void
    ) async throws {
      do {
        try await Scene.with(configuration: "store: '\(uri ?? server.uri(database: "syscrap"))'", body)
        await server.end()
      } catch {
        await server.end()
        throw error
      }
    }

    /// A cap that keeps all that comes while a test runs.
    private static let vitals = Scene.vitals.replacingOccurrences(
      of: "target: generic,", with: "target: generic, limits: {RT: 5000},")

    // MARK: Another primary

    @Test("Through a step-down and the death of a primary no sample is missing, and each message comes once")
    func primaries() async throws {
      let server = try await MongoServer.start(.replicaSet(3))
      let others = [try await SSHServer.start(), try await SSHServer.start()]
      let uri = server.uri(database: "syscrap")
      try await Self.with(server) { scene in
        var hosts = [try await scene.ssh.knownHostsFile()]
        for other in others {
          try other.authorize([scene.ssh.clientKey() + ".pub"])
          hosts.append(try await other.knownHostsFile())
        }
        try scene.service.configure(
          """
          ssh:
            user: \(scene.ssh.user)
            identity_files: [\(scene.ssh.clientKey())]
            known_hosts: [\(hosts.joined(separator: ", ")), state/known_hosts]
          store: '\(uri)'
          """)
        func presence(_ target: String) -> String {
          """
          {kind: reaction_target, _id: \(target)-away, reaction: Presence, target: \(target), severity: critical,
           notify: [ops], metrics: {Connection: {}}}
          """
        }
        let way = scene.email().replacingOccurrences(of: "target: box", with: "target: generic")
        try await scene.apply(
          scene.target(), scene.target("north", port: others[0].port), scene.target("south", port: others[1].port),
          Self.vitals, way, presence("north"), presence("south"))
        try await scene.service.start()
        _ = try await scene.service.eventually("samples of all three") {
          for target in ["box", "north", "south"] where try await scene.service.history(target, "Vitals.RAM").isEmpty {
            return nil as Bool?
          }
          return true
        }
        let process = await scene.service.processIdentifier

        // While there is no primary, a host goes away: its message is accepted in that time.
        let first = try await server.primary()
        async let stepped = Self.change(server, from: first, how: "stepDown")
        try await Task.sleep(for: .milliseconds(500))
        await others[0].stop()
        let afterStep = try await stepped
        print("step-down: a new primary after \(afterStep.elected) s, its first sample after \(afterStep.resumed) s")
        _ = try await scene.mail.message("[FIRING critical] Connection on north", within: .seconds(60))

        let second = try await server.primary()
        #expect(second != first)
        await server.kill(member: second)
        async let killed = Self.change(server, from: second, how: "kill")
        await others[1].stop()
        let afterKill = try await killed
        print("killed: a new primary after \(afterKill.elected) s, its first sample after \(afterKill.resumed) s")
        _ = try await scene.mail.message("[FIRING critical] Connection on south", within: .seconds(60))

        let entries = try await scene.service.eventually("a settled queue") {
          let entries = try await scene.service.values("objects/notifications")
          return entries.allSatisfy { $0["state"]?.text == "delivered" } ? entries : nil
        }
        #expect(entries.count == 2)
        let accepted = try #require(
          entries.first { $0["target"]?.text == "south" }?["created"]?.instant?.timeIntervalSince1970)
        print("killed: the message was accepted \(afterKill.primaryAt - accepted) s before there was a new primary")
        #expect(accepted < afterKill.primaryAt)
        let mails = scene.mail.messages()
        #expect(mails.count == 2, "\(mails.map(\.subject))")
        #expect(Set(mails.compactMap { $0.header("Message-ID") }).count == 2)

        let samples = try await scene.service.history("box", "Vitals.RAM").compactMap { $0["updated"]?.instant }
        let gaps = Self.gaps(samples)
        print("primaries: \(samples.count) samples, the longest gap \(gaps.last ?? 0) s")
        #expect((samples.last?.timeIntervalSince1970 ?? 0) > afterKill.primaryAt)
        #expect(try #require(gaps.last) <= 5)
        #expect(try await Self.doubled(server) == [])
        #expect(scene.ssh.acceptedCount == 1)
        #expect(await scene.service.processIdentifier == process)
        #expect(try await scene.service.figure("syscrap_queue_imbalance") == 0)
      }
      for other in others { await other.stop() }
    }

    private struct Change: Decodable, Sendable {
      /// From the disturbance to a new primary, and from there to a sample of a later time in the store; in seconds.
      var elected: Double
      var resumed: Double
      /// In seconds since 1970.
      var primaryAt: Double
    }

    /// Lets a member step down, or finds that it was killed; returns when another one takes the service's writes.
    private static func change(_ server: MongoServer, from member: Int, how: String) async throws -> Change {
      let lines = try await server.python(
        """
        old, how = ports[\(member)], "\(how)"
        members = {p: pymongo.MongoClient("127.0.0.1", p, directConnection=True, serverSelectionTimeoutMS=300,
                                          connectTimeoutMS=300, socketTimeoutMS=3000) for p in ports}
        began, end = time.time(), time.monotonic() + 45
        if how == "stepDown":
            direct(old).admin.command("replSetStepDown", 60, secondaryCatchUpPeriodSecs=10)
        found = None
        while not found:
            if time.monotonic() > end: raise SystemExit("no new primary")
            for port, member in members.items():
                try:
                    if port != old and member.admin.command("hello").get("isWritablePrimary"): found = member
                except pymongo.errors.PyMongoError: pass
            time.sleep(0.02)
        primary = time.time()
        since = datetime.datetime.fromtimestamp(primary, datetime.timezone.utc)
        while True:
            if time.monotonic() > end: raise SystemExit("no writes of the service")
            try:
                if found.syscrap.aggregations.find_one(
                    {"target": "box", "metric": "Vitals.RAM", "type": "RT", "updated": {"$gt": since}}): break
            except pymongo.errors.PyMongoError: pass
            time.sleep(0.02)
        print(json.dumps({"elected": round(primary - began, 3), "resumed": round(time.time() - primary, 3),
                          "primaryAt": primary}))
        """)
      return try JSONDecoder().decode(Change.self, from: Data((lines.last ?? "").utf8))
    }

    // MARK: A slow one

    @Test("With 2 s for every answer of MongoDB the gathering keeps its time, and nothing is lost or comes twice")
    func slow() async throws {
      let server = try await MongoServer.start(.standalone)
      let proxy = try await SlowProxy.start(to: server.ports[0])
      try await Self.with(server, uri: "mongodb://127.0.0.1:\(proxy.port)/syscrap?directConnection=true") { scene in
        try await scene.apply(scene.target(), Self.vitals, scene.email(), Scene.disk(max: 100))
        try await scene.service.start()
        _ = try await scene.service.eventually("a first look at the disk") {
          try await scene.service.history("box", "Vitals.Disk").first
        }
        let process = await scene.service.processIdentifier
        let began = Date()
        try await proxy.hold(.seconds(2))
        try await Self.limit(server, 0)
        // Ten steps in turn lie between an edit and its mail: it may come in this time or, from the same queue, after it.
        try await Task.sleep(for: .seconds(Self.isLong ? 600 : 25))
        let ended = Date()
        try await proxy.hold(.zero)
        _ = try await scene.mail.message("[FIRING critical]", within: .seconds(60))
        print("slow: the firing mail was there \(Date().timeIntervalSince(began)) s after the edit")
        try await Self.limit(server, 100)
        _ = try await scene.mail.message("[RESOLVED]", within: .seconds(60))
        try await Self.finish(scene, server, "slow", process, from: began, to: ended)
      }
      await proxy.stop()
    }

    @Test("Writes that are done but not confirmed in time are made again under the same keys, and nothing comes twice")
    func unconfirmed() async throws {
      let server = try await MongoServer.start(.replicaSet(1))
      try await Self.with(server) { scene in
        try await scene.apply(scene.target(), Self.vitals, scene.email(), Scene.disk(max: 100))
        try await scene.service.start()
        _ = try await scene.service.eventually("a first look at the disk") {
          try await scene.service.history("box", "Vitals.Disk").first
        }
        let process = await scene.service.processIdentifier
        let began = Date()
        // None is confirmed: the store counts as away. Then two of three are, and the main job goes on through it.
        try await Self.disturb(server, mode: "'alwaysOn'")
        try await Task.sleep(for: .seconds(5))
        try await Self.disturb(server, mode: "{'activationProbability': 0.33}")
        try await Self.limit(server, 0)
        _ = try await scene.mail.message("[FIRING critical]", within: .seconds(60))
        print("unconfirmed: the firing mail came \(Date().timeIntervalSince(began)) s after the beginning")
        let rest = (Self.isLong ? 600.0 : 20) - Date().timeIntervalSince(began)
        if rest > 0 { try await Task.sleep(for: .seconds(rest)) }
        let ended = Date()
        try await Self.disturb(server, mode: "'off'")
        try await Self.limit(server, 100)
        _ = try await scene.mail.message("[RESOLVED]", within: .seconds(60))
        let unknown = try await scene.service.figure(#"syscrap_store_unknown_results_total{store="mongodb"}"#)
        print("unconfirmed: \(unknown ?? 0) results were not known")
        #expect((unknown ?? 0) > 0)
        try await Self.finish(scene, server, "unconfirmed", process, from: began, to: ended)
      }
    }

    /// Lets the server do the service's writes but answer that they were not confirmed in time.
    private static func disturb(_ server: MongoServer, mode: String) async throws {
      try await server.python(
        """
        data = {"failCommands": ["insert", "update", "delete", "findAndModify"], "appName": "syscrap",
                "writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out",
                                      "errInfo": {"wtimeout": True}}}
        command = {"configureFailPoint": "failCommand", "mode": \(mode)}
        if command["mode"] != "off": command["data"] = data
        client().admin.command(command)
        """)
    }

    /// The limit of the disk, edited past the service.
    private static func limit(_ server: MongoServer, _ max: Int) async throws {
      try await server.python(
        """
        db.reaction_targets.replace_one({"_id": "disk-full"}, {"reaction": "Range", "target": "box",
          "severity": "critical", "notify": ["ops"], "metrics": {"Vitals.Disk": {"max": \(max), "where": {"mount": "/"}}}})
        """, database: "syscrap")
    }

    /// What has to be true after a time in which the store answered badly.
    private static func finish(
      _ scene: Scene, _ server: MongoServer, _ name: String, _ process: Int32?, from began: Date, to ended: Date
    ) async throws {
      let entries = try await scene.service.eventually("a settled queue", within: .seconds(90)) {
        let entries = try await scene.service.values("objects/notifications")
        return entries.count >= 2 && entries.allSatisfy { $0["state"]?.text == "delivered" } ? entries : nil
      }
      #expect(entries.compactMap { $0["kind"]?.text }.sorted() == ["firing", "resolved"])
      #expect(Set(entries.compactMap { $0["episode"]?.text }).count == 1)
      let mails = scene.mail.messages()
      #expect(Set(mails.compactMap { $0.header("Message-ID") }).count == 2)
      print("\(name): \(mails.count) mails")
      #expect(mails.count == 2, "\(mails.map(\.subject))")

      // What could not be rolled up or written at first comes after what came later.
      let wanted = Int(ended.timeIntervalSince(began) * 0.8)
      let samples = try await scene.service.eventually(
        "\(wanted) samples of that time in the store", within: .seconds(60)
      ) {
        let all = try await scene.service.history("box", "Vitals.RAM").compactMap { $0["updated"]?.instant }
        let samples = all.filter { $0 > began.addingTimeInterval(-2) && $0 < ended }
        return all.last.map { $0 > ended } == true && samples.count > wanted ? samples : nil
      }
      let gaps = Self.gaps(samples)
      let late = (gaps.isEmpty ? 99 : gaps[gaps.count * 99 / 100]) - 1
      print(
        "\(name): \(samples.count) samples in \(ended.timeIntervalSince(began)) s, lateness p99 \(late) s, the longest gap \(gaps.last ?? 0) s"
      )
      #expect(late < 2)
      #expect(try await doubled(server) == [])
      #expect(scene.ssh.acceptedCount == 1)
      #expect(await scene.service.processIdentifier == process)
      #expect(try await scene.service.figure("syscrap_queue_imbalance") == 0)
    }

    /// From one sample to the next, in seconds, the shortest first.
    private static func gaps(_ samples: [Date]) -> [Double] {
      zip(samples, samples.dropFirst()).map { $1.timeIntervalSince($0) }.sorted()
    }

    /// What is there more than once: samples by their key and by their moment, messages by key, episodes by what they
    /// are of.
    private static func doubled(_ server: MongoServer) async throws -> [String] {
      try await server.python(
        """
        def look(collection, fields, match={}):
            for found in db[collection].aggregate([
                {"$match": match}, {"$group": {"_id": {f: "$" + f for f in fields}, "count": {"$sum": 1}}},
                {"$match": {"count": {"$gt": 1}}}]): print(collection, found)
        look("aggregations", ["target", "metric", "name", "type", "tag", "n"])
        look("aggregations", ["target", "metric", "name", "type", "updated"])
        look("notifications", ["key"])
        look("episodes", ["condition"], {"open": True})
        """, database: "syscrap")
    }

    // MARK: Edited all the time

    @Test("An edit a second, half of them broken: nothing else restarts, and the last valid one is what counts")
    func edits() async throws {
      let server = try await MongoServer.start(.replicaSet(1))
      try await Self.with(server) { scene in
        try await scene.apply(
          scene.target(), scene.target("idle"), Self.vitals, scene.email(), Scene.disk(max: 100),
          "{kind: aggregation_options, _id: for-box, target: box, metrics: {Vitals.RAM: {interval: 30s}}}",
          """
          {kind: reaction_target, _id: beside, reaction: Range, target: box, severity: critical, notify: [ops],
           metrics: {Vitals.Disk: {max: 100, where: {mount: /}}}}
          """)
        try await scene.service.start()
        _ = try await scene.service.eventually("all parts and a first look at the disk") {
          let tree = try await scene.service.tree()
          guard tree.find("Vitals.Disk for idle") != nil, tree.find("Range for box (beside)") != nil,
            tree.find("Range for box (disk-full)") != nil
          else { return nil as Bool? }
          return try await scene.service.history("box", "Vitals.Disk").isEmpty ? nil : true
        }
        let unaffected = [
          "Aggregator for box", "Connection for box", "Host for box", "Vitals.Disk for box", "Aggregator for idle",
          "Connection for idle", "Host for idle", "Vitals.RAM for idle", "Vitals.Disk for idle",
          "Range for box (beside)",
        ]
        let before = try await scene.service.tree()
        let count = Self.isLong ? 600 : 30
        let made = try await server.python(
          """
          def reaction(limit):
              db.reaction_targets.replace_one({"_id": "disk-full"}, {"reaction": "Range", "target": "box",
                "severity": "critical", "notify": ["ops"], "metrics": {"Vitals.Disk": {"max": limit, "where": {"mount": "/"}}}})
          def options(interval):
              db.aggregation_options.replace_one({"_id": "for-box"}, {"target": "box",
                "metrics": {"Vitals.RAM": {"interval": interval}}})
          edits = [lambda i: reaction(99 + i / 1000), lambda i: options(f"{30 + i % 20}s"),
                   lambda i: reaction("many"), lambda i: options({"every": "now and then"})]
          began = time.monotonic()
          for i in range(\(count)):
              time.sleep(max(0, began + i - time.monotonic()))
              edits[i % 4](i)
          reaction(0)
          options("2s")
          print(time.monotonic() - began)
          """, database: "syscrap", within: .seconds(count + 90))
        print("edits: \(count) in \(made.last ?? "") s")
        let firing = try await scene.mail.message("[FIRING critical]", within: .seconds(60))
        #expect(firing.row("Limit")?.contains("at most 0") == true, "\(firing.body)")
        @Sendable func interval() async throws -> String? {
          try await scene.service.value("describe/target/box")["metrics"]?.fields?["Vitals.RAM"]?.text
        }
        _ = try await scene.service.eventually("the last valid interval", within: .seconds(30)) {
          try await interval() == "every 2s" ? true : nil
        }

        // Broken once more, both of them: what was valid last goes on.
        try await server.python(
          """
          db.reaction_targets.update_one({"_id": "disk-full"}, {"$set": {"reaction": 7}})
          db.aggregation_options.update_one({"_id": "for-box"}, {"$set": {"metrics": "none"}})
          """, database: "syscrap")
        _ = try await scene.service.eventually("both problems", within: .seconds(30)) {
          let problems = Set(try await scene.service.values("objects/problems").compactMap { $0["id"]?.text })
          return problems.isSuperset(of: ["disk-full", "for-box"]) ? true : nil
        }
        let since = Date()
        _ = try await scene.service.eventually("a further look at the disk, and two at the memory") {
          for (metric, count) in [("Vitals.Disk", 1), ("Vitals.RAM", 2)] {
            let later = try await scene.service.history("box", metric).filter {
              ($0["updated"]?.instant).map { $0 > since } == true
            }
            if later.count < count { return nil as Bool? }
          }
          return true
        }
        #expect(try await interval() == "every 2s")
        let open = try await scene.service.values("objects/episodes")
        #expect(open.compactMap { $0["state"]?.text } == ["firing"], "\(open)")
        #expect(scene.mail.messages().count == 1)

        let after = try await scene.service.tree()
        for name in unaffected {
          let (old, new) = (try #require(before.find(name), "\(name)"), try #require(after.find(name), "\(name)"))
          #expect(new.age >= old.age + Double(count - 1), "\(name) is \(new.age) s old and was \(old.age)")
          #expect(new.restarts == 0, "\(name)")
        }
        #expect(scene.ssh.acceptedCount == 2)
        #expect(try await scene.service.figure("syscrap_queue_imbalance") == 0)
      }
    }
  }
}
