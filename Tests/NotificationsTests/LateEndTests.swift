import Foundation
import Model
import Notifications
import Storage
import TestKit
import Testing

@Suite("Ends of news that comes late")
struct LateEndTests {
  @Test("one message tells of beginning and end; the end that the router would queue is the same message")
  func both() async throws {
    let office = Office()
    let episode = Office.episode()
    try await office.announce(.firing)
    let firing = try #require(try await office.entries().first)
    office.clock.advance(by: .seconds(725))
    let end = try #require(LateEnd.message(of: episode, after: firing, at: office.now))
    #expect(try await office.storage.record(nil, queueing: [end]) == 1)
    try await office.announce(.resolved)
    #expect(try await office.entries().count == 2)
    try await office.work(until: 1000)
    #expect(
      office.notifier.deliveries.all.map(\.subject) == [
        "[RESOLVED] Vitals.Disk /var on web-1 was outside its limits from 2026-11-21 08:15:00 UTC to "
          + "2026-11-21 08:27:05 UTC (12 min 5 s)"
      ])
    #expect(try await office.entries().map(\.state) == [.merged, .delivered])
  }

  @Test("a reminder's end stands behind the reminder; an end and a foreign message have none")
  func kinds() async throws {
    let office = Office()
    let episode = Office.episode()
    try await office.announce(.firing)
    try await office.announce(.reminder(1))
    let entries = try await office.entries()
    let end = try #require(LateEnd.message(of: episode, after: entries[1], at: office.now))
    #expect(end.after == entries[1].key && end.kind == "resolved" && end.episode == "e1")
    #expect(end.payload["thread"] == entries[0].key.map { .string($0) })
    #expect(LateEnd.message(of: episode, after: end, at: office.now) == nil)
    var foreign = entries[0]
    foreign.payload = ["subject": "s", "body": "b"]
    #expect(LateEnd.message(of: episode, after: foreign, at: office.now) == nil)
  }
}
