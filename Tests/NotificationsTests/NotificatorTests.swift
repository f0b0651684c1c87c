import Foundation
import Logging
import Model
import Notifications
import Storage
import Supervision
import TestKit
import Testing

@Suite struct NotificatorTests {
  private func names(_ tree: TreeNode) -> [String] { tree.children.map(\.name).sorted() }

  private func surroundings(_ clock: any Clock<Duration>) -> Surroundings {
    Surroundings(clock: clock, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  /// Waits until the tree is as wanted, looking again at each thing that happens; 20 s at most.
  private func eventually(_ isTrue: () async throws -> Bool) async throws -> Bool {
    for _ in 0..<2000 {
      if try await isTrue() { return true }
      try await Task.sleep(for: .milliseconds(10))
    }
    return false
  }

  @Test("the pool grows to its most with a long queue, empties it, and shrinks when it is quiet")
  func grows() async throws {
    let office = Office { _, _ in .delivered(receipt: "ok") }
    var settings = Notificator.Settings(instance: "test")
    settings.maximumWorkers = 4
    for number in 0..<300 { try await office.announce(.firing, Office.episode(id: "e\(number)")) }
    let notificator = Notificator(office.context, settings: settings, surroundings: surroundings(office.clock))
    let life = Task { try await notificator.run() }
    let full = ["Notificator.Rescuer"] + (0..<4).map { "Notificator.Worker.\($0)" }
    #expect(try await eventually { names(notificator.snapshot()) == full })
    #expect(try await eventually { try await office.storage.queueCounts(now: office.now).delivered == 300 })
    // Quiet: the pool looks every second, and shrinks after thirty.
    #expect(
      try await eventually {
        office.clock.advance(by: .seconds(1))
        return names(notificator.snapshot()) == ["Notificator.Rescuer", "Notificator.Worker.0"]
      })
    #expect(office.clock.now.offset >= .seconds(30))
    // A message of this process leaves at once: the clock stands still.
    try await office.announce(.firing, Office.episode(id: "fresh"))
    _ = try await office.notifier.deliveries.first { $0.subject.contains("web-1") && $0.at >= 30 }
    life.cancel()
    _ = await life.result
    #expect(try await office.storage.queueCounts(now: office.now).imbalance == 0)
  }

  @Test("F23: a channel that hangs holds half of the pool, the other channel's messages pass")
  func hangingChannel() async throws {
    let release = Doorbell()
    let office = Office(gateLimit: 1) { _, options in
      if options.id == "ops" {
        await release.wait(after: 0)
        return .again(after: nil, answer: "hung", isUnknown: false)
      }
      return .delivered(receipt: "ok")
    }
    var settings = Notificator.Settings(instance: "test")
    settings.maximumWorkers = 2
    #expect(settings.deliveriesPerChannel == 1)
    for number in 0..<20 { try await office.announce(.firing, Office.episode(id: "h\(number)"), notify: [["ops"]]) }
    for number in 0..<20 { try await office.announce(.firing, Office.episode(id: "p\(number)"), notify: [["pager"]]) }
    let notificator = Notificator(office.context, settings: settings, surroundings: surroundings(office.clock))
    let life = Task { try await notificator.run() }
    #expect(
      try await eventually {
        // Nobody advances beyond 5 s, and the hanging delivery still hangs then.
        if office.clock.now.offset < .seconds(5) { office.clock.advance(by: .milliseconds(100)) }
        return try await office.storage.queueCounts(now: office.now).delivered == 20
      })
    #expect(office.notifier.deliveries.all.filter { $0.channel == "ops" }.count == 1)
    release.ring()
    life.cancel()
    _ = await life.result
    let counts = try await office.storage.queueCounts(now: office.now)
    #expect([counts.delivered, counts.dead, counts.imbalance] as [Int] == [20, 0, 0])
  }

  @Test("who is stopped in the middle of a delivery has time to end it")
  func drains() async throws {
    let release = Doorbell()
    let office = Office { _, _ in
      await release.wait(after: 0)
      return Task.isCancelled ? .again(after: nil, answer: "broken off", isUnknown: true) : .delivered(receipt: "ok")
    }
    try await office.announce(.firing)
    let notificator = Notificator(
      office.context, settings: .init(instance: "test"), surroundings: surroundings(office.clock))
    let life = Task { try await notificator.run() }
    _ = try await office.notifier.deliveries.first()
    life.cancel()
    // The delivery is still there: nothing was broken off by the cancellation itself.
    release.ring()
    _ = await life.result
    #expect(try await office.entries().map(\.state) == [.delivered])
  }

  @Test("a worker's messages come back when it died with them: rescued within 70 s")
  func rescues() async throws {
    let office = Office()
    try await office.announce(.firing)
    _ = try #require(try await office.storage.claim(owner: "killed", now: office.now, lease: .seconds(60)))
    let notificator = Notificator(
      office.context, settings: .init(instance: "test"), surroundings: surroundings(office.clock))
    let life = Task { try await notificator.run() }
    #expect(
      try await eventually {
        office.clock.advance(by: .seconds(1))
        return try await office.storage.queueCounts(now: office.now).delivered == 1
      })
    #expect(try #require(office.notifier.deliveries.all.first).at <= 70)
    #expect(try await office.entries().first?.attempts.map(\.outcome) == ["rescued", "delivered"])
    life.cancel()
    _ = await life.result
  }

  @Test("a fresh message leaves an idle pool at once: the clock stands still")
  func bell() async throws {
    let office = Office()
    let notificator = Notificator(
      office.context, settings: .init(instance: "test"), surroundings: surroundings(office.clock))
    let life = Task { try await notificator.run() }
    // The worker waits for the bell, the rescuer, the pool and the supervisor for their time.
    try await office.clock.sleepers(atLeast: 3)
    #expect(try await eventually { names(notificator.snapshot()).contains("Notificator.Worker.0") })
    try await office.announce(.firing)
    let delivery = try await office.notifier.deliveries.first()
    #expect(delivery.element.at == 0)
    life.cancel()
    _ = await life.result
  }
}
