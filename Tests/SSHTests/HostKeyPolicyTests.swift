internal import Crypto
internal import Foundation
internal import Remote
internal import TestKit
internal import Testing

@testable import SSH

extension HostKeyPolicy {
  /// Why the key is refused; `nil`: it is trusted.
  func refusal(_ host: String, _ port: Int, _ key: HostKey) async -> RemoteError? {
    do {
      try await verify(host: host, address: nil, port: port, keyType: key.type, key: key.blob)
      return nil
    } catch {
      return error
    }
  }
}

/// Keys of the right shape that nobody has the private half of.
enum SampleKeys {
  static func ed25519(_ seed: UInt8) -> HostKey { make("ssh-ed25519", [[UInt8](repeating: seed, count: 32)]) }
  static func rsa(_ seed: UInt8) -> HostKey {
    make("ssh-rsa", [[1, 0, 1], [0, 0xC0 | seed] + [UInt8](repeating: seed | 1, count: 255)])
  }
  static func ecdsa(_ seed: UInt8) -> HostKey {
    make("ecdsa-sha2-nistp256", [Array("nistp256".utf8), [4] + [UInt8](repeating: seed, count: 64)])
  }

  static func make(_ type: String, _ fields: [[UInt8]]) -> HostKey {
    var blob: [UInt8] = []
    for field in [Array(type.utf8)] + fields {
      let count = field.count
      blob += [UInt8(count >> 24 & 0xFF), UInt8(count >> 16 & 0xFF), UInt8(count >> 8 & 0xFF), UInt8(count & 0xFF)]
      blob += field
    }
    guard let key = HostKey(blob: blob) else { preconditionFailure("a sample key is malformed") }
    return key
  }

  static func text(_ key: HostKey) -> String { "\(key.type) \(key.base64)" }
}

@Suite("Host key policy")
struct HostKeyPolicyTests {
  private let directory: TemporaryDirectory
  private let key = SampleKeys.ed25519(1)
  private let other = SampleKeys.ed25519(2)

  init() throws { directory = try TemporaryDirectory("policy") }

  private func policy(
    _ mode: HostKeyPolicy.Mode, _ files: [String], pin: String? = nil
  ) -> HostKeyPolicy {
    HostKeyPolicy(
      mode: mode, knownHosts: files, pin: pin, target: "web-1",
      now: { Date(timeIntervalSince1970: 1_800_000_000) })
  }

  @Test("the modes have the names that configuration uses")
  func modes() {
    #expect(HostKeyPolicy.Mode(rawValue: "strict") == .strict)
    #expect(HostKeyPolicy.Mode(rawValue: "accept-new") == .accept_new)
    #expect(HostKeyPolicy.Mode(rawValue: "no") == nil && HostKeyPolicy.Mode(rawValue: "off") == nil)
  }

  @Test("strict refuses an unknown host, stores nothing, and says what was offered and what to do")
  func strictUnknown() async throws {
    let file = directory.file("known_hosts")
    let refusal = try #require(await policy(.strict, [file]).refusal("Web-1.example.com", 2222, key))
    #expect(refusal.code == .hostKeyUnknown && refusal.phase == .host_key)
    for part in ["[web-1.example.com]:2222", key.fingerprint, "syscrap trust accept web-1", file] {
      #expect(refusal.message.contains(part), "\(part) in: \(refusal.message)")
    }
    #expect(!FileManager.default.fileExists(atPath: file))
  }

  @Test("a changed key is refused in every mode, with the expected fingerprints, their lines and what to do")
  func changed() async throws {
    let file = try directory.write("known_hosts", "# ours\nweb,web-1 \(SampleKeys.text(other))\n")
    for mode in [HostKeyPolicy.Mode.strict, .accept_new] {
      let refusal = try #require(await policy(mode, [file]).refusal("web-1", 22, key))
      #expect(refusal.code == .hostKeyChanged && refusal.phase == .host_key)
      for part in [key.fingerprint, other.fingerprint, "\(file):2", "syscrap trust replace web-1"] {
        #expect(refusal.message.contains(part), "\(part) in: \(refusal.message)")
      }
    }
    #expect(try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n").count == 2)
  }

