internal import Foundation
internal import Remote
internal import TestKit
internal import Testing

@testable import SSH

/// The decisions of ``HostKeyPolicy`` beside those of the OpenSSH client before a real sshd.
@Suite(
  "Host keys: OpenSSH as judge",
  .enabled(
    if: KnownHostsOracle.isAvailable || ProcessInfo.processInfo.environment["CI"] == "true",
    "needs ssh, sshd and ssh-keygen"),
  .serialized)
struct HostKeyOracleTests {
  private static let keyTypes = [["ed25519", "ecdsa", "rsa"], ["rsa"], ["ecdsa", "rsa"]]

  @Test("strict: the verdict on 240 generated sets of files is that of ssh -o StrictHostKeyChecking=yes")
  func strict() async throws {
    try await compare(mode: .strict, option: "yes", cases: 240, seed: 20_261)
  }

  @Test("accept-new: the verdict on 200 generated sets of files is that of ssh -o StrictHostKeyChecking=accept-new")
  func acceptNew() async throws {
    try await compare(mode: .accept_new, option: "accept-new", cases: 200, seed: 20_262)
  }

  @Test("a key that we stored is trusted by ssh, and one that ssh stored is trusted by us, hashed or not")
  func exchange() async throws {
    let oracle = try await KnownHostsOracle(keyTypes: [["ed25519"]])
    let directory = try TemporaryDirectory("exchange")
    let key = try #require(oracle.servers[0].keys["ssh-ed25519"])
    let places: [(host: String, port: Int?)] = [
      ("127.0.0.1", nil), ("LocalHost", nil), ("web.example.com", 22), ("Web.example.com", 2222), ("::1", 22),
      ("2001:db8::7", 2222),
    ]
    for (number, place) in places.enumerated() {
      let port = place.port ?? oracle.servers[0].port
      let ours = directory.file("ours\(number)")
      try await HostKeyPolicy(mode: .accept_new, knownHosts: [ours], pin: nil)
        .verify(host: place.host, address: nil, port: port, keyType: "ssh-ed25519", key: key)
      var question = KnownHostsOracle.Question(server: 0, host: place.host, port: place.port, files: [ours])
      #expect(try await oracle.ask([question]) == [.trusted], "\(place)")
      for hashes in ["yes", "no"] {
        let theirs = directory.file("theirs\(number)\(hashes)")
        question.files = [theirs]
        question.mode = "accept-new"
        question.options = ["HashKnownHosts=\(hashes)"]
        #expect(try await oracle.ask([question]) == [.trusted], "\(place)")
        try await HostKeyPolicy(mode: .strict, knownHosts: [theirs], pin: nil)
          .verify(host: place.host, address: nil, port: port, keyType: "ssh-ed25519", key: key)
      }
    }
    await oracle.stop()
  }

  @Test("the two places where we are stricter than ssh are still its behaviour")
  func stricter() async throws {
    let oracle = try await KnownHostsOracle(keyTypes: [["ed25519"]])
    let directory = try TemporaryDirectory("stricter")
    let port = oracle.servers[0].port
    let key = try #require(oracle.servers[0].keys["ssh-ed25519"].flatMap { HostKey(blob: $0) })
    let text = "\(key.type) \(key.base64)"
    let tab = try directory.write("tab", "@revoked\t[127.0.0.1]:\(port) \(text)\n[127.0.0.1]:\(port) \(text)\n")
    let portless = try directory.write("portless", "@revoked 127.0.0.1 \(text)\n")
    for (file, mode) in [(tab, HostKeyPolicy.Mode.strict), (portless, .accept_new)] {
      let policy = HostKeyPolicy(mode: mode, knownHosts: [file], pin: nil)
      #expect(await policy.refusal("127.0.0.1", port, key)?.code == .hostKeyRevoked)
      let theirs = KnownHostsOracle.Question(
        server: 0, host: "127.0.0.1", files: [file], mode: mode == .strict ? "yes" : "accept-new")
      #expect(try await oracle.ask([theirs]) == [.trusted])
    }
    await oracle.stop()
  }

