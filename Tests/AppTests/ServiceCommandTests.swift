internal import Foundation
internal import Glibc
internal import Model
internal import TestKit
internal import Testing

extension EndToEnd {
  /// The program's commands against a running service.
  @Suite(.serialized, .enabled(if: Scene.isPossible, Scene.absence)) struct ServiceCommands {
    @Test("Views: top, tree, describe, history, login and doctor show what is there, as text and as JSON")
    func views() async throws {
      try await Scene.with { scene in
        try await scene.apply(
          scene.target(), scene.target("away", port: try ManagedProcess.freePort()), Scene.vitals, scene.email(),
          Scene.disk(max: 0))
        try await scene.service.start()
        _ = try await scene.mail.message("[FIRING critical]", within: .seconds(60))
        _ = try await scene.service.eventually("the other target's failure") {
          try await scene.service.values("fleet").first {
            $0["target"]?.text == "away" && $0["state"]?.text == "failed"
          }
        }
        let top = try await scene.service.run(["top"])
        #expect(top.status == 0)
        #expect(top.lines.first?.hasPrefix("TARGET") == true)
        #expect(top.lines.contains { $0.hasPrefix("box ") && $0.contains("connected") && $0.contains("1 critical") })
        #expect(top.lines.contains { $0.hasPrefix("away ") && $0.contains("failed") })
        #expect(top.lines.contains { $0.hasPrefix("critical") && $0.contains("Vitals.Disk /") }, "\(top.text)")
        let rows = try Value(json: try await scene.service.run(["top", "-o", "json"]).output).elements
        #expect(rows?.compactMap { $0["target"]?.text } == ["away", "box"])

        let tree = try await scene.service.run(["tree"])
        #expect(tree.status == 0)
        #expect(tree.lines.first?.hasPrefix("Root  running") == true)
        #expect(tree.lines.contains { $0.contains("Vitals.RAM for box  running") }, "\(tree.text)")
        let nodes = try Value(json: try await scene.service.run(["tree", "-o", "json"]).output)
        #expect(Node(nodes).find("Range for box (disk-full)") != nil)

        let target = try await scene.service.run(["describe", "target", "box"])
        #expect(target.status == 0)
        for word in ["ssh-ed25519", "Vitals.RAM: every 1s", "state: connected"] {
          #expect(target.text.contains(word), "\(word) in \(target.text)")
        }
        let away = try await scene.service.run(["describe", "target", "away", "-o", "json"])
        #expect(try Value(json: away.output).at("connection.error")?.text?.contains("refuses the connection") == true)
        let reaction = try await scene.service.run(["describe", "reaction", "disk-full", "-o", "json"])
        let described = try Value(json: reaction.output)
        #expect(described.at("conditions.firing")?.integer == 1, "\(reaction.text)")
        let episode = try #require(described.at("not_ok.0._id")?.text)
        let told = try await scene.service.run(["describe", "episode", episode, "-o", "json"])
        #expect(try Value(json: told.output)["notifications"]?.elements?.count == 1)
        #expect(try await scene.service.run(["describe", "target", "nobody"]).status == 3)
        #expect(try await scene.service.run(["describe", "cloud", "nobody"]).status == 2)

        let history = try await scene.service.run(["history", "box", "Vitals.RAM", "--field", "percent"])
        #expect(history.status == 0)
        #expect(history.lines.first?.contains("PERCENT") == true)
        #expect(Double(history.lines.dropFirst().first?.split(separator: " ").last ?? "") != nil)
        #expect(try await scene.service.run(["history", "nobody", "Vitals.RAM"]).status == 3)
        #expect(try await scene.service.run(["get", "target", "nobody"]).status == 3)
        #expect(try await scene.service.run(["delete", "target", "nobody"]).status == 3)

        let login = try await scene.service.run(["login"])
        #expect(login.status == 0)
        let link = try #require(login.text.split(separator: "/login?token=").last).trimmingCharacters(in: .newlines)
        let entered = try await scene.service.request("GET", "/login?token=\(link)")
        #expect(entered.status == 303)
        #expect(try await scene.service.request("GET", "/login?token=\(link)").status == 401)

        // One target cannot be reached, so something is wrong; without it there are at most warnings.
        let ill = try await scene.service.run(["doctor"])
        #expect(ill.status == 1)
        #expect(ill.lines.contains { $0.hasPrefix("bad") && $0.contains("target away") }, "\(ill.text)")
        #expect(try await scene.service.run(["delete", "target", "away"]).status == 0)
        let well = try await scene.service.run(["doctor", "-o", "json"])
        #expect([0, 7].contains(well.status), "\(well.text)")
        let areas = try Value(json: well.output).elements?.compactMap { $0["area"]?.text } ?? []
        #expect(
          Set(areas).isSuperset(of: ["version", "libssh2", "algorithms", "keys", "store", "clock", "target box"]),
          "\(areas)")
      }
    }

