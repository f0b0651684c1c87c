internal import Foundation
internal import Glibc
internal import Logging
internal import Model
internal import SQLiteStorage
internal import Storage
internal import TestKit
internal import Testing

/// `export` and `import`: everything a store holds, by way of a file, into another one.
@Suite(.serialized) struct ExportTests {
  private let program: SyscrapProcess
  init() throws { program = try SyscrapProcess() }

  private static let at = StoredTime.date(second: 1_795_248_000, millisecond: 7)

  private func open(_ name: String) async throws -> SQLiteStorage {
    try await SQLiteStorage.open(
      SQLiteStorage.Configuration(path: program.directory.file(name)),
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  private func entry(_ number: Int) -> QueueEntry {
    QueueEntry(
      id: "e\(number)", key: "k\(number)", reaction: "r", target: "web", type: "email",
      payload: ["body": "é\n\u{1B}", "n": .double(Double(number))], created: Self.at)
  }

  /// A store with something of everything.
  private func fill(_ store: SQLiteStorage, samples: Int = 1200) async throws {
    _ = try await store.put([
      Document(kind: .targets, id: "web", fields: ["target": "web", "host": "192.0.2.1"]),
      Document(kind: .notification_options, id: "ops", fields: ["type": "email", "to": ["ops@example.org"]]),
    ])
    try await store.append(
      (0..<samples).map { number in
        Sample(
          series: Series(target: "web", metric: "Vitals.CPU"), at: Self.at.addingTimeInterval(Double(number) * 10),
          value: ["percent": .double(Double(number % 100)), "cores": 2])
      } + [Sample(series: Series(target: "web", metric: "Logs"), type: .event, at: Self.at, error: "gone")])
    let series = Series(target: "web", metric: "Vitals.CPU")
    let buckets = (0..<3).map {
      RollUp(type: .hour, start: 1_795_248_000 + $0 * 3600, length: 3600, encoded: [1, 2, 3])
    }
    try await store.store([
      RollUpUpdate(
        series: series, closed: Array(buckets.prefix(2)),
        state: RollUpState(through: SampleKey(second: 1_795_260_000, n: 0), open: [buckets[2]], late: []))
    ])
    var episode = Episode(
      id: "ep", key: ConditionKey(reaction: "r", target: "web", metric: "Vitals.CPU"), severity: .critical,
      state: .firing, since: Self.at, value: "99 %", limit: "at most 90 %")
    episode.fired_at = Self.at
    _ = try await store.record(episode, queueing: (0..<5).map(entry))
    guard let lease = try await store.claim(owner: "w", now: Self.at, lease: .seconds(60)) else {
      throw StorageError(.internalError, "nothing to claim")
    }
    _ = try await store.settle(lease, as: .delivered(receipt: "250 ok"), now: Self.at, adding: [])
  }

  private func everything(_ store: SQLiteStorage) async throws -> [StorePart: Set<StoreItem>] {
    var all: [StorePart: Set<StoreItem>] = [:]
    for part in StorePart.allCases {
      var cursor: String?
      repeat {
        let page = try await store.export(part, after: cursor, limit: 100)
        all[part, default: []].formUnion(page.items)
        cursor = page.next
      } while cursor != nil
    }
    return all
  }

  @Test("Everything goes from one store into another by way of a private file, and again changes nothing")
  func round() async throws {
    let source = try await open("source.db")
    try await fill(source)
    let environment = ["SYSCRAP_STORE": "sqlite:\(program.directory.file("source.db"))"]
    let file = program.directory.file("all.jsonl")
    let out = try await program.run(["export", file], environment: environment)
    #expect(out.status == 0, "\(out.errorText)")
    #expect(out.text == "")
    #expect(
      out.errorText == "exported 2 documents, 1201 samples, 3 roll-ups, 1 episodes, 5 notifications\n")
    let attributes = try FileManager.default.attributesOfItem(atPath: file)
    #expect(attributes[.posixPermissions] as? Int == 0o600)
    let lines = try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n")
    #expect(try Value(json: lines[0].utf8)["syscrap_export"] == 1)
    #expect(try Value(json: lines[0].utf8)["store"] == "sqlite")
    #expect(
      try Value(json: (lines.last ?? "").utf8)["end"] == [
        "documents": 2, "samples": 1201, "roll_ups": 3, "episodes": 1, "notifications": 5, "counts": 1,
      ])
    #expect(lines.count == 1215)
    let names = try FileManager.default.contentsOfDirectory(atPath: program.directory.path)
    #expect(!names.contains { $0.hasSuffix(".new") }, "\(names)")

    let dry = try await program.run(["import", file, "--dry-run"])
    #expect(dry.status == 0, "\(dry.errorText)")
    #expect(dry.lines == ["would take 2 documents, 1201 samples, 3 roll-ups, 1 episodes, 5 notifications"])
    #expect(try await program.run(["get", "targets"]).status == 3, "nothing was made")

    let taken = try await program.run(["import", file])
    #expect(taken.status == 0, "\(taken.errorText)")
    #expect(taken.lines.first?.hasPrefix("took 2 documents, 1201 samples, 3 roll-ups") == true)
    let target = try await open("state/syscrap.db")
    var expected = try await everything(source)
    #expect(try await everything(target) == expected)
    let counts = try await target.queueCounts(now: Self.at)
    #expect(counts.imbalance == 0)
    #expect(counts.delivered == 1)
    #expect(counts.pending == 4)

    let again = try await program.run(["import", "-"], input: try String(contentsOfFile: file, encoding: .utf8))
    #expect(again.status == 0, "\(again.errorText)")
    #expect(again.lines.first?.hasSuffix("; 0 were new") == true, "\(again.text)")
    #expect(try await everything(target) == expected)

    let piped = try await program.run(["export"])
    #expect(piped.lines.count == lines.count)
    expected = [:]
    await source.close()
    await target.close()
  }

