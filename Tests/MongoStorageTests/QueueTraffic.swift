import Foundation
import Logging
import Model
import Storage
import TestKit
import Testing

@testable import MongoStorage

/// Messages that are accepted at a steady rate and delivered by several workers, whatever happens to the server.
///
/// Waits in here are the rhythm of the load and of the workers; nothing is concluded from how long anything takes.
final class QueueTraffic: Sendable {
  let store: MongoStorage
  /// The number of each message that the store has accepted.
  let accepted = EventLog<Int>()
  /// The key of each delivery.
  let delivered = EventLog<String>()
  private let isOver = Flag()
  private static let lease: Duration = .seconds(3)

  init(_ store: MongoStorage) { self.store = store }

  private static func entry(_ number: Int) -> QueueEntry {
    QueueEntry(
      id: "\(number)", key: "key-\(number)", reaction: "disk-full", target: "web-1", type: "email",
      payload: ["to": "ops@example.org", "body": "b"], created: Date())
  }

  /// Runs the load while `fault` runs, then lets the queue run empty.
  func run(perSecond: Int, while fault: @Sendable () async throws -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      let acceptors = 5
      for acceptor in 0..<acceptors {
        group.addTask { await self.accept(acceptor, of: acceptors, every: .seconds(1) * acceptors / perSecond) }
      }
      for worker in 0..<4 { group.addTask { await self.work("w\(worker)") } }
      group.addTask { await self.rescue() }
      do {
        try await fault()
        isOver.set()
        try await group.waitForAll()
      } catch {
        isOver.set()
        throw error
      }
    }
  }

  /// Hands over its share. Every second message is tried until it is accepted, as a caller that must not lose it does;
  /// of the others a failed try says nothing: such a message may be there or not.
  private func accept(_ acceptor: Int, of count: Int, every pause: Duration) async {
    var number = acceptor
    while !isOver.isSet {
      while true {
        do {
          if number % 3 == 0 {
            var episode = QueueStage.episode("e-\(number)", element: "\(number)")
            episode.since = Date()
            _ = try await store.record(episode, queueing: [Self.entry(number)])
          } else {
            _ = try await store.record(nil, queueing: [Self.entry(number)])
          }
          accepted.append(number)
          break
        } catch {
          if number % 2 == 1 { break }
          try? await Task.sleep(for: .milliseconds(50))
        }
      }
      number += count
      try? await Task.sleep(for: pause)
    }
  }

  private func work(_ owner: String) async {
    // Until everything is told: bounded by the test's own time limit.
    while true {
      do {
        if let lease = try await store.claim(owner: owner, now: Date(), lease: Self.lease) {
          delivered.append(lease.entry.key ?? "")
          let settled = Settlement.delivered(receipt: "250 ok")
          while true {
            do {
              _ = try await store.settle(lease, as: settled, now: Date(), adding: [])
              break
            } catch {
              try? await Task.sleep(for: .milliseconds(50))
            }
          }
          continue
        }
        if isOver.isSet {
          let counts = try await store.queueCounts(now: Date())
          if counts.pending == 0, counts.leased == 0 { return }
        }
      } catch {}
      try? await Task.sleep(for: .milliseconds(30))
    }
  }

  private func rescue() async {
    while true {
      if let over = try? await store.heldLeases(limit: 1000).filter({ $0.entry.isStranded(at: Date()) }) {
        _ = try? await store.rescue(over, now: Date())
      }
      if isOver.isSet, let counts = try? await store.queueCounts(now: Date()), counts.pending == 0, counts.leased == 0 {
        return
      }
      try? await Task.sleep(for: .milliseconds(300))
    }
  }

  /// What must be true at the end.
  func check() async throws {
    let counts = try await store.queueCounts(now: Date())
    #expect(counts.imbalance == 0 && counts.pending == 0 && counts.leased == 0 && counts.dead == 0)
    #expect(counts.accepted == counts.delivered)
    let accepted = accepted.all
    #expect(Set(accepted).count == accepted.count)
    let keys = Set(delivered.all)
    let lost = accepted.filter { !keys.contains("key-\($0)") }
    #expect(lost == [])
    // One entry for each key, and each was told.
    #expect(counts.accepted == keys.count)
    let repeated = delivered.all.count - keys.count
    print(
      "accepted \(accepted.count), in the queue \(counts.accepted), lost \(lost.count), told again \(repeated), "
        + "imbalance \(counts.imbalance)")
  }
}
