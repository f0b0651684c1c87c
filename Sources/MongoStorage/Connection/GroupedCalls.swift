internal import Storage
internal import Threads

/// Brings calls that come at the same time to the servers together, as databases commit in groups.
///
/// Who comes alone goes at once. Who comes while others are under way waits for their end; then all who wait go
/// together, the first of them for all. So nobody waits for more than what is under way and the groups before its own,
/// and servers that are busy are asked less often, not more. Who leads fewer than went together before lets those who
/// were answered then have their turn, so that they come along where they come again at once.
final class GroupedCalls<Request: Sendable, Answer: Sendable>: Sendable {
  typealias Outcome = Result<Answer, StorageError>

  /// Most requests that go together.
  static var groupBound: Int { 16 }
  /// Most that wait; further ones are refused as `unavailable`.
  static var waitingBound: Int { 1024 }

  private enum Turn: Sendable {
    /// It goes for itself and for these.
    case lead([Waiter])
    case done(Outcome)
  }

  private struct Waiter: Sendable {
    var request: Request
    var turn: CheckedContinuation<Turn, Never>
  }

  private struct State: Sendable {
    var isUnderWay = false
    var waiting: [Waiter] = []
    /// How many went together the last time.
    var lastCount = 0

    mutating func take(_ limit: Int) -> [Waiter] {
      let group = Array(waiting.prefix(limit))
      waiting.removeFirst(group.count)
      return group
    }

    /// The next group, or nobody is under way any more.
    mutating func next(after count: Int) -> [Waiter] {
      lastCount = count
      let group = take(groupBound)
      if group.isEmpty { isUnderWay = false }
      return group
    }
  }

  private let state = Locked(State())
  private let perform: @Sendable ([Request]) async -> [Outcome]

  /// - Parameter perform: returns an outcome for each request, in their order.
  init(perform: @escaping @Sendable ([Request]) async -> [Outcome]) { self.perform = perform }

  var waitingCount: Int { state.withLock { $0.waiting.count } }

  func call(_ request: Request, doing: String) async throws(StorageError) -> Answer {
    let goesAtOnce = state.withLock { state in
      defer { state.isUnderWay = true }
      return !state.isUnderWay
    }
    switch goesAtOnce ? .lead([]) : await wait(request, doing) {
    case .done(let outcome): return try outcome.get()
    case .lead(var others):
      if state.withLock({ $0.lastCount > others.count + 1 }) {
        others += await company(Self.groupBound - 1 - others.count)
      }
      let outcomes = await perform([request] + others.map(\.request))
      let next = state.withLock { $0.next(after: others.count + 1) }
      let missing = Outcome.failure(StorageError(.internalError, "\(doing): a call of a group had no outcome"))
      for (index, waiter) in others.enumerated() {
        waiter.turn.resume(returning: .done(index + 1 < outcomes.count ? outcomes[index + 1] : missing))
      }
      next.first?.turn.resume(returning: .lead(Array(next.dropFirst())))
      return try (outcomes.first ?? missing).get()
    }
  }

  /// Those who come while everybody else had a few turns.
  private func company(_ limit: Int) async -> [Waiter] {
    for _ in 0..<4 { await Task.yield() }
    return state.withLock { $0.take(limit) }
  }

  private func wait(_ request: Request, _ doing: String) async -> Turn {
    await withCheckedContinuation { continuation in
      let turn: Turn? = state.withLock { state in
        if !state.isUnderWay {
          state.isUnderWay = true
          return .lead([])
        }
        if state.waiting.count >= Self.waitingBound {
          return .done(.failure(StorageError(.unavailable, "\(doing): \(Self.waitingBound) calls wait already")))
        }
        state.waiting.append(Waiter(request: request, turn: continuation))
        return nil
      }
      if let turn { continuation.resume(returning: turn) }
    }
  }
}
