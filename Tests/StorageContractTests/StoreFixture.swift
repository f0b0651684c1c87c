import Foundation
import Logging
import Model
import SQLiteStorage
import Storage
import TestKit
import Testing

/// The stores that have to behave the same.
enum StoreKind: String, CaseIterable, Sendable, CustomTestStringConvertible {
  case memory, sqlite

  var testDescription: String { rawValue }

  func make() async throws -> StoreFixture {
    switch self {
    case .memory: return StoreFixture(store: MemoryStorage(), folder: nil)
    case .sqlite:
      let folder = try TemporaryDirectory("store")
      return StoreFixture(
        store: try await openSQLite(folder), folder: folder, another: { try await openSQLite(folder) })
    }
  }
}

/// A store of its own for one test, and the folder that goes away with it.
struct StoreFixture {
  let store: any Storage
  let folder: TemporaryDirectory?
  /// A second handle of the same store, as another process has it; nil where there can be none.
  var another: (@Sendable () async throws -> any Storage)?

  /// For the end of a test: until there the folder must not go away.
  func end() { withExtendedLifetime(folder) {} }
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
