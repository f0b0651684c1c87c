internal import Foundation
internal import Remote
internal import TestKit
internal import Testing

@testable import SSH

@Suite("Trust store")
struct TrustStoreTests {
  private let directory: TemporaryDirectory
  private let key = SampleKeys.ed25519(1)
  private let old = SampleKeys.ed25519(2)
  private let rsa = SampleKeys.rsa(1)

  init() throws { directory = try TemporaryDirectory("trust") }

  private func store(_ files: [String]) -> TrustStore {
    let key = key
    return TrustStore(knownHosts: files) { (_, _) throws(RemoteError) in key }
  }

  private func content(_ file: String) throws -> String { try String(contentsOfFile: file, encoding: .utf8) }

  private func code(_ work: () async throws -> Void) async -> RemoteError.Code? {
    do {
      try await work()
      return nil
    } catch {
      return (error as? RemoteError)?.code
    }
  }

  @Test("scan fetches the key and compares it, and writes nothing")
  func scan() async throws {
    let file = try directory.write("known_hosts", "web \(SampleKeys.text(old))\n")
    let result = try await store([file]).scan(host: "web", port: 22)
    let expected = try await store([file]).list(host: "web", port: 22).entries
    #expect(
      result.key == key && result.verdict == .changed(expected: expected) && expected.map(\.place) == ["\(file):1"])
    #expect(try await store([file]).scan(host: "other", port: 22).verdict == .unknown)
    #expect(try content(file) == "web \(SampleKeys.text(old))\n")
  }

  @Test("list names the lines of all files, with their markers; on another port the portless lines only if no other")
  func list() async throws {
    let theirs = try directory.write("theirs", "web \(SampleKeys.text(old))\n@revoked * \(SampleKeys.text(rsa))\n")
    let ours = try directory.write("ours", "[db]:2222 \(SampleKeys.text(key))\n")
    let store = store([theirs, ours, directory.file("missing")])
    let web = try await store.list(host: "Web", port: 22).entries
    #expect(web.map(\.place) == ["\(theirs):1", "\(theirs):2"] && web.map(\.marker) == [.none, .revoked])
    #expect(try await store.list(host: "db", port: 2222).entries.map(\.place) == ["\(theirs):2", "\(ours):1"])
    let plain = TrustStore(knownHosts: [ours]) { (_, _) throws(RemoteError) in SampleKeys.ed25519(1) }
    #expect(try await plain.list(host: "db", port: 22).entries.isEmpty)
  }

  @Test("problems are found in every line, not only in those of one host")
  func problems() async throws {
    let file = try directory.write("known_hosts", "a \(SampleKeys.text(key))\nb ssh-ed25519 AAAA\n# c\n@x d\n\n")
    #expect(try await store([file, directory.file("missing")]).problems().map(\.line) == [2, 4])
  }

  @Test("accept stores the key in our own file only, with the right fingerprint only, and then once")
  func accept() async throws {
    let theirs = try directory.write("theirs", "db \(SampleKeys.text(old))\n")
    let ours = directory.file("state/known_hosts")
    let store = store([theirs, ours])
    for wrong in ["", old.fingerprint, String(key.fingerprint.dropLast())] {
      #expect(
        await code { try await store.accept(host: "web", port: 2222, key: key, confirming: wrong) } == .hostKeyUnknown)
    }
    #expect(!FileManager.default.fileExists(atPath: ours))
    for _ in 0..<2 {
      let place = try await store.accept(
        host: "web", port: 2222, key: key, confirming: key.fingerprint, comment: "by ann\nevil line")
      #expect(place == "\(ours):1")
    }
    #expect(try content(ours) == "[web]:2222 \(SampleKeys.text(key)) by ann evil line\n")
    #expect(
      await code { try await store.accept(host: "db", port: 22, key: key, confirming: key.fingerprint) }
        == .hostKeyChanged)
    #expect(try content(theirs) == "db \(SampleKeys.text(old))\n")
    #expect(
      await HostKeyPolicy(mode: .strict, knownHosts: [theirs, ours], pin: nil).refusal("web", 2222, key) == nil)
  }

  @Test("a revoked key can be neither accepted nor put in place of another")
  func revoked() async throws {
    let file = try directory.write("known_hosts", "@revoked * \(SampleKeys.text(key))\nweb \(SampleKeys.text(old))\n")
    let store = store([file])
    #expect(
      await code { try await store.accept(host: "x", port: 22, key: key, confirming: key.fingerprint) }
        == .hostKeyRevoked)
    #expect(
      await code { _ = try await store.replace(host: "web", port: 22, with: key, confirming: key.fingerprint) }
        == .hostKeyRevoked)
  }

  @Test("replace takes the host out of our own file, keeps all other lines and a backup, and names what remains")
  func replace() async throws {
    let mine = "web \(SampleKeys.text(old))\n"
    let theirs = try directory.write("theirs", mine)
    let salt = [UInt8](repeating: 7, count: 20)
    let hashed = KnownHostsGenerator.hash("web", salt: salt)
    let before = """
      # head
      web \(SampleKeys.text(old)) old
      web,web.example.com \(SampleKeys.text(rsa)) both
      \(hashed) \(SampleKeys.text(old))
      broken line
      @revoked web \(SampleKeys.text(rsa))
      [web]:2222 \(SampleKeys.text(old))
      other \(SampleKeys.text(old))
      """
    let ours = try directory.write("ours", before)
    let result = try await store([theirs, ours]).replace(
      host: "WEB", port: 22, with: key, confirming: key.fingerprint, comment: "by ann")
    #expect(
      try content(ours) == """
        # head
        web.example.com \(SampleKeys.text(rsa)) both
        broken line
        @revoked web \(SampleKeys.text(rsa))
        [web]:2222 \(SampleKeys.text(old))
        other \(SampleKeys.text(old))
        web \(SampleKeys.text(key)) by ann

        """)
    #expect(result.removed.map(\.line) == [2, 3, 4] && result.remaining.map(\.place) == ["\(theirs):1"])
    #expect(try content(result.backup) == before && result.backup == ours + ".old")
    #expect(try content(theirs) == mine)
    #expect(!FileManager.default.fileExists(atPath: ours + ".new"))
    let attributes = try FileManager.default.attributesOfItem(atPath: ours)
    #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o600)
    let policy = HostKeyPolicy(mode: .strict, knownHosts: [ours], pin: nil)
    #expect(await policy.refusal("web", 22, key) == nil)
    #expect(await policy.refusal("web", 22, old)?.code == .hostKeyChanged)
  }

  @Test("replace with the wrong fingerprint, or over a pattern for several hosts, changes nothing")
  func notReplaced() async throws {
    let before = "w* \(SampleKeys.text(old))\n"
    let file = try directory.write("known_hosts", before)
    let store = store([file])
    for fingerprint in [key.fingerprint, old.fingerprint] {
      #expect(
        await code { _ = try await store.replace(host: "web", port: 22, with: key, confirming: fingerprint) }
          == .hostKeyUnknown)
    }
    #expect(try content(file) == before && !FileManager.default.fileExists(atPath: file + ".old"))
  }

  @Test("lines appended while the file is being replaced, by twenty writers at once, are all kept")
  func concurrent() async throws {
    let file = try directory.write("known_hosts", "web \(SampleKeys.text(old))\n")
    let store = store([file])
    let key = key
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<20 {
        group.addTask {
          try await store.accept(host: "host\(number)", port: 22, key: key, confirming: key.fingerprint)
        }
        group.addTask {
          _ = try await store.replace(host: "web", port: 22, with: key, confirming: key.fingerprint)
        }
      }
      try await group.waitForAll()
    }
    var known = KnownHosts()
    known.add(Array(try content(file).utf8), file: file, naming: nil)
    #expect(known.problems.isEmpty && Set(known.entries.map(\.hosts)) == Set(["web"] + (0..<20).map { "host\($0)" }))
    #expect(known.entries.count == 21 && known.entries.allSatisfy { $0.key == key })
  }
}
