import Foundation
import Model
import Storage
import TestKit
import Testing

@testable import MongoStorage

/// What the child of ``MongoSuite/Schemas`` does: it opens a store, which brings it to this version, and is killed
/// meanwhile.
@Suite("Opening a MongoDB on behalf of another test")
struct SchemaChild {
  static let variable = "SYSCRAP_TEST_NUMBER"

  @Test(.enabled(if: ProcessInfo.processInfo.environment[variable] != nil, "only in a child process"))
  func open() async throws {
    let uri = try #require(ProcessInfo.processInfo.environment[Self.variable])
    FileHandle.standardOutput.write(Data("begins\n".utf8))
    let store = try await openMongo(uri: uri, threads: 1)
    FileHandle.standardOutput.write(Data("is open\n".utf8))
    await store.close()
  }
}

extension MongoSuite {
  @Suite("The schema")
  struct Schemas {
    private let old = """
      rows = []
      for second in range(200):
          for k in range(1 + second % 4):
              rows.append({"metric": "Vitals.CPU", "target": f"web-{second % 3}", "type": "RT",
                           "tag": Int64(20260101000000 + second // 60 * 100 + second % 60), "value": {"percent": second + k / 10}})
      for start in range(0, len(rows), 500): db.aggregations.insert_many(rows[start:start + 500])
      """
    /// Whether every sample has the number of its place in the order of `_id`.
    private let check = """
      groups = {}
      for row in db.aggregations.find().sort("_id"):
          groups.setdefault((row["target"], row["metric"], row["type"], row["tag"]), []).append(row.get("n"))
      print(sum(len(g) for g in groups.values()), all(g == list(range(len(g))) for g in groups.values()))
      print(db.meta.find_one({"_id": "schema"}))
      """

    @Test("of a newer Syscrap, and an index that is another one, are refused with advice")
    func refusals() async throws {
      let server = try await MongoServer.shared()
      let database = MongoServer.freshDatabase()
      try await server.python("db.meta.insert_one({'_id': 'schema', 'version': Int64(99)})", database: database)
      let newer = await failure { _ = try await openMongo(server, database) }
      #expect(newer?.code == .corrupt)
      #expect(newer?.message.contains("written by a newer Syscrap (schema 99, this one knows up to 1)") == true)
      let other = MongoServer.freshDatabase()
      try await server.python("db.aggregations.create_index([('target', 1)], name='sample')", database: other)
      let index = await failure { _ = try await openMongo(server, other) }
      #expect(index?.code == .corrupt && index?.message.contains("dropIndex(\"sample\")") == true)
    }

