internal import Foundation
internal import Model
internal import TestKit
internal import Testing

extension EndToEnd {
  /// Mail servers that refuse, delay, and lose answers, as the whole program meets them.
  @Suite(.serialized, .enabled(if: Scene.isPossible, Scene.absence)) struct Delivery {
    @Test(
      "A final refusal of one recipient is one dead letter; the others get theirs, and the alternate its turn at once")
    func refusedRecipient() async throws {
      let relay = try await Scene.relay { $0.refusedRecipients = ["gone@example.org": "550 5.1.1 No such user here"] }
      try await Scene.with(mail: relay) { scene in
        try await scene.apply(
          scene.target(), Scene.vitals, scene.email("primary", to: "a@example.org, gone@example.org, b@example.org"),
          scene.email("backup", to: "backup@example.org"), Scene.disk(max: 0, more: "notify: [[primary, backup]]"))
        try await scene.service.start()
        let messages = try await scene.mail.messages(atLeast: 3, within: .seconds(60))
        #expect(
          messages.flatMap(\.recipients).sorted() == ["a@example.org", "b@example.org", "backup@example.org"])
        let entries = try await scene.service.eventually("a settled queue") {
          let entries = try await scene.service.values("objects/notifications")
          return entries.count == 4 && entries.allSatisfy { ["delivered", "dead"].contains($0["state"]?.text) }
            ? entries : nil
        }
        let dead = entries.filter { $0["state"]?.text == "dead" }
        #expect(dead.compactMap { $0["recipient"]?.text } == ["gone@example.org"])
        #expect(dead.first?.at("attempts.0.answer")?.text?.contains("550") == true, "\(dead)")
        #expect(try await scene.service.figure("syscrap_queue_imbalance") == 0)
        #expect(try await scene.service.figure("syscrap_notifications_dead_total") == 1)
      }
    }

    @Test("A greylisted mail is delivered at its next try, and one whose answer got lost comes again as the same mail")
    func relentingServer() async throws {
      let relay = try await Scene.relay { $0.greylistCount = 1 }
      try await Scene.with(mail: relay) { scene in
        try await scene.apply(scene.target(), Scene.vitals, scene.email(), Scene.disk(max: 0))
        try await scene.service.start()
        let firing = try await scene.mail.message("[FIRING critical]", within: .seconds(60))
        let first = try await scene.service.eventually("the delivery in the ledger") {
          try await scene.service.values("objects/notifications").first { $0["state"]?.text == "delivered" }
        }
        #expect(first["attempts"]?.elements?.count == 2)
        #expect(first.at("attempts.0.answer")?.text?.contains("451") == true)

        var forgetful = relay
        forgetful.close = .dot
        try await scene.mail.configure(forgetful)
        try await scene.apply(Scene.disk(max: 100))
        let lost = try await scene.mail.message("[RESOLVED]", within: .seconds(60))
        try await scene.mail.event { $0 == .closed(session: lost.session) }
        try await scene.mail.configure(relay)
        let all = try await scene.mail.messages(atLeast: 3, within: .seconds(60))
        let resolved = all.filter { $0.subject.hasPrefix("[RESOLVED]") }
        #expect(resolved.count == 2)
        #expect(Set(resolved.map { $0.header("Message-ID") }).count == 1)
        #expect(all.count == 3)
        #expect(resolved.first?.header("X-Syscrap-Episode") == firing.header("X-Syscrap-Episode"))
      }
    }

    @Test(
      "Where the first relay is dead the alternate gets the mail after a minute",
      .enabled(if: ProcessInfo.processInfo.environment["SYSCRAP_LONG"] == "1", "takes a minute: SYSCRAP_LONG=1"))
    func deadRelay() async throws {
      try await Scene.with { scene in
        let closed = try ManagedProcess.freePort()
        try await scene.apply(
          scene.target(), Scene.vitals, scene.email("primary", port: closed),
          scene.email("backup", to: "backup@example.org"), Scene.disk(max: 0, more: "notify: [[primary, backup]]"))
        try await scene.service.start()
        let queued = try await scene.service.eventually("the first entry") {
          try await scene.service.values("objects/notifications").first { $0["option"]?.text == "primary" }
        }
        let message = try await scene.mail.message("[FIRING critical]", within: .seconds(90))
        #expect(message.recipients == ["backup@example.org"])
        let created = try #require(queued["created"]?.instant)
        let after = Date().timeIntervalSince(created)
        print("the alternate got the mail after \(after) s")
        #expect(after > 55 && after < 80)
      }
    }
  }
}
