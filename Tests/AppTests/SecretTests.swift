internal import Foundation
internal import Model
internal import TestKit
internal import Testing

extension EndToEnd {
  /// Secrets that the service uses and nobody else may see.
  @Suite(.serialized, .enabled(if: Scene.isPossible, Scene.absence)) struct Secrets {
    @Test(
      "Of twenty planted secrets none appears in arguments, environment, logs, answers, metrics, or the store's bytes")
    func planted() async throws {
      // A letter first: no secret may be taken for a number.
      let secrets = (1...20).map { "s3cret\($0)x" + UUID().uuidString.replacingOccurrences(of: "-", with: "") }
      let relay = try await Scene.relay { relay in
        // Half of the accounts are let in, half are refused: both ways a secret could leak.
        for number in 0..<8 where number % 2 == 0 { relay.accounts["account\(number)"] = secrets[number] }
      }
      try await Scene.with(
        configuration: "log: {level: trace}\nhttp: {listen: '127.0.0.1:0', token_file: token}",
        sshd: ["PasswordAuthentication yes"], mail: relay
      ) { scene in
        let folder = scene.service.directory
        func file(_ number: Int) throws -> String {
          try folder.write("secret\(number)", secrets[number] + "\n")
        }
        /// A command that prints a secret; its words are no secret.
        func command(_ number: Int) throws -> String { "[/bin/cat, \(try file(number))]" }
        try folder.write("token", secrets[19] + "\n")
        try FileManager.default.createDirectory(
          atPath: scene.service.stateDirectory, withIntermediateDirectories: true,
          attributes: [.posixPermissions: 0o700])
        var documents = [scene.target(), Scene.vitals, Scene.disk(max: 0, more: "notify: [way0]")]
        for number in 0..<8 {
          let source = number < 4 ? "password_file: \(try file(number))" : "password_command: \(try command(number))"
          documents.append(
            """
            {kind: notification_options, _id: way\(number), target: box, type: email, to: [ops@example.org],
             relay: 'smtp://127.0.0.1:\(scene.mail.port)', ca_file: \(scene.authority), username: account\(number), \(source)}
            """)
        }
        for number in 8..<14 {
          let source = number < 11 ? "password_file: \(try file(number))" : "password_command: \(try command(number))"
          documents.append(scene.target("by-password\(number)", more: source))
        }
        // A private key that is not let in, and one that is: lines of their content.
        let stranger = try await scene.ssh.makeKey("stranger")
        documents.append(scene.target("by-key", more: "identity_file: \(stranger)"))
        let keys = try [stranger, scene.ssh.clientKey()].map { path in
          let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map(String.init)
          return try #require(lines.dropFirst(3).first)
        }
        try await scene.apply(documents.joined(separator: "\n---\n"))
        // Secrets that a person wrote where none belong are refused, and not repeated.
        let literal = try await scene.service.run(
          ["apply", "-f", "-"],
          input: """
            {kind: target, target: careless, host: 127.0.0.1, password: \(secrets[14])}
            ---
            {kind: notification_options, _id: careless, type: email, to: [a@b.example], relay: 'smtp://u:\(secrets[15])@127.0.0.1'}
            ---
            {kind: notification_options, _id: careless2, type: webhook, url: 'https://127.0.0.1/', secret: \(secrets[16])}
            """)
        #expect(literal.status == 1)
        try scene.service.directory.write(
          "broken.yaml", "ssh: {user: monitor, password: \(secrets[17])}\nstore_password: \(secrets[18])\n")
        let broken = try await scene.service.run(
          ["check", "--config", folder.file("broken.yaml")], usesConfiguration: false)
        #expect(broken.status == 1)

        try await scene.service.start()
        _ = try await scene.mail.message("[FIRING critical]", within: .seconds(60))
        var seen: [(place: String, bytes: [UInt8])] = [
          ("apply", literal.output + literal.errors), ("check", broken.output + broken.errors),
        ]
        for number in 0..<8 {
          let test = try await scene.service.run(["notify", "test", "way\(number)", "-o", "json"])
          #expect(test.status == (number % 2 == 0 ? 0 : 1), "\(number): \(test.text)\(test.errorText)")
          seen.append(("notify test \(number)", test.output + test.errors))
        }
        _ = try await scene.service.eventually("all targets tried") {
          let rows = try await scene.service.values("fleet")
          return rows.count == 8 && rows.allSatisfy { $0["state"]?.text != "connecting" } ? rows : nil
        }
        #expect(scene.ssh.log.all.count { $0.hasPrefix("Failed password ") } >= 6)
        let process = try #require(await scene.service.processIdentifier)
        for name in ["cmdline", "environ"] {
          seen.append((name, Array(try Data(contentsOf: URL(fileURLWithPath: "/proc/\(process)/\(name)")))))
        }
        var paths = ["/healthz", "/readyz", "/metrics", "/", "/api/v1/openapi.json", "/api/v1/tree", "/api/v1/fleet"]
        for kind in [
          "targets", "aggregation_options", "reaction_targets", "notification_options", "aggregations", "notifications",
          "episodes", "problems",
        ] { paths.append("/api/v1/objects/\(kind)") }
        for name in ["box", "by-key", "by-password8", "by-password12"] {
          paths += ["/api/v1/describe/target/\(name)", "/api/v1/history/\(name)/Connection?type=event"]
        }
        paths += (0..<8).map { "/api/v1/describe/notification_options/way\($0)" }
        for path in paths {
          let reply = try await scene.service.request("GET", path)
          #expect(reply.status == 200, "\(path): \(reply.status) \(reply.text)")
          seen.append((path, reply.body))
        }
        let doctor = try await scene.service.run(["doctor"])
        seen.append(("doctor", doctor.output + doctor.errors))
        await scene.service.stop()
        seen.append(("log", Array(scene.service.log.all.joined(separator: "\n").utf8)))
        #expect(scene.service.log.all.contains { $0.contains(" debug ") || $0.contains(" trace ") })
        for name in try FileManager.default.contentsOfDirectory(atPath: scene.service.stateDirectory) {
          seen.append(
            (
              "state/\(name)",
              FileManager.default.contents(atPath: scene.service.stateDirectory + "/" + name).map(Array.init) ?? []
            ))
        }
        #expect(seen.contains { $0.place == "state/syscrap.db" && !$0.bytes.isEmpty })
        // What is no secret is found: the search sees what it looks at.
        for place in ["/api/v1/objects/notification_options", "state/syscrap.db"] {
          let bytes = seen.filter { $0.place.hasPrefix(place) }.flatMap(\.bytes)
          #expect(String(decoding: bytes, as: UTF8.self).contains("account1"), "\(place)")
        }
        // In plain sight, and as Basic and PLAIN authentication would write them.
        let forms = (secrets + keys).enumerated().flatMap { number, secret in
          [(number, Data(secret.utf8))]
            + (0..<3).map { offset in
              let padded = Data((String(repeating: "x", count: offset) + secret).utf8).base64EncodedString()
              return (number, Data(padded.dropFirst(offset == 0 ? 0 : 4).prefix(32).utf8))
            }
        }
        for (place, bytes) in seen {
          let data = Data(bytes)
          for (number, form) in forms { #expect(data.range(of: form) == nil, "secret \(number) in \(place)") }
        }
        print("\(secrets.count + keys.count) secrets looked for in \(seen.count) places")
      }
    }
  }
}
