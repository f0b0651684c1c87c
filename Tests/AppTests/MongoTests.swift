internal import Foundation
internal import Model
internal import TestKit
internal import Testing

extension EndToEnd {
  /// The main job with everything in MongoDB, where people edit the documents with other tools.
  @Suite(
    .serialized,
    .enabled(
      if: Scene.isPossible && MongoServer.isExpected, "needs sshd, mongod, and python3 with aiosmtpd and pymongo"))
  struct OnMongo {
    @Test(
      "Documents inserted by another tool only: the mail comes, an edit counts within 5 s, and only its child restarts",
      arguments: [MongoServer.Kind.replicaSet(1), .standalone])
    func mainJob(_ kind: MongoServer.Kind) async throws {
      let server = try await MongoServer.start(kind)
      try await Scene.with(configuration: "store: '\(server.uri(database: "syscrap"))'") { scene in
        try await scene.service.start()
        try await server.python(
          """
          # No _id: the driver makes ObjectIds; no kind: the collection says it.
          db.targets.insert_one({"target": "box", "host": "127.0.0.1", "port": \(scene.ssh.port)})
          db.targets.insert_one({"target": "idle", "host": "127.0.0.1", "port": \(scene.ssh.port)})
          db.aggregation_options.insert_one({"target": "generic",
            "metrics": {"Vitals.RAM": {"interval": "1s"}, "Vitals": {"Disk": {"interval": 5}}}})
          db.notification_options.insert_one({"_id": "ops", "target": "box", "type": "email", "to": ["ops@example.org"],
            "from": "syscrap@example.org", "relay": "smtp://127.0.0.1:\(scene.mail.port)", "ca_file": "\(scene.authority)",
            "username": "\(Scene.account)", "password_file": "\(scene.service.directory.file("password"))"})
          db.reaction_targets.insert_one({"_id": "disk-full", "reaction": "Range", "target": "box", "severity": "critical",
            "notify": ["ops"], "metrics": {"Vitals.Disk": {"max": 0, "where": {"mount": "/"}}}})
          """, database: "syscrap")
        let firing = try await scene.mail.message("[FIRING critical]", within: .seconds(60))
        #expect(firing.subject.contains("Vitals.Disk / on box"))
        _ = try await scene.service.eventually("both workers") {
          let names = try await scene.service.tree().names(below: "Aggregator") ?? []
          return names == ["Aggregator for box", "Aggregator for idle"] ? names : nil
        }
        let before = try await scene.service.tree()

        // A break of one document keeps its last good version at work and leaves the others alone.
        try await server.python(
          """
          db.reaction_targets.update_one({"_id": "disk-full"},
            {"$set": {"metrics.Vitals.Disk.max": "many"}})
          """, database: "syscrap")
        _ = try await scene.service.eventually("the problem", within: .seconds(10)) {
          try await scene.service.values("objects/problems").first { $0["id"]?.text == "disk-full" }
        }
        #expect(try await scene.service.tree().names(below: "Reactor") == before.names(below: "Reactor"))

        // As `$set` with a dotted name writes it: nested, and beside the field of the same name.
        let edited = Date()
        try await server.python(
          """
          db.reaction_targets.replace_one({"_id": "disk-full"}, {"reaction": "Range", "target": "box",
            "severity": "critical", "notify": ["ops"], "metrics": {"Vitals": {"Disk": {"max": 100, "where": {"mount": "/"}}}}})
          """, database: "syscrap")
        let resolved = try await scene.mail.message("[RESOLVED]", within: .seconds(60))
        #expect(resolved.header("X-Syscrap-Episode") == firing.header("X-Syscrap-Episode"))
        let entry = try await scene.service.eventually("the delivery in the ledger") {
          try await scene.service.values("objects/notifications").first { $0["kind"]?.text == "resolved" }
        }
        let counted = try #require(entry["created"]?.instant).timeIntervalSince(edited)
        print("\(kind): an edit made with another tool counted after \(counted) s")
        #expect(counted < 5)

        // What was not edited was left alone.
        let after = try await scene.service.tree()
        for name in ["Aggregator for box", "Aggregator for idle"] {
          let (old, new) = (before.find(name), after.find(name))
          #expect((new?.age ?? 0) >= (old?.age ?? .infinity), "\(name) restarted")
        }
        #expect(scene.ssh.acceptedCount == 2)

        try await server.python(#"db.targets.delete_one({"target": "idle"})"#, database: "syscrap")
        _ = try await scene.service.eventually("the worker's end", within: .seconds(10)) {
          try await scene.service.tree().names(below: "Aggregator") == ["Aggregator for box"] ? true : nil
        }
        #expect(try await scene.service.figure("syscrap_queue_imbalance") == 0)
      }
      await server.end()
    }

    @Test("A bare message that another program inserts is delivered like any other")
    func bareMessage() async throws {
      let server = try await MongoServer.start(.replicaSet(1))
      try await Scene.with(configuration: "store: '\(server.uri(database: "syscrap"))'") { scene in
        try await scene.apply(scene.target(), scene.email())
        try await scene.service.start()
        try await server.python(
          """
          import datetime
          db.notifications.insert_one({"reaction": "backup", "target": "box", "type": "email",
            "payload": {"from": "backup@example.org", "to": ["ops@example.org"], "subject": "backup done", "body": "all well"},
            "updated": datetime.datetime.now(datetime.timezone.utc)})
          """, database: "syscrap")
        let mail = try await scene.mail.message("backup done", within: .seconds(30))
        #expect(mail.recipients == ["ops@example.org"])
        #expect(mail.body.contains("all well"))
        let entry = try await scene.service.eventually("the delivery in the ledger") {
          try await scene.service.values("objects/notifications").first { $0["state"]?.text == "delivered" }
        }
        #expect(entry["reaction"]?.text == "backup")
        #expect(entry["receipt"]?.text?.hasPrefix("250") == true)
        #expect(try await scene.service.figure("syscrap_queue_imbalance") == 0)
      }
      await server.end()
    }

    @Test(
      "F19: a store that is away neither ends the gathering nor loses a message, is announced, and takes all in after its return"
    )
    func outage() async throws {
      let server = try await MongoServer.start(.replicaSet(1))
      let other = try await SSHServer.start()
      try await Scene.with(configuration: "store: '\(server.uri(database: "syscrap"))'") { scene in
        try other.authorize([scene.ssh.clientKey() + ".pub"])
        let hosts = [try await scene.ssh.knownHostsFile(), try await other.knownHostsFile()]
        try scene.service.configure(
          """
          ssh:
            user: \(scene.ssh.user)
            identity_files: [\(scene.ssh.clientKey())]
            known_hosts: [\(hosts.joined(separator: ", ")), state/known_hosts]
          store: '\(server.uri(database: "syscrap"))'
          """)
        let (target, email) = (scene.target(), scene.email())
        let way = email.replacingOccurrences(of: "target: box", with: "target: north")
          .replacingOccurrences(of: "_id: ops", with: "_id: north")
        let own = scene.email("own", to: "admins@example.org").replacingOccurrences(
          of: "target: box", with: "target: generic")
        let presence = """
          {kind: reaction_target, _id: north-away, reaction: Presence, target: north, severity: critical,
           notify: [north], metrics: {Connection: {}}}
          """
        // A cap that keeps all that comes while this runs.
        let vitals = Scene.vitals.replacingOccurrences(
          of: "target: generic,", with: "target: generic, limits: {RT: 2000},")
        try await scene.apply(
          target, scene.target("north", port: other.port), vitals, email, way, own, presence, Scene.disk(max: 100))
        try await scene.service.start()
        for name in ["box", "north"] {
          _ = try await scene.service.eventually("a first look at the disk of \(name)") {
            try await scene.service.history(name, "Vitals.Disk").first
          }
        }
        let process = await scene.service.processIdentifier
        let memory = try #require(try await scene.service.figure("syscrap_resident_memory_bytes"))
        let away = Date()
        await server.kill()
        let notice = try await scene.mail.event(within: .seconds(60)) {
          if case .message(let message) = $0 { message.recipients == ["admins@example.org"] } else { false }
        }
        guard case .message(let message) = notice else { return }
        let announced = Date().timeIntervalSince(away)
        print("the outage of the store was announced after \(announced) s: \(message.subject)")
        #expect(announced <= 60)
        let ready = try await scene.service.request("GET", "/readyz")
        #expect(ready.status == 503)
        // A message that is accepted meanwhile.
        await other.stop()
        let lasted = Kills.isLong ? 600.0 : 60
        var largest = memory
        while Date().timeIntervalSince(away) < lasted {
          largest = max(largest, try await scene.service.figure("syscrap_resident_memory_bytes") ?? 0)
          try await Task.sleep(for: .seconds(1))
        }
        let waiting = try await scene.service.figure("syscrap_spool_operations") ?? 0
        let received = try await scene.service.figure("syscrap_samples_received_total") ?? 0

        let back = Date()
        try await server.restart()
        let returned = Date()
        _ = try await scene.service.eventually("readiness") {
          try await scene.service.request("GET", "/readyz").status == 200 ? true : nil
        }
        let replayed = Date().timeIntervalSince(returned)
        print(
          "ready again \(Date().timeIntervalSince(back)) s after the store's return; \(Int(waiting)) operations of the "
            + "journal were brought back, \(Int(waiting / replayed)) a second (\(Int(received)) samples so far)")
        // One sample a second was taken all along; none is missing once the journal's are taken in.
        let gap = try await scene.service.eventually("the journal's samples in the history", within: .seconds(60)) {
          let samples = try await scene.service.history("box", "Vitals.RAM").compactMap { $0["updated"]?.instant }
          let gaps = zip(samples, samples.dropFirst()).map { $1.timeIntervalSince($0) }
          guard let longest = gaps.max(), longest < 5 else { return Double?.none }
          return samples.contains { $0 > away && $0 < back } ? longest : nil
        }
        print(
          "the journal's samples were in the history \(Date().timeIntervalSince(back)) s later, longest gap \(gap) s")
        largest = max(largest, try await scene.service.figure("syscrap_resident_memory_bytes") ?? 0)
        print("resident memory rose by \(Int((largest - memory) / 1024)) KiB at most")
        #expect(largest - memory <= 64 * 1024 * 1024)
        #expect(await scene.service.processIdentifier == process)
        #expect(scene.ssh.acceptedCount == 1)
        _ = try await scene.mail.message("[FIRING critical] Connection on north", within: .seconds(60))
        try await scene.apply(Scene.disk(max: 0))
        _ = try await scene.mail.message("[FIRING critical] Vitals.Disk", within: .seconds(60))
        #expect(scene.mail.messages().count { $0.subject.hasPrefix("[FIRING critical] Connection on north") } == 1)
        #expect(try await scene.service.figure("syscrap_queue_imbalance") == 0)
        // Nothing was given up, nor refused by the store.
        let metrics = try await scene.service.request("GET", "/metrics").text.split(separator: "\n")
        let lost = metrics.filter { line in
          ["syscrap_spool_dropped_total", "syscrap_spool_refused_total", "syscrap_samples_dropped_total"]
            .contains { line.hasPrefix($0) } && line.split(separator: " ").last.flatMap { Double($0) } != 0
        }
        #expect(lost.isEmpty, "\(lost)")
      }
      await other.stop()
      await server.end()
    }
  }
}
