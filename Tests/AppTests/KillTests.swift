internal import Foundation
internal import Logging
internal import Model
internal import MongoStorage
internal import SQLiteStorage
internal import Storage
internal import TestKit
internal import Testing

extension EndToEnd {
  /// R1: the service, its store or both are killed again and again while messages are accepted and delivered.
  @Suite(
    .serialized,
    .enabled(
      if: Scene.isPossible && MongoServer.isExpected, "needs sshd, mongod, and python3 with aiosmtpd and pymongo"))
  struct Kills {
    static let isLong = ProcessInfo.processInfo.environment["SYSCRAP_LONG"] == "1"
    static let rounds = isLong ? 200 : 60
    /// How many messages a second are handed over.
    static let rate = 50

    @Test(
      "60 random kill -9 of the service at 50 messages a second on SQLite: none lost, the same keys, back within 70 s")
    func sqlite() async throws {
      let mail = try await MailCounter.start(delay: .milliseconds(10))
      let service = try SyscrapProcess("")
      try await Self.prepare(service, mail)
      try await service.start()
      let store = try await SQLiteStorage.open(
        .init(path: service.stateDirectory + "/syscrap.db"), logger: Logger(label: "driver"))
      let killer = RandomKiller([Self.striking(service)], pause: 200...2400, seed: Self.seed())
      try await Self.run(killer, over: store, service, mail)
      await store.close()
      await service.stop()
      await mail.stop()
    }

    @Test("60 random kill -9 of the service, of mongod and of both: none lost, the same keys, back within 70 s")
    func mongo() async throws {
      let mail = try await MailCounter.start(delay: .milliseconds(10))
      let server = try await MongoServer.start(.replicaSet(1))
      let service = try SyscrapProcess("store: '\(server.uri(database: "syscrap"))'\n")
      try await Self.prepare(service, mail)
      try await service.start()
      let store = try await MongoStorage.open(
        .init(uri: server.uri(database: "syscrap")), logger: Logger(label: "driver"))
      let killer = RandomKiller(
        [
          Self.striking(service),
          .init("mongod") {
            await server.kill()
            try await server.restart()
          },
          .init("both") {
            await server.kill()
            try await service.kill()
            try await server.restart()
            try await service.start()
          },
        ], pause: 200...2400, seed: Self.seed())
      try await Self.run(killer, over: store, service, mail)
      await store.close()
      await service.stop()
      await server.end()
      await mail.stop()
    }

    private static func striking(_ service: SyscrapProcess) -> RandomKiller.Victim {
      .init("service") {
        try await service.kill()
        try await service.start()
      }
    }

    private static func prepare(_ service: SyscrapProcess, _ mail: MailCounter) async throws {
      let way = """
        {kind: notification_options, _id: ops, target: generic, type: email, to: [ops@example.org],
         from: syscrap@example.org, relay: 'smtp+plain://127.0.0.1:\(mail.port)'}
        """
      let done = try await service.run(["apply", "-f", "-"], input: way + "\n")
      #expect(done.status == 0, "\(done.text)\(done.errorText)")
    }

    private static func seed() -> UInt64 {
      let given = ProcessInfo.processInfo.environment["SYSCRAP_SEED"].flatMap { UInt64($0) }
      let seed = given ?? UInt64.random(in: 0...UInt64(UInt32.max))
      print("kills: SYSCRAP_SEED=\(seed)")
      return seed
    }

    /// Accepts, kills, waits until the queue is empty, and compares the books.
    private static func run(
      _ killer: RandomKiller, over store: any Storage, _ service: SyscrapProcess, _ mail: MailCounter
    ) async throws {
      let account = DeliveryAccount()
      let follower = Task {
        await mail.follow { mail in
          // The left side of a Message-ID is the entry's key.
          await account.receive(String(mail.id.prefix { $0 != "@" }), content: mail.subject)
        }
      }
      let drivers = (0..<4).map { lane in Task { await drive(lane, store, account) } }
      var killer = killer
      let outcome = await Result { try await killer.run(rounds: rounds, account: account) }
      for driver in drivers { driver.cancel() }
      for driver in drivers { await driver.value }
      try outcome.get()

      // A lease of 60 s, the rescuer's 10 s, and what then waits in line.
      let clock = ContinuousClock()
      let end = clock.now + .seconds(150)
      while clock.now < end {
        let counts = try? await store.queueCounts(now: Date())
        if await account.missingCount == 0, counts?.pending == 0, counts?.leased == 0 { break }
        try await Task.sleep(for: .milliseconds(200))
      }
      follower.cancel()
      await follower.value
      let report = await account.report()
      print("R1: \(report)")
      #expect(report.lost == [])
      #expect(report.strangers == [])
      #expect(report.confused == [])
      #expect(report.accepted > rounds * rate / 4)
      #expect(report.worstKill <= 8)
      #expect(report.longestRetry <= .seconds(70))
      let counts = try await store.queueCounts(now: Date())
      #expect(counts.imbalance == 0)
      #expect(counts.delivered == report.accepted)
      #expect(counts.accepted == report.accepted)
    }

    /// One of four who hand messages over, until cancelled; each goes on with a message until it was accepted.
    private static func drive(_ lane: Int, _ store: any Storage, _ account: DeliveryAccount) async {
      var number = 0
      let clock = ContinuousClock()
      var next = clock.now
      while !Task.isCancelled {
        let key = "r1-\(lane)-\(number)"
        await account.offer(key)
        let entry = QueueEntry(
          id: key, key: key, reaction: "driver", target: "generic", type: "email",
          payload: [
            "from": "syscrap@example.org", "to": "ops@example.org", "subject": .string("number \(key)"),
            "body": "one of many",
          ], option: "ops", recipient: "ops@example.org", created: Date())
        while true {
          do {
            _ = try await store.record(nil, queueing: [entry])
            await account.accept(key)
            break
          } catch {
            // Not known whether it was taken: the same again, also when no further message follows.
            await pause(.milliseconds(100))
          }
        }
        number += 1
        next = max(next + .milliseconds(4000 / rate), clock.now - .seconds(1))
        if next > clock.now { try? await Task.sleep(until: next, clock: clock) }
      }
    }

    /// Also where the task was cancelled already.
    private static func pause(_ duration: Duration) async {
      await Task { try? await Task.sleep(for: duration) }.value
    }
  }
}

extension Result where Failure == any Error {
  fileprivate init(_ work: () async throws -> Success) async {
    do { self = .success(try await work()) } catch { self = .failure(error) }
  }
}
