internal import App
internal import Foundation
internal import Model
internal import TestKit
internal import Testing

extension EndToEnd {
  /// Documents that change while the service runs.
  @Suite(.serialized, .enabled(if: Scene.isPossible, Scene.absence)) struct LiveDocuments {
    /// A population step and what it takes to start a child, on a busy machine.
    static let step: Duration = .seconds(60)

    @Test("Three targets, options for two: three workers with 1, 3 and 0 wrappers; targets come and go while it runs")
    func targets() async throws {
      try await Scene.with { scene in
        try await scene.apply(
          scene.target("a"), scene.target("b"), scene.target("c"),
          "{kind: aggregation_options, _id: for-a, target: a, metrics: {Vitals.RAM: {interval: 1s}}}",
          """
          {kind: aggregation_options, _id: for-b, target: b,
           metrics: {Vitals.RAM: {}, Vitals.CPU: {}, Vitals.Swap: {}}}
          """)
        try await scene.service.start()
        func below(_ name: String, _ metrics: [String]) -> [String] {
          (["Connection", "Host"] + metrics).sorted().map { "\($0) for \(name)" }
        }
        let tree = try await scene.service.eventually("all children", within: Self.step) {
          let tree = try await scene.service.tree()
          return tree.names(below: "Aggregator for a")?.count == 3 && tree.names(below: "Aggregator for b")?.count == 5
            && tree.names(below: "Aggregator for c")?.count == 2 ? tree : nil
        }
        #expect(tree.names(below: "Aggregator") == ["Aggregator for a", "Aggregator for b", "Aggregator for c"])
        #expect(tree.names(below: "Aggregator for a") == below("a", ["Vitals.RAM"]))
        #expect(tree.names(below: "Aggregator for b") == below("b", ["Vitals.CPU", "Vitals.RAM", "Vitals.Swap"]))
        #expect(tree.names(below: "Aggregator for c") == below("c", []))

        // One is added, one switched off, one taken away; the fourth does not notice.
        let age = try #require(tree.find("Vitals.RAM for a")).age
        try await scene.apply(scene.target("d"), scene.target("b", more: "enabled: false"))
        let deleted = try await scene.service.run(["delete", "target", "c"])
        #expect(deleted.status == 0, "\(deleted.errorText)")
        let after = try await scene.service.eventually("the changed fleet", within: Self.step) {
          let tree = try await scene.service.tree()
          return tree.names(below: "Aggregator") == ["Aggregator for a", "Aggregator for d"] ? tree : nil
        }
        #expect(try #require(after.find("Vitals.RAM for a")).age > age)
        let rows = try await scene.service.values("fleet").compactMap { $0["target"]?.text }
        #expect(rows == ["a", "d"])

        // Switched on again it has a worker again.
        try await scene.apply(scene.target("b"))
        _ = try await scene.service.eventually("b again", within: Self.step) {
          try await scene.service.tree().find("Vitals.Swap for b")
        }
      }
    }

    @Test("An unknown metric and an unknown reaction are visible, harmless children, and problems with a hint")
    func unknownModules() async throws {
      try await Scene.with { scene in
        try await scene.apply(scene.target())
        let done = try await scene.service.run(
          ["apply", "-f", "-"],
          input: """
            {kind: aggregation_options, _id: generic, target: generic, metrics: {Vitals.RAM: {interval: 1s}, Vitals.RAMM: {}}}
            ---
            {kind: reaction_target, _id: odd, reaction: Rnge, target: box, metrics: {Vitals.RAM: {max: 99}}}
            ---
            {kind: reaction_target, _id: even, reaction: Range, target: box, metrics: {Vitals.RAM: {max: 100}}}
            """)
        #expect(done.errorText.contains("did you mean Vitals.RAM?"))
        #expect(done.errorText.contains("did you mean Range?"))
        try await scene.service.start()
        let tree = try await scene.service.eventually("all children", within: Self.step) {
          let tree = try await scene.service.tree()
          return tree.names(below: "Aggregator for box")?.count == 4 && tree.names(below: "Reactor")?.count == 2
            ? tree : nil
        }
        #expect(
          tree.names(below: "Aggregator for box")
            == ["Connection for box", "Host for box", "Undefined Vitals.RAMM for box", "Vitals.RAM for box"])
        #expect(tree.names(below: "Reactor") == ["Range for box (even)", "Undefined Rnge for box (odd)"])
        #expect(tree.find("Undefined Vitals.RAMM for box")?.state == "running")
        _ = try await scene.service.eventually("a sample of the sibling") {
          try await scene.service.history("box", "Vitals.RAM").last
        }
        let problems = try await scene.service.run(["get", "problems", "-o", "json"])
        #expect(problems.status == 0)
        let listed = try #require(try Value(json: problems.output).elements)
        let seen = listed.map { "\($0["kind"]?.text ?? "") \($0["id"]?.text ?? "") \($0["path"]?.text ?? "")" }
        #expect(seen.contains("aggregation_options generic metrics.Vitals.RAMM"), "\(seen)")
        #expect(seen.contains("reaction_targets odd reaction"), "\(seen)")
        #expect(listed.allSatisfy { $0["hint"]?.text?.isEmpty == false }, "\(listed)")
      }
    }