  @Test(
    "Everything goes from SQLite to MongoDB and back unchanged", .enabled(if: MongoServer.isExpected, "needs mongod"))
  func mongo() async throws {
    let server = try await MongoServer.shared()
    let source = try await open("source.db")
    try await fill(source, samples: 700)
    let expected = try await everything(source)
    await source.close()
    let inMongo = ["SYSCRAP_STORE": server.uri(database: MongoServer.freshDatabase("export"))]
    func file(_ name: String) -> [String: String] { ["SYSCRAP_STORE": "sqlite:\(program.directory.file(name))"] }
    let (there, back) = (program.directory.file("there.jsonl"), program.directory.file("back.jsonl"))
    for (arguments, environment) in [
      (["export", there], file("source.db")), (["import", there], inMongo), (["import", there], inMongo),
      (["export", back], inMongo), (["import", back], file("target.db")),
    ] {
      let done = try await program.run(arguments, environment: environment)
      #expect(done.status == 0, "\(arguments): \(done.errorText)")
    }
    let target = try await open("target.db")
    #expect(try await everything(target) == expected)
    await target.close()
  }

  @Test("A broken line is named with its number and nothing is put in; --partial takes the others")
  func broken() async throws {
    let source = try await open("source.db")
    try await fill(source, samples: 20)
    await source.close()
    let file = program.directory.file("all.jsonl")
    _ = try await program.run(
      ["export", file], environment: ["SYSCRAP_STORE": "sqlite:\(program.directory.file("source.db"))"])
    var lines = try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n").map(String.init)
    lines[5] = String(lines[5].dropLast(3))
    lines[7] = lines[7].replacingOccurrences(of: "\"n\":0", with: "\"n\":-1")
    try lines.joined(separator: "\n").appending("\n").write(toFile: file, atomically: true, encoding: .utf8)
    let refused = try await program.run(["import", file])
    #expect(refused.status == 1)
    let said = refused.errorText.split(separator: "\n")
    #expect(said.first?.hasPrefix("\(file): line 6: expected ") == true, "\(refused.errorText)")
    #expect(said.dropFirst().first == "\(file): line 8: n is missing or no count")
    #expect(said.last?.hasPrefix("nothing was put in; --partial takes 2 documents, 19 samples") == true)
    #expect(try await program.run(["get", "targets"]).status == 3)

    let partial = try await program.run(["import", file, "--partial"])
    #expect(partial.status == 1, "something is missing, and that is said")
    #expect(partial.lines.first?.hasPrefix("took 2 documents, 19 samples") == true, "\(partial.errorText)")
    #expect(try await program.run(["get", "targets", "-o", "name"]).lines == ["targets/web"])
  }

