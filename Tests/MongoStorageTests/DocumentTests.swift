import Foundation
import Model
import Storage
import TestKit
import Testing

@testable import MongoStorage

extension MongoSuite {
  @Suite("Documents that other tools write")
  struct Documents {
    private func target(_ name: String, _ more: [String: Value] = [:]) -> Document {
      Document(kind: .targets, id: name, fields: ["target": .string(name)].merging(more) { $1 })
    }

    @Test("with an ObjectId are called by its hex digits, and a target also by its name")
    func objectIDs() async throws {
      let server = try await MongoServer.shared()
      let database = MongoServer.freshDatabase()
      let store = try await openMongo(server, database)
      try await server.python(
        """
        db.targets.insert_one({"_id": ObjectId("0102030405060708090a0b0c"), "target": "web-1", "kind": "target",
          "port": 2222, "labels": {"a.b": "c"}})
        db.reaction_targets.insert_one({"_id": 7, "reaction": "Range", "metrics": {"Vitals": {"CPU": {"max": 90.5}}},
          "updated": datetime.datetime(2026, 11, 21, 8)})
        db.notification_options.insert_one({"_id": "ops", "type": "email", "limit": bson.Decimal128("1.5"), "b": b"x"})
        """, database: database)
      let hex = "0102030405060708090a0b0c"
      let there = Document(
        kind: .targets, id: hex, fields: ["target": "web-1", "port": 2222, "labels": ["a.b": "c"]])
      #expect(try await store.documents(.targets) == [there])
      #expect(try await store.document(.targets, id: hex) == there)
      #expect(try await store.document(.targets, id: "web-1") == there)
      #expect(try await store.document(.targets, id: "0102030405060708090a0b0d") == nil)
      let read = Target.read(there)
      #expect(read.problems.isEmpty && read.value?.name == "web-1" && read.value?.port == 2222)
      let reaction = try await store.document(.reaction_targets, id: "7")
      #expect(reaction?.fields["updated"] == .date(time()))
      let option = try await store.document(.notification_options, id: "ops")
      #expect(option?.fields["limit"] == 1.5)

      try await store.mergeDetectedSpecs(["os": "Linux", "a.b": 1], targetID: hex)
      try await store.mergeDetectedSpecs(["cores": 4], targetID: hex)
      // From a file that names no _id the target comes under its name: it is the same target.
      #expect(try await store.put([target("web-1", ["port": 22])]) == [.changed])
      #expect(try await store.put([target("web-1", ["port": 22])]) == [.unchanged])
      #expect(
        try await store.documents(.targets) == [
          Document(
            kind: .targets, id: hex,
            fields: ["target": "web-1", "port": 22, "detected_specs": ["os": "Linux", "a.b": 1, "cores": 4]])
        ])
      let types = try await server.python("print(type(db.targets.find_one()['_id']).__name__)", database: database)
      #expect(types == ["ObjectId"])
      #expect(try await store.delete(.targets, id: "web-1"))
      #expect(try await store.delete(.targets, id: "web-1") == false)
      #expect(try await store.documents(.targets) == [])
      await store.close()
    }

