internal import Foundation
internal import Model
internal import TestKit
internal import Testing

extension EndToEnd {
  /// Documents that another tool breaks in the store, and a service that starts again over them.
  @Suite(
    .serialized,
    .enabled(
      if: Scene.isPossible && MongoServer.isExpected, "needs sshd, mongod, and python3 with aiosmtpd and pymongo"))
  struct BrokenEdits {
    @Test("A broken edit and a restart end neither the monitoring nor an episode, and send no all-clear")
    func restart() async throws {
      let server = try await MongoServer.start(.standalone)
      try await Scene.with(configuration: "store: '\(server.uri(database: "syscrap"))'\npopulation: {step: 1s}") {
        scene in
        try await scene.apply(scene.target(), Scene.vitals, scene.email(), Scene.disk(max: 0))
        try await scene.service.start()
        _ = try await scene.mail.message("[FIRING critical]", within: .seconds(60))
        try await server.python(
          """
          db.reaction_targets.update_one({"_id": "disk-full"}, {"$set": {"metrics": {"Vitals.Disk": {"max": "ninety"}}}})
          db.targets.update_one({"_id": "box"}, {"$set": {"port": "ssh"}})
          import bson
          db.targets.insert_one({"_id": {"a": 1}, "target": "odd", "host": "192.0.2.1"})
          db.targets.insert_one({"_id": bson.Binary(bytes([1, 255])), "target": "bits", "host": "192.0.2.1"})
          """, database: "syscrap")
        try await broken(scene)
        let path = scene.service.stateDirectory + "/documents.json"
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(mode == 0o600)

        // The last good versions are at work in the next life.
        await scene.service.stop()
        try await scene.service.start()
        _ = try await scene.service.eventually("the children") {
          let tree = try await scene.service.tree()
          return tree.find("Range for box (disk-full)") != nil && tree.find("Vitals.Disk for box") != nil ? true : nil
        }
        try await broken(scene)
        #expect(try await rows(scene)["box"]?.hasPrefix("refused") == false)
        #expect(try await states(scene) == ["firing"])

        // Without them nothing is gathered, but nothing ends either, and it is said why.
        await scene.service.stop()
        try FileManager.default.removeItem(atPath: path)
        try await scene.service.start()
        _ = try await scene.service.eventually("the rows of refused targets") {
          let rows = try await rows(scene)
          return rows["box"]?.hasPrefix("refused refused: port: ") == true
            && rows["odd"]?.hasPrefix("refused refused: _id: ") == true
            && rows["bits"]?.hasPrefix("refused refused: _id: ") == true ? true : nil
        }
        // A step with what is applied after it has passed.
        try await scene.apply(scene.target("last"))
        _ = try await scene.service.eventually("the document after it") {
          try await scene.service.tree().find("Aggregator for last")
        }
        #expect(try await scene.service.tree().names(below: "Reactor") == [])
        #expect(try await states(scene) == ["firing"])

        // Mended: the episode goes on and ends as it should.
        try await scene.apply(scene.target(), Scene.disk(max: 100))
        _ = try await scene.mail.message("[RESOLVED]", within: .seconds(60))
        let ended = try await scene.service.values("objects/episodes")
        #expect(ended.compactMap { $0["state"]?.text } == ["ok"])
        #expect(ended.first?["end_reason"]?.text != "rule removed")
        let resolved = scene.mail.messages().filter { $0.subject.hasPrefix("[RESOLVED]") }
        #expect(resolved.count == 1)
      }
      await server.end()
    }

    private func broken(_ scene: Scene) async throws {
      _ = try await scene.service.eventually("the problems") {
        let problems = try await scene.service.values("objects/problems")
        let seen = Set(problems.map { "\($0["id"]?.text ?? "") \($0["path"]?.text ?? "")" })
        return seen.isSuperset(of: [
          "disk-full metrics.Vitals.Disk.max", "box port", "{\"a\":1} _id", "binary 01ff _id",
        ]) ? true : nil
      }
    }

    private func rows(_ scene: Scene) async throws -> [String: String] {
      let rows = try await scene.service.values("fleet")
      return Dictionary(
        rows.map { ($0["target"]?.text ?? "", "\($0["state"]?.text ?? "") \($0["detail"]?.text ?? "")") },
        uniquingKeysWith: { first, _ in first })
    }

    private func states(_ scene: Scene) async throws -> [String] {
      try await scene.service.values("objects/episodes").compactMap { $0["state"]?.text }
    }
  }
}