  private func compare(mode: HostKeyPolicy.Mode, option: String, cases count: Int, seed: UInt64) async throws {
    let seed = SeededGenerator.seed(default: seed)
    print("SYSCRAP_SEED=\(seed) for \(count) sets of known_hosts files, \(option)")
    let oracle = try await KnownHostsOracle(keyTypes: Self.keyTypes)
    let directory = try TemporaryDirectory("compare")
    var strangers: [String: [UInt8]] = [:]
    for type in ["ed25519", "ecdsa", "rsa"] {
      let (name, blob) = try await KnownHostsOracle.makeKey(type: type, file: directory.file("stranger_\(type)"))
      strangers[name] = blob
    }
    var generator = KnownHostsGenerator(
      random: SeededGenerator(seed: seed), servers: oracle.servers, strangers: strangers)
    var cases: [KnownHostsGenerator.Case] = []
    var ours: [KnownHostsOracle.Verdict] = []
    var questions: [KnownHostsOracle.Question] = []
    for number in 0..<count {
      let next = generator.next()
      cases.append(next)
      var paths: (ours: [String], theirs: [String]) = ([], [])
      for (index, content) in next.files.enumerated() {
        for side in ["ours", "theirs"] {
          let path = directory.file("\(number)-\(index)-\(side)")
          if let content { try Data(content).write(to: URL(fileURLWithPath: path)) }
          if side == "ours" { paths.ours.append(path) } else { paths.theirs.append(path) }
        }
      }
      // Without any file a new key could be stored nowhere, and ssh would go on all the same.
      if paths.ours.isEmpty {
        paths = ([directory.file("\(number)-ours")], [directory.file("\(number)-theirs")])
      }
      questions.append(
        KnownHostsOracle.Question(
          server: next.server, host: next.host, port: next.port, files: paths.theirs, mode: option))
      ours.append(try await decide(next, mode: mode, files: paths.ours, servers: oracle.servers))
    }
    let theirs = try await oracle.ask(questions)
    try #require(theirs.count == count)
    var tally: [String: Int] = [:]
    var stricter = 0
    for number in 0..<count {
      tally[theirs[number].rawValue, default: 0] += 1
      // Revoked without the port, on another port, to be stored: refused by us alone. See `stricter()`.
      if mode == .accept_new, ours[number] == .revoked, theirs[number] == .trusted, questions[number].port != 22 {
        stricter += 1
        continue
      }
      #expect(
        ours[number] == theirs[number],
        "case \(number), seed \(seed): \(describe(cases[number], oracle.servers[cases[number].server], strangers))")
    }
    print("verdicts of ssh: \(tally.sorted { $0.key < $1.key }); stricter on purpose: \(stricter)")
    // A generator that makes only one kind of case would prove nothing.
    #expect(tally["trusted", default: 0] >= count / 10 && tally["changed", default: 0] >= count / 40)
    #expect(tally["revoked", default: 0] > 0)
    #expect(mode == .accept_new || tally["unknown", default: 0] >= count / 10)
    #expect(stricter <= count / 20)
    await oracle.stop()
  }

  /// What we say about the key that the server shows to a client with our order of preference.
  private func decide(
    _ next: KnownHostsGenerator.Case, mode: HostKeyPolicy.Mode, files: [String], servers: [KnownHostsOracle.Server]
  ) async throws -> KnownHostsOracle.Verdict {
    let server = servers[next.server]
    let port = next.port ?? server.port
    let policy = HostKeyPolicy(mode: mode, knownHosts: files, pin: nil)
    let preferred = try await policy.preferredKeyTypes(host: next.host, port: port)
    let order = (preferred.isEmpty ? HostKeyPolicy.algorithms.map(\.name) : preferred)
      .map { $0.hasPrefix("rsa-") ? "ssh-rsa" : $0 }
    let type = try #require(order.first { server.keys[$0] != nil })
    do {
      try await policy.verify(
        host: next.host, address: nil, port: port, keyType: type, key: server.keys[type] ?? [])
      return .trusted
    } catch {
      switch error.code {
      case .hostKeyUnknown: return .unknown
      case .hostKeyChanged: return .changed
      case .hostKeyRevoked: return .revoked
      default: throw error
      }
    }
  }

  /// The case with keys and fillings shortened to what matters.
  private func describe(
    _ next: KnownHostsGenerator.Case, _ server: KnownHostsOracle.Server, _ strangers: [String: [UInt8]]
  ) -> String {
    let files = next.files.map { content -> String in
      guard let content else { return "missing" }
      var text = String(decoding: content, as: UTF8.self)
      for (keys, owner) in [(server.keys, "server"), (strangers, "stranger")] {
        for (type, blob) in keys {
          text = text.replacingOccurrences(of: Data(blob).base64EncodedString(), with: "<\(owner)'s \(type)>")
        }
      }
      text = text.replacingOccurrences(of: String(repeating: "long ", count: 4000), with: "<20 kB>")
      return text.debugDescription
    }
    return "server \(next.server), \(next.host), port \(next.port.map(String.init) ?? "its own"), files \(files)"
  }
}
