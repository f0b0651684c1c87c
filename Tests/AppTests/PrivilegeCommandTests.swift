internal import Foundation
internal import Glibc
internal import Model
internal import TestKit
internal import Testing

extension EndToEnd {
  /// `syscrap privileges` on real files and against a running service.
  @Suite(.serialized, .enabled(if: Scene.isPossible, Scene.absence)) struct PrivilegeCommands {
    @Test("'privileges' prints what to put where, before and after the service's start, in every format")
    func show() async throws {
      try await Scene.with { scene in
        #expect(try await scene.service.run(["privileges", "box"]).status == 3)
        try await scene.apply(scene.target(), Scene.vitals)
        let key = try String(contentsOfFile: scene.ssh.clientKey() + ".pub", encoding: .utf8)
        let line = "restrict,from=\"127.0.0.1\",command=\"/usr/local/libexec/syscrap-gate\" \(key)"
        let before = try await scene.service.run(["privileges", "box", "--from", "127.0.0.1"])
        #expect(before.status == 0, "\(before.errorText)")
        for part in [
          "# === on box: ~\(scene.ssh.user)/.ssh/authorized_keys\n\(line)", "\npath /proc/meminfo\n",
          "\n# Vitals.Disk\n",
          "# nothing that is gathered is run through sudo",
          "# === here: a known_hosts file\n\(scene.ssh.knownHostsLine)\n",
        ] {
          #expect(before.text.contains(part), "\(part)\nin\n\(before.text)")
        }
        #expect(!before.text.contains("PRIVATE") && !before.text.contains("/proc/vmstat"))
        try await scene.service.start()
        let after = try await scene.service.run(["privileges", "box", "--from", "127.0.0.1"])
        #expect(after.text == before.text)
        let json = try Value(json: try await scene.service.run(["privileges", "show", "box", "-o", "json"]).output)
        #expect(json["known_hosts"] == [.string(scene.ssh.knownHostsLine)])
        #expect(
          json["authorized_keys"]?.elements?.first?.text
            == line.replacing("from=\"127.0.0.1\",", with: "").trimmingCharacters(in: .newlines))
        #expect(before.text.contains(json["allow_list"]?.text?.trimmingCharacters(in: .newlines) ?? "?"))
        #expect(json["sudoers"] == [])
        #expect(try await scene.service.run(["privileges", "box", "-o", "yaml"]).text.contains("authorized_keys:"))
        #expect(try await scene.service.run(["privileges", "nobody"]).status == 3)
        #expect(try await scene.service.run(["privileges", "box", "--from", "a\"b"]).status == 2)
      }
    }

    @Test("'privileges diff' tells that commands are free, and behind the gate what it lacks and what it has too much")
    func diff() async throws {
      try await Scene.with { scene in
        #expect(try await scene.service.run(["privileges", "diff", "box"]).status == 3)
        try await scene.apply(scene.target(), Scene.vitals)
        try await scene.service.start()
        _ = try await scene.service.eventually("a connection") {
          try await scene.service.values("fleet").first { $0["state"]?.text == "connected" }
        }
        let free = try await scene.service.run(["privileges", "diff", "box", "-o", "json"])
        #expect(free.status == 4, "\(free.errorText)")
        let found = try Value(json: free.output)
        #expect(found["account"] == "free" && found["missing"] == [])
        #expect(found["excess"]?.elements?.contains { $0["what"] == "any command is run" } == true)
        let table = try await scene.service.run(["privileges", "diff", "box"])
        #expect(table.status == 4 && table.lines.first?.hasPrefix("FINDING  WHAT") == true)
        #expect(try await scene.service.run(["privileges", "diff", "nobody"]).status == 3)

        // Behind the gate: the list as it is printed, less one command, and with a verb that nothing uses.
        let sheet = try Value(json: try await scene.service.run(["privileges", "box", "-o", "json"]).output)
        let folder = scene.ssh.directory
        let gate = try await GateRig.install(in: folder)
        let printed = try #require(sheet["allow_list"]?.text)
        let less = printed.split(separator: "\n").filter { !$0.hasSuffix("'df' '-Pk' '/'") }.joined(separator: "\n")
        #expect(less.utf8.count + 60 < printed.utf8.count)
        try folder.write("gate.allow", less + "\nverb ps\n", permissions: 0o644)
        let line = try #require(sheet["authorized_keys"]?.elements?.first?.text)
        try folder.write("authorized_keys", line.replacing("/usr/local/libexec/syscrap-gate", with: gate) + "\n")
        await scene.ssh.killSessions()
        let behind = try await scene.service.eventually("the gate") { () -> Value? in
          let output = try await scene.service.run(["privileges", "diff", "box", "-o", "json"])
          guard output.status == 4, let report = try? Value(json: output.output) else { return nil }
          return report["account"] == "gate" ? report : nil
        }
        let commands = behind["missing"]?.elements
        #expect(commands?.map { $0["what"] } == ["running df -Pk /"], "\(behind.json(indent: 2))")
        #expect(commands?.first?["metrics"] == ["Host"])
      }
    }
  }
}
