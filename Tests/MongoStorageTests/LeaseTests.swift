import Foundation
import Model
import Storage
import TestKit
import Testing

@testable import MongoStorage

extension MongoSuite {
  @Suite("Leases and the fence")
  struct Leases {
    @Test("are taken by exactly one of many")
    func race() async throws {
      let server = try await MongoServer.shared()
      let store = try await openMongo(server, MongoServer.freshDatabase())
      #expect(try await store.lease("gathering") == nil)
      var standing: Lease?
      for round in 1...5 {
        let expected = standing
        let offers = (0..<8).map { Lease(name: "gathering", owner: "o\($0)", epoch: Int64(round), beat: 0, ttl: 30) }
        let taken = try await withThrowingTaskGroup(of: Bool.self) { group in
          for offer in offers { group.addTask { try await store.replace(offer, expecting: expected) == offer } }
          return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(taken == 1)
        standing = try await store.lease("gathering")
        #expect(standing?.epoch == Int64(round))
      }
      await store.close()
    }

    @Test("refuse a lower fence than another handle has raised")
    func fence() async throws {
      let server = try await MongoServer.shared()
      let database = MongoServer.freshDatabase()
      let first = try await openMongo(server, database)
      let second = try await openMongo(server, database)
      try await first.raiseFence(to: 1)
      try await second.raiseFence(to: 2)
      try await second.raiseFence(to: 2)
      #expect(await failure { try await first.raiseFence(to: 1) } == StorageRefusal.lowerFence(1, than: 2))
      #expect(first.fence == 1 && second.fence == 2)
      await first.close()
      await second.close()
    }

    @Test("and documents go on within 15 s when the primary steps down or is killed, on three servers")
    func failover() async throws {
      let server = try await MongoServer.start(.replicaSet(3))
      let store = try await openMongo(server, "db")
      var lease = Lease(name: "gathering", owner: "me", epoch: 1, beat: 0, ttl: 30)
      #expect(try await store.replace(lease, expecting: nil) == lease)
      for step in 0..<2 {
        let began = ContinuousClock.now
        if step == 0 {
          try await server.python("direct(ports[\(try await server.primary())]).admin.command('replSetStepDown', 20)")
        } else {
          await server.kill(member: try await server.primary())
        }
        let document = Document(kind: .targets, id: "t", fields: ["target": "t", "port": .int(Int64(100 + step))])
        #expect(
          try await eventually(within: .seconds(30)) {
            await failure { _ = try await store.put([document]) } == nil
          })
        var next = lease
        next.beat += 1
        let expected = lease
        let wanted = next
        #expect(
          try await eventually(within: .seconds(30)) {
            (try? await store.replace(wanted, expecting: expected)) == wanted
          })
        lease = next
        let took = ContinuousClock.now - began
        print("failover \(step == 0 ? "by step-down" : "by kill -9"): writes go on after \(took)")
        #expect(took < .seconds(step == 0 ? 15 : 30))
        #expect(try await store.document(.targets, id: "t") == document)
      }
      #expect(try await store.check()["deployment"] == "replica set")
      await store.close()
      await server.end()
    }
  }
}
