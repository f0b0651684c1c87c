internal import Foundation
internal import TestKit
internal import Testing

@testable import SSH

/// The reader of the format, case by case. Agreement with OpenSSH on whole files is ``HostKeyOracleTests``.
@Suite("known_hosts format")
struct KnownHostsTests {
  private let key = SampleKeys.ed25519(1)
  private let other = SampleKeys.ed25519(2)
  private var text: String { SampleKeys.text(key) }

  private func read(_ file: String, _ host: String, _ port: Int = 22) -> KnownHosts {
    var known = KnownHosts()
    known.add(Array(file.utf8), file: "f", naming: KnownHosts.name(host: host, port: port))
    return known
  }

  private func isTrusted(_ file: String, _ host: String, _ port: Int = 22) -> Bool {
    if case .trusted = read(file, host, port).verdict(for: key) { true } else { false }
  }

  @Test(
    "a name is matched as the manual says",
    arguments: [
      ("web", "web", 22, true), ("WEB", "web", 22, true), ("web", "WEB", 22, true), ("web", "webs", 22, false),
      ("webs", "web", 22, false), ("a,web,b", "web", 22, true), ("a,b", "web", 22, false), ("web", "web", 2222, false),
      ("[web]:2222", "web", 2222, true), ("[web]:2222", "web", 22, false), ("[web]:22", "web", 22, false),
      ("[WEB]:2222", "web", 2222, true), ("web:2222", "web", 2222, false), ("[web]", "web", 22, false),
      ("*", "web", 22, true), ("*", "web", 2222, true), ("*.example.com", "web.example.com", 22, true),
      ("*.example.com", "example.com", 22, false), ("w?b", "web", 22, true), ("w?b", "wb", 22, false),
      ("?eb", "web", 22, true), ("we?", "we", 22, false), ("[*]:2222", "web", 2222, true), ("w**b", "web", 22, true),
      ("*,!web", "web", 22, false), ("!web,*", "web", 22, false), ("!web", "web", 22, false),
      ("!web", "other", 22, false), ("*,!web", "other", 22, true), ("!*", "web", 22, false),
      ("!!web", "web", 22, false),
      ("192.0.2.1", "192.0.2.1", 22, true), ("192.0.2.*", "192.0.2.77", 22, true),
      ("192.0.2.1", "192.0.2.10", 22, false),
      ("2001:db8::1", "2001:db8::1", 22, true), ("2001:db8::1", "2001:DB8:0:0::1", 22, true),
      ("[2001:db8::1]:2222", "2001:db8::1", 2222, true), ("127.0.0.1", "127.1", 22, true), ("", "web", 22, false),
      (",,web", "web", 22, true), ("[w]eb", "web", 22, false), ("[w]eb", "[w]eb", 22, true),
    ])
  func matching(pattern: String, host: String, port: Int, isMatched: Bool) {
    #expect(isTrusted("\(pattern) \(text)\n", host, port) == isMatched)
  }

  @Test("hostile patterns cost little")
  func hostilePattern() {
    let pattern = Array((String(repeating: "*a", count: 500) + "b").utf8)
    #expect(!KnownHostsPattern.matchesPattern(Array(repeating: UInt8(ascii: "a"), count: 2000), pattern))
    #expect(!isTrusted(String(repeating: "*", count: 2000) + " \(text)\n", "web"))
  }

  @Test("hashed names made by ssh-keygen are found, with and without a port, in any case of letters")
  func hashed() async throws {
    let directory = try TemporaryDirectory("hashed")
    let file = try directory.write("known_hosts", "web \(text)\n[web]:2222 \(text)\n2001:db8::1 \(text)\n")
    _ = try await ManagedProcess.run(["/usr/bin/ssh-keygen", "-q", "-H", "-f", file])
    let content = try String(contentsOfFile: file, encoding: .utf8)
    #expect(content.split(separator: "\n").allSatisfy { $0.hasPrefix("|1|") })
    #expect(isTrusted(content, "web") && isTrusted(content, "WEB") && isTrusted(content, "web", 2222))
    #expect(isTrusted(content, "2001:db8::1") && isTrusted(content, "2001:DB8:0::1"))
    #expect(!isTrusted(content, "web", 2223) && !isTrusted(content, "other"))
  }

