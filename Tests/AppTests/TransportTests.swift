internal import Foundation
internal import Model
internal import SSH
internal import TestKit
internal import Testing

@testable import App

extension EndToEnd {
  /// Hosts that the library cannot reach, through the whole program.
  @Suite(.serialized, .enabled(if: Scene.isPossible, Scene.absence)) struct Transports {
    @Test("A host hardened to AEAD ciphers is watched by itself over the system's ssh, and describe and doctor say so")
    func hardened() async throws {
      let sshd = ["Ciphers chacha20-poly1305@openssh.com,aes128-gcm@openssh.com"]
      try await Scene.with(sshd: sshd) { scene in
        try await scene.apply(scene.target(more: "transport: ssh"), Scene.vitals)
        // A newer library reaches it; then only what the document asks for is seen here.
        if !SSHLibrary.hasModernAlgorithms { try await scene.apply(scene.target()) }
        try await scene.service.start()
        _ = try await scene.service.eventually("samples of two metrics") {
          let memory = try await scene.service.history("box", "Vitals.RAM").last
          let disk = try await scene.service.history("box", "Vitals.Disk").last
          return memory?["value"] != nil && disk?["value"] != nil ? true : nil
        }
        let described = try await scene.service.run(["describe", "target", "box"])
        #expect(described.text.contains("transport: ssh"), "\(described.text)")
        let doctor = try await scene.service.run(["doctor"])
        #expect(doctor.text.contains("transport ssh"), "\(doctor.text)\(doctor.errorText)")
        #expect(scene.ssh.failedCount == 0)
        #expect(clients(scene.ssh.port).count == 1)
        await scene.service.stop()
        #expect(clients(scene.ssh.port) == [])
      }
    }

    @Test(
      "A service that is killed leaves no ssh behind",
      .enabled(if: SystemClient.standard.guardian != nil, "setpriv (util-linux) is missing"))
    func killed() async throws {
      try await Scene.with { scene in
        try await scene.apply(scene.target(more: "transport: ssh"), Scene.vitals)
        try await scene.service.start()
        _ = try await scene.service.eventually("a sample") { try await scene.service.history("box", "Vitals.RAM").last }
        let client = try #require(clients(scene.ssh.port).first)
        let line = try #require(FileManager.default.contents(atPath: "/proc/\(client)/cmdline"))
        let option = line.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
          .first { $0.hasPrefix("ControlPath=") }
        let folder = try #require(option).dropFirst("ControlPath=".count).dropLast("/master".count)
        // Nobody is left to take the folder away.
        defer { try? FileManager.default.removeItem(atPath: String(folder)) }
        try await scene.service.kill()
        _ = try await scene.service.eventually("the end of ssh") { clients(scene.ssh.port).isEmpty ? true : nil }
      }
    }

    /// Processes of ssh that hold a connection to this port for a service.
    private func clients(_ port: UInt16) -> [String] {
      let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
      return names.filter { name in
        guard Int32(name) != nil, let bytes = FileManager.default.contents(atPath: "/proc/\(name)/cmdline") else {
          return false
        }
        let line = String(decoding: bytes, as: UTF8.self)
        return line.contains("/syscrap-ssh-") && line.contains("\0-p\0\(port)\0")
      }
    }
  }
}

/// From an ssh_config file to documents.
@Suite struct SSHConfigImportTests {
  private let directory: TemporaryDirectory
  private let program: SyscrapProcess

  init() throws {
    directory = try TemporaryDirectory("ssh-config")
    program = try SyscrapProcess("log: {level: info}")
  }

  private func config() throws -> String {
    let key = try directory.write("key", "")
    return try directory.write(
      "config",
      """
      # Host commented
      Host web-1 web-2
        HostName 192.0.2.7
        Port 2222
        IdentityFile /nowhere/key
        IdentityFile \(key)
      Host = "inner"
        ProxyJump web-1
      Host far
        ProxyCommand /usr/bin/nc %h %p
      Host lost
        ProxyJump elsewhere
      Host *.example.org !x.example.org
        User nobody
      Host *
        User monitor

      """)
  }

  @Test("Hosts become documents that the program takes, with what only ssh can do left to it")
  func documents() async throws {
    let file = try config()
    let done = try await program.run(["import", "ssh-config", file], usesConfiguration: false)
    #expect(done.status == 0, "\(done.errorText)")
    let read = DocumentText(Array(done.text.utf8), file: "printed")
    #expect(read.problems == [])
    let values = read.parts.map(\.value)
    let key = Value.string(directory.file("key"))
    #expect(
      values == [
        [
          "kind": "target", "target": "web-1", "host": "192.0.2.7", "port": 2222, "user": "monitor",
          "identity_file": key,
        ],
        [
          "kind": "target", "target": "web-2", "host": "192.0.2.7", "port": 2222, "user": "monitor",
          "identity_file": key,
        ],
        ["kind": "target", "target": "inner", "user": "monitor", "jump": "web-1"],
        ["kind": "target", "target": "far", "user": "monitor", "transport": "ssh", "ssh_config": .string(file)],
        ["kind": "target", "target": "lost", "user": "monitor", "transport": "ssh", "ssh_config": .string(file)],
      ])
    let remarks = done.errorText.split(separator: "\n")
    #expect(remarks.count == 2)
    #expect(remarks.first?.hasPrefix("far: goes through a ProxyCommand (/usr/bin/nc %h %p)") == true)
    #expect(remarks.last?.hasPrefix("lost: its ProxyJump elsewhere") == true)
    let checked = try await program.run(["check", "-f", "-"], input: done.text)
    #expect(checked.errorText.contains("5 documents, 0 refused"), "\(checked.text)\(checked.errorText)")
  }

  @Test("Only the hosts that are asked for are taken, and a file without hosts or no file is said to be so")
  func patterns() async throws {
    let file = try config()
    let done = try await program.run(
      ["import", "ssh-config", file, "--host", "web-*", "--host", "f?r"], usesConfiguration: false)
    let read = DocumentText(Array(done.text.utf8), file: "printed")
    #expect(read.parts.map { $0.value["target"] } == ["web-1", "web-2", "far"])
    #expect(
      try await program.run(["import", "ssh-config", file, "--host", "nobody"], usesConfiguration: false).status == 3)
    #expect(try await program.run(["import", "ssh-config", "/nowhere/config"], usesConfiguration: false).status == 3)
  }
}
