import Foundation
import Model
import Storage
import TestKit
import Testing

@Suite("A wall clock that is set")
struct ClockWatchTests {
  private let start = Date(timeIntervalSince1970: 1_795_248_000)

  @Test("is noticed from two seconds on, and a long step forward lets ages rest for an hour")
  func steps() {
    var watch = ClockWatch()
    #expect(watch.look(wall: start, uptime: .zero) == nil)
    #expect(watch.look(wall: start + 11.5, uptime: .seconds(10)) == nil)
    #expect(watch.look(wall: start - 3600, uptime: .seconds(10))?.seconds == -3611.5)
    #expect(!watch.isPaused(at: .seconds(10)))
    #expect(watch.look(wall: start - 3000, uptime: .seconds(10))?.seconds == 600)
    #expect(!watch.isPaused(at: .seconds(10)))
    #expect(watch.look(wall: start, uptime: .seconds(20))?.seconds == 2990)
    #expect(watch.isPaused(at: .seconds(3619)))
    #expect(!watch.isPaused(at: .seconds(3620)))
    #expect(watch.stepCount == 3)
  }

  @Test("a day forward deletes no roll-up for an hour, then those that are over age", arguments: [3600.0, 86_400])
  func pause(_ step: Double) async throws {
    let store = MemoryStorage()
    let clock = ManualClock()
    let wall = WallClock(start)
    let keeper = RollUpKeeper(store: store, clock: clock, now: { wall.now }, plan: { _ in RollUpPlan() })
    let recorder = Recorder(
      store: store, clock: clock, now: { wall.now }, limits: { _ in HistoryLimits() }, rollUps: keeper)
    let series = Series(target: "t", metric: "M")
    func gather(seconds: Int) async throws {
      for _ in stride(from: 0, to: seconds, by: 60) {
        clock.advance(by: .seconds(60))
        wall.set(wall.now.addingTimeInterval(60))
        await recorder.record([Sample(series: series, at: wall.now, value: 1)])
        #expect(await recorder.flush())
      }
    }
    func count() async throws -> Int { try await store.samples(SampleQuery(series, type: .variable)).count }
    try await gather(seconds: 3000)
    let before = try await count()
    wall.set(wall.now.addingTimeInterval(step))
    try await gather(seconds: 3000)
    #expect(try await count() >= before + 9)
    let statistics = await recorder.statistics
    #expect(statistics.clockSteps == 1 && statistics.agesArePaused && statistics.lastClockStep?.seconds == step)
    try await gather(seconds: 1800)
    #expect(try await count() <= 14)
    #expect(await recorder.statistics.agesArePaused == false)
  }
}
