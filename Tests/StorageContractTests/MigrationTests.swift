import Foundation
import Logging
import Model
import Storage
import TestKit
import Testing

@testable import SQLiteStorage

/// What the child of ``MigrationTests`` does: it opens a store, which brings it to this version, and is killed meanwhile.
@Suite("Opening a store on behalf of another test")
struct MigrationChild {
  static let variable = "SYSCRAP_TEST_MIGRATE"

  @Test(.enabled(if: ProcessInfo.processInfo.environment[variable] != nil, "only in a child process"))
  func open() async throws {
    let path = try #require(ProcessInfo.processInfo.environment[Self.variable])
    FileHandle.standardOutput.write(Data("begins\n".utf8))
    let store = try await SQLiteStorage.open(.init(path: path), logger: Logger(label: "test"))
    FileHandle.standardOutput.write(Data("is open\n".utf8))
    await store.close()
  }
}

@Suite("A store of an older version", .serialized)
struct MigrationTests {
  private let folder: TemporaryDirectory
  private var old: String { folder.file("v1.db") }
  private var path: String { folder.file("syscrap.db") }
  private var backup: String { SchemaBackup.path(of: path, version: 1) }

  init() throws { folder = try TemporaryDirectory("migration") }

  private func python(_ script: String, _ arguments: String...) async throws -> [String] {
    try await ManagedProcess.run(["python3", "-c", script] + arguments)
  }

  /// A file as version 1 made it: its tables, documents, samples, messages, and `episodes` episodes, every second of
  /// which is open; of each ten open ones two have the same condition.
  private func makeOld(episodes: Int, samples: Int) async throws {
    var episode = Episode(
      id: "", key: ConditionKey(reaction: "r", target: "t", metric: "M", element: ""), severity: .warning,
      state: .firing, since: time(), value: "93.1 %", limit: "at most 90 %")
    episode.labels = ["text": String(repeating: "x", count: 300)]
    let script = """
      import json, os, sqlite3, sys
      db = sqlite3.connect(sys.argv[1], isolation_level=None)
      db.execute("PRAGMA journal_mode = WAL")
      db.execute("PRAGMA application_id = %d" % int(sys.argv[3]))
      db.executescript(sys.argv[2])
      db.execute("BEGIN")
      db.execute("INSERT INTO meta VALUES ('schema_version', 1)")
      for n in range(100):
          db.execute("INSERT INTO documents VALUES ('targets', ?, x'0900')", ("t%d" % n,))
          db.execute("INSERT INTO series VALUES (?, ?, 'M', NULL)", (n + 1, "t%d" % n))
          db.execute("INSERT INTO notifications VALUES (NULL, ?, ?, NULL, NULL, 2, 0, 0, 0, NULL, 1, NULL, 0, 'ok', "
              "x'0900', ?, '[]')", ("n%d" % n, "k%d" % n,
              '{"reaction":"r","target":"t","type":"email","kind":"firing","alternates":[]}'))
      db.execute("UPDATE tally SET accepted = 100, delivered = 100")
      for n in range(int(sys.argv[6])):
          db.execute("INSERT INTO samples VALUES (?, 0, ?, 0, 0, ?)", (n % 100 + 1, n // 100, b"\\x02" + os.urandom(200)))
      body = json.loads(sys.argv[4])
      for n in range(int(sys.argv[5])):
          body["id"] = "e%06d" % n
          body["key"]["element"] = "/%d" % (n // 20 * 20 if n % 20 == 2 else n)
          is_open = n % 2 == 0
          body["state"] = "firing" if is_open else "ok"
          body["since"] = float(n)
          if is_open: body.pop("ended_at", None)
          else: body["ended_at"] = float(n + 1)
          db.execute("INSERT INTO episodes VALUES (?, 'r', ?, ?, ?)", (body["id"], is_open, n, json.dumps(body)))
      db.execute("COMMIT")
      db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
      db.close()
      """
    _ = try await python(
      script, old, Schema.tables, "\(Schema.applicationID)", QueueRow.json(episode), "\(episodes)", "\(samples)")
  }

  /// What is in a file, in whatever version it is: its version, whether it is whole, how many episodes are open, and a
  /// digest of all that a migration must not change.
  private func content(_ path: String) async throws -> (version: Int, open: Int, digest: String) {
    let script = """
      import hashlib, json, sqlite3, sys
      db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
      assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
      version = db.execute("SELECT value FROM meta WHERE name = 'schema_version'").fetchone()[0]
      tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
      columns = {row[1] for row in db.execute("PRAGMA table_info(episodes)")}
      new = [t in tables for t in ("roll_ups", "roll_up_states", "leases")] + [c in columns for c in ("condition", "fence")]
      assert new == [version == 2] * 5, new
      digest = hashlib.sha256()
      for table in ("documents", "series", "samples", "notifications", "tally"):
          for row in db.execute("SELECT * FROM %s ORDER BY 1, 2, 3" % table):
              digest.update(repr(row).encode())
      for row in db.execute("SELECT id, reaction, body FROM episodes ORDER BY id"):
          body = json.loads(row[2], parse_int=float)
          for field in ("state", "ended_at", "end_reason"):
              body.pop(field, None)
          digest.update((row[0] + row[1] + json.dumps(body, sort_keys=True)).encode())
      print(version)
      print(db.execute("SELECT count(*) FROM episodes WHERE is_open = 1").fetchone()[0])
      print(digest.hexdigest())
      """
    let lines = try await python(script, path)
    try #require(lines.count == 3)
    return (Int(lines[0]) ?? -1, Int(lines[1]) ?? -1, lines[2])
  }

