package import FoundationEssentials
package import Model
package import Storage

/// What follows from one try: how the lease ends, and whether the next channel in the list gets its turn.
///
/// Pure: everything it depends on is handed in.
package struct DeliveryVerdict: Sendable, Hashable {
  package var settlement: Settlement
  package var handsOn: Bool
  /// For the counters: `delivered`, `again`, `unknown`, `gave_up`, `deferred`.
  package var result: String

  /// What stands in the ledger for a try that was not made, because the channel was busy or asked for quiet.
  package static let deferred = "deferred"
  /// What a store writes for a lease that ran out, and for one whose process had ended.
  static let rescued = "rescued"
  static let crashed = "crashed"

  /// Judges a try.
  /// - Parameters:
  ///   - entry: as it was leased.
  ///   - random: a number from 0 up to 1.
  package static func judge(
    _ outcome: DeliveryOutcome, of entry: QueueEntry, now: Date, schedule: RetrySchedule, random: Double
  ) -> DeliveryVerdict {
    switch outcome {
    case .delivered(let receipt):
      return DeliveryVerdict(settlement: .delivered(receipt: receipt), handsOn: false, result: "delivered")
    case .gaveUp(let answer):
      return DeliveryVerdict(settlement: .dead(answer: answer), handsOn: true, result: "gave_up")
    case .again(let requested, let answer, let isUnknown):
      let result = isUnknown ? "unknown" : "again"
      // A test tells the truth at once.
      if MessageKind(name: entry.kind) == .test {
        return DeliveryVerdict(settlement: .dead(answer: answer), handsOn: false, result: "gave_up")
      }
      let failures = entry.attempts.count { isFailure($0) } + 1
      let age = PlainText.span(from: entry.created, to: now)
      guard let pause = schedule.pause(failures: failures, age: age, requested: requested, random: random) else {
        return DeliveryVerdict(
          settlement: .dead(answer: PlainText.answer("given up after \(PlainText.duration(age)): \(answer)")),
          handsOn: true, result: "gave_up")
      }
      return postpone(entry, until: now.advanced(by: pause), as: result, answer: answer, now: now, schedule: schedule)
    }
  }

  /// Puts an entry back that was not tried.
  package static func deferring(
    _ entry: QueueEntry, until: Date, reason: String, now: Date, schedule: RetrySchedule
  ) -> DeliveryVerdict {
    postpone(entry, until: until, as: deferred, answer: reason, now: now, schedule: schedule)
  }

  private static func postpone(
    _ entry: QueueEntry, until: Date, as result: String, answer: String, now: Date, schedule: RetrySchedule
  ) -> DeliveryVerdict {
    guard !entry.alternates.isEmpty else {
      return DeliveryVerdict(
        settlement: .again(at: until, outcome: result, answer: answer), handsOn: false, result: result)
    }
    // The entry must be in hand again when its channel's time is up, however long the pause.
    let turn = handOver(of: entry, tryingSince: now, schedule: schedule)
    let at = turn > now ? min(until, turn) : until
    return DeliveryVerdict(
      settlement: .again(at: at, outcome: result, answer: answer), handsOn: turn <= now, result: result)
  }

  /// When the next channel in the list gets its turn: a minute after the first try of this one that failed.
  /// - Parameter tryingSince: when a try that is still running began; counts if none failed before it.
  package static func handOver(of entry: QueueEntry, tryingSince: Date, schedule: RetrySchedule) -> Date {
    let first = entry.attempts.first { isFailure($0) || $0.outcome == deferred }?.at
    return min(first ?? tryingSince, tryingSince).advanced(by: schedule.patience)
  }

  /// Whether delivering this entry seems to end the process: twice in a row it ended without an outcome. A lease that only
  /// ran out says nothing: the store may not have answered, to the claim or to the outcome.
  package static func isPoisonous(_ entry: QueueEntry) -> Bool {
    let last = entry.attempts.filter { $0.outcome != rescued }.suffix(2)
    return last.count == 2 && last.allSatisfy { $0.outcome == crashed }
  }

  private static func isFailure(_ attempt: QueueEntry.Attempt) -> Bool {
    attempt.outcome == "again" || attempt.outcome == "unknown"
  }
}
