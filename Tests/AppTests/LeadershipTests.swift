@testable import App
import Foundation
import Logging
import Storage
import TestKit
import Testing

@Suite("A holder that cannot begin to gather")
struct LeadershipTests {
  /// A lease that is kept, and a fence that cannot be raised.
  private actor Store: LeaseStorage, FencedStorage {
    private(set) var standing: Lease?

    func lease(_ name: String) async throws(StorageError) -> Lease? { standing }

    func replace(_ lease: Lease, expecting expected: Lease?) async throws(StorageError) -> Lease? {
      if standing == expected { standing = lease }
      return standing
    }

    func raiseFence(to fence: Int64) async throws(StorageError) {
      throw StorageError(.unavailable, "the journal is brought to it")
    }
  }

  /// Who had the lease after each second.
  private func owners(_ count: Int, backlog: @escaping @Sendable () async -> Int) async throws -> [String] {
    let (store, clock) = (Store(), ManualClock())
    let leadership = Leadership(
      shared: store, owner: "a", hasEnded: { _ in false }, clock: clock, factory: PrometheusRegistry(),
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    let life = Task {
      try await leadership.run(
        Leadership.Hooks(backlog: backlog, prepare: {}, changed: { _ in }, finish: {}))
    }
    var owners: [String] = []
    for _ in 0..<count {
      for _ in 0..<200 { await Task.yield() }
      try await clock.sleepers(atLeast: 1)
      clock.advance(by: .seconds(1))
      for _ in 0..<200 { await Task.yield() }
      try await clock.sleepers(atLeast: 1)
      owners.append(await store.standing?.owner ?? "")
    }
    #expect(!leadership.role.isActive)
    life.cancel()
    _ = await life.result
    return owners
  }

  @Test("it gives the lease back after three minutes, and takes it again a minute later when nobody else has")
  func givesBack() async throws {
    let owners = try await owners(460) { 7 }
    let given = try #require(owners.firstIndex(of: ""))
    // A second that a sleeper missed on a busy machine comes on top.
    #expect((178...280).contains(given))
    let again = try #require(owners[given...].firstIndex(of: "a"))
    #expect((58...120).contains(again - given), "\(again - given) s")
  }

  @Test("it keeps the lease for as long as what has to be brought to the store grows less")
  func keeps() async throws {
    let left = EventLog<Int>()
    let owners = try await owners(400) {
      left.append(1)
      return 100_000 - left.all.count
    }
    #expect(owners.allSatisfy { $0 == "a" })
  }
}
