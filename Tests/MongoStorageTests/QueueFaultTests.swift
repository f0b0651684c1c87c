import Foundation
import Logging
import Model
import Storage
import TestKit
import Testing

@testable import MongoStorage

@Suite(
  "The queue when the server fails", .serialized,
  .enabled(if: MongoServer.isExpected, Comment(rawValue: MongoServer.absence)), .timeLimit(.minutes(10)))
struct QueueFaultTests {
  private static let isLong = ProcessInfo.processInfo.environment["SYSCRAP_LONG"] == "1"

  private func open(_ server: MongoServer, _ options: [String]) async throws -> MongoStorage {
    var configuration = MongoStorage.Configuration(
      uri: server.uri(database: MongoServer.freshDatabase("queue"), options: options))
    configuration.threads = 12
    return try await MongoStorage.open(configuration, logger: Logger(label: "test"))
  }

  @Test("loses nothing that was accepted when mongod is killed again and again")
  func killed() async throws {
    let server = try await MongoServer.start()
    let store = try await open(
      server, ["serverSelectionTimeoutMS=500", "connectTimeoutMS=1000", "socketTimeoutMS=5000"])
    let traffic = QueueTraffic(store)
    try await traffic.run(perSecond: 50) {
      for _ in 0..<(Self.isLong ? 20 : 5) {
        let already = traffic.accepted.all.count
        _ = try await traffic.accepted.count(already + 40)
        await server.kill()
        try await server.restart()
      }
      _ = try await traffic.accepted.count(traffic.accepted.all.count + 20)
    }
    try await traffic.check()
    await store.close()
    await server.end()
  }

  @Test("loses and doubles nothing when the primary steps down under its work")
  func steppedDown() async throws {
    let server = try await MongoServer.start()
    let store = try await open(
      server, ["serverSelectionTimeoutMS=500", "connectTimeoutMS=1000", "socketTimeoutMS=5000"])
    let traffic = QueueTraffic(store)
    try await traffic.run(perSecond: 50) {
      for _ in 0..<(Self.isLong ? 20 : 4) {
        _ = try await traffic.accepted.count(traffic.accepted.all.count + 20)
        try await server.python(
          """
          try: direct().admin.command("replSetStepDown", 1, force=True)
          except pymongo.errors.AutoReconnect: pass
          """)
      }
      _ = try await traffic.accepted.count(traffic.accepted.all.count + 20)
    }
    try await traffic.check()
    await store.close()
    await server.end()
  }

  @Test(
    "queues nothing twice and loses nothing when mongod stands still",
    arguments: [["socketTimeoutMS=700", "serverSelectionTimeoutMS=700"], []])
  func slow(_ options: [String]) async throws {
    let server = try await MongoServer.start()
    let store = try await open(server, options)
    let traffic = QueueTraffic(store)
    try await traffic.run(perSecond: 50) {
      for _ in 0..<(Self.isLong ? 20 : 4) {
        _ = try await traffic.accepted.count(traffic.accepted.all.count + 20)
        server.pause()
        // The fault itself.
        try await Task.sleep(for: .seconds(2))
        server.resume()
      }
      _ = try await traffic.accepted.count(traffic.accepted.all.count + 20)
    }
    try await traffic.check()
    await store.close()
    await server.end()
  }
}

extension EventLog {
  /// Waits until so many elements have come.
  fileprivate func count(_ count: Int) async throws -> Element {
    try await first(from: count - 1, within: .seconds(60)).element
  }
}
