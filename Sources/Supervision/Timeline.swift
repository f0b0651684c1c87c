/// A clock's time as a distance from one moment, so that state may hold plain durations whatever the clock.
struct Timeline: Sendable {
  let now: @Sendable () -> Duration
  /// Sleeps until that distance has come; at once when it has passed.
  let sleep: @Sendable (_ until: Duration) async throws -> Void

  init<C: Clock>(_ clock: C) where C.Duration == Duration {
    let origin = clock.now
    now = { origin.duration(to: clock.now) }
    sleep = { try await clock.sleep(until: origin.advanced(by: $0), tolerance: nil) }
  }
}