    @Test("Documents through the service: apply, diff, get and delete give what they give without one")
    func documents() async throws {
      try await Scene.with { scene in
        try await scene.service.start()
        let text = scene.target("web", more: "labels: {role: web}, enabled: false")
        let broken = "{kind: target, target: odd, host: 127.0.0.1, port: many}"
        let file = try scene.service.directory.write("d.yaml", "\(text)\n---\n\(broken)\n")
        let new = try await scene.service.run(["diff", "-f", file])
        #expect(new.status == 4)
        let dry = try await scene.service.run(["apply", "-f", file, "--dry-run"])
        #expect(dry.status == 1)
        #expect(dry.lines == ["targets/web created", "targets/odd refused"])
        #expect(try await scene.service.run(["get", "targets", "-o", "json"]).text == "[]\n")
        let applied = try await scene.service.run(["apply", "-f", file])
        #expect(applied.status == 1)
        #expect(applied.lines == ["targets/web created", "targets/odd refused"])
        #expect(applied.errorText.hasPrefix("\(file):3: targets odd: port: "), "\(applied.errorText)")
        let again = try await scene.service.run(["apply", "-f", "-"], input: text)
        #expect(again.status == 0)
        #expect(again.lines == ["targets/web unchanged"])
        let same = try await scene.service.run(["diff", "-f", "-"], input: text)
        #expect(same.status == 0, "\(same.text)")
        let named = try await scene.service.run(["get", "targets", "-l", "role=web", "-o", "name"])
        #expect(named.lines == ["targets/web"])
        #expect(try await scene.service.run(["get", "targets", "-l", "role=db", "-o", "name"]).text == "")
        #expect(try await scene.service.run(["get", "clouds"]).status == 2)
        #expect(try await scene.service.run(["delete", "target", "web"]).status == 0)
        #expect(try await scene.service.run(["delete", "target", "web"]).status == 3)
      }
    }

