internal import CMongoC
internal import FoundationEssentials
internal import Threads

/// What one handle remembers of the queue between calls. To lose it costs time, never a message.
package final class QueueMemory: Sendable {
  private struct State {
    var lastSequence: Int64 = 0
    var lastLook: Date?
    var waiting: [String] = []
    var waitingSince: Date?
    var latest: Date?
  }

  /// Most entries that are remembered as waiting; beyond it the oldest are forgotten and looked at again.
  private static let waitingBound = 200
  /// How long an entry counts as waiting without being looked at, and how seldom leftovers are looked for while there
  /// is enough to do.
  private static let pause: TimeInterval = 1

  private let state = Locked(State())
  private let interruption = Locked<(@Sendable (QueueStep) throws -> Void)?>(nil)

  package init() {}

  /// For tests: `body` is called between the commands of an operation; what it throws ends the operation right there,
  /// as the end of the process would.
  package func interrupt(_ body: (@Sendable (QueueStep) throws -> Void)?) { interruption.withLock { $0 = body } }

  func reached(_ step: QueueStep) throws {
    if let body = interruption.withLock({ $0 }) { try body(step) }
  }

  /// The place of an arrival: microseconds by this machine's clock, and always more than the one before. It only decides
  /// between entries of the same `next_at` and `created`.
  func nextSequence() -> Int64 {
    let microseconds = syscrap_microseconds_since_1970()
    return state.withLock { state in
      state.lastSequence = max(state.lastSequence &+ 1, microseconds)
      return state.lastSequence
    }
  }

  func newToken() -> Int64 { Int64.random(in: .min ... .max) }

  /// Whether a second has passed since leftovers were looked for, by the times that callers gave; notes `now`.
  func isTimeToLook(_ now: Date) -> Bool {
    state.withLock { state in
      if let last = state.lastLook, abs(now.timeIntervalSince(last)) < Self.pause { return false }
      state.lastLook = now
      return true
    }
  }

  func looked(_ now: Date) { state.withLock { $0.lastLook = now } }

  /// Notes a time of day that this handle works with.
  func saw(_ now: Date) { state.withLock { state in state.latest = state.latest.map { max($0, now) } } }

  /// The latest time of day that this handle has worked with, or that it found in the queue at its first look.
  ///
  /// What was last changed later than now, but not later than this, was changed before this machine's clock was set
  /// back. What was changed later still comes from another machine whose clock is ahead of this one's, and waits for its
  /// time: hurrying it would undo every pause between tries.
  /// - Parameter first: what stands in the queue; asked once.
  func latest(_ now: Date, first: () throws -> Date?) rethrows -> Date {
    if let known = state.withLock({ $0.latest }) { return max(known, now) }
    let found = max(try first() ?? now, now)
    return state.withLock { state in
      let latest = max(state.latest ?? found, found)
      state.latest = latest
      return latest
    }
  }

  /// Entries that were found waiting for a leased predecessor less than a second ago.
  func waiting(_ now: Date) -> [String] {
    state.withLock { state in
      if let since = state.waitingSince, abs(now.timeIntervalSince(since)) >= Self.pause {
        state.waiting = []
        state.waitingSince = nil
      }
      return state.waiting
    }
  }

  func remember(waiting ids: [String], now: Date) {
    state.withLock { state in
      if state.waitingSince == nil { state.waitingSince = now }
      for id in ids where !state.waiting.contains(id) { state.waiting.append(id) }
      state.waiting = state.waiting.suffix(Self.waitingBound)
    }
  }

  /// A lease has ended, or an entry was changed by hand: who waited may go on.
  func forgetWaiting() {
    state.withLock { state in
      state.waiting = []
      state.waitingSince = nil
    }
  }
}

/// The points between two commands of one operation, at which a process may end.
package enum QueueStep: String, Sendable, Hashable, CaseIterable {
  /// A new episode is stored, and whether its writer still has the gathering was not looked at.
  case proposed
  /// The episode or the outbox is stored, its entries are not in the queue yet.
  case promised
  /// The lease is settled and its alternates are promised, not in the queue yet.
  case settled
  /// The entries are in the queue, the outbox is still there.
  case inserted
  /// An entry is leased; what stands before it was not looked at.
  case leased
  /// One predecessor is merged, perhaps more are to come.
  case merged
  /// The tally has a batch; the entries of it do not show that they are counted, or are still there.
  case tallied
  /// The batch's entries are marked or gone, the tally does not know.
  case marked
  /// Entries are marked as going, and not yet counted as gone.
  case goingMarked
}
