import Foundation
import Model
import Storage
import TestKit
import Testing

@testable import MongoStorage

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
  }
}
