internal import Foundation
internal import Model
internal import TestKit
internal import Testing

/// What the documents tell a person to type for MongoDB, typed.
@Suite(.serialized, .enabled(if: MongoServer.isExpected, "needs mongod")) struct DocumentedMongoTests {
  private static func lines(of document: String) throws -> [String] {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    return try String(contentsOf: root.appendingPathComponent(document), encoding: .utf8)
      .split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
  }

  /// Lines of mongosh as JSON.
  private static func json(_ text: Substring) -> String {
    ["_id", "members", "host", "role", "db"].reduce(String(text)) { text, key in
      text.replacingOccurrences(of: "\(key): ", with: "\"\(key)\": ")
    }
  }

  @Test("A server alone becomes a replica set, gets the user, and serves as each document configures it, word for word")
  func newcomer() async throws {
    let operations = try Self.lines(of: "doc/operations.md")
    let initiation = try #require(operations.first { $0.hasPrefix("rs.initiate(") }).dropFirst(12).dropLast()
    let roles = operations.filter { $0.contains("{role: \"") }.compactMap { line -> String? in
      guard let start = line.firstIndex(of: "{"), let end = line.firstIndex(of: "}") else { return nil }
      return Self.json(line[start...end])
    }
    #expect(roles.count == 2)

    let folder = try TemporaryDirectory("documented")
    let key = try folder.write("mongod.key", String(repeating: "syscrapTest", count: 8), permissions: 0o400)
    let server = try await MongoServer.start(.standalone, options: ["--replSet", "rs0", "--keyFile", key])
    let host = "127.0.0.1:\(server.ports[0])"
    try await server.python(
      """
      admin = direct().admin
      admin.command("replSetInitiate", json.loads('''\(Self.json(initiation))'''.replace("db-1.example.org:27017", "\(host)")))
      deadline = time.monotonic() + 60
      while not admin.command("hello").get("isWritablePrimary"):
          if time.monotonic() > deadline: raise SystemExit("no primary")
          time.sleep(0.1)
      # The first user of a new server is its administrator, who makes the others.
      admin.command("createUser", "root", pwd="r", roles=["root"])
      root = pymongo.MongoClient("127.0.0.1", ports[0], directConnection=True, username="root", password="r").admin
      root.command("createUser", "syscrap", pwd="correct horse", roles=json.loads('''[\(roles.joined(separator: ","))]'''))
      """)
    for document in ["README.md", "doc/operations.md"] {
      let all = try Self.lines(of: document)
      let begin = try #require(all.firstIndex { $0.hasPrefix("store: mongodb://") })
      let service = try SyscrapProcess()
      let password = try service.directory.write("password", "correct horse\n")
      var configuration = all[begin..<begin + 3].joined(separator: "\n")
      for (written, here) in [
        ("db-1.example.org,db-2.example.org,db-3.example.org", host), ("db-1,db-2,db-3", host), ("&tls=true", ""),
        ("/etc/syscrap/mongodb.password", password), ("/etc/syscrap/store-password", password),
      ] { configuration = configuration.replacingOccurrences(of: written, with: here) }
      try service.configure(configuration)
      let done = try await service.run(
        ["apply", "-f", "-"], input: "{kind: target, target: box, host: 127.0.0.1, port: 1}\n")
      #expect(done.status == 0, "\(document): \(done.errorText)")
      try await service.start()
      _ = try await service.eventually("the part of the one that gathers") {
        let reply = try await service.request("GET", "/readyz")
        let role = try Value(json: reply.body)["role"]?.text
        return reply.status == 200 && role == "active" ? true : nil
      }
      await service.stop()
    }
    await server.end()
  }
}
