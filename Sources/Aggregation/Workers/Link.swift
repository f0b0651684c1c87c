package import Remote

/// The place where the connection of one target is found, while there is one.
///
/// It outlives the lives of the keeper that fills it, and with it the policy of reconnecting: a restarted keeper must not
/// begin to hammer again.
package actor Link {
  private enum State {
    /// The first attempt has not ended: goes to `up` or `down`.
    case starting
    /// There is a connection: goes to `down`.
    case up(any Remote)
    /// There is none, because of this: goes to `up`.
    case down(RemoteError)
  }

  private var state: State = .starting
  /// Counts connections; who waits for a newer one than it had names it.
  private(set) var generation = 0
  /// Failed attempts since the last connection, and that one.
  private(set) var attempt = 0
  private var policy: ReconnectPolicy
  private(set) var isHurried = false
  /// How often the keeper says the present state.
  var statusInterval: Duration = .seconds(10)
  /// Those who wait for a change: one for each wrapper and caller, so bounded by their number.
  private var waiting: [Int: AsyncStream<Void>.Continuation] = [:]
  private var nextWaiting = 0

  package init(policy: ReconnectPolicy = ReconnectPolicy()) { self.policy = policy }

  /// The live connection.
  /// - Throws: at once, why there is none.
  package func remote() throws(RemoteError) -> any Remote {
    switch state {
    case .up(let remote): return remote
    case .down(let error): throw error
    case .starting: throw RemoteError(.unreachable, phase: .connect, "the first attempt to connect has not ended yet")
    }
  }

  /// Ends a wait between two attempts: the cause of the failures may be gone.
  package func hurry() {
    isHurried = true
    announce()
  }

  func setStatusInterval(_ interval: Duration) { statusInterval = interval }

  // MARK: - For the keeper

  /// A keeper's life begins.
  func enter() { state = .starting }

  /// There is no connection yet, and none is tried for now.
  func hold(_ error: RemoteError) {
    state = .down(error)
    announce()
  }

  /// - Returns: the number of this attempt since the last connection, from 1.
  func began() -> Int {
    attempt += 1
    isHurried = false
    return attempt
  }

  func up(_ remote: any Remote, at now: Duration) {
    policy.connected(at: now)
    attempt = 0
    generation += 1
    state = .up(remote)
    announce()
  }

  /// - Returns: how long to wait before the next attempt.
  func down(_ error: RemoteError, at now: Duration, random: Double) -> Duration {
    state = .down(error)
    announce()
    return policy.failed(error, at: now, random: random)
  }

  /// The keeper's life ends.
  func leave() {
    state = .down(RemoteError(.closed, phase: .connection, "the connection was closed by the service"))
    announce()
  }

  /// Returns when ``hurry()`` was called since the attempt began, or on cancellation.
  func hurried() async {
    while !isHurried, !Task.isCancelled { await change() }
  }

  // MARK: - For those who ask

  /// Whether the outcome of the first attempt is known.
  var isSettled: Bool { if case .starting = state { false } else { true } }

  /// Returns when there is a connection newer than `generation`, or on cancellation.
  func connected(after generation: Int) async {
    while !Task.isCancelled {
      if case .up = state, self.generation > generation { return }
      await change()
    }
  }

  private func change() async {
    let number = nextWaiting
    nextWaiting += 1
    let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    waiting[number] = continuation
    for await _ in stream { break }
    waiting[number] = nil
  }

  private func announce() {
    for continuation in waiting.values { continuation.yield() }
  }
}
