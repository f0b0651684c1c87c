internal import Foundation
internal import Model
internal import TestKit
internal import Testing

extension EndToEnd {
  /// One command, and a host is watched.
  @Suite(.serialized, .enabled(if: Scene.isPossible, Scene.absence)) struct Quick {
    @Test(
      "'quick' watches a host at once, prints a link that opens the page once, and leaves a configuration for the rest")
    func quick() async throws {
      try await Scene.with { scene in
        let state = scene.service.stateDirectory
        try await scene.service.start(
          [
            "quick", "\(scene.ssh.user)@127.0.0.1:\(scene.ssh.port)", "--state-dir", state, "--identity",
            scene.ssh.clientKey(), "--known-hosts", try await scene.ssh.knownHostsFile(), "--listen", "127.0.0.1:0",
          ], usesConfiguration: false, ready: "dashboard: ")
        let line = try #require(scene.service.log.all.first { $0.hasPrefix("dashboard: ") })
        let link = try #require(URL(string: String(line.dropFirst("dashboard: ".count))))
        let entry = link.path + "?" + (link.query ?? "")
        let port = try #require(link.port.flatMap { UInt16(exactly: $0) })
        // Without the service's token, as a browser comes.
        let opened = try await SmallHTTP.perform("GET", entry, port: port)
        #expect(opened.status == 303)
        let cookie = try #require(opened.headers["set-cookie"]?.split(separator: ";").first)
        let page = try await SmallHTTP.perform("GET", "/", port: port, headers: ["Cookie": String(cookie)])
        #expect(page.status == 200)
        #expect(page.text.contains("<html"))
        #expect(try await SmallHTTP.perform("GET", entry, port: port).status == 401)
        #expect(try await SmallHTTP.perform("GET", "/api/v1/fleet", port: port).status == 401)

        let name = "127.0.0.1:\(scene.ssh.port)"
        let configuration = ["--config", state + "/syscrap.yaml"]
        _ = try await scene.service.eventually("all vitals") {
          try await scene.service.values("fleet").first { row in
            row["target"]?.text == name && ["ram", "swap", "disk"].allSatisfy { row[$0]?.number != nil }
          }
        }
        let top = try await scene.service.run(["top"] + configuration, usesConfiguration: false)
        #expect(top.lines.contains { $0.hasPrefix(name) && $0.contains("connected") }, "\(top.text)\(top.errorText)")
        let reactions = try await scene.service.run(
          ["get", "reaction", "-o", "name"] + configuration, usesConfiguration: false)
        #expect(
          reactions.lines == ["cpu-busy", "disk-full", "memory-short", "unreachable"].map { "reaction_targets/\($0)" })
        #expect(scene.ssh.acceptedCount == 1)
      }
    }

    @Test("Without a terminal 'quick' asks nothing: a host that nobody knows is named with its key and not trusted")
    func stranger() async throws {
      try await Scene.with { scene in
        let state = scene.service.stateDirectory
        try await scene.service.start(
          [
            "quick", "\(scene.ssh.user)@127.0.0.1:\(scene.ssh.port)", "--state-dir", state, "--identity",
            scene.ssh.clientKey(), "--listen", "127.0.0.1:0",
          ], usesConfiguration: false, ready: "dashboard: ")
        #expect(scene.service.log.all.contains { $0.contains("the host key is not known: ssh-ed25519 SHA256:") })
        #expect(scene.service.log.all.contains { $0.contains("--accept-new") })
        let row = try await scene.service.eventually("the refusal") {
          try await scene.service.values("fleet").first { $0["state"]?.text == "refused" }
        }
        #expect(row["detail"]?.text?.contains("trust accept") == true, "\(row)")
        #expect(scene.ssh.acceptedCount == 0)
        await scene.service.stop()

        try await scene.service.start(
          [
            "quick", "\(scene.ssh.user)@127.0.0.1:\(scene.ssh.port)", "--state-dir", state, "--identity",
            scene.ssh.clientKey(), "--listen", "127.0.0.1:0", "--accept-new",
          ], usesConfiguration: false, ready: "dashboard: ")
        _ = try await scene.service.eventually("a connection") {
          try await scene.service.values("fleet").first { $0["state"]?.text == "connected" }
        }
        // What was trusted stands in the service's own file, not in a person's.
        let kept = try String(contentsOfFile: state + "/known_hosts", encoding: .utf8)
        #expect(kept.contains("[127.0.0.1]:\(scene.ssh.port) ssh-ed25519 "))
        #expect(!FileManager.default.fileExists(atPath: scene.service.directory.file("home/.ssh/known_hosts")))
      }
    }

    @Test(
      "What is no host is refused with 2 or 1 and a reason, before anything is written",
      arguments: ["-oProxyCommand=x", "user@", "host:99999", "a b"])
    func noHost(_ text: String) async throws {
      let program = try SyscrapProcess()
      let done = try await program.run(
        ["quick", "--state-dir", program.stateDirectory, "--", text], usesConfiguration: false)
      #expect(done.status == 1 || done.status == 2, "\(done.errorText)")
      #expect(done.errorText.contains("user@host[:port]"), "\(done.errorText)")
      #expect(!FileManager.default.fileExists(atPath: program.stateDirectory))
    }
  }
}
