import Foundation
import Model
import Notifications
import Storage
import TestKit
import Testing

@Suite("Messages that make no sense") struct MalformedMessageTests {
  @Test("a message that another program wrote wrongly is given up with a problem and a notice")
  func malformed() async throws {
    let office = Office()
    for (id, type) in [("n1", "email"), ("n2", "")] {
      let entry = QueueEntry(
        id: id, key: nil, reaction: "", target: "generic", type: type, payload: [:], created: office.now)
      _ = try await office.storage.record(nil, queueing: [entry])
      var lease = try #require(try await office.storage.claim(owner: "w", now: office.now, lease: .seconds(60)))
      lease.problem = "`payload` has to be a map"
      await office.worker().deliver(lease)
    }
    #expect(office.notifier.deliveries.all == [])
    #expect(try await office.entries().map(\.state) == [.dead, .dead])
    #expect(
      try await office.entries().compactMap(\.attempts.last?.answer) == [
        "`payload` has to be a map", "`payload` has to be a map",
      ])
    #expect(
      office.problems.all.map(\.description)
        == ["n1", "n2"].map {
          Problem(
            .warning, kind: "notifications", id: $0, path: "", reason: "`payload` has to be a map",
            hint: "correct the program that inserts it"
          ).description
        })
    #expect(office.notices.all.map(\.source) == ["messages of type email", "messages of no type"])
    #expect(office.notices.all.first?.text.contains("`payload` has to be a map") == true)
    #expect(office.notices.all.first?.details.contains("syscrap queue show n1") == true)
  }
}
