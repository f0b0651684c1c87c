internal import Foundation
internal import Model
internal import TestKit
internal import Testing

extension EndToEnd {
  /// Hosts that are not who they should be, or let nobody in, or never stop talking.
  @Suite(.serialized, .enabled(if: Scene.isPossible && FakeSSHServer.isAvailable, Scene.absence)) struct Refusals {
    @Test("A host with a changed key gets no credential: the target is refused, with no authentication packet sent")
    func changedKey() async throws {
      let fake = try await FakeSSHServer(seed: 7)
      try await Scene.with { scene in
        // Another Ed25519 key is known for this host: any 32 bytes.
        let name = Array("ssh-ed25519".utf8)
        let blob = [0, 0, 0, UInt8(name.count)] + name + [0, 0, 0, 32] + [UInt8](repeating: 9, count: 32)
        try FileManager.default.createDirectory(
          atPath: scene.service.stateDirectory, withIntermediateDirectories: true,
          attributes: [.posixPermissions: 0o700])
        try scene.service.directory.write(
          "state/known_hosts", "[127.0.0.1]:\(fake.port) ssh-ed25519 \(Data(blob).base64EncodedString())\n")
        try await scene.apply(
          scene.target("changed", port: fake.port), scene.target(), scene.email(),
          "{kind: reaction_target, _id: unreachable, reaction: Presence, metrics: {Connection: {}}, notify: [ops]}")
        let clock = ContinuousClock()
        let started = clock.now
        try await scene.service.start()
        let mail = try await scene.mail.message("[FIRING warning]", within: .seconds(60))
        print("the mail about the changed key arrived \(seconds(clock.now - started)) after the start")
        #expect(mail.subject.contains("Connection on changed"))
        let event = try await scene.service.eventually("the refusal") {
          try await scene.service.history("changed", "Connection", type: "event").first
        }
        #expect(event.at("value.state")?.text == "refused")
        #expect(event.at("value.phase")?.text == "host_key")
        #expect(event.at("value.error")?.text?.contains("syscrap trust replace changed") == true, "\(event)")
        let seen = try await fake.connections(closed: 1)
        #expect(seen.count == 1)
        #expect(seen.map(\.authenticationPackets) == [0])
        #expect(seen.flatMap(\.methods) == [])
        // Its neighbour is not touched.
        _ = try await scene.service.eventually("the neighbour") {
          try await scene.service.values("fleet").first {
            $0["target"]?.text == "box" && $0["state"]?.text == "connected"
          }
        }
      }
      await fake.stop()
    }

    @Test("Where no key is let in the target is refused, with advice, and is not asked again and again")
    func wrongKey() async throws {
      try await Scene.with { scene in
        let stranger = try await scene.ssh.makeKey("stranger")
        try await scene.apply(scene.target("closed", more: "identity_file: \(stranger)"), scene.target())
        try await scene.service.start()
        let event = try await scene.service.eventually("the refusal") {
          try await scene.service.history("closed", "Connection", type: "event").first
        }
        #expect(event.at("value.state")?.text == "refused")
        #expect(event.at("value.phase")?.text == "authenticate")
        #expect(event.at("value.error")?.text?.contains("authorized_keys") == true, "\(event)")
        let top = try await scene.service.run(["top"])
        #expect(top.status == 0)
        #expect(top.lines.contains { $0.hasPrefix("closed") && $0.contains("refused") }, "\(top.text)")
        // The neighbour shares the server and goes on; the refused one rests.
        _ = try await scene.service.eventually("samples of the neighbour") {
          try await scene.service.history("box", "Host").last
        }
        #expect(scene.ssh.failedCount <= 3)
        #expect(try await scene.service.history("closed", "Connection", type: "event").count == 1)
      }
    }

    @Test("Output without end is cut at 1 MiB, its channel is closed, and the next command works")
    func endlessOutput() async throws {
      try await Scene.with(ssh: "allow_exec: true") { scene in
        try await scene.apply(scene.target(), Scene.vitals)
        try await scene.service.start()
        _ = try await scene.service.eventually("a connection") {
          try await scene.service.history("box", "Vitals.RAM").last
        }
        let clock = ContinuousClock()
        let began = clock.now
        let before = try await scene.service.figure("syscrap_resident_memory_bytes") ?? 0
        let endless = try await scene.service.run(["exec", "box", "--", "yes"])
        let took = clock.now - began
        let after = try await scene.service.figure("syscrap_resident_memory_bytes") ?? 0
        print("'yes' was cut after \(seconds(took)); resident memory +\(Int((after - before) / 1024)) KiB")
        #expect(after - before < 8 * 1024 * 1024)
        #expect(endless.output.count == 1 << 20)
        #expect(endless.errorText.contains("the output passed its limit (1 MiB"))
        #expect(endless.status == 1)
        let next = try await scene.service.run(["exec", "box", "--", "echo", "still here"])
        #expect(next.text == "still here\n")
        #expect(next.status == 0)
        #expect(scene.ssh.acceptedCount == 1)
      }
    }
  }
}