    @Test("Two ranges on one target are told apart by _id, and an edited option restarts only its own wrapper")
    func editedOption() async throws {
      try await Scene.with { scene in
        func options(_ cpu: String) -> String {
          """
          {kind: aggregation_options, _id: generic, target: generic,
           metrics: {Vitals.RAM: {interval: 1s}, Vitals.CPU: {interval: \(cpu)}, Vitals.Swap: {}}}
          """
        }
        try await scene.apply(
          scene.target(), options("2s"), scene.email(),
          "{kind: reaction_target, _id: low, reaction: Range, target: box, metrics: {Vitals.RAM: {max: 0}}, notify: [ops]}",
          "{kind: reaction_target, _id: high, reaction: Range, target: box, metrics: {Vitals.RAM: {max: 100}}, notify: [ops]}"
        )
        try await scene.service.start()
        _ = try await scene.mail.message("[FIRING warning]", within: .seconds(60))
        let tree = try await scene.service.tree()
        #expect(tree.names(below: "Reactor") == ["Range for box (high)", "Range for box (low)"])
        #expect(try await scene.service.values("objects/episodes").compactMap { $0["reaction"]?.text } == ["low"])

        let still = ["Connection for box", "Host for box", "Vitals.RAM for box", "Vitals.Swap for box"]
        let before = try await scene.service.tree()
        try await scene.apply(options("3s"))
        let after = try await scene.service.eventually("a new life of the edited wrapper", within: Self.step) {
          () -> Node? in
          let tree = try await scene.service.tree()
          guard let old = before.find("Vitals.CPU for box"), let new = tree.find("Vitals.CPU for box") else {
            return nil
          }
          return new.age < old.age ? tree : nil
        }
        for name in still + ["Range for box (low)", "Aggregator for box"] {
          #expect(try #require(after.find(name)).age > (try #require(before.find(name)).age), "\(name)")
        }
        #expect(scene.ssh.acceptedCount == 1)
      }
    }

    @Test("A firing reaction that is deleted sends a resolved mail that says so")
    func deletedReaction() async throws {
      try await Scene.with { scene in
        try await scene.apply(scene.target(), Scene.vitals, scene.email(), Scene.disk(max: 0))
        try await scene.service.start()
        let firing = try await scene.mail.message("[FIRING critical]", within: .seconds(60))
        let deleted = try await scene.service.run(["delete", "reaction", "disk-full"])
        #expect(deleted.status == 0, "\(deleted.errorText)")
        let resolved = try await scene.mail.message("[RESOLVED]", within: .seconds(60))
        #expect(resolved.row("Why") == "rule removed")
        #expect(resolved.header("X-Syscrap-Episode") == firing.header("X-Syscrap-Episode"))
        let episode = try #require(try await scene.service.values("objects/episodes").first)
        #expect(episode["state"]?.text == "ok")
        #expect(episode["end_reason"]?.text == "rule removed")
      }
    }

