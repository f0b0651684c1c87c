internal import Crypto
internal import Foundation
internal import TestKit

/// Numbers that follow from a seed alone (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// The seed of this run: SYSCRAP_SEED, or the one given.
  static func seed(default seed: UInt64) -> UInt64 {
    ProcessInfo.processInfo.environment["SYSCRAP_SEED"].flatMap { UInt64($0) } ?? seed
  }
}

/// Makes known_hosts files around one host: lines that name it rightly, nearly, hashed, negated, with right, wrong and
/// broken keys, under every marker, between comments, blanks and rubbish.
struct KnownHostsGenerator {
  /// Where the client goes; its files are text still.
  struct Case {
    var server: Int
    var host: String
    /// As in ``KnownHostsOracle/Question``.
    var port: Int?
    /// `nil`: the file is missing.
    var files: [[UInt8]?]
  }

  var random: SeededGenerator
  let servers: [KnownHostsOracle.Server]
  /// Keys that no server has, by type.
  let strangers: [String: [UInt8]]

  mutating func next() -> Case {
    let server = Int.random(in: 0..<servers.count, using: &random)
    let isDirect = Int.random(in: 0..<10, using: &random) < 6
    let host = pick(
      isDirect
        ? ["127.0.0.1", "127.0.0.1", "127.0.0.2", "localhost", "LocalHost", "127.1"]
        : [
          "web-1.example.com", "WEB-1.Example.com", "db", "192.0.2.7", "2001:db8::7", "::1", "a",
          "xn--bcher-kva.example",
        ])
    let port = isDirect ? nil : pick([22, 22, 22, 2222, 65535])
    let name = host == "127.1" ? "127.0.0.1" : host.lowercased()
    let count = pick([0, 1, 1, 2, 2, 3])
    var files: [[UInt8]?] = []
    for _ in 0..<count {
      guard Int.random(in: 0..<12, using: &random) > 0 else {
        files.append(nil)
        continue
      }
      var bytes: [UInt8] = []
      for _ in 0..<pick([0, 1, 1, 2, 2, 3, 4, 6]) {
        bytes += line(name: name, port: port ?? servers[server].port, server: servers[server])
      }
      if bytes.last == 10, Int.random(in: 0..<6, using: &random) == 0 { bytes.removeLast() }
      files.append(bytes)
    }
    return Case(server: server, host: host, port: port, files: files)
  }

  private mutating func pick<T>(_ choices: [T]) -> T {
    choices[Int.random(in: 0..<choices.count, using: &random)]
  }

  private mutating func line(name: String, port: Int, server: KnownHostsOracle.Server) -> [UInt8] {
    if Int.random(in: 0..<10, using: &random) == 0 { return Array((rubbish(name) + pick(["\n", "\n", "\r\n"])).utf8) }
    let marker = pick([
      "", "", "", "", "", "", "", "", "@revoked ", "@revoked  ", "@revoked \t", "@cert-authority ", "@unknown ",
      "@revoked @revoked ", "@cert-authority @revoked ", "@ ", "@revoked@", "@REVOKED ",
    ])
    let indent = pick(["", "", "", "", " ", "\t ", "\u{A0}", "\u{C}"])
    let gap = pick([" ", " ", " ", "\t", "  \t "])
    let tail = pick([
      "", "", "", " comment", " a comment # with more", "\t", "  ", " \u{2003}", " ssh-rsa AAAA",
      " " + String(repeating: "long ", count: 4000),
    ])
    let hosts = self.hosts(name: name, port: port)
    let key = self.key(server, gap: pick([" ", " ", " ", "\t", "   "]))
    return Array((indent + marker + hosts + gap + key + tail + pick(["\n", "\n", "\n", "\r\n"])).utf8)
  }

