internal import FoundationEssentials
package import Logging
package import Notifications
package import Storage

/// Steps of the wall clock, each told once: a line in the log; a notice, too, where it is so long that it is a mistake
/// or mends one.
package struct ClockSteps: Sendable {
  package struct News: Sendable, Equatable {
    package var metadata: Logger.Metadata
    /// For steps of more than ``ClockWatch/longStep``.
    package var notice: Notice?
  }

  private var told = 0

  package init() {}

  /// What is new since the last call, the latest step where there were several.
  package mutating func news(in counters: Recorder.Counters) -> News? {
    let count = counters.clockSteps - told
    told = counters.clockSteps
    guard count > 0, let step = counters.lastClockStep else { return nil }
    let seconds = (step.seconds * 10).rounded() / 10
    let news = News(
      metadata: [
        "clock.step_seconds": "\(seconds)", "clock.steps": "\(count)",
        "history.deletes_paused": "\(counters.agesArePaused)",
      ])
    guard abs(step.seconds) > ClockWatch.longStep.timeInterval else { return news }
    return News(
      metadata: news.metadata,
      notice: Notice(
        source: "clock",
        text: "the clock of this machine was set \(seconds < 0 ? "back" : "forward") by \(abs(seconds)) s",
        details: counters.agesArePaused ? "For an hour no history is deleted for its age." : ""))
  }
}