    @Test(
      "count within seconds, with change streams and without", arguments: [MongoServer.Kind.replicaSet(1), .standalone])
    func live(_ kind: MongoServer.Kind) async throws {
      let server = try await MongoServer.shared(kind)
      let database = MongoServer.freshDatabase()
      let store = try await openMongo(server, database)
      #expect(try await store.put([target("a")]) == [.created])
      var last = try await store.documentRevision()
      #expect(try await store.documentRevision() == last)
      if kind != .standalone {
        #expect(try await eventually(within: .seconds(10)) { try await store.check()["watching"] == true })
      }
      for edit in [
        "db.targets.insert_one({'target': 'b'})", "db.targets.update_one({'target': 'b'}, {'$set': {'port': 23}})",
        "db.reaction_targets.insert_one({'_id': 'r', 'reaction': 'Range'})", "db.targets.delete_one({'target': 'b'})",
      ] {
        try await server.python(edit, database: database)
        let before = last
        #expect(
          try await eventually(within: .seconds(5)) { try await store.documentRevision() > before }, "\(kind): \(edit)")
        last = try await store.documentRevision()
      }
      // What the service writes itself is no change, and neither is what is put as it was.
      try await store.mergeDetectedSpecs(["os": "Linux"], targetID: "a")
      #expect(try await store.put([target("a")]) == [.unchanged])
      try await server.python(
        "db.targets.update_one({'_id': 'a'}, {'$set': {'detected_specs.x': 1}})", database: database)
      try await server.python("db.other.insert_one({})", database: database)
      #expect(try await store.documentRevision() == last)
      #expect(try await store.put([target("a", ["port": 24])]) == [.changed])
      #expect(try await store.documentRevision() == last + 1)
      await store.close()
    }

    @Test("count also where an update did nothing but shorten a list")
    func shortened() async throws {
      let server = try await MongoServer.shared()
      let database = MongoServer.freshDatabase()
      let store = try await openMongo(server, database)
      _ = try await store.documentRevision()
      #expect(try await eventually(within: .seconds(10)) { store.changes.isWatching })
      try await server.python(
        """
        db.targets.insert_one({"_id": "a", "identity_files": ["/etc/keys/" + "x" * 200 + str(n) for n in range(9)]})
        """, database: database)
      // The first may pass for the insertion, of which word is perhaps still on its way.
      for length in [8, 5, 1] {
        let before = try await store.documentRevision()
        try await server.python(
          """
          db.targets.update_one({"_id": "a"}, [{"$set": {"identity_files": {"$slice": ["$identity_files", \(length)]}}}])
          """, database: database)
        #expect(
          try await eventually(within: .seconds(5)) { try await store.documentRevision() > before }, "to \(length)")
      }
      await store.close()
    }

    @Test("count by what an event says of them: anything but what the service itself writes, or nothing that is known")
    func events() {
      func event(_ operation: String, _ description: ((inout BSONWriter) -> Void)? = nil) -> BSON {
        BSON { writer in
          writer.string("operationType", operation)
          if let description { writer.document("updateDescription") { description(&$0) } }
        }
      }
      func update(_ fields: [String], removed: [String] = [], truncated: [String] = []) -> BSON {
        event("update") { writer in
          writer.document("updatedFields") { for field in fields { $0.int32(field, 1) } }
          writer.strings("removedFields", removed)
          writer.array("truncatedArrays") { list in
            for field in truncated {
              list.document {
                $0.string("field", field)
                $0.int32("newSize", 1)
              }
            }
          }
        }
      }
      #expect(!DocumentWatcher.counts(update(["updated", "detected_specs.os"])))
      #expect(DocumentWatcher.counts(update(["updated", "port"])))
      #expect(DocumentWatcher.counts(update(["updated"], removed: ["port"])))
      #expect(DocumentWatcher.counts(update(["updated"], truncated: ["identity_files"])))
      #expect(DocumentWatcher.counts(update([], truncated: ["identity_files"])))
      #expect(DocumentWatcher.counts(update([])))
      #expect(DocumentWatcher.counts(event("update") { $0.string("other", "form") }))
      #expect(DocumentWatcher.counts(event("update")))
      #expect(DocumentWatcher.counts(event("insert")))
    }

    @Test("and that are nested too deeply keep no other from being read, and are refused by themselves")
    func deep() async throws {
      let server = try await MongoServer.shared()
      let database = MongoServer.freshDatabase()
      let store = try await openMongo(server, database)
      try await server.python(
        """
        def maps(levels):
            made = {}
            for _ in range(levels): made = {"a": made}
            return made
        def lists(levels):
            made = []
            for _ in range(levels): made = [made]
            return made
        db.targets.insert_one({"_id": "a", "target": "a", "labels": maps(150)})
        db.targets.insert_one({"_id": "b", "target": "b", "port": 23})
        db.targets.insert_one({"_id": "c", "target": "c", "identity_files": lists(170)})
        db.targets.insert_one({"_id": "d", "target": "d", "detected_specs": maps(160)})
        db.targets.insert_one({"_id": "e", "target": "e", "labels": maps(40)})
        """, database: database)
      let all = try await store.documents(.targets)
      #expect(all.map(\.id) == ["a", "b", "c", "d", "e"])
      #expect(all.filter { $0.id == "b" } == [target("b", ["port": 23])])
      func problems(_ document: Document) -> [Problem] {
        var fields = document.fields
        fields["_id"] = .string(document.id)
        return Document.read(.object(fields), kind: .targets).problems
      }
      for (id, path) in [("a", "labels.a.a"), ("c", "identity_files[0][0]"), ("d", "detected_specs.a.a")] {
        let found = all.filter { $0.id == id }.flatMap(problems)
        #expect(found.map(\.reason) == ["nested deeper than 64 levels"], "\(id)")
        #expect(found.allSatisfy { $0.level == .refused && $0.id == id && $0.path.hasPrefix(path) }, "\(id)")
        #expect(try await store.document(.targets, id: id) == all.first { $0.id == id })
      }
      #expect(all.filter { $0.id == "b" || $0.id == "e" }.flatMap(problems) == [])
      // It can be mended.
      #expect(try await store.put([target("a", ["port": 24])]) == [.changed])
      #expect(try await store.document(.targets, id: "a") == target("a", ["port": 24]))
      await store.close()
    }

    @Test("and whose bytes make no sense are refused by themselves, too")
    func malformed() throws {
      // A truth value that is neither; MongoDB's own tools write none.
      var bytes = BSON {
        $0.string("_id", "a")
        $0.bool("enabled", true)
      }.bytes
      bytes[bytes.count - 2] = 7
      let document = try #require(StoredDocument.read(.targets, try BSON(checking: bytes)))
      #expect(document.id == "a" && document.kind == .targets)
      let reading = Document.read(.object(document.fields), kind: .targets)
      #expect(reading.value == nil)
      #expect(reading.problems.map(\.path) == ["kind"])
      #expect(reading.problems.first?.reason.contains("unreadable: no BSON") == true)
    }

    @Test("are seen after the server was away, through the same change stream or a new one")
    func outage() async throws {
      let server = try await MongoServer.start(.replicaSet(1))
      let store = try await openMongo(server, "live", options: ["serverSelectionTimeoutMS=500"])
      _ = try await store.documentRevision()
      #expect(try await eventually(within: .seconds(10)) { try await store.check()["watching"] == true })
      let before = try await store.documentRevision()
      await server.kill()
      _ = await failure { _ = try await store.check() }
      try await server.restart()
      try await server.awaitPrimary()
      try await server.python("db.targets.insert_one({'target': 'new'})", database: "live")
      #expect(
        try await eventually(within: .seconds(20)) {
          (try? await store.documentRevision()).map { $0 > before } ?? false
        })
      #expect(try await eventually(within: .seconds(20)) { (try? await store.check())?["watching"] == true })
      await store.close()
      await server.end()
    }

    @Test("are put all or none where there are transactions")
    func joint() async throws {
      let server = try await MongoServer.shared()
      let store = try await openMongo(server, MongoServer.freshDatabase())
      // The second is larger than a document may be.
      let huge = target("huge", ["note": .string(String(repeating: "x", count: 17 << 20))])
      #expect(await failure { _ = try await store.put([target("a"), huge]) } != nil)
      #expect(try await store.documents(.targets) == [])
      #expect(try await store.put([target("b"), target("a"), target("b")]) == [.created, .created, .unchanged])
      #expect(try await store.documents(.targets).map(\.id) == ["a", "b"])
      await store.close()
    }
  }
}