    @Test("is made by two instances at once, and found as it was left")
    func atOnce() async throws {
      let server = try await MongoServer.shared()
      let database = MongoServer.freshDatabase()
      let stores = try await withThrowingTaskGroup(of: MongoStorage.self) { group in
        for _ in 0..<4 { group.addTask { try await openMongo(server, database, threads: 1) } }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      #expect(try await stores.first?.check()["schema"] == 1)
      for store in stores { await store.close() }
      let again = try await openMongo(server, database)
      await again.close()
    }

    @Test("gives an older Syscrap's samples their numbers, in the order in which they came")
    func numbering() async throws {
      let server = try await MongoServer.shared()
      let database = MongoServer.freshDatabase()
      try await server.python(old, database: database)
      let store = try await openMongo(server, database)
      let lines = try await server.python(check, database: database)
      #expect(lines.first == "500 True")
      #expect(lines.last == "{'_id': 'schema', 'version': 1}", "\(lines)")
      await store.close()
    }

    @Test("survives 20 times kill -9 of the server in the middle of the numbering")
    func killed() async throws {
      let server = try await MongoServer.start(.standalone)
      try await server.python(
        """
        rows = [{"metric": "M", "target": "t", "type": "RT", "tag": Int64(20260101000000 + n // 4), "value": n} for n in range(40000)]
        for start in range(0, len(rows), 5000): db.aggregations.insert_many(rows[start:start + 5000])
        """, database: "old")
      let uri = server.uri(
        database: "old", options: ["serverSelectionTimeoutMS=500", "connectTimeoutMS=500"])
      var interrupted = 0
      for round in 0..<20 {
        async let opening = failure { await (try await openMongo(uri: uri, threads: 1)).close() }
        try await Task.sleep(for: .milliseconds(40 + 15 * round))
        await server.kill()
        if await opening != nil { interrupted += 1 }
        try await server.restart()
      }
      let store = try await openMongo(server, "old")
      let lines = try await server.python(check, database: "old")
      #expect(lines.first == "40000 True")
      #expect(try await store.check()["schema"] == 1)
      #expect(interrupted > 0)
      await store.close()
      await server.end()
    }

    @Test("F44: a process that is killed at any moment of the numbering leaves what the next one makes whole")
    func killedProcess() async throws {
      let rounds = ProcessInfo.processInfo.environment["SYSCRAP_LONG"] == "1" ? 50 : 10
      let server = try await MongoServer.shared()
      let database = MongoServer.freshDatabase("old")
      let uri = server.uri(database: database)
      // Samples as an older version wrote them, anew before each round.
      let digest = """
        import hashlib
        def digest():
            text = hashlib.sha256()
            for row in db.aggregations.find({}, {"n": 0}).sort("_id"): text.update(repr(sorted(row.items())).encode())
            return db.aggregations.count_documents({}), text.hexdigest()

        """
      let fill =
        digest + """
          client().drop_database(db.name)
          rows = [{"_id": ObjectId("%024x" % n), "metric": "M", "target": f"t{n % 7}", "type": "RT",
                   "tag": Int64(20260101000000 + n // 40 % 60), "value": n} for n in range(6000)]
          db.aggregations.insert_many(rows)
          print(*digest())
          """
      let look =
        digest + """
          print(*digest())
          print(db.aggregations.count_documents({"n": {"$exists": True}}))
          print((db.meta.find_one({"_id": "schema"}) or {}).get("version", -1))
          """
      let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
      func child() throws -> ManagedProcess {
        var environment = ProcessInfo.processInfo.environment
        environment[SchemaChild.variable] = uri
        return try ManagedProcess(
          [program, "--testing-library", "swift-testing", "--filter", "SchemaChild"], environment: environment)
      }
      // How long it takes when nobody interferes.
      let before = try await server.python(fill, database: database)
      let whole = try child()
      _ = try await whole.line(within: .seconds(60)) { $0 == "begins" }
      let start = ContinuousClock.now
      _ = try await whole.line(within: .seconds(60)) { $0 == "is open" }
      let duration = ContinuousClock.now - start
      _ = try await whole.exit(within: .seconds(60))
      let made = try await server.python(look, database: database)
      #expect(made == before + ["6000", "1"])

      let given = ProcessInfo.processInfo.environment["SYSCRAP_SEED"].flatMap { UInt64($0) }
      let seed = given ?? UInt64.random(in: 0...UInt64(UInt32.max))
      var random = SeededGenerator(state: seed)
      print("kills in a numbering: SYSCRAP_SEED=\(seed)")
      var kinds: [String: Int] = [:]
      for round in 0..<rounds {
        _ = try await server.python(fill, database: database)
        let victim = try child()
        _ = try await victim.line(within: .seconds(60)) { $0 == "begins" }
        // At random, and somewhere in each part of it.
        try await Task.sleep(for: duration * ((Double(round) + .random(in: 0..<1, using: &random)) / Double(rounds)))
        victim.signal(SIGKILL)
        _ = try await victim.exit()
        let found = try await server.python(look, database: database)
        let comment: Comment = "round \(round), SYSCRAP_SEED=\(seed)"
        #expect(found.first == before.first, comment)
        // It counts as done only when it is.
        let (numbered, version) = (Int(found.dropFirst().first ?? ""), found.last ?? "")
        #expect(version != "1" || numbered == 6000, comment)
        kinds[
          version == "1" ? "afterwards" : numbered == 0 ? "before" : numbered == 6000 ? "at the end" : "half way",
          default: 0] += 1
        // What was left is taken up again.
        await (try await openMongo(server, database)).close()
        let lines = try await server.python(look + "\n" + check, database: database)
        #expect(Array(lines.prefix(3)) == made, comment)
        #expect(lines.dropFirst(3).first == "6000 True", comment)
      }
      print("a numbering of \(duration) was killed \(rounds) times: \(kinds)")
      // Where a random moment falls is chance; that all fall outside is not.
      #expect((kinds["half way"] ?? 0) + (kinds["at the end"] ?? 0) > 0, "\(kinds)")
    }
  }
}

/// SplitMix64: the same numbers for the same seed, everywhere.
private struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