  private mutating func rubbish(_ name: String) -> String {
    pick([
      "", "   ", "\t", "# comment", "  # indented comment", name, name + " ", name + " ssh-ed25519", name + " # key",
      "@revoked", "@revoked ", "@revoked " + name, "\u{FEFF}# not a comment", "|1|", "|1||", "\r", name + "\u{B}", ",",
      name + " 1024 35 1234567890123456789012345678901234567890", "\u{0}",
    ])
  }

  private mutating func hosts(name: String, port: Int) -> String {
    let full = port == 22 ? name : "[\(name)]:\(port)"
    let one = { (self: inout Self) -> String in self.pattern(name: name, full: full, port: port) }
    switch Int.random(in: 0..<10, using: &random) {
    case 0...2: return full
    case 3...5: return one(&self)
    case 6:
      let salt = (0..<20).map { _ in UInt8.random(in: 0...255, using: &random) }
      let hashed = pick([full, full, full, name, full.uppercased(), "other", "*"])
      let good = Self.hash(hashed, salt: salt)
      return pick([
        good, good, good, good, good + "," + full, String(good.dropLast()), "|2" + good.dropFirst(2), good + "|",
      ])
    default:
      var list: [String] = []
      for _ in 0..<pick([2, 2, 3, 4]) { list.append(one(&self)) }
      return list.joined(separator: ",")
    }
  }

  private mutating func pattern(name: String, full: String, port: Int) -> String {
    pick([
      full, full, full, name, name, full.uppercased(), "other.example.com", "*", "?", "!" + full, "!" + name, "!*", "!",
      "*" + full.suffix(3), full.prefix(2) + "*", "!" + full.prefix(3) + "*", "127.0.0.*", "127.0.0.?",
      "[127.0.0.?]:\(port)", "[*]:\(port)", "[*", "*:\(port)", "[\(name)]:22", "[\(name)]:\(port &+ 1)",
      "\(name):\(port)",
      "[\(name)]", "*.example.com", "web-?.example.com", "**", "*?*", "", "!!" + full, "\u{FC}" + full, full + "\u{B}",
      String(repeating: "x", count: 1022), String(repeating: "x", count: 1023), String(repeating: "*", count: 40) + "q",
    ])
  }

  static func hash(_ name: String, salt: [UInt8]) -> String {
    let code = HMAC<Insecure.SHA1>.authenticationCode(for: Array(name.utf8), using: SymmetricKey(data: salt))
    return "|1|\(Data(salt).base64EncodedString())|\(Data(code).base64EncodedString())"
  }

  private mutating func key(_ server: KnownHostsOracle.Server, gap: String) -> String {
    let own = pick(server.keys.keys.sorted())
    let foreign = pick(strangers.keys.sorted())
    let (type, blob) =
      Int.random(in: 0..<10, using: &random) < 6
      ? (own, server.keys[own] ?? []) : (foreign, strangers[foreign] ?? [])
    let text = Data(blob).base64EncodedString()
    guard Int.random(in: 0..<5, using: &random) == 0 else { return type + gap + text }
    var altered = blob
    switch Int.random(in: 0..<14, using: &random) {
    case 0: return type + gap + text.dropLast(4)
    case 1: return type + gap + text + "="
    case 2: return type + gap + text + "A"
    case 3: return "ssh-ed448" + gap + text
    case 4: return (type == "ssh-rsa" ? "ssh-ed25519" : "ssh-rsa") + gap + text
    case 5: return "rsa-sha2-512" + gap + text
    case 6: return type.uppercased() + gap + text
    case 7: return type + gap + "!" + text
    case 8: return type + gap + text + "#comment"
    case 9: return type + gap + Data(blob.dropLast(3)).base64EncodedString()
    case 10: return type + gap + Data(blob + [0, 0, 0]).base64EncodedString()
    case 11:
      altered[altered.count - 1] ^= 1
      // A point that is not on its curve is refused when it is read; that is not looked at here.
      return type.hasPrefix("ecdsa") ? type + gap + text : type + gap + Data(altered).base64EncodedString()
    case 12: return type
    default: return type + text
    }
  }
}