  private func restoreOld() throws {
    let files = FileManager.default
    for name in try files.contentsOfDirectory(atPath: folder.path) where name.hasPrefix("syscrap.db") {
      try files.removeItem(atPath: folder.file(name))
    }
    try files.copyItem(atPath: old, toPath: path)
  }

  @Test("is brought to this one with all it holds; a copy of it stays beside it")
  func migration() async throws {
    try await makeOld(episodes: 200, samples: 500)
    try restoreOld()
    let before = try await content(old)
    #expect(before.version == 1 && before.open == 100)
    let store = try await openSQLite(folder)
    let documents = try await store.documents(.targets)
    let counts = try await store.queueCounts(now: time())
    let episodes = try await store.episodes(reaction: nil, openOnly: false, limit: 1000)
    #expect(try await store.lease("gathering") == nil)
    await store.close()
    #expect(documents.count == 100)
    #expect(counts.accepted == 100 && counts.delivered == 100 && counts.imbalance == 0)
    // Of two open ones of a condition the older stays.
    let ended = episodes.filter { $0.end_reason == "superseded" }
    #expect(ended.map(\.id).sorted() == (0..<10).map { String(format: "e%06d", $0 * 20 + 2) })
    #expect(ended.allSatisfy { $0.state == .ok && $0.ended_at == $0.since })
    let after = try await content(path)
    #expect(after.version == 2 && after.open == 90 && after.digest == before.digest)
    let copy = try await content(backup)
    #expect(copy == before)
    let mode = try FileManager.default.attributesOfItem(atPath: backup)[.posixPermissions] as? NSNumber
    #expect(mode?.intValue == 0o600)
    // Opened again nothing is left to do.
    await (try openSQLite(folder)).close()
    #expect(try await content(path) == after)
  }

  @Test("a newer one is refused, with the way back where there is a copy")
  func downgrade() async throws {
    await (try openSQLite(folder)).close()
    let raise =
      "import sqlite3, sys; sqlite3.connect(sys.argv[1], isolation_level=None).execute(\"UPDATE meta SET value = 3 "
      + "WHERE name = 'schema_version'\")"
    _ = try await python(raise, path)
    try folder.write("syscrap.db.v2-backup", "")
    let error = await #expect(throws: StorageError.self) { try await openSQLite(folder) }
    #expect(error?.code == .corrupt)
    #expect(error?.message.contains("move \(path).v2-backup in its place") == true)
  }

  @Test("F44: killed at any moment of it, it is the old one or the new one, never half of each")
  func killed() async throws {
    let rounds = ProcessInfo.processInfo.environment["SYSCRAP_LONG"] == "1" ? 50 : 10
    try await makeOld(episodes: 1200, samples: 40_000)
    let before = try await content(old)
    let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    func child() throws -> ManagedProcess {
      var environment = ProcessInfo.processInfo.environment
      environment[MigrationChild.variable] = path
      return try ManagedProcess(
        [program, "--testing-library", "swift-testing", "--filter", "MigrationChild"], environment: environment)
    }
    // How long it takes when nobody interferes.
    try restoreOld()
    let whole = try child()
    _ = try await whole.lines.first { $0 == "begins" }
    let start = ContinuousClock.now
    _ = try await whole.lines.first { $0 == "is open" }
    let duration = ContinuousClock.now - start
    _ = try await whole.exit()
    let migrated = try await content(path)
    #expect(migrated.version == 2 && migrated.digest == before.digest && migrated.open < before.open)

    var (random, seed) = SeededGenerator.seeded("kills in a migration")
    var kinds: [String: Int] = [:]
    for round in 0..<rounds {
      try restoreOld()
      let victim = try child()
      _ = try await victim.lines.first { $0 == "begins" }
      try await Task.sleep(for: duration * Double.random(in: 0..<1, using: &random))
      victim.signal(SIGKILL)
      _ = try await victim.exit()
      let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
      let comment: Comment = "round \(round), SYSCRAP_SEED=\(seed)"
      let found = try await content(path)
      #expect(found.digest == before.digest, comment)
      #expect(found.version == 2 || found.open == before.open, comment)
      if names.contains(where: { $0.contains("partial") }) {
        kinds["while copying", default: 0] += 1
      } else if names.contains(URL(fileURLWithPath: backup).lastPathComponent) {
        kinds[found.version == 1 ? "while changing" : "afterwards", default: 0] += 1
        #expect(try await content(backup) == before, comment)
      } else {
        kinds["before", default: 0] += 1
      }
      // What was left is taken up again.
      await (try openSQLite(folder)).close()
      #expect(try await content(path) == migrated, comment)
      #expect(try await content(backup) == before, comment)
      let left = try FileManager.default.contentsOfDirectory(atPath: folder.path)
      #expect(!left.contains { $0.contains("partial") }, comment)
    }
    print("a migration of \(duration) was killed \(rounds) times: \(kinds)")
    // Where a random moment falls is chance; that all fall outside is not.
    #expect((kinds["while copying"] ?? 0) + (kinds["while changing"] ?? 0) > 0, "\(kinds)")
  }
}
