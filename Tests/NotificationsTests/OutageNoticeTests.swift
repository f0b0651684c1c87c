import Foundation
import Model
import Notifications
import Storage
import TestKit
import Testing

/// A store's state as a test sets it, and the small file that survives a service.
private final class Scene: @unchecked Sendable {
  // Sendable is true: every stored property is only touched while `lock` is held.
  private let lock = NSLock()
  private var current = StoreStatus(condition: .present, outage: nil, journal: JournalSize())
  private var file: [UInt8]?

  var status: StoreStatus {
    get { lock.withLock { current } }
    set { lock.withLock { current = newValue } }
  }
  var bytes: [UInt8]? { lock.withLock { file } }

  func turnAway(at since: Date) {
    var outage = StoreOutage(since: since, reason: "no server answers")
    outage.samples = 12
    status = StoreStatus(condition: .away, outage: outage, journal: JournalSize())
  }

  func turnPresent(at until: Date) {
    var next = status
    next.condition = .present
    next.outage?.until = until
    next.outage?.samples = 4000
    next.outage?.entries = 3
    next.outage?.dropped = [.values: 250]
    status = next
  }

  func surroundings(isSpeaker: Bool = true) -> OutageNotice.Surroundings {
    OutageNotice.Surroundings(
      status: { self.status }, isSpeaker: { isSpeaker }, load: { self.bytes },
      save: { bytes in self.lock.withLock { self.file = bytes } })
  }
}

@Suite struct OutageNoticeTests {
  /// Runs the notice over so many seconds, one by one.
  private func watch(
    _ office: Office, _ scene: Scene, notify: [[String]] = [], isSpeaker: Bool = true,
    _ body: (_ pass: (Int) async throws -> Void) async throws -> Void
  ) async throws {
    let notice = OutageNotice(
      office.context, surroundings: scene.surroundings(isSpeaker: isSpeaker), notify: notify, host: "watch-1")
    let running = Task { try await notice.run() }
    try await body { seconds in
      for _ in 0..<seconds {
        try await office.clock.sleepers(atLeast: 1)
        office.clock.advance(by: .seconds(1))
        // Whatever woke has its turn before time goes on: it sleeps again, or it is done.
        try await office.clock.sleepers(atLeast: 1)
        for _ in 0..<200 { await Task.yield() }
      }
    }
    running.cancel()
    _ = await running.result
  }

