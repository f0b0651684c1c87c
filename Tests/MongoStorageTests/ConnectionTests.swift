import Foundation
import Model
import Storage
import TestKit
import Testing
import Threads

@testable import MongoStorage

extension MongoSuite {
  @Suite("Connections")
  struct Connections {
    private func insert(_ id: String) -> BSON {
      BSON {
        $0.string("insert", "things")
        $0.array("documents") { $0.document { $0.string("_id", id) } }
      }
    }

    @Test("run at most as many calls at once as there are threads, and give the client back when a body throws")
    func pool() async throws {
      let server = try await MongoServer.shared()
      let store = try await openMongo(server, MongoServer.freshDatabase(), threads: 2)
      let running = Locked((now: 0, most: 0))
      struct Oops: Error {}
      // Twenty times the threads there are: a client that was kept would leave the last ones waiting for ever.
      await withTaskGroup(of: Void.self) { group in
        for number in 0..<40 {
          group.addTask {
            let error = await failure {
              try await store.pool.run("throwing") { connection in
                running.withLock { $0 = ($0.now + 1, max($0.most, $0.now + 1)) }
                defer { running.withLock { $0.now -= 1 } }
                _ = try connection.read(BSON { $0.int32("ping", 1) })
                if number % 2 == 0 { throw Oops() }
              }
            }
            #expect((error == nil) == (number % 2 == 1))
          }
        }
      }
      #expect(running.withLock { $0.most } <= 2)
      await store.close()
      #expect(await failure { _ = try await store.documents(.targets) }?.code == .closed)
    }

    @Test("refuse calls beyond the queue's bound at once")
    func bound() async throws {
      let server = try await MongoServer.shared()
      let store = try await openMongo(server, MongoServer.freshDatabase(), threads: 1)
      let gate = Condition(false)
      let codes = await withTaskGroup(of: StorageError.Code?.self) { group in
        for _ in 0..<(MongoPool.queueLimit + 50) {
          group.addTask {
            await failure { try await store.pool.run("waiting") { _ in _ = gate.wait { $0 ? true : nil } } }?.code
          }
        }
        // Refusals come while all others wait.
        var codes: [StorageError.Code?] = []
        for _ in 0..<49 { if let code = await group.next() { codes.append(code) } }
        gate.changeForAll { $0 = true }
        for await code in group { codes.append(code) }
        return codes
      }
      #expect(codes.filter { $0 == .unavailable }.count >= 49)
      #expect(codes.filter { $0 == nil }.count >= MongoPool.queueLimit)
      await store.close()
    }

    @Test("say what went wrong, with MongoDB's own number")
    func errors() async throws {
      let server = try await MongoServer.shared()
      let store = try await openMongo(server, MongoServer.freshDatabase())
      let command = insert("a")
      try await store.pool.run("inserting") { _ = try $0.write(command) }
      let duplicate = await failure { try await store.pool.run("inserting") { _ = try $0.write(command) } }
      #expect(duplicate?.code == .conflict && duplicate?.rawCode == 11000)
      try await store.pool.run("inserting") { _ = try $0.write(command, ignoring: [11000]) }
      let slow = BSON {
        $0.string("find", "things")
        $0.document("filter") { $0.string("$where", "sleep(2000) || true") }
        $0.int32("maxTimeMS", 50)
      }
      let late = await failure { _ = try await store.pool.run("looking") { try $0.find(slow, limit: 1) } }
      #expect(late?.code == .unavailable && late?.rawCode == 50)
      let wrong = await failure {
        _ = try await store.pool.run("asking") { try $0.read(BSON { $0.int32("nonsense", 1) }) }
      }
      #expect(wrong?.code == .internalError && wrong?.rawCode == 59)
      #expect(wrong?.message.contains("asking in mongodb://127.0.0.1:") == true)
      await store.close()
    }