    @Test("'exec' is denied unless it is allowed; then it is as a shell's: status, both outputs, every byte")
    func exec() async throws {
      try await Scene.with { scene in
        try await scene.apply(scene.target(), scene.target("away", port: try ManagedProcess.freePort()))
        try await scene.service.start()
        let denied = try await scene.service.run(["exec", "box", "--", "true"])
        #expect(denied.status == 5)
        #expect(denied.errorText.contains("ssh.allow_exec"))
        let position = scene.service.log.all.count
        try scene.service.configure(try await SyscrapProcess.ssh(to: scene.ssh, more: "allow_exec: true"))
        await scene.service.signal(SIGHUP)
        try await scene.service.listens(after: position)
        _ = try await scene.service.eventually("both targets tried") {
          try await scene.service.values("fleet").allSatisfy { $0["state"]?.text != "connecting" } ? true : nil
        }
        let fine = try await scene.service.run(["exec", "box", "--", "printf", "a b\\n"])
        #expect(fine.status == 0)
        #expect(fine.text == "a b\n")
        // Words are words: nothing of them is a command to the shell over there.
        let words = try await scene.service.run([
          "exec", "box", "--", "printf", "%s|", "a b", "$(id)", "'; id", "*", "",
        ])
        #expect(words.text == "a b|$(id)|'; id|*||")
        let binary = try await scene.service.run(
          ["exec", "box", "--", "sh", "-c", #"printf '\000\001\377\033[31m'; printf 'oops\n' >&2; exit 3"#])
        #expect(binary.output == [0, 1, 255, 27] + Array("[31m".utf8))
        #expect(binary.errorText.hasPrefix("oops\n"))
        #expect(binary.errorText.contains("exit status was 3"))
        #expect(binary.status == 1)
        let shown = try await scene.service.run(
          ["exec", "box", "--", "printf", #"\033[31mred\007\n"#], isOnTerminal: true)
        #expect(shown.text.contains(#"\x1b[31mred\x07"#), "\(shown.text)")
        #expect(!shown.text.unicodeScalars.contains("\u{1B}"))
        #expect(try await scene.service.run(["exec", "nobody", "--", "true"]).status == 3)
        let unreachable = try await scene.service.run(["exec", "away", "--", "true"])
        #expect(unreachable.status == 6)
        #expect(unreachable.errorText.contains("away: connect: "), "\(unreachable.errorText)")
      }
    }

    @Test("'notify test' proves a channel or says what the relay answered; queue entries are shown, retried, dropped")
    func notifications() async throws {
      let relay = try await Scene.relay {
        $0.refusedRecipients = ["gone@example.org": "550 5.1.1 No such user here"]
        $0.answers = [:]
      }
      try await Scene.with(mail: relay) { scene in
        try await scene.apply(
          scene.target(), Scene.vitals, scene.email(), scene.email("gone", to: "gone@example.org"))
        try await scene.service.start()
        let fine = try await scene.service.run(["notify", "test", "ops", "-o", "json"])
        #expect(fine.status == 0, "\(fine.errorText)")
        #expect(try Value(json: fine.output)["outcome"]?.text == "delivered")
        let mail = try await scene.mail.message("[TEST]", within: .seconds(60))
        #expect(mail.recipients == ["ops@example.org"])
        let failed = try await scene.service.run(["notify", "test", "gone"])
        #expect(failed.status == 1)
        #expect(failed.text.contains("550 5.1.1 No such user here"), "\(failed.text)")
        #expect(failed.errorText == "the test message was not delivered\n")
        let unknown = try await scene.service.run(["notify", "test", "opps"])
        #expect(unknown.status == 3)
        #expect(unknown.errorText.contains("did you mean ops?"), "\(unknown.errorText)")

        // A relay that asks to come back later keeps an entry pending.
        try await scene.mail.configure(try await Scene.relay { $0.answers = ["mail": "451 4.3.0 Come back later"] })
        try await scene.apply(Scene.disk(max: 0))
        let entry = try await scene.service.eventually("a mail that waits") {
          try await scene.service.values("objects/notifications").first {
            $0["state"]?.text == "pending" && $0["attempts"]?.elements?.isEmpty == false
          }
        }
        let id = try #require(entry["_id"]?.text)
        let list = try await scene.service.run(["queue", "ls", "--state", "pending", "-o", "name"])
        #expect(list.lines == ["notifications/\(id)"])
        let shown = try await scene.service.run(["queue", "show", id])
        #expect(shown.status == 0)
        #expect(shown.text.contains("451 4.3.0 Come back later"), "\(shown.text)")
        try await scene.mail.configure(try await Scene.relay())
        let retried = try await scene.service.run(["queue", "retry", id])
        #expect(retried.status == 0, "\(retried.errorText)")
        _ = try await scene.mail.message("[FIRING critical]", within: .seconds(60))
        _ = try await scene.service.eventually("the delivery in the ledger") {
          try await scene.service.values("objects/notifications/\(id)").first { $0["state"]?.text == "delivered" }
        }
        #expect(try await scene.service.run(["queue", "drop", id]).status == 3)
        #expect(try await scene.service.run(["queue", "retry", "nothing"]).status == 3)

        try await scene.mail.configure(try await Scene.relay { $0.answers = ["mail": "451 4.3.0 Come back later"] })
        try await scene.apply(Scene.disk(max: 100))
        let second = try await scene.service.eventually("another mail that waits") {
          try await scene.service.values("objects/notifications").first {
            $0["state"]?.text == "pending" && $0["attempts"]?.elements?.isEmpty == false
          }
        }
        let other = try #require(second["_id"]?.text)
        let dropped = try await scene.service.run(["queue", "drop", other, "--reason", "not needed"])
        #expect(dropped.status == 0, "\(dropped.errorText)")
        let dead = try await scene.service.run(["queue", "show", other, "-o", "json"])
        #expect(try Value(json: dead.output)["state"]?.text == "dead")
        #expect(dead.text.contains("not needed"))
        #expect(try await scene.service.figure("syscrap_queue_imbalance") == 0)
      }
    }

    @Test(
      "'trust' shows, accepts and replaces host keys only for the right fingerprint, and never asks without a terminal")
    func trust() async throws {
      try await Scene.with { scene in
        // Nobody knows this host's key yet.
        try scene.service.configure(
          "ssh: {user: \(scene.ssh.user), identity_files: [\(scene.ssh.clientKey())], known_hosts: [state/known_hosts]}"
        )
        try await scene.apply(scene.target())
        let place = "127.0.0.1:\(scene.ssh.port)"
        let scan = try await scene.service.run(["trust", "scan", "box"])
        #expect(scan.status == 0)
        #expect(scan.errorText.hasPrefix("not trusted: "))
        let words = scan.text.split(separator: " ").map { $0.trimmingCharacters(in: .newlines) }
        #expect(words.first == "ssh-ed25519")
        let fingerprint = try #require(words.last)
        #expect(fingerprint.hasPrefix("SHA256:"))
        let empty = try await scene.service.run(["trust", "list", "box"])
        #expect(empty.status == 0)
        #expect(empty.errorText == "none\n")

        let unconfirmed = try await scene.service.run(["trust", "accept", "box"])
        #expect(unconfirmed.status == 2)
        #expect(unconfirmed.errorText.contains("--fingerprint \(fingerprint)"))
        let wrong = try await scene.service.run([
          "trust", "accept", "box", "--fingerprint", "SHA256:" + String(repeating: "A", count: 43),
        ])
        #expect(wrong.status == 5)
        #expect(wrong.errorText.contains("nothing was changed"))
        #expect(try await scene.service.run(["trust", "list", place]).errorText == "none\n")
        let accepted = try await scene.service.run(["trust", "accept", "box", "--fingerprint", fingerprint])
        #expect(accepted.status == 0, "\(accepted.errorText)")
        #expect(accepted.text == "\(place) ssh-ed25519 \(fingerprint) trusted\n")
        let again = try await scene.service.run(["trust", "accept", place, "--fingerprint", fingerprint])
        #expect(again.status == 0)
        #expect(again.errorText.contains("is trusted already"))
        let list = try await scene.service.run(["trust", "list", "box"])
        #expect(list.text.contains(fingerprint))
        #expect(list.text.contains("state/known_hosts:1"), "\(list.text)")

        // Another key than the known one: accepting is denied, replacing needs the right fingerprint.
        let blob = [0, 0, 0, 11] + Array("ssh-ed25519".utf8) + [0, 0, 0, 32] + [UInt8](repeating: 9, count: 32)
        try scene.service.directory.write(
          "state/known_hosts", "[127.0.0.1]:\(scene.ssh.port) ssh-ed25519 \(Data(blob).base64EncodedString())\n")
        let changed = try await scene.service.run(["trust", "accept", "box", "--fingerprint", fingerprint])
        #expect(changed.status == 5)
        #expect(changed.errorText.contains("another key is known"))
        let unsure = try await scene.service.run(["trust", "replace", "box", "--fingerprint", "SHA256:wrong"])
        #expect(unsure.status == 5)
        let replaced = try await scene.service.run(["trust", "replace", "box", "--fingerprint", fingerprint])
        #expect(replaced.status == 0, "\(replaced.errorText)")
        #expect(replaced.errorText.contains("removed: ssh-ed25519 "))
        let trusted = try await scene.service.run(["trust", "scan", "box"])
        #expect(trusted.errorText == "trusted\n")

        let closed = try ManagedProcess.freePort()
        #expect(try await scene.service.run(["trust", "scan", "127.0.0.1:\(closed)"]).status == 6)
        #expect(try await scene.service.run(["trust", "scan", "no such host"]).status == 3)
        // And with the key in its own file the service connects.
        try await scene.service.start()
        _ = try await scene.service.eventually("a connection") {
          try await scene.service.values("fleet").first { $0["state"]?.text == "connected" }
        }
      }
    }
  }
}
