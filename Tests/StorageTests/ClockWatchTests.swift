import Foundation
import Model
import TestKit
import Testing

@testable import Storage

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

  /// A recorder of a life that begins at this time of day, on a clock that its samples advance.
  private struct Life {
    let clock = ManualClock()
    let wall: WallClock
    let recorder: Recorder
    private let series = Series(target: "t", metric: "M")

    init(_ store: MemoryStorage, at date: Date) {
      let wall = WallClock(date)
      self.wall = wall
      let keeper = RollUpKeeper(store: store, clock: clock, now: { wall.now }, plan: { _ in RollUpPlan() })
      recorder = Recorder(
        store: store, clock: clock, now: { wall.now }, limits: { _ in HistoryLimits() }, rollUps: keeper)
    }

    func gather(seconds: Int) async {
      for _ in stride(from: 0, to: seconds, by: 60) {
        clock.advance(by: .seconds(60))
        wall.set(wall.now.addingTimeInterval(60))
        await recorder.record([Sample(series: series, at: wall.now, value: 1)])
        #expect(await recorder.flush())
      }
    }

    var isPaused: Bool { get async { await recorder.statistics.agesArePaused } }
  }

  @Test("before the start, or in an earlier life within the hour, lets ages rest as well", arguments: [5.0, 8760])
  func earlier(_ hours: Double) async throws {
    let store = MemoryStorage()
    func count() async throws -> Int {
      try await store.samples(SampleQuery(Series(target: "t", metric: "M"), type: .variable)).count
    }
    let first = Life(store, at: start)
    await first.gather(seconds: 2 * 3600)
    #expect(await !first.isPaused)
    // A short halt is none to worry about.
    let second = Life(store, at: first.wall.now + 300)
    await second.gather(seconds: 600)
    #expect(await !second.isPaused)
    let before = try await count()
    #expect((12...14).contains(before))
    // The machine boots with its clock ahead.
    let third = Life(store, at: second.wall.now + hours * 3600)
    await third.gather(seconds: 1200)
    #expect(await third.isPaused)
    // Other lives begin within the hour, with the wrong time.
    let fourth = Life(store, at: third.wall.now + 10)
    await fourth.gather(seconds: 1200)
    #expect(await fourth.isPaused)
    let fifth = Life(store, at: fourth.wall.now + 10)
    await fifth.gather(seconds: 900)
    #expect(await fifth.isPaused)
    #expect(try await count() >= before + 10)
    // Nobody mended it: the hour counts from the first of these lives on.
    await fifth.gather(seconds: 1200)
    #expect(await !fifth.isPaused)
    #expect(try await count() <= 14)
  }

  @Test("within the hour before a restart keeps ages at rest for what is left of it")
  func restart() async throws {
    let store = MemoryStorage()
    let first = Life(store, at: start)
    await first.gather(seconds: 3000)
    first.wall.set(first.wall.now + 86_400 * 365)
    await first.gather(seconds: 1800)
    #expect(await first.isPaused)
    let second = Life(store, at: first.wall.now + 10)
    await second.gather(seconds: 1200)
    #expect(await second.isPaused)
    #expect(try await store.samples(SampleQuery(Series(target: "t", metric: "M"), type: .variable)).count > 14)
    await second.gather(seconds: 900)
    #expect(await !second.isPaused)
    #expect(try await store.samples(SampleQuery(Series(target: "t", metric: "M"), type: .variable)).count <= 14)
  }

  @Test("is looked for again when this instance begins to gather after another")
  func takeover() async throws {
    let store = MemoryStorage()
    let life = Life(store, at: start)
    let run = Task { await life.recorder.run() }
    try await life.clock.sleepers(atLeast: 1)
    await life.gather(seconds: 600)
    run.cancel()
    await run.value
    #expect(await !life.isPaused)
    // Nobody sees it being set: no sample comes, nothing runs.
    life.clock.advance(by: .seconds(86_400))
    life.wall.set(life.wall.now + 86_400)
    let again = Task { await life.recorder.run() }
    try await life.clock.sleepers(atLeast: 1)
    #expect(await life.isPaused)
    again.cancel()
    await again.value
  }
}