  @Test("A file that was cut off, goes on after its end, or is something else, is refused")
  func cut() async throws {
    let source = try await open("source.db")
    try await fill(source, samples: 20)
    await source.close()
    let file = program.directory.file("all.jsonl")
    _ = try await program.run(
      ["export", file], environment: ["SYSCRAP_STORE": "sqlite:\(program.directory.file("source.db"))"])
    let text = try String(contentsOfFile: file, encoding: .utf8)
    let lines = text.split(separator: "\n").map(String.init)
    let cases: [(String, String)] = [
      (lines.dropLast().joined(separator: "\n"), "the last line, which counts everything, is missing"),
      ((lines.prefix(4) + lines.suffix(1)).joined(separator: "\n"), "the counts do not agree"),
      (text + lines[1] + "\n", "something stands after the last line"),
      (lines.dropFirst().joined(separator: "\n"), "this is no export of Syscrap"),
      ("", "this is no export of Syscrap"), ("{\"syscrap_export\":2}\n", "this export is of version 2"),
    ]
    for (content, complaint) in cases {
      let done = try await program.run(["import", "-"], input: content)
      #expect(done.status == 1)
      #expect(done.errorText.contains(complaint), "\(done.errorText)")
      #expect(!FileManager.default.fileExists(atPath: program.stateDirectory + "/syscrap.db"))
    }
    #expect(try await program.run(["import", "/nowhere/file"]).status == 3)
    #expect(try await program.run(["export"]).status == 3, "there is no store")
    #expect(
      try await program.run(
        ["export", "/nowhere/file"],
        environment: [
          "SYSCRAP_STORE": "sqlite:\(program.directory.file("source.db"))"
        ]
      ).status == 1)
  }

  @Test("While a service uses the store an export is made, and an import is refused with what to do")
  func busy() async throws {
    try await program.start()
    let file = program.directory.file("all.jsonl")
    let out = try await program.run(["export", file])
    #expect(out.status == 0, "\(out.errorText)")
    let refused = try await program.run(["import", file])
    #expect(refused.status == 1)
    #expect(refused.errorText.contains("another syscrap"), "\(refused.errorText)")
    #expect(refused.errorText.contains("stop the service, import, and start it again"))
    await program.stop()
    #expect(try await program.run(["import", file]).status == 0)
  }

  @Test(
    "While a service gathers into MongoDB an import is refused with what to do; once it is stopped nothing is missing",
    .enabled(if: MongoServer.isExpected, "needs mongod"))
  func gathered() async throws {
    let source = try await open("source.db")
    try await fill(source, samples: 20)
    var expected = try await everything(source)
    await source.close()
    let file = program.directory.file("all.jsonl")
    _ = try await program.run(
      ["export", file], environment: ["SYSCRAP_STORE": "sqlite:\(program.directory.file("source.db"))"])
    let server = try await MongoServer.shared()
    try program.configure("store: '\(server.uri(database: MongoServer.freshDatabase("import")))'")
    try await program.start()
    func becomesActive() async throws {
      _ = try await program.eventually("the part of the one that gathers") {
        try Value(json: try await program.request("GET", "/readyz").body)["role"]?.text == "active" ? true : nil
      }
    }
    try await becomesActive()
    let refused = try await program.run(["import", file])
    #expect(refused.status == 1)
    #expect(refused.errorText.contains("gathers into this store"), "\(refused.errorText)")
    #expect(refused.errorText.contains("stop the services that use it, import, and start them again"))
    await program.stop()
    let done = try await program.run(["import", file])
    #expect(done.status == 0, "\(done.errorText)")
    // The lease was given back: nobody has to wait for it.
    let start = ContinuousClock.now
    try await program.start()
    try await becomesActive()
    #expect(ContinuousClock.now - start < .seconds(20))
    await program.stop()
    let back = program.directory.file("back.jsonl")
    #expect(try await program.run(["export", back]).status == 0)
    try program.configure("store: sqlite:back.db")
    #expect(try await program.run(["import", back]).status == 0)
    let target = try await open("back.db")
    let found = try await everything(target)
    await target.close()
    // The service has delivered, or tried to, what was pending, and ended what no reaction stands behind.
    (expected[.notifications], expected[.episodes]) = (nil, nil)
    for (part, items) in expected { #expect(items.isSubset(of: found[part] ?? []), "\(part)") }
  }

  // MARK: Other than ordinary files

  private func kind(_ path: String) -> mode_t {
    var status = stat()
    return lstat(path, &status) == 0 ? status.st_mode & S_IFMT : 0
  }

  private func source() async throws -> [String: String] {
    let source = try await open("source.db")
    try await fill(source, samples: 20)
    await source.close()
    return ["SYSCRAP_STORE": "sqlite:\(program.directory.file("source.db"))"]
  }

  @Test("A symbolic link stays one: the file behind it is replaced, or made")
  func links() async throws {
    let environment = try await source()
    let (real, link, chain) = (
      try program.directory.write("real.jsonl", "old"), program.directory.file("link"), program.directory.file("chain")
    )
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "real.jsonl")
    try FileManager.default.createSymbolicLink(atPath: chain, withDestinationPath: link)
    for _ in 0..<2 {
      let done = try await program.run(["export", chain], environment: environment)
      #expect(done.status == 0, "\(done.errorText)")
      #expect(kind(link) == S_IFLNK)
      #expect(kind(chain) == S_IFLNK)
      #expect(kind(real) == S_IFREG)
      #expect(try String(contentsOfFile: real, encoding: .utf8).hasPrefix("{\"created\""))
      // Once more, with nothing behind the link.
      unlink(real)
    }
    try FileManager.default.removeItem(atPath: link)
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: chain)
    let circle = try await program.run(["export", chain], environment: environment)
    #expect(circle.status == 1)
    #expect(circle.errorText.contains("\(chain) cannot be written"), "\(circle.errorText)")
  }

  @Test("A named pipe is written to and stays one")
  func pipe() async throws {
    let environment = try await source()
    let pipe = program.directory.file("pipe")
    #expect(mkfifo(pipe, 0o600) == 0)
    let reader = Glibc.open(pipe, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    #expect(reader >= 0)
    defer { close(reader) }
    let done = try await program.run(["export", pipe], environment: environment)
    #expect(done.status == 0, "\(done.errorText)")
    #expect(kind(pipe) == S_IFIFO)
    // All of it is less than a pipe holds.
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    let count = read(reader, &bytes, bytes.count)
    let piped = try await program.run(["export"], environment: environment)
    #expect(bytes.prefix(max(0, count)).count { $0 == 0x0A } == piped.lines.count)
  }

  @Test("A device is written to and stays one; where it takes nothing, that is said")
  func devices() async throws {
    let environment = try await source()
    let (null, full) = (program.directory.file("null"), program.directory.file("full"))
    // Copies of /dev/null and /dev/full, so that a mistake harms no machine.
    for (path, minor) in [(null, 3), (full, 7)] as [(String, UInt)]
    where mknod(path, S_IFCHR | 0o600, makedev(1, minor)) != 0 {
      print("no device can be made here: \(String(cString: strerror(errno)))")
      return
    }
    let taken = try await program.run(["export", null], environment: environment)
    let refused = try await program.run(["export", full], environment: environment)
    #expect(kind(null) == S_IFCHR)
    #expect(kind(full) == S_IFCHR)
    guard !taken.errorText.contains("Permission denied") else { return }
    #expect(taken.status == 0, "\(taken.errorText)")
    #expect(refused.status == 1)
    #expect(refused.errorText == "\(full) cannot be written: No space left on device\n")
  }
}

/// As glibc's macro, for small numbers.
private func makedev(_ major: UInt, _ minor: UInt) -> dev_t { dev_t((major << 8) | minor) }