    @Test("A broken edit leaves the last good version at work and is visible until it is mended")
    func brokenEdit() async throws {
      try await Scene.with { scene in
        try await scene.apply(scene.target(), Scene.vitals)
        try await scene.service.start()
        let before = try await scene.service.eventually("the wrappers", within: Self.step) {
          try await scene.service.tree().find("Vitals.RAM for box")
        }
        let broken = try await scene.service.run(
          ["apply", "-f", "-"],
          input: """
            {kind: aggregation_options, _id: generic, target: generic, metrics: {Vitals.RAM: {interval: soon}}}
            ---
            {kind: target, target: other, host: 127.0.0.1, port: \(scene.ssh.port), enabled: false}
            """)
        #expect(broken.status == 1)
        #expect(broken.errorText.contains("metrics.Vitals.RAM.interval"), "\(broken.errorText)")
        #expect(
          broken.lines == ["aggregation_options/generic refused", "targets/other created"], "\(broken.text)")
        let after = try #require(try await scene.service.tree().find("Vitals.RAM for box"))
        #expect(after.age > before.age)
        let stored = try await scene.service.values("objects/aggregation_options/generic")
        #expect(stored.first?.at("metrics")?["Vitals.RAM"]?["interval"]?.text == "1s")
      }
    }

    @Test("A folder of documents is kept applied; a broken file is a problem with its line and harms no other")
    func folder() async throws {
      try await Scene.with(configuration: "documents: [documents/]\npopulation: {step: 1s}") { scene in
        let path = scene.service.directory.file("documents")
        try FileManager.default.createDirectory(
          atPath: path, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        try scene.service.directory.write("documents/a.yaml", scene.target() + "\n")
        try scene.service.directory.write("documents/b.yaml", Scene.vitals + "\n")
        try await scene.service.start()
        _ = try await scene.service.eventually("the wrapper", within: Self.step) {
          try await scene.service.tree().find("Vitals.RAM for box")
        }
        try scene.service.directory.write("documents/b.yaml", Scene.vitals.replacing("1s", with: "1 sec or so") + "\n")
        try scene.service.directory.write("documents/c.yaml", scene.target("other") + "\n")
        _ = try await scene.service.eventually("the other file's target", within: Self.step) {
          try await scene.service.tree().find("Aggregator for other")
        }
        let problem = try await scene.service.eventually("the problem", within: Self.step) {
          try await scene.service.values("objects/problems").first {
            $0["path"]?.text == "metrics.Vitals.RAM.interval"
          }
        }
        #expect(problem["file"]?.text?.hasSuffix("documents/b.yaml") == true, "\(problem)")
        #expect(problem["line"]?.integer == 1)
        #expect(try await scene.service.tree().find("Vitals.RAM for box")?.state == "running")
        try scene.service.directory.write("documents/b.yaml", Scene.vitals + "\n")
        _ = try await scene.service.eventually("no problem any more", within: Self.step) {
          try await scene.service.values("objects/problems").isEmpty ? true : nil
        }
      }
    }

    /// What is mutated: every kind, with nothing that would leave this machine.
    private static let good = """
      - {kind: target, target: web-1, host: 127.0.0.1, port: 9, user: monitor, identity_file: k, jump: bastion, enabled: false,
         parents: [switch], channels: 4, labels: {role: web}, agent: false, password_command: [/bin/false]}
      - {kind: aggregation_options, _id: opts, target: {labels: {role: web}}, variable: 5m, limits: {RT: 100, hour: 72h},
         metrics: {Vitals.CPU: {interval: 10s}, Vitals: {RAM: {interval: 5}}, POL.Port: [{name: ssh, port: 22}, {name: db, port: 5432}]}}
      - {kind: aggregation_options, _id: older, metric: Vitals.Disk, target: web-1, options: {interval: 60, variable: 300, limits: {RT: 5}}}
      - {kind: reaction_target, _id: disk, reaction: Range, target: [web-1, bastion], severity: critical, for: 1m, no_data: keep,
         metrics: {Vitals.Disk: {max: 90, field: percent, where: {mount: /}, clear: {max: 80}, times: {n: 3, last: 5}}},
         notify: [ops, [ops, ops]], repeat: 4h, resolved: true, runbook: https://example.org/r}
      - {kind: reaction_target, _id: conn, reaction: Presence, metrics: {Connection: {max_age: 30s}}}
      - {kind: reaction_target, _id: both, reaction: Composed, of: {a: disk, b: conn}, when: a and not b}
      - {kind: reaction_target, _id: old, reaction: Range, options: {metrics: [Vitals.CPU], cpu_max: 100}}
      - {kind: notification_options, _id: ops, type: email, to: [ops@example.org], from: s@example.org, relay: 'smtp://127.0.0.1:9',
         username: u, password_file: p, template: {subject: s, body: b}, timeout: 10s, rate: 10/m}
      - {kind: notification_options, _id: hook, type: webhook, url: 'https://127.0.0.1:9/h', method: POST, secret_file: s}
      """

    @Test("400 mutated documents are applied to a running service: it lives, and what they do not name does not notice")
    func mutated() async throws {
      try await Scene.with { scene in
        try await scene.apply(
          scene.target(),
          "{kind: aggregation_options, _id: of-box, target: box, metrics: {Vitals.Swap: {interval: 1s}}}",
          "{kind: target, target: bastion, host: 127.0.0.1, port: 9, enabled: false}",
          "{kind: target, target: switch, host: 127.0.0.1, port: 9, enabled: false}",
          "{kind: reaction_target, _id: steady, reaction: Range, target: box, metrics: {Vitals.Swap: {max: 101}}}")
        try await scene.service.start()
        let process = await scene.service.processIdentifier
        let names = ["Connection for box", "Host for box", "Vitals.Swap for box", "Range for box (steady)", "Gateway"]
        let before = try await scene.service.eventually("all children", within: Self.step) {
          let tree = try await scene.service.tree()
          return names.allSatisfy { tree.find($0) != nil } ? tree : nil
        }
        let values = DocumentText(Array(Self.good.utf8), file: "good").parts.map(\.value)
        var random = SeededNumbers(seed: MutationTests.seed)
        var texts: [String] = []
        for _ in 0..<MutationTests.count {
          var mutation = Mutation(random: random)
          texts.append(mutation.mutate(try #require(values.randomElement(using: &random))))
          random = mutation.random
        }
        let clock = ContinuousClock()
        let began = clock.now
        // Each alone, so that no broken text takes another one with it; eight commands, as eight people might.
        var refused = 0
        for part in 0..<8 {
          let folder = scene.service.directory.file("mutated-\(part)")
          try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
          for (number, text) in texts.enumerated() where number % 8 == part {
            try Data(text.utf8).write(to: URL(fileURLWithPath: "\(folder)/\(number).yaml"))
          }
          let done = try await scene.service.run(["apply", "-f", folder])
          #expect(done.status == 1, "\(done.status): \(done.errorText.suffix(2000))")
          let lines = done.errorText.split(separator: "\n").filter { !$0.hasPrefix("warning: ") }
          #expect(lines.allSatisfy { $0.contains(": ") }, "\(lines.filter { !$0.contains(": ") })")
          refused += lines.count
        }
        print("400 mutated documents: \(refused) refusals, applied in \(seconds(clock.now - began))")
        // A population step with them has passed when a document applied after them is at work.
        try await scene.apply(scene.target("last", more: "enabled: true"))
        _ = try await scene.service.eventually("the document after them", within: .seconds(60)) {
          try await scene.service.tree().find("Aggregator for last")
        }
        #expect(await scene.service.isRunning)
        #expect(await scene.service.processIdentifier == process)
        let after = try await scene.service.tree()
        for name in names {
          #expect(try #require(after.find(name)).age > (try #require(before.find(name)).age), "\(name)")
        }
        let ready = try await scene.service.request("GET", "/readyz")
        #expect(ready.status == 200, "\(ready.text)")
        #expect(refused > MutationTests.count / 2)
      }
    }
  }
}
