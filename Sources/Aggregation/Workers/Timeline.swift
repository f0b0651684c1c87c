/// A clock's time as the distance from one moment, so that whoever keeps times need not know the clock's type.
struct Timeline: Sendable {
  let now: @Sendable () -> Duration
  /// Returns when that distance has come, at once when it has passed; throws when the task is cancelled.
  let sleep: @Sendable (_ until: Duration) async throws -> Void

  init<C: Clock>(_ clock: C) where C.Duration == Duration {
    let origin = clock.now
    now = { origin.duration(to: clock.now) }
    sleep = { try await clock.sleep(until: origin.advanced(by: $0), tolerance: nil) }
  }

  /// Waits for `event`, at most until `deadline` or the task's cancellation. `event` must heed cancellation.
  func wait(until deadline: Duration, for event: @escaping @Sendable () async -> Void) async {
    await withTaskGroup(of: Void.self) { group in
      group.addTask { try? await sleep(deadline) }
      group.addTask { await event() }
      _ = await group.next()
      group.cancelAll()
    }
  }
}

/// When the metrics of a target are due: all intervals count from one moment of the target's own, so that what is due
/// together is asked together, while the targets of a fleet are spread by the hash of their names.
struct Schedule: Sendable, Hashable {
  let interval: Duration
  private let intervalMilliseconds: Int64
  private let phase: Int64

  /// Shorter intervals are taken for this one.
  static let shortest: Duration = .milliseconds(100)

  init(target: String, interval: Duration) {
    self.interval = min(max(interval, Self.shortest), .seconds(366 * 86_400))
    intervalMilliseconds = max(1, self.interval.wholeMilliseconds)
    // FNV-1a: the same in every process, unlike Hasher.
    let hash = target.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    phase = Int64(hash % 86_400_000) % intervalMilliseconds
  }

  /// The first tick later than `now`.
  func next(after now: Duration) -> Duration {
    let passed = max(0, now.wholeMilliseconds) - phase
    let ticks = passed < 0 ? 0 : passed / intervalMilliseconds + 1
    return .milliseconds(phase + ticks * intervalMilliseconds)
  }

  /// The number of a tick, the same for all metrics of a target that have this interval.
  func index(of tick: Duration) -> Int64 { (tick.wholeMilliseconds - phase) / intervalMilliseconds }

  /// How many ticks there are after `tick` and before `next`.
  func skipped(from tick: Duration, to next: Duration) -> Int {
    Int(clamping: max(0, (next.wholeMilliseconds - tick.wholeMilliseconds) / intervalMilliseconds - 1))
  }
}

extension Duration {
  /// Rounded down; bounded to about 30,000 years.
  var wholeMilliseconds: Int64 {
    let (seconds, attoseconds) = components
    return min(max(seconds, -1_000_000_000_000), 1_000_000_000_000) * 1000 + attoseconds / 1_000_000_000_000_000
  }

  /// With one decimal, for documents.
  var milliseconds: Double { ((self / .milliseconds(1)) * 10).rounded() / 10 }
}
