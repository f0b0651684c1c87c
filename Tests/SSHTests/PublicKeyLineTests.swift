internal import Foundation
internal import Remote
internal import TestKit
internal import Testing

@testable internal import SSH

/// The public half of keys as ssh-keygen makes them.
@Suite("Public key lines", .enabled(if: SSHServer.isAvailable, "ssh-keygen is missing"))
struct PublicKeyLineTests {
  private let directory: TemporaryDirectory
  init() throws { directory = try TemporaryDirectory("keys") }

  private func make(_ name: String, _ kind: [String], passphrase: String = "") async throws -> String {
    let path = directory.file(name)
    _ = try await ManagedProcess.run(
      ["ssh-keygen", "-q", "-N", passphrase, "-C", "a comment", "-f", path, "-t"] + kind)
    return path
  }

  @Test(
    "It stands beside the key or is found in it, encrypted or not, and is the same",
    arguments: [
      ["ed25519"], ["ecdsa", "-b", "256"], ["ecdsa", "-b", "384"], ["ecdsa", "-b", "521"], ["rsa", "-b", "2048"],
    ],
    ["", "secret"])
  func both(kind: [String], passphrase: String) async throws {
    let path = try await make("key", kind, passphrase: passphrase)
    let written = try String(contentsOfFile: path + ".pub", encoding: .utf8)
    let beside = try PublicKeyLine.of(identityFile: path)
    #expect(beside.text + "\n" == written)
    #expect(beside.source == path + ".pub" && !beside.isForeign)
    try FileManager.default.removeItem(atPath: path + ".pub")
    let inside = try PublicKeyLine.of(identityFile: path)
    #expect(inside.key == beside.key && inside.source == path && inside.comment == "")
  }

  @Test("The public half of another key is told; a .pub file alone is enough")
  func foreign() async throws {
    let (one, two) = (try await make("one", ["ed25519"]), try await make("two", ["ed25519"]))
    try directory.write("one.pub", try String(contentsOfFile: two + ".pub", encoding: .utf8))
    #expect(try PublicKeyLine.of(identityFile: one).isForeign)
    try FileManager.default.removeItem(atPath: one)
    #expect(try !PublicKeyLine.of(identityFile: one).isForeign)
  }

  @Test("What is no key gives a reason and nothing of its content")
  func refused() async throws {
    let pem = directory.file("pem")
    _ = try await ManagedProcess.run(["ssh-keygen", "-q", "-N", "", "-m", "PEM", "-t", "ecdsa", "-f", pem])
    try FileManager.default.removeItem(atPath: pem + ".pub")
    let secret = try String(contentsOfFile: pem, encoding: .utf8).split(separator: "\n")[1]
    try directory.write(
      "odd", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----\n")
    try directory.write("odd.pub", "ssh-ed25519 AAAA\nssh-rsa \(Data([0, 0, 0, 1]).base64EncodedString()) x\n\0\n")
    for path in [pem, directory.file("odd"), directory.file("none"), directory.path, "/dev/zero"] {
      #expect("\(path)") {
        try PublicKeyLine.of(identityFile: path)
      } throws: { error in
        let message = (error as? RemoteError)?.message ?? ""
        return message.contains("ssh-keygen -y -f \(path)") && !message.contains(secret)
      }
    }
  }

  @Test("A comment cannot break out of its line")
  func comment() async throws {
    let path = try await make("key", ["ed25519"])
    let written = try String(contentsOfFile: path + ".pub", encoding: .utf8).split(separator: " ")
    try directory.write("key.pub", "# first\n\(written[0]) \(written[1]) a\u{1B}[31m\tb é\u{85}\r\nssh-rsa evil\n")
    #expect(try PublicKeyLine.of(identityFile: path).comment == "a[31mb ")
  }
}
