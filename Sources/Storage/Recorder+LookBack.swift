internal import FoundationEssentials
internal import Model

/// A wall clock that may be wrong since before this recorder saw it.
extension Recorder {
  /// Pauses of earlier lives, as events: whoever starts within one goes on with it. No document has this target.
  static let pauses = Series(target: "syscrap.clock", metric: "Pause")

  var agesArePaused: Bool { !hasLookedBack || watch.isPaused(at: uptime()) }

  /// Sees steps of the wall clock; a pause for one is remembered in the store.
  func lookAtClock() {
    let step = watch.look(wall: now(), uptime: uptime())
    guard rollUps != nil, let step, step.seconds > ClockWatch.longStep.timeInterval else { return }
    notePause()
  }

  func lookBackAlone() async {
    await begin()
    defer { end() }
    await lookBack()
  }

  /// Once, before the first samples of this life are in: lets ages rest where the clock cannot be trusted. That is where
  /// an earlier life's pause is not over, and where the store's newest samples are far in the past. The clock may be
  /// ahead then, as it may be after a boot; more often nothing was gathered for a while, and the pause harms nobody.
  /// Between ``begin()`` and ``end()``.
  func lookBack() async {
    if hasLookedBack { return }
    hasLookedBack = true
    lookAtClock()
    guard limits != nil, let rollUps else { return }
    let time = now()
    do throws(StorageError) {
      let pause = try await store.samples(SampleQuery(Self.pauses, type: .event, limit: 1)).last
      if let passed = pause.map({ abs(time.timeIntervalSince($0.at)) }), passed < ClockWatch.pause.timeInterval {
        watch.pause(for: ClockWatch.pause - .seconds(passed), at: uptime())
      }
      // In a store of which nothing is rolled up there is nothing to lose.
      let near = time + ClockWatch.longStep.timeInterval
      guard let newest = try await rollUps.store.newestRolledUp(until: StoredTime.parts(near).second),
        newest < StoredTime.parts(time - ClockWatch.longStep.timeInterval).second
      else { return }
      watch.pause(for: ClockWatch.pause, at: uptime())
      notePause()
    } catch {
      watch.pause(for: ClockWatch.pause, at: uptime())
    }
  }

  private func notePause() {
    record([
      Sample(
        series: Self.pauses, type: .event, at: now(), value: ["seconds": .double(ClockWatch.pause.timeInterval)])
    ])
  }
}
