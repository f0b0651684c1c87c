import Foundation
import Logging
import Model
import SQLiteStorage
import Storage
import TestKit
import Testing

@testable import MongoStorage

/// The stores that have to behave the same.
enum StoreKind: String, CaseIterable, Sendable, CustomTestStringConvertible {
  case memory, sqlite
  /// A replica set of one member, and a server alone: without change streams and transactions.
  case mongo, mongoStandalone

  /// Those that can be tested here: without a mongod, and outside of CI, the MongoDB store is left out.
  static let allCases: [StoreKind] = {
    if isMongoExpected { return [.memory, .sqlite, .mongo, .mongoStandalone] }
    print("MongoDB is left out: \(MongoServer.absence)")
    return [.memory, .sqlite]
  }()

  static var isMongoExpected: Bool { MongoServer.isExpected }

  var testDescription: String { rawValue }
  var isOnDisk: Bool { self != .memory }
  var isMongo: Bool { self == .mongo || self == .mongoStandalone }

  func make() async throws -> StoreFixture {
    switch self {
    case .memory: return StoreFixture(store: MemoryStorage(), folder: nil)
    case .sqlite:
      let folder = try TemporaryDirectory("store")
      return StoreFixture(
        store: try await openSQLite(folder), folder: folder, another: { try await openSQLite(folder) })
    case .mongo, .mongoStandalone:
      // One server for all tests of the process, a database for each.
      let server = try await MongoServer.shared(self == .mongo ? .replicaSet(1) : .standalone)
      let uri = server.uri(database: MongoServer.freshDatabase("contract"))
      let store = try await openMongo(uri)
      return StoreFixture(store: store, folder: nil, another: { try await openMongo(uri) }, mongo: store)
    }
  }
}

/// A store of its own for one test, and the folder that goes away with it.
struct StoreFixture {
  let store: any WholeStorage
  let folder: TemporaryDirectory?
  /// A second handle of the same store, as another process has it; nil where there can be none.
  var another: (@Sendable () async throws -> any WholeStorage)?
  var mongo: MongoStorage?

  /// For the end of a test: until there the folder must not go away.
  func end() {
    withExtendedLifetime(folder) {}
    guard let mongo else { return }
    // Nobody waits for it: the database goes with the server.
    Task.detached {
      try? await mongo.pool.run("dropping the database") { connection in
        _ = try connection.administer(BSON { $0.int32("dropDatabase", 1) })
      }
      await mongo.close()
    }
  }

  /// Brings what was written into the data files.
  func checkpoint() async throws {
    if let folder, mongo == nil { try await sql(folder.file("syscrap.db"), "PRAGMA wal_checkpoint(FULL)") }
    try await mongo?.pool.run("writing a checkpoint") { connection in
      _ = try connection.read(BSON { $0.int32("fsync", 1) }, database: "admin")
    }
  }

  /// What the store takes on disk: of MongoDB its collections and their indexes, of SQLite the database file without its
  /// log, which has a bound of its own.
  func bytes() async throws -> Int64 {
    try await checkpoint()
    if let mongo {
      return try await mongo.pool.run("measuring") { connection in
        let statistics = try connection.read(BSON { $0.int32("dbStats", 1) })
        let (data, indexes) = (statistics["storageSize"], statistics["indexSize"])
        return Int64((data?.doubleValue ?? 0) + (indexes?.doubleValue ?? 0))
      }
    }
    guard let folder else { return 0 }
    let attributes = try FileManager.default.attributesOfItem(atPath: folder.file("syscrap.db"))
    return (attributes[.size] as? NSNumber)?.int64Value ?? 0
  }
}

func openMongo(_ uri: String) async throws -> MongoStorage {
  try await MongoStorage.open(.init(uri: uri), logger: Logger(label: "test"))
}

func openSQLite(_ folder: TemporaryDirectory, maximumBytes: Int64? = nil) async throws -> SQLiteStorage {
  try await SQLiteStorage.open(
    .init(path: folder.file("syscrap.db"), maximumBytes: maximumBytes), logger: Logger(label: "test"))
}

/// 2026-11-21T08:00:00Z and so many seconds.
func time(_ seconds: Double = 0) -> Date { Date(timeIntervalSince1970: 1_795_248_000 + seconds) }

func entry(
  _ id: String, key: String? = nil, after: String? = nil, created: Double = 0, due: Double? = nil,
  episode: String? = nil, alternates: [String] = []
) -> QueueEntry {
  QueueEntry(
    id: id, key: key, reaction: "disk-full", target: "web-1", type: "email",
    payload: ["to": ["ops@example.org"], "subject": "s", "body": "b", "size": 3.0], episode: episode,
    kind: "firing", option: "ops", recipient: "ops@example.org", alternates: alternates, after: after,
    severity: .critical, created: time(created), next_at: due.map { time($0) })
}

/// SplitMix64: the same numbers for the same seed, everywhere.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// From the environment's SYSCRAP_SEED, or a new one that is printed.
  static func seeded(_ purpose: String) -> (SeededGenerator, seed: UInt64) {
    let given = ProcessInfo.processInfo.environment["SYSCRAP_SEED"].flatMap { UInt64($0) }
    let seed = given ?? UInt64.random(in: 0...UInt64(UInt32.max))
    print("\(purpose): SYSCRAP_SEED=\(seed)")
    return (SeededGenerator(state: seed), seed)
  }
}