    @Test("follow a cursor to its end, or to the limit")
    func cursors() async throws {
      let server = try await MongoServer.shared()
      let store = try await openMongo(server, MongoServer.freshDatabase())
      let counts = try await store.pool.run("reading") { connection in
        let documents = (0..<2500).map { number in BSON { $0.int("_id", number) } }
        for part in [documents[..<1000], documents[1000..<2000], documents[2000...]] {
          try connection.write(
            BSON {
              $0.string("insert", "things")
              $0.documents("documents", part)
            })
        }
        let command = BSON {
          $0.string("find", "things")
          $0.int32("batchSize", 100)
        }
        return [try connection.find(command).count, try connection.find(command, limit: 750).count]
      }
      #expect(counts == [2500, 750])
      await store.close()
    }

    @Test("do a write once more when its connection broke or the primary goes away, and only once more")
    func retries() async throws {
      // A server of its own: it can be told to fail in one way at a time.
      let server = try await MongoServer.start(.replicaSet(1))
      let store = try await openMongo(server, "db")
      let faults: [(name: String, write: @Sendable (inout BSONWriter) -> Void)] = [
        ("closed", { $0.bool("closeConnection", true) }), ("not primary", { $0.int32("errorCode", 10107) }),
        ("stepped down", { $0.int32("errorCode", 189) }),
        (
          "not safe",
          {
            $0.document("writeConcernError") {
              // ExceededTimeLimit: unlike those of a shutdown it does not make the client wait for the server's end.
              $0.int32("code", 262)
              $0.string("errmsg", "too late")
            }
          }
        ),
      ]
      for (name, fault) in faults {
        for times in 1...2 {
          let command = insert("\(name) \(times)")
          try await store.pool.run("arming") { connection in
            _ = try connection.read(
              BSON {
                $0.string("configureFailPoint", "failCommand")
                $0.document("mode") { $0.int32("times", Int32(times)) }
                $0.document("data") {
                  $0.strings("failCommands", ["insert"])
                  fault(&$0)
                }
              }, database: "admin")
          }
          let error = await failure {
            try await store.pool.run("inserting") { _ = try $0.write(command, ignoring: [11000]) }
          }
          #expect(error?.code == (times == 1 ? nil : .unavailable), "\(name) \(times): \(error?.message ?? "")")
        }
        // The second of those that failed twice is done by the next call.
        let again = insert("\(name) 2")
        try await store.pool.run("inserting") { _ = try $0.write(again, ignoring: [11000]) }
      }
      #expect(try await server.python("print(db.things.count_documents({}))", database: "db") == ["8"])
      await store.close()
      await server.end()
    }

    @Test("to a frozen server end within their time-outs")
    func frozen() async throws {
      let server = try await MongoServer.start(.standalone)
      let store = try await openMongo(
        server, "db", options: ["socketTimeoutMS=1000", "serverSelectionTimeoutMS=1000", "connectTimeoutMS=500"])
      server.pause()
      let began = ContinuousClock.now
      let command = insert("a")
      let error = await failure { try await store.pool.run("inserting") { _ = try $0.write(command) } }
      #expect(error?.code == .unavailable)
      #expect(ContinuousClock.now - began < .seconds(10))
      server.resume()
      #expect(
        try await eventually(within: .seconds(20)) {
          await failure { try await store.pool.run("inserting") { _ = try $0.write(command, ignoring: [11000]) } }
            == nil
        })
      await store.close()
      await server.end()
    }

