package import FoundationEssentials

/// Sees steps of the wall clock: how far it moved against a monotonic clock between two looks.
///
/// After a step forward of more than ``longStep`` nothing is deleted for its age for ``pause``: if the step was a
/// mistake, all that is kept would look over age.
package struct ClockWatch: Sendable {
  package struct Step: Sendable, Hashable {
    /// Where the wall clock stood after it.
    package var at: Date
    /// Forward is positive.
    package var seconds: Double
  }

  /// Smaller differences are the clock being disciplined.
  package static let shortStep: Duration = .seconds(2)
  package static let longStep: Duration = .seconds(600)
  package static let pause: Duration = .seconds(3600)

  private var last: (wall: Date, uptime: Duration)?
  private var pausedUntil: Duration?
  package private(set) var stepCount = 0
  package private(set) var lastStep: Step?

  package init() {}

  /// Looks at both clocks. - Returns: the step since the last look, if there was one of more than ``shortStep``.
  @discardableResult
  package mutating func look(wall: Date, uptime: Duration) -> Step? {
    defer { last = (wall, uptime) }
    guard let last else { return nil }
    let seconds = wall.timeIntervalSince(last.wall) - (uptime - last.uptime).timeInterval
    guard seconds.isFinite, abs(seconds) > Self.shortStep.timeInterval else { return nil }
    if seconds > Self.longStep.timeInterval { pause(for: Self.pause, at: uptime) }
    let step = Step(at: wall, seconds: seconds)
    stepCount += 1
    lastStep = step
    return step
  }

  /// Lets deletes by age wait, at least for so long.
  package mutating func pause(for duration: Duration, at uptime: Duration) {
    pausedUntil = max(pausedUntil ?? .zero, uptime + duration)
  }

  /// Whether deletes by age wait.
  package func isPaused(at uptime: Duration) -> Bool { pausedUntil.map { uptime < $0 } ?? false }
}
