internal import Foundation
internal import Glibc
internal import Model
internal import TestKit
internal import Testing

extension EndToEnd {
  /// Targets that are not reached straight, or not at once.
  @Suite(.serialized, .enabled(if: Scene.isPossible, Scene.absence)) struct Reach {
    /// The last `Connection` event of a target.
    private static func last(_ scene: Scene, _ target: String) async throws -> Value? {
      try await scene.service.history(target, "Connection", type: "event").last?.at("value")
    }

    @Test(
      "A target behind a jump host is gathered from, with keys of its own, and follows what becomes of the jump host")
    func jump() async throws {
      try await Scene.with { scene in
        try await SSHServer.with { inner in
          let shown = try await ManagedProcess.run(["ssh-keygen", "-lf", inner.directory.file("host_ed25519.pub")])
          let pin = try #require(shown.first?.split(separator: " ").dropFirst().first)
          let target = """
            {kind: target, target: inner, host: 127.0.0.1, port: \(inner.port), identity_file: \(inner.clientKey()),
             host_key: '\(pin)', jump: bastion}
            """
          // Nobody watches the jump host itself.
          try await scene.apply(scene.target("bastion", more: "enabled: false"), target, Scene.vitals)
          try await scene.service.start()
          _ = try await scene.service.eventually("samples from behind the jump host") {
            try await scene.service.history("inner", "Vitals.RAM").count { $0["value"] != nil } >= 2 ? true : nil
          }
          #expect(scene.ssh.acceptedCount == 1)
          #expect(inner.acceptedCount == 1)
          #expect(
            try await scene.service.value("describe/target/inner").at("connection.jump")?.text == "bastion")

          // The jump host moves away, and comes back.
          let away = try ManagedProcess.freePort()
          try await scene.apply(scene.target("bastion", port: away, more: "enabled: false"))
          let failed = try await scene.service.eventually("the connection by the new document") {
            let last = try await Self.last(scene, "inner")
            return last?["state"]?.text == "failed" ? last : nil
          }
          #expect(failed["error"]?.text?.hasPrefix("The jump host bastion: ") == true, "\(failed)")
          #expect(failed["phase"]?.text == "connect")
          try await scene.apply(scene.target("bastion", more: "enabled: false"))
          _ = try await scene.service.eventually("a second login") { inner.acceptedCount == 2 ? true : nil }
          let back = Date()
          _ = try await scene.service.eventually("a sample of the new connection") {
            try await scene.service.history("inner", "Vitals.RAM").last {
              $0["value"] != nil && ($0["updated"]?.instant).map { $0 > back } == true
            }
          }
          #expect(inner.failedCount + scene.ssh.failedCount == 0)
        }
      }
    }

    @Test("A jump host that is no target, or leads back, is refused by check and by apply, with the reason")
    func refused() async throws {
      try await Scene.with { scene in
        let lonely = "{kind: target, target: a, host: 127.0.0.1, jump: nowhere}"
        let circle = [
          "{kind: target, target: b, host: 127.0.0.1, jump: c}", "{kind: target, target: c, host: 127.0.0.1, jump: b}",
        ]
        for (documents, reason) in [([lonely], "there is no target \"nowhere\""), (circle, "circle: b → c → b")] {
          let file = try scene.service.directory.write("d.yaml", documents.joined(separator: "\n---\n") + "\n")
          let checked = try await scene.service.run(["check", "-f", file])
          #expect(checked.status == 1)
          #expect((checked.text + checked.errorText).contains(reason), "\(checked.text)\(checked.errorText)")
        }
      }
    }

    @Test("The last file descriptors are left to store, queue and HTTP; when there are more, the targets connect")
    func descriptors() async throws {
      try await Scene.with { scene in
        let presence = """
          {kind: reaction_target, _id: unreachable, reaction: Presence, target: generic, severity: critical, notify: [ops],
           metrics: {Connection: {}}}
          """
        let ways = scene.email().replacingOccurrences(of: "target: box", with: "target: generic")
        try await scene.service.start()
        let process = try #require(await scene.service.processIdentifier)
        _ = try await scene.service.values("objects/targets")
        let open = Set(try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd").compactMap(Int.init))
        // The five lowest numbers that are free may be taken; the service itself may need some of them.
        let bound = try #require((0..<10_000).filter { !open.contains($0) }.dropFirst(5).first)
        _ = try await ManagedProcess.run(["prlimit", "--pid", "\(process)", "--nofile=\(bound + 32):"])
        let names = (0..<30).map { "t\($0)" }
        try await scene.apply(Scene.vitals, ways, presence, names.map { scene.target($0) }.joined(separator: "\n---\n"))
        let states = try await scene.service.eventually("the outcome of each first attempt") {
          var states: [String: Value] = [:]
          for name in names { states[name] = try await Self.last(scene, name) }
          return states.count == names.count ? states : nil
        }
        let connected = states.filter { $0.value["state"]?.text == "connected" }
        let refused = states.filter { $0.value["state"]?.text == "failed" }
        print("descriptors: \(connected.count) targets connected, \(refused.count) refused below \(bound)")
        #expect(!connected.isEmpty && connected.count <= 5)
        #expect(refused.count == names.count - connected.count)
        for value in refused.values {
          #expect(value["error"]?.text?.contains("no file descriptor is left for targets") == true, "\(value)")
        }
        // The queue still delivers, and the API answers.
        _ = try await scene.mail.message("[FIRING critical]", within: .seconds(60))
        #expect(try await scene.service.request("GET", "/readyz").status == 200)
        _ = try await ManagedProcess.run(["prlimit", "--pid", "\(process)", "--nofile=1024:"])
        await scene.service.signal(SIGHUP)
        _ = try await scene.service.eventually("all are connected", within: .seconds(120)) { () -> Bool? in
          for name in names {
            guard try await Self.last(scene, name)?["state"]?.text == "connected" else { return nil }
          }
          return true
        }
        #expect(await scene.service.processIdentifier == process)
        #expect(await scene.service.isRunning)
      }
    }
  }
}