    @Test("refuse addresses that cannot be used, with advice")
    func addresses() async throws {
      let password = await failure { _ = try await openMongo(uri: "mongodb://me:secret@127.0.0.1/db") }
      #expect(password?.code == .corrupt)
      #expect(password?.message.contains("store_password_file") == true)
      #expect(password?.message.contains("secret") == false)
      let encoded = await failure { _ = try await openMongo(uri: "mongodb://me:sec/ret@127.0.0.1/db") }
      #expect(encoded?.message.contains("ret") == false)
      #expect(
        await failure { _ = try await openMongo(uri: "mongodb://127.0.0.1/") }?.message.contains("names no database")
          == true)
      #expect(await failure { _ = try await openMongo(uri: "mongodb://127.0.0.1/db?ssl=maybe") }?.code == .corrupt)
      #expect(await failure { _ = try await openMongo(uri: "http://127.0.0.1/db") }?.code == .corrupt)
    }

    @Test("to nobody fail in bounded time; a store that may start without its servers does")
    func unreachable() async throws {
      let port = try ManagedProcess.freePort()
      let uri = "mongodb://127.0.0.1:\(port)/db?serverSelectionTimeoutMS=300"
      let error = await failure { _ = try await openMongo(uri: uri) }
      #expect(error?.code == .unavailable && error?.rawCode == 13053)
      let store = try await openMongo(uri: uri, requireReachable: false)
      #expect(await failure { _ = try await store.documents(.targets) }?.code == .unavailable)
      await store.close()
    }

    @Test("prepare a server that comes later before anything else")
    func later() async throws {
      let server = try await MongoServer.start(.standalone)
      await server.stop()
      let store = try await openMongo(
        server, "later", options: ["serverSelectionTimeoutMS=300"], requireReachable: false)
      #expect(await failure { _ = try await store.documents(.targets) }?.code == .unavailable)
      try await server.restart()
      #expect(
        try await eventually(within: .seconds(20)) { await failure { _ = try await store.documents(.targets) } == nil })
      #expect(
        try await server.python("print(db.meta.find_one({'_id': 'schema'})['version'])", database: "later") == ["1"])
      await store.close()
      await server.end()
    }

    @Test("take an address that names the way to authenticate, with the name beside it")
    func mechanisms() async throws {
      let user = MongoServer.User(name: "o'brien@example.org/ä %2f:", password: "p\\:/@'ä")
      let server = try await MongoServer.start(.standalone, user: user)
      for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-1"] {
        let store = try await openMongo(server, "db", options: ["authMechanism=\(mechanism)"], user: user)
        #expect(try await store.put([Document(kind: .targets, id: mechanism, fields: ["target": "a"])]) == [.created])
        await store.close()
      }
      // A name in the address gives way to the one beside it.
      let uri = server.uri(database: "db", options: ["authMechanism=SCRAM-SHA-256"])
      let store = try await openMongo(uri: uri.replacingOccurrences(of: "mongodb://", with: "mongodb://x@"), user: user)
      #expect(try await store.documents(.targets).count == 2)
      await store.close()
      // This server does not know it: it is asked all the same.
      let plain = await failure {
        _ = try await openMongo(server, "db", options: ["authMechanism=PLAIN"], user: user)
      }
      #expect(plain?.code == .unavailable, "\(plain?.message ?? "")")
      #expect(plain?.message.contains(user.password) == false)
      await server.end()
    }

    @Test("need the right password and a certificate that is trusted")
    func access() async throws {
      let user = MongoServer.User(name: "o'brien", password: "p\\:/@'ä")
      let certificates = try await Certificates.make()
      let server = try await MongoServer.start(.replicaSet(1), user: user, certificates: certificates)
      let store = try await openMongo(server, "db", user: user)
      let facts = try await store.check()
      #expect(facts["deployment"] == "replica set")
      #expect(facts["version"]?.text?.isEmpty == false)
      await store.close()
      var wrong = user
      wrong.password = "no-such-password"
      for requireReachable in [true, false] {
        let refused = await failure {
          _ = try await openMongo(server, "db", user: wrong, requireReachable: requireReachable)
        }
        #expect(refused?.code == .unavailable)
        #expect(
          refused?.message.contains("check store_username") == true,
          "\(refused?.message ?? "") \(refused?.rawCode ?? -1)")
        #expect(refused?.message.contains(wrong.password) == false)
      }
      let untrusted = server.uri(database: "db", options: ["serverSelectionTimeoutMS=1500"])
        .replacingOccurrences(of: certificates.authority, with: certificates.otherAuthority)
      let tls = await failure { _ = try await openMongo(uri: untrusted, user: user) }
      #expect(tls?.code == .unavailable)
      #expect(tls?.message.contains("tlsCAFile") == true, "\(tls?.message ?? "")")
      await server.end()
    }
  }
}