  @Test(
    "a hashed name that cannot be read is a problem, and no match",
    arguments: [
      "|1|", "|1||", "|1|AAAA|AAAA", "|2|AAAAAAAAAAAAAAAAAAAAAAAAAAA=|AAAA", "|1|AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "|",
    ])
  func badHash(name: String) {
    let known = read("\(name) \(text)\nweb \(text)\n", "web")
    #expect(known.entries.map(\.line) == [2] && known.problems.map(\.line) == [1])
  }

  @Test("comments, blanks, CR LF, tabs, a missing last line end and what follows the key are no trouble")
  func formatting() {
    let file = "# a comment\r\n\r\n   \t\n  # another\n\t web \t ssh-ed25519\t\(key.base64)  a comment # more \r\n"
    let known = read(file, "web")
    #expect(known.problems.isEmpty)
    #expect(known.entries.map(\.line) == [5])
    #expect(known.entries.first?.comment == "a comment # more" && known.entries.first?.hosts == "web")
    #expect(
      isTrusted("web \(text)", "web") && isTrusted("web \(text)\r", "web") && isTrusted("\nweb \(text)\r\n", "web"))
  }

  @Test("only space and tab part the fields: a no-break or other Unicode space does not")
  func unicodeSpace() {
    for space in ["\u{A0}", "\u{2003}", "\u{B}", "\u{C}", "\u{85}"] {
      #expect(!isTrusted("web\(space)\(text)\n", "web"), "\(space.debugDescription)")
      #expect(!isTrusted("\(space)web \(text)\n", "web"), "\(space.debugDescription)")
    }
  }

  @Test("long lines, long names and many lines are read")
  func long() {
    let names = (0..<5000).map { "host\($0)" }.joined(separator: ",")
    #expect(isTrusted("\(names) \(text) \(String(repeating: "c", count: 1 << 20))\n", "host4999"))
    let lines = (0..<5000).map { "host\($0) \(SampleKeys.text($0 == 4999 ? key : other))\n" }.joined()
    #expect(isTrusted(lines, "host4999") && read(lines, "host4999").entries.first?.line == 5000)
    #expect(!isTrusted(String(repeating: "h", count: 1023) + ",web \(text)\n", "web"))
    #expect(isTrusted("web," + String(repeating: "h", count: 1022) + " \(text)\n", "web"))
  }

  @Test(
    "a line whose key cannot be used is a problem with its place, and the next line counts",
    arguments: [
      "web", "web ", "web ssh-ed25519", "web ssh-ed25519 ", "web # comment", "web ssh-ed25519 AAAA",
      "web ssh-ed25519 !!!!", "web ssh-rsa KEY", "web ssh-ed448 KEY", "web SSH-ED25519 KEY", "web ssh-ed25519 KEY=",
      "web ssh-ed25519 KEYA", "web ssh-ed25519 KEY#c", "web 1024 35 12345678901234567890", "web ssh-ed25519KEY",
      "@unknown web ssh-ed25519 KEY", "@revoked @revoked web ssh-ed25519 KEY",
      "@cert-authority @revoked web ssh-ed25519 KEY", "@ web ssh-ed25519 KEY", "@REVOKED web ssh-ed25519 KEY",
    ])
  func unusable(line: String) {
    let line = line.replacingOccurrences(of: "KEY", with: key.base64)
    let known = read("\(line)\nweb \(text)\n", "web")
    #expect(known.problems.map(\.line) == [1] && known.entries.map(\.line) == [2])
    if case .trusted = known.verdict(for: key) {} else { Issue.record("the good line did not count") }
  }

  @Test("keys cut short, padded or of impossible size are refused, for every type")
  func keyShapes() {
    let keys = [key, SampleKeys.rsa(1), SampleKeys.ecdsa(1)]
    for key in keys {
      #expect(key.isWellFormed)
      for count in 0..<key.blob.count { #expect(HostKey(blob: Array(key.blob[..<count]))?.isWellFormed != true) }
      #expect(HostKey(blob: key.blob + [0])?.isWellFormed == false)
    }
    #expect(!SampleKeys.make("ssh-rsa", [[1, 0, 1], [UInt8](repeating: 0x7F, count: 128)]).isWellFormed)
    #expect(!SampleKeys.make("ssh-ed25519", [[UInt8](repeating: 1, count: 31)]).isWellFormed)
    #expect(
      !SampleKeys.make("ecdsa-sha2-nistp256", [Array("nistp384".utf8), [4] + Array(repeating: 1, count: 64)])
        .isWellFormed)
    #expect(!SampleKeys.make("ssh-unheard-of", [[1]]).isWellFormed)
    #expect(HostKey(blob: [0xFF, 0xFF, 0xFF, 0xFF, 1]) == nil)
  }

  @Test("fingerprints are those of ssh-keygen -lf")
  func fingerprint() async throws {
    let directory = try TemporaryDirectory("fingerprint")
    for type in ["ed25519", "ecdsa", "rsa"] {
      let (name, blob) = try await KnownHostsOracle.makeKey(type: type, file: directory.file(type))
      let shown = try await ManagedProcess.run(["/usr/bin/ssh-keygen", "-lf", directory.file(type) + ".pub"])
      let key = try #require(HostKey(blob: blob))
      #expect(key.type == name && key.isWellFormed && HostKeyMessages.isFingerprint(key.fingerprint))
      #expect(shown.first?.split(separator: " ").dropFirst().first.map(String.init) == key.fingerprint)
    }
  }

  @Test("verdicts: the key itself, another key, another type, revoked before everything, an authority for nothing")
  func verdicts() throws {
    #expect(read("other \(text)\n", "web").verdict(for: key) == .unknown)
    let changed = read("web \(SampleKeys.text(other))\n@cert-authority web \(text)\n", "web")
    #expect(changed.verdict(for: key) == .changed(expected: [changed.entries[0]]))
    let otherType = read("web \(SampleKeys.text(SampleKeys.rsa(1)))\n", "web")
    #expect(otherType.verdict(for: key) == .changed(expected: otherType.entries))
    let several = read("web \(SampleKeys.text(other))\nweb \(text)\n", "web")
    #expect(several.verdict(for: key) == .trusted(several.entries[1]))
    let revoked = read("web \(text)\n@revoked w* \(text)\n", "web")
    #expect(revoked.verdict(for: key) == .revoked(revoked.entries[1]))
    #expect(read("@revoked web \(SampleKeys.text(other))\n", "web").verdict(for: key) == .unknown)
    #expect(read("@cert-authority * \(text)\n", "web").verdict(for: key) == .unknown)
    #expect(read("@revoked\tweb \(text)\nweb \(text)\n", "web").verdict(for: key) != several.verdict(for: key))
  }

  @Test("several files count as one, in their order; a NUL ends a line for us as for OpenSSH")
  func files() {
    var known = read("web \(SampleKeys.text(other))\n", "web")
    known.add(Array("x\nweb \(text)\n".utf8), file: "g", naming: "web")
    #expect(known.entries.map(\.place) == ["f:1", "g:2"])
    #expect(!isTrusted("other\0web \(text)\nx\0\nother,web\0 \(text)\n", "web"))
    #expect(isTrusted("web \(text) \0 \u{1}\n", "web"))
  }

  @Test("rubbish of any kind neither stops the reader nor is trusted")
  func rubbish() {
    var random = SeededGenerator(seed: SeededGenerator.seed(default: 99))
    let good = Array("@revoked [web]:2222,|1|!* \(text)\r\n".utf8)
    for _ in 0..<2000 {
      var bytes = good
      for _ in 0..<Int.random(in: 1...8, using: &random) {
        let position = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: bytes[position] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes.removeSubrange(position..<min(bytes.count, position + 9))
        default: bytes.insert(contentsOf: bytes[..<position].suffix(20), at: position)
        }
        if bytes.isEmpty { bytes = [10] }
      }
      var known = KnownHosts()
      known.add(bytes, file: "f", naming: nil)
      known.add(bytes, file: "f", naming: "unheard-of")
      #expect(!known.entries.contains { $0.key == other })
    }
  }

  @Test("base64 is decoded as strictly as OpenSSH does")
  func base64() {
    for text in ["", "QQ==", "QUI=", "QUJD", "QU JD", "QUJD\r"] {
      #expect(
        Base64.decode(text.utf8)
          == Array("ABC".utf8.prefix(text.isEmpty ? 0 : text == "QQ==" ? 1 : text == "QUI=" ? 2 : 3)))
    }
    for text in ["Q", "QQ", "QQ=", "QQ===", "QR==", "QUK=", "QUJ", "QUJD=", "=QUJD", "Q=Q=", "QUJ-", "QU_D", "QUJDé"] {
      #expect(Base64.decode(text.utf8) == nil, "\(text)")
    }
  }
}