  @Test("an outage is told once, straight by the channels, within the minute; its end by the queue with the figures")
  func pair() async throws {
    let office = Office()
    let scene = Scene()
    try await watch(office, scene) { pass in
      try await pass(5)
      scene.turnAway(at: office.now)
      try await pass(19)
      #expect(office.notifier.deliveries.all.isEmpty)
      try await pass(11)
      let told = office.notifier.deliveries.all
      #expect(told.map(\.channel).sorted() == ["ops", "pager"])
      #expect(told.allSatisfy { $0.subject == "[FIRING critical] syscrap on watch-1: the store is away" })
      #expect(told.allSatisfy { $0.at >= 25 && $0.at <= 35 && $0.kind == "notice" })
      #expect(Set(told.map(\.key)).count == 2)
      try await pass(600)
      #expect(office.notifier.deliveries.all.count == 2)
      #expect(try await office.entries().isEmpty)

      scene.turnPresent(at: office.now)
      try await pass(30)
    }
    let entries = try await office.entries()
    #expect(entries.map { $0.option ?? "" }.sorted() == ["ops", "pager"])
    #expect(
      Set(entries.compactMap { $0.payload["subject"]?.text })
        == ["[RESOLVED] syscrap on watch-1: the store is back after 10 min 30 s"])
    let body = entries.first?.payload["body"]?.text ?? ""
    #expect(body.contains("4000 samples, 3 messages"))
    #expect(body.contains("250 values (the journal was full)"))
  }

  @Test("a short outage is not told at all, a second one as soon as the first, and of many only three in ten minutes")
  func flapping() async throws {
    let office = Office([Office.channel("ops", to: "a@example.org")])
    let scene = Scene()
    try await watch(office, scene) { pass in
      scene.turnAway(at: office.now)
      try await pass(15)
      scene.turnPresent(at: office.now)
      try await pass(5)
      #expect(office.notifier.deliveries.all.isEmpty)
      for _ in 0..<9 {
        scene.turnAway(at: office.now)
        try await pass(40)
        scene.turnPresent(at: office.now)
        try await pass(20)
      }
      let told = office.notifier.deliveries.all.map(\.at)
      #expect(told.count == 3)
      // Each within the minute: they began 20 s after the opening, and a minute apart.
      #expect(zip(told, [20, 80, 140]).allSatisfy { $0 >= $1 + 20 && $0 <= $1 + 30 }, "\(told)")
      #expect(try await office.entries().count == 3)
      // It is still away when the ten minutes are over: then it is told.
      scene.turnAway(at: office.now)
      try await pass(120)
      #expect(office.notifier.deliveries.all.count == 4)
    }
  }

  @Test("a restart within the outage says nothing again; the end is told by the next life")
  func restart() async throws {
    let scene = Scene()
    let office = Office([Office.channel("ops", to: "a@example.org")])
    try await watch(office, scene) { pass in
      scene.turnAway(at: office.now)
      try await pass(30)
    }
    #expect(office.notifier.deliveries.all.count == 1)
    try await watch(office, scene) { pass in
      try await pass(60)
      #expect(office.notifier.deliveries.all.count == 1)
      scene.turnPresent(at: office.now)
      try await pass(3)
    }
    #expect(try await office.entries().count == 1)
    try await watch(office, scene) { pass in try await pass(30) }
    #expect(try await office.entries().count == 1)
  }

  @Test("a start while the store is away tells it by the channels of the last run, which hold no secret")
  func unknownDocuments() async throws {
    let scene = Scene()
    let channels = [
      Office.channel("ops", to: "a@example.org", options: ["password_file": "/etc/relay"]),
      Office.channel("careless", to: "b@example.org", options: ["password": "hunter2"]),
      Office.channel("uri", to: "c@example.org", options: ["relay": "smtp://u:hunter2@relay"]),
    ]
    try await watch(Office(channels), scene) { pass in try await pass(3) }
    let kept = String(decoding: scene.bytes ?? [], as: UTF8.self)
    #expect(!kept.contains("hunter2"))
    #expect(kept.contains("relay"))

    let office = Office([])
    scene.turnAway(at: office.now)
    var context = office.context
    context.directory = Directory(
      options: { throw StorageError(.unavailable, "never read") }, target: { _ in nil })
    let notice = OutageNotice(
      context, surroundings: scene.surroundings(), notify: [], host: "watch-1")
    let running = Task { try await notice.run() }
    for _ in 0..<30 {
      try await office.clock.sleepers(atLeast: 1)
      office.clock.advance(by: .seconds(1))
      for _ in 0..<200 { await Task.yield() }
    }
    #expect(office.notifier.deliveries.all.map(\.channel) == ["ops"])
    running.cancel()
    _ = await running.result
  }

  @Test("a channel that fails is tried again, the next one in its list as well, until the store is back")
  func retries() async throws {
    let office = Office { _, options in
      options.id == "ops"
        ? .again(after: nil, answer: "connection refused", isUnknown: false) : .delivered(receipt: "250")
    }
    let scene = Scene()
    try await watch(office, scene, notify: [["ops", "pager"], ["ops"]]) { pass in
      scene.turnAway(at: office.now)
      try await pass(1600)
      var told = office.notifier.deliveries.all
      #expect(told.count { $0.channel == "pager" } == 1)
      #expect((told.first { $0.channel == "pager" }?.at ?? .max) <= 30)
      // Once before the pager took it, and ten times where nobody else is named.
      #expect(told.count { $0.channel == "ops" } == 11)
      #expect(Set(told.filter { $0.channel == "ops" }.map(\.key)).count == 1)
      try await pass(1300)
      told = office.notifier.deliveries.all
      #expect(told.count { $0.channel == "pager" } == 1)
      #expect(told.count { $0.channel == "ops" } == 13)
      scene.turnPresent(at: office.now)
      try await pass(700)
      #expect(office.notifier.deliveries.all.count == 14)
      #expect(try await office.entries().map(\.option) == ["ops"])
    }
  }

  @Test("a relay that was away or refused for half an hour is given the news when it takes it")
  func lateRelay() async throws {
    let isMended = EventLog<Bool>()
    let office = Office { _, options in
      if !isMended.all.isEmpty { return .delivered(receipt: "250") }
      return options.id == "ops"
        ? .again(after: nil, answer: "connection refused", isUnknown: false) : .gaveUp(answer: "550 no such user")
    }
    let scene = Scene()
    try await watch(office, scene) { pass in
      scene.turnAway(at: office.now)
      try await pass(1800)
      isMended.append(true)
      let tries = office.notifier.deliveries.all.count
      try await pass(610)
      let more = office.notifier.deliveries.all.dropFirst(tries)
      #expect(more.map(\.channel).sorted() == ["ops", "pager"])
      try await pass(1300)
      #expect(office.notifier.deliveries.all.count == tries + 2)
    }
  }

  @Test("a store that answers but does not take what waits is told of like one that is away")
  func hindered() async throws {
    let office = Office([Office.channel("ops", to: "a@example.org")])
    let scene = Scene()
    try await watch(office, scene) { pass in
      scene.turnAway(at: office.now)
      try await pass(5)
      scene.status.condition = .replaying
      try await pass(60)
      #expect(office.notifier.deliveries.all.isEmpty)
      scene.status.hindrance = "Document failed validation"
      try await pass(30)
      #expect(office.notifier.deliveries.all.count == 1)
    }
  }

  @Test("an instance that is not the speaker keeps silent")
  func silent() async throws {
    let office = Office()
    let scene = Scene()
    try await watch(office, scene, isSpeaker: false) { pass in
      scene.turnAway(at: office.now)
      try await pass(60)
      scene.turnPresent(at: office.now)
      try await pass(5)
    }
    #expect(office.notifier.deliveries.all.isEmpty)
    #expect(try await office.entries().isEmpty)
  }
}