  @Test("a revoked key is refused in every mode, pinned or not, whatever other lines say and in whichever file")
  func revoked() async throws {
    let good = try directory.write("good", "web-1 \(SampleKeys.text(key))\n")
    let bad = try directory.write("bad", "@revoked * \(SampleKeys.text(key))\n")
    for files in [[good, bad], [bad, good], [bad]] {
      for pin in [nil, key.fingerprint] {
        for mode in [HostKeyPolicy.Mode.strict, .accept_new] {
          let refusal = try #require(await policy(mode, files, pin: pin).refusal("web-1", 22, key))
          #expect(refusal.code == .hostKeyRevoked && refusal.message.contains("\(bad):1"))
        }
      }
    }
  }

  @Test("accept-new stores the first key in the last file, private and noted, and refuses the next other one")
  func acceptNew() async throws {
    let theirs = try directory.write("theirs", "someone-else \(SampleKeys.text(other))")
    let ours = directory.file("state/ssh/known_hosts")
    let policy = policy(.accept_new, [theirs, ours])
    #expect(await policy.refusal("web-1", 2222, key) == nil)
    #expect(await policy.refusal("web-1", 2222, key) == nil)
    #expect(await policy.refusal("web-1", 2222, other)?.code == .hostKeyChanged)
    #expect(
      try String(contentsOfFile: ours, encoding: .utf8)
        == "[web-1]:2222 \(SampleKeys.text(key)) accept-new 2027-01-15T08:00:00Z\n")
    #expect(try String(contentsOfFile: theirs, encoding: .utf8) == "someone-else \(SampleKeys.text(other))")
    let attributes = try FileManager.default.attributesOfItem(atPath: ours)
    #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o600)
  }

  @Test("accept-new begins a new line in a file that lacks its last line end")
  func missingLineEnd() async throws {
    let file = try directory.write("known_hosts", "other \(SampleKeys.text(other))")
    #expect(await policy(.accept_new, [file]).refusal("web-1", 22, key) == nil)
    let lines = try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n").map(String.init)
    #expect(lines.count == 2 && lines[0] == "other \(SampleKeys.text(other))" && lines[1].hasPrefix("web-1 ssh-ed"))
  }

  @Test("accept-new refuses a host whose key it cannot store")
  func cannotStore() async throws {
    let refusal = await policy(.accept_new, [directory.path]).refusal("web-1", 22, key)
    #expect(refusal?.code == .hostKeyUnknown && refusal?.message.contains(directory.path) == true)
    #expect(await policy(.accept_new, []).refusal("web-1", 22, key)?.code == .hostKeyUnknown)
  }

  @Test("of 40 connections that meet two keys at once, only those with the key that was stored go on")
  func race() async throws {
    let file = directory.file("known_hosts")
    let policy = policy(.accept_new, [file])
    let accepted = await withTaskGroup(of: (HostKey, RemoteError?).self) { group in
      for number in 0..<40 {
        let key = number % 2 == 0 ? key : other
        group.addTask { (key, await policy.refusal("web-1", 22, key)) }
      }
      var accepted: [HostKey] = []
      for await (key, refusal) in group where refusal == nil { accepted.append(key) }
      return accepted
    }
    #expect(accepted.count == 20 && Set(accepted).count == 1)
    #expect(try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n").count == 1)
  }

  @Test("with a pin only the key with that fingerprint is trusted, in place of known_hosts lines")
  func pin() async throws {
    let file = try directory.write("known_hosts", "web-1 \(SampleKeys.text(other))\n")
    #expect(await policy(.strict, [file], pin: key.fingerprint).refusal("web-1", 22, key) == nil)
    #expect(await policy(.strict, [], pin: key.fingerprint + "=").refusal("web-1", 22, key) == nil)
    let refusal = try #require(await policy(.accept_new, [file], pin: key.fingerprint).refusal("web-1", 22, other))
    #expect(refusal.code == .hostKeyChanged && refusal.message.contains(key.fingerprint))
    for bad in ["", "SHA256:", "MD5:aa:bb", String(key.fingerprint.dropLast()), key.fingerprint.lowercased()] {
      #expect(await policy(.accept_new, [file], pin: bad).refusal("web-1", 22, key) != nil, "\(bad)")
    }
    #expect(try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n").count == 1)
  }

  @Test("a blob that is no key is refused, known or not")
  func malformedKey() async throws {
    let file = directory.file("known_hosts")
    for blob in [[], [0, 0, 0, 9], [0, 0, 0, 3, 1, 2, 3], Array(key.blob.dropLast()), key.blob + [0]] as [[UInt8]] {
      let policy = policy(.accept_new, [file])
      do {
        try await policy.verify(host: "web-1", address: nil, port: 22, keyType: "ssh-ed25519", key: blob)
        Issue.record("\(blob) was trusted")
      } catch {
        #expect(error.code == .hostKeyUnknown)
      }
    }
    #expect(!FileManager.default.fileExists(atPath: file))
  }

  @Test("unreadable lines and files are reported with their place, and the other lines count")
  func problems() async throws {
    let file = try directory.write(
      "known_hosts", "@odd web-1 x\nweb-1 ssh-ed25519 AAAA\n|1|x|y z\nweb-1 \(SampleKeys.text(key))\n")
    let reported = EventLog<KnownHosts.Problem>()
    let policy = HostKeyPolicy(
      mode: .strict, knownHosts: [directory.path, directory.file("missing"), file], pin: nil,
      report: { reported.append($0) })
    #expect(await policy.refusal("web-1", 22, key) == nil)
    #expect(
      reported.all.map { "\($0.file):\($0.line)" } == ["\(directory.path):0", "\(file):1", "\(file):2", "\(file):3"])
  }

  @Test("the algorithms to ask for begin with the types known for the host; unknown hosts keep the default order")
  func preferredTypes() async throws {
    let file = try directory.write(
      "known_hosts",
      """
      rsa \(SampleKeys.text(SampleKeys.rsa(1)))
      both \(SampleKeys.text(SampleKeys.rsa(1)))
      both \(SampleKeys.text(key))
      ec \(SampleKeys.text(SampleKeys.ecdsa(1)))
      ec \(SampleKeys.text(SampleKeys.rsa(1)))
      @cert-authority ca \(SampleKeys.text(SampleKeys.rsa(1)))
      @revoked revoked \(SampleKeys.text(SampleKeys.rsa(1)))
      pinned \(SampleKeys.text(key))
      pinned \(SampleKeys.text(SampleKeys.ecdsa(1)))

      """)
    let rest = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"]
    let rsa = ["rsa-sha2-512", "rsa-sha2-256"]
    let policy = policy(.strict, [file])
    #expect(try await policy.preferredKeyTypes(host: "rsa", port: 22) == rsa + rest)
    #expect(
      try await policy.preferredKeyTypes(host: "EC", port: 22) == [rest[1]] + rsa + [rest[0], rest[2], rest[3]])
    for host in ["both", "ca", "revoked", "unknown"] {
      #expect(try await policy.preferredKeyTypes(host: host, port: 22).isEmpty, "\(host)")
    }
    let pinned = HostKeyPolicy(mode: .strict, knownHosts: [file], pin: SampleKeys.ecdsa(1).fingerprint)
    #expect(try await pinned.preferredKeyTypes(host: "pinned", port: 22).first == "ecdsa-sha2-nistp256")
  }
}
