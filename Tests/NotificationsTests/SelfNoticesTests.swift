import Foundation
import Logging
import Model
import Notifications
import Storage
import TestKit
import Testing

@Suite struct SelfNoticesTests {
  private func notices(_ office: Office, notify: [[String]] = []) -> SelfNotices {
    SelfNotices(
      storage: office.storage, directory: office.directory, notifiers: office.context.notifiers,
      doorbell: office.doorbell, notify: notify, host: "watch-1", logger: office.context.logger, now: office.context.now
    )
  }

  @Test("a source has one notice an hour; the next says how many were held back")
  func oncePerHour() async throws {
    let office = Office([Office.channel("ops", to: "a@example.org")])
    let notices = notices(office)
    var queued: [Int] = []
    for second in [0, 10, 3599, 3600] {
      office.clock.advance(to: .init(offset: .seconds(second)))
      queued.append(await notices.post(Notice(source: "Aggregator", text: "a child restarted too often")))
      queued.append(await notices.post(Notice(source: "Reactor", text: "x", severity: .critical)))
    }
    #expect(queued == [1, 1, 0, 0, 0, 0, 1, 1])
    try await office.work(until: 4000)
    #expect(
      office.notifier.deliveries.all.filter { $0.subject.contains("too often") }.map(\.subject)
        == Array(repeating: "[FIRING warning] syscrap on watch-1: a child restarted too often", count: 2))
    let bodies = try await office.entries().compactMap { $0.payload["body"]?.text }
    #expect(bodies.map { $0.contains("2 more of the same source") } == [false, false, true, true])
  }

  @Test("after a restart within the hour the same notice is not sent again")
  func restart() async throws {
    let office = Office()
    #expect(await notices(office).post(Notice(source: "s", text: "t", dedupeKey: "k")) == 2)
    #expect(await notices(office).post(Notice(source: "s", text: "t", dedupeKey: "k")) == 0)
    #expect(await notices(office).post(Notice(source: "s", text: "t", dedupeKey: "other")) == 2)
  }

  @Test("notices go where `self.notify` says, in order, or by all generic channels")
  func ways() async throws {
    let channels = [
      Office.channel("b", to: "b@example.org"), Office.channel("a", to: "a@example.org"),
      Office.channel("web", to: "w@example.org", selector: .names(["web-1"])),
      Office.channel("off", to: "x@example.org", enabled: false),
    ]
    for (notify, expected) in [([], ["a []", "b []"]), ([["web"], ["off", "a", "b"]], ["web []", "a [\"b\"]"])] {
      let office = Office(channels)
      await notices(office, notify: notify).post(Notice(source: "s", text: "t"))
      #expect(try await office.entries().map { "\($0.option ?? "") \($0.alternates)" } == expected)
    }
  }

  @Test("a dead letter leads to one notice an hour for its channel, by another way if there is one")
  func deadLetters() async throws {
    let office = Office { entry, options in
      options.id == "ops" ? .gaveUp(answer: "550 no such user") : .delivered(receipt: "ok")
    }
    let notices = notices(office, notify: [["ops", "pager"]])
    var context = office.context
    context.notice = { _ = await notices.post($0) }
    let worker = QueueWorker(context, owner: "w")
    for number in 0..<5 { try await office.announce(.firing, Office.episode(id: "e\(number)")) }
    while try await worker.deliverNext() {}
    let told = office.notifier.deliveries.all.filter { $0.kind == "notice" }
    #expect(told.map(\.channel) == ["ops", "pager"])
    #expect(
      told.allSatisfy {
        $0.subject.hasPrefix(
          "[FIRING critical] syscrap on watch-1: a message could not be delivered by channel ops: 550")
      })
    let counts = try await office.storage.queueCounts(now: office.now)
    #expect([counts.dead, counts.delivered, counts.imbalance] as [Int] == [6, 1, 0])
  }
}

@Suite struct TestMessageTests {
  @Test("a test message goes through the queue and tells what the peer said; a failure is final")
  func send() async throws {
    let office = Office([Office.channel("ops", to: ["a@example.org", "b@example.org"])]) { entry, _ in
      entry.recipient == "a@example.org"
        ? .delivered(receipt: "250 queued as 1") : .again(after: nil, answer: "451 greylisted", isUnknown: false)
    }
    let sending = Task { try await TestMessage(office.context, host: "watch-1").send(option: "ops") }
    // It waits on the clock: for its messages.
    try await office.clock.sleepers(atLeast: 1)
    while try await office.worker().deliverNext() {}
    office.clock.advance(by: .milliseconds(100))
    let report = try await sending.value
    #expect(report.isDelivered == false)
    #expect(report.entries.map(\.state) == [.delivered, .dead])
    #expect(report.entries.map(\.receipt) == ["250 queued as 1", nil])
    #expect(report.entries.map { $0.attempts.map(\.answer) } == [["250 queued as 1"], ["451 greylisted"]])
    #expect(office.notices.all.isEmpty)
    #expect(
      office.notifier.deliveries.all.map(\.subject)
        == Array(repeating: "[TEST] Test message by ops from syscrap on watch-1", count: 2))
    #expect(report.value["delivered"] == false)
    #expect(report.value.at("messages.1.attempts.0.answer") == "451 greylisted")
  }

  @Test("two tests of one channel are two messages, and the wait is bounded")
  func bounded() async throws {
    let office = Office()
    for _ in 0..<2 {
      let sending = Task { try await TestMessage(office.context, host: "h").send(option: "ops", within: .seconds(1)) }
      for _ in 0..<10 {
        try await office.clock.sleepers(atLeast: 1)
        office.clock.advance(by: .milliseconds(100))
      }
      #expect(try await sending.value.entries.map(\.state) == [.pending])
    }
    #expect(try await office.entries().count == 2)
  }

  @Test("a name nobody knows and a document that cannot be used are refused")
  func refused() async throws {
    let office = Office([
      Office.channel("operations", to: "a@example.org"), Office.channel("off", to: "a@example.org", enabled: false),
      Office.channel("empty", to: []),
    ])
    var codes: [String] = []
    for name in ["operation", "off", "empty"] {
      do throws(OperationError) {
        _ = try await TestMessage(office.context, host: "h").send(option: name)
      } catch {
        codes.append("\(error.code): \(error.message)")
      }
    }
    #expect(
      codes == [
        "notFound: there is no notification_options document 'operation'; did you mean operations?",
        "refused: the notification_options document 'off' is switched off",
        "refused: the notification_options document 'empty' cannot be used",
      ])
  }
}
