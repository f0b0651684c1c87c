internal import Foundation

/// The books of a delivery test: what was accepted, what arrived, and when what was killed. Compared at the end.
///
/// Receivers of any kind report here by the message's own key; later work adds further ones.
package actor DeliveryAccount {
  package struct Receipt: Sendable, Equatable {
    package var at: ContinuousClock.Instant
    /// What told this message from others besides its key: two receipts of one key must agree.
    package var content: String
  }

  package struct Kill: Sendable, Equatable {
    package var victim: String
    package var at: ContinuousClock.Instant
  }

  package struct Report: Sendable, CustomStringConvertible {
    package var accepted = 0
    package var receipts = 0
    /// Keys that were accepted and never arrived.
    package var lost: [String] = []
    /// Receipts of a key after its first.
    package var duplicates = 0
    /// The most keys that came again because of one kill.
    package var worstKill = 0
    /// Contents that arrived under two keys, and keys with two contents.
    package var confused: [String] = []
    /// Keys that arrived and were never offered.
    package var strangers: [String] = []
    /// From the last kill after a receipt, or after the acceptance, to the next receipt of that key.
    package var longestRetry: Duration = .zero
    /// As before, for first receipts, but from the first kill after the acceptance: several may come in one wait.
    package var longestWait: Duration = .zero
    package var kills = 0

    package var description: String {
      """
      \(accepted) accepted, \(receipts) receipts, \(lost.count) lost, \(duplicates) duplicates \
      (at most \(worstKill) by one kill), \(confused.count) confused, \(strangers.count) strangers, \
      longest wait behind a kill \(longestRetry), behind several \(longestWait), \(kills) kills
      """
    }
  }

  private var offered: Set<String> = []
  private var accepted: [String: ContinuousClock.Instant] = [:]
  private var receipts: [String: [Receipt]] = [:]
  private var kills: [Kill] = []

  package init() {}

  /// The driver is about to hand this message over; until it is accepted it may or may not arrive.
  package func offer(_ key: String) { offered.insert(key) }

  /// The service has said yes: from now on it must arrive.
  package func accept(_ key: String) { accepted[key] = accepted[key] ?? .now }

  package func receive(_ key: String, content: String) {
    receipts[key, default: []].append(Receipt(at: .now, content: content))
  }

  package func kill(_ victim: String) { kills.append(Kill(victim: victim, at: .now)) }

  package var acceptedCount: Int { accepted.count }
  package var missingCount: Int { accepted.keys.count { receipts[$0] == nil } }

  package func report() -> Report {
    var report = Report()
    report.accepted = accepted.count
    report.kills = kills.count
    report.lost = accepted.keys.filter { receipts[$0] == nil }.sorted()
    report.strangers = receipts.keys.filter { !offered.contains($0) }.sorted()
    var keysByContent: [String: Set<String>] = [:]
    var duplicatesByKill: [Int: Int] = [:]
    for (key, list) in receipts {
      report.receipts += list.count
      report.duplicates += list.count - 1
      for receipt in list { keysByContent[receipt.content, default: []].insert(key) }
      if Set(list.map(\.content)).count > 1 { report.confused.append(key) }
      // A message comes again because whoever had it was killed before it could write the delivery down.
      for (earlier, later) in zip(list, list.dropFirst()) {
        // The first kill behind the receipt; or the one just before it, where the receipt was noted late.
        let behind = kills.firstIndex { $0.at >= earlier.at && $0.at <= later.at }
        let before = kills.lastIndex { $0.at >= earlier.at - .seconds(1) && $0.at < earlier.at }
        guard let index = behind ?? before else { continue }
        duplicatesByKill[index, default: 0] += 1
        report.longestRetry = max(report.longestRetry, later.at - max(kills[index].at, earlier.at))
      }
      if let first = list.first, let start = accepted[key] {
        let between = kills.filter { $0.at <= first.at && $0.at >= start }
        if let kill = between.last { report.longestRetry = max(report.longestRetry, first.at - kill.at) }
        if let kill = between.first { report.longestWait = max(report.longestWait, first.at - kill.at) }
      }
    }
    report.confused += keysByContent.filter { $0.value.count > 1 }.map(\.key)
    report.worstKill = duplicatesByKill.values.max() ?? 0
    return report
  }
}

/// Kills its victims at random moments, the same ones for the same seed.
package struct RandomKiller: Sendable {
  package struct Victim: Sendable {
    package var name: String
    /// Ends it by SIGKILL and brings it back; returns when it works again.
    package var strike: @Sendable () async throws -> Void
    package init(_ name: String, strike: @escaping @Sendable () async throws -> Void) {
      self.name = name
      self.strike = strike
    }
  }

  package var victims: [Victim]
  /// Milliseconds between one return and the next kill.
  package var pause: ClosedRange<Int>
  private var state: UInt64

  package init(_ victims: [Victim], pause: ClosedRange<Int>, seed: UInt64) {
    self.victims = victims
    self.pause = pause
    state = seed
  }

  /// Strikes so many times, one victim after the other.
  package mutating func run(rounds: Int, account: DeliveryAccount) async throws {
    for _ in 0..<rounds {
      try await Task.sleep(for: .milliseconds(Int.random(in: pause, using: &self)))
      guard let victim = victims.randomElement(using: &self) else { return }
      await account.kill(victim.name)
      try await victim.strike()
    }
  }
}

extension RandomKiller: RandomNumberGenerator {
  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
