internal import Foundation
internal import Model
internal import TestKit
internal import Testing

extension EndToEnd {
  /// From a host over SSH to a mail, and back to silence.
  @Suite(.serialized, .enabled(if: Scene.isPossible, Scene.absence)) struct Spine {
    @Test("A full disk mails within 5 s, its end is mailed with its duration, and one login is all it takes")
    func mainJob() async throws {
      try await Scene.with { scene in
        try await scene.apply(scene.target(), Scene.vitals, scene.email())
        let clock = ContinuousClock()
        // Read from the store itself, not from what is on its way there.
        async let stored = scene.service.moment(of: "/api/v1/objects/aggregations/box") { answer in
          (try? Value(json: answer))?.elements?.contains {
            $0["metric"]?.text?.hasPrefix("Vitals.") == true && $0["value"] != nil
          } == true
        }
        let started = clock.now
        try await scene.service.start()
        let vitals = try await stored - started
        print("first vitals in the store \(seconds(vitals)) after the service's process was started")
        #expect(vitals < .seconds(5))
        _ = try await scene.service.eventually("the first look at the disk") {
          try await scene.service.history("box", "Vitals.Disk").first
        }

        try await scene.apply(Scene.disk(max: 0))
        let firing = try await scene.mail.message("[FIRING critical]", within: .seconds(60))
        let fired = try await scene.service.span(from: "reaction_targets/disk-full", to: "firing")
        print("a firing mail was delivered \(seconds(fired)) after its document was applied")
        #expect(fired < .seconds(5))
        #expect(firing.from == "syscrap@example.org")
        #expect(firing.recipients == ["ops@example.org"])
        #expect(firing.user == Scene.account)
        #expect(firing.isEncrypted)
        #expect(firing.header("From") == "syscrap@example.org")
        #expect(firing.header("To") == "ops@example.org")
        #expect(firing.subject.contains("Vitals.Disk / on box"))
        #expect(firing.subject.utf8.count == firing.subject.count)
        let value = try #require(firing.row("Value"))
        #expect(value.contains("%"))
        #expect(firing.row("Limit")?.contains("at most 0") == true)
        #expect(firing.row("Where") == "box (host 127.0.0.1)")
        #expect(firing.row("Since") != nil)
        #expect(firing.row("Runbook") == "https://example.org/runbooks/disk")
        #expect(firing.body.contains("Last values (UTC):"))
        #expect(firing.body.contains("syscrap delete reaction_target disk-full"))

        try await scene.apply(Scene.disk(max: 100))
        let resolved = try await scene.mail.message("[RESOLVED]", within: .seconds(60))
        let ended = try await scene.service.span(from: "reaction_targets/disk-full", to: "resolved")
        print("the resolved mail was delivered \(seconds(ended)) after the edit")
        #expect(ended < .seconds(5))
        #expect(resolved.subject.contains("Vitals.Disk / on box after "))
        let duration = try #require(resolved.row("To")?.components(separatedBy: "after ").last)
        #expect(duration.hasSuffix("s") || duration.hasSuffix("min"), "\(duration)")
        #expect(resolved.subject.contains("after \(duration)"))
        #expect(resolved.header("X-Syscrap-Episode") == firing.header("X-Syscrap-Episode"))
        #expect(scene.mail.messages().count == 2)
        #expect(scene.ssh.acceptedCount == 1)
        #expect(try await scene.service.figure("syscrap_queue_imbalance") == 0)
      }
    }

    @Test("When its session on the host is killed, samples come back over a new one, in the same process")
    func lostSession() async throws {
      try await Scene.with { scene in
        try await scene.apply(scene.target(), Scene.vitals)
        try await scene.service.start()
        let process = await scene.service.processIdentifier
        let before = try await scene.service.eventually("a first sample") {
          try await scene.service.history("box", "Vitals.RAM").last
        }
        #expect(scene.ssh.acceptedCount == 1)
        let clock = ContinuousClock()
        let killed = clock.now
        #expect(await scene.ssh.killSessions() > 0)
        let events = try await scene.service.eventually("the loss, and a new connection") {
          let events = try await scene.service.history("box", "Connection", type: "event")
          return events.count >= 3 ? events : nil
        }
        #expect(events.map { $0.at("value.state")?.text } == ["connected", "lost", "connected"])
        #expect(events[1].at("value.phase")?.text == "connection")
        #expect(events[1].at("value.error")?.text?.isEmpty == false)
        let since = try #require(events[2]["updated"]?.instant)
        let after = try await scene.service.eventually("a sample of the new connection") {
          try await scene.service.history("box", "Vitals.RAM").first {
            ($0["updated"]?.instant).map { $0 >= since } == true && $0["value"] != nil
          }
        }
        #expect(after["value"] != nil)
        #expect(before["tag"] != nil)
        print("samples were back \(seconds(clock.now - killed)) after the session was killed")
        #expect(scene.ssh.acceptedCount == 2)
        #expect(await scene.service.processIdentifier == process)
        #expect(await scene.service.isRunning)
      }
    }

    @Test("A stopped sshd makes a Presence on Connection fire, and its return ends that with the duration")
    func stoppedServer() async throws {
      try await Scene.with { scene in
        let presence = """
          {kind: reaction_target, _id: unreachable, reaction: Presence, target: box, severity: critical, notify: [ops],
           metrics: {Connection: {}}}
          """
        try await scene.apply(scene.target(), Scene.vitals, scene.email(), presence)
        try await scene.service.start()
        _ = try await scene.service.eventually("a first sample") {
          try await scene.service.history("box", "Vitals.RAM").last
        }
        let clock = ContinuousClock()
        let stopped = clock.now
        await scene.ssh.stop()
        let firing = try await scene.mail.message("[FIRING critical]", within: .seconds(35))
        print("the mail about the stopped sshd arrived after \(seconds(clock.now - stopped))")
        #expect(firing.subject.contains("Connection on box"))
        #expect(firing.row("Limit") == "connected")
        let failed = try await scene.service.eventually("a failed attempt") {
          try await scene.service.history("box", "Connection", type: "event").first {
            $0.at("value.state")?.text == "failed"
          }
        }
        #expect(failed.at("value.phase")?.text == "connect")
        #expect(failed.at("value.error")?.text?.isEmpty == false)
        #expect(failed.at("value.attempt")?.integer == 1)

        let back = clock.now
        try await scene.ssh.start()
        let resolved = try await scene.mail.message("[RESOLVED]", within: .seconds(65))
        print("the mail about its return arrived after \(seconds(clock.now - back))")
        #expect(resolved.subject.contains("Connection on box after "))
        #expect(resolved.header("X-Syscrap-Episode") == firing.header("X-Syscrap-Episode"))
        let states = try await scene.service.history("box", "Connection", type: "event").compactMap {
          $0.at("value.state")?.text
        }
        #expect(states.first == "connected")
        #expect(states.dropFirst().first == "lost")
        #expect(states.last == "connected")
        #expect(Set(states.dropFirst(2).dropLast()) == ["failed"], "\(states)")
      }
    }
  }
}
