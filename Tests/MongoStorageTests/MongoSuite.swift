import Foundation
import Logging
import Model
import MongoStorage
import Storage
import TestKit
import Testing

/// Suites of the MongoDB store on a real mongod.
@Suite("MongoDB", .enabled(if: MongoServer.isExpected, Comment(rawValue: MongoServer.absence)))
struct MongoSuite {}

/// 2026-11-21T08:00:00Z and so many seconds.
func time(_ seconds: Double = 0) -> Date { Date(timeIntervalSince1970: 1_795_248_000 + seconds) }

func openMongo(
  _ server: MongoServer, _ database: String, options: [String] = [], user: MongoServer.User? = nil,
  requireReachable: Bool = true, threads: Int = 4
) async throws -> MongoStorage {
  try await openMongo(
    uri: server.uri(database: database, options: options), user: user, requireReachable: requireReachable,
    threads: threads)
}

func openMongo(
  uri: String, user: MongoServer.User? = nil, requireReachable: Bool = true, threads: Int = 4
) async throws -> MongoStorage {
  var password: (@Sendable () async throws -> String)?
  if let user { password = { user.password } }
  var configuration = MongoStorage.Configuration(
    uri: uri, username: user?.name, password: password, requireReachable: requireReachable)
  configuration.threads = threads
  return try await MongoStorage.open(configuration, logger: Logger(label: "test"))
}

func failure(_ body: () async throws -> Void) async -> StorageError? {
  do {
    try await body()
    return nil
  } catch {
    return error as? StorageError
  }
}

/// Asks again until it holds, at most 20 times a second: nothing tells us of changes that others make.
func eventually(within bound: Duration, _ holds: () async throws -> Bool) async throws -> Bool {
  let end = ContinuousClock.now + bound
  while true {
    if try await holds() { return true }
    if ContinuousClock.now > end { return false }
    try await Task.sleep(for: .milliseconds(50))
  }
}
