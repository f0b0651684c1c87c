@testable import App
import Foundation
import Logging
import Notifications
import Storage
import Testing

@Suite("Telling of a wall clock that is set")
struct ClockStepsTests {
  private func counters(_ watch: ClockWatch, at uptime: Duration) -> Recorder.Counters {
    var counters = Recorder.Counters()
    counters.clockSteps = watch.stepCount
    counters.lastClockStep = watch.lastStep
    counters.agesArePaused = watch.isPaused(at: uptime)
    return counters
  }

  @Test("each look tells once of what came since; only a step of more than ten minutes is a notice")
  func news() {
    let start = Date(timeIntervalSince1970: 1_795_248_000)
    var watch = ClockWatch()
    var steps = ClockSteps()
    watch.look(wall: start, uptime: .zero)
    #expect(steps.news(in: counters(watch, at: .zero)) == nil)

    watch.look(wall: start + 5, uptime: .zero)
    watch.look(wall: start - 5, uptime: .zero)
    #expect(
      steps.news(in: counters(watch, at: .zero))
        == ClockSteps.News(
          metadata: ["clock.step_seconds": "-10.0", "clock.steps": "2", "history.deletes_paused": "false"], notice: nil)
    )
    #expect(steps.news(in: counters(watch, at: .zero)) == nil)

    watch.look(wall: start + 3595, uptime: .zero)
    #expect(
      steps.news(in: counters(watch, at: .zero))
        == ClockSteps.News(
          metadata: ["clock.step_seconds": "3600.0", "clock.steps": "1", "history.deletes_paused": "true"],
          notice: Notice(
            source: "clock", text: "the clock of this machine was set forward by 3600.0 s",
            details: "For an hour no history is deleted for its age.")))
  }
}
