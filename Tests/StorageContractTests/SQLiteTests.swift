import Foundation
import Logging
import Model
import Storage
import TestKit
import Testing

@testable import SQLiteStorage

/// Runs statements on a database file as another process does, through Python's own SQLite.
/// - Returns: the rows of all of them, columns joined by `|`.
@discardableResult
func sql(_ path: String, _ statements: String...) async throws -> [String] {
  let script = """
    import sqlite3, sys
    db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
    for statement in sys.argv[2:]:
        for row in db.execute(statement):
            print("|".join(str(column) for column in row))
    """
  return try await ManagedProcess.run(["python3", "-c", script, path] + statements)
}

@Suite("The SQLite store")
struct SQLiteTests {
  private let folder: TemporaryDirectory
  private var path: String { folder.file("syscrap.db") }
  private let cpu = Series(target: "web-1", metric: "Vitals.CPU")

  init() throws { folder = try TemporaryDirectory("sqlite") }

  private func code(_ body: () async throws -> Void) async -> StorageError? {
    do {
      try await body()
      return nil
    } catch {
      return error as? StorageError
    }
  }

  @Test("keeps everything when it is opened again")
  func reopening() async throws {
    let first = try await openSQLite(folder)
    let document = Document(kind: .targets, id: "a", fields: ["target": "a", "port": 22])
    _ = try await first.put([document])
    let sample = Sample(series: cpu, at: time(0.25), value: ["percent": 12.5])
    try await first.append([sample])
    let episode = Episode(
      id: "e", key: ConditionKey(reaction: "r", target: "t", metric: "m"), severity: .info, state: .firing,
      since: time(), value: "1", limit: "0")
    _ = try await first.record(episode, queueing: [entry("1", key: "k1"), entry("2", key: "k2", after: "k1")])
    let lease = try #require(try await first.claim(owner: "w", now: time(1), lease: .seconds(60)))
    let revision = try await first.documentRevision()
    await first.close()

    let second = try await openSQLite(folder)
    #expect(try await second.documents(.targets) == [document])
    #expect(try await second.documentRevision() == revision)
    #expect(try await second.samples(SampleQuery(cpu)) == [sample])
    #expect(try await second.episodes(reaction: nil, openOnly: true, limit: 9) == [episode])
    #expect(try await second.queueEntry(id: "1") == lease.entry)
    #expect(try await second.settle(lease, as: .delivered(receipt: "ok"), now: time(2), adding: []))
    let counts = try await second.queueCounts(now: time(2))
    #expect(counts.accepted == 2 && counts.delivered == 1 && counts.pending == 1 && counts.imbalance == 0)
    await second.close()
  }

  @Test("has every accepted notification in what a crash leaves behind")
  func crash() async throws {
    let store = try await openSQLite(folder)
    for round in 0..<20 {
      _ = try await store.record(nil, queueing: [entry("\(round)", key: "k\(round)")])
      try await store.append([Sample(series: cpu, at: time(Double(round)), value: .int(Int64(round)))])
    }
    // The files as they lie there now, with the store still open: what SIGKILL at this moment would leave.
    let copy = try TemporaryDirectory("copy")
    _ = try await ManagedProcess.run(["cp", path, path + "-wal", copy.path])
    #expect(try await sql(copy.file("syscrap.db"), "PRAGMA integrity_check") == ["ok"])
    let survivor = try await openSQLite(copy)
    #expect(try await survivor.queue(QueueQuery()).map(\.id).sorted() == (0..<20).map(String.init).sorted())
    #expect(try await survivor.samples(SampleQuery(cpu)).count == 20)
    #expect(try await survivor.queueCounts(now: time()).imbalance == 0)
    await survivor.close()
    await store.close()
  }

  @Test("rolls a transaction back that another process died in")
  func killedWriter() async throws {
    let store = try await openSQLite(folder)
    _ = try await store.record(nil, queueing: [entry("1", key: "k")])
    let script = """
      import sqlite3, sys, time
      db = sqlite3.connect(sys.argv[1], isolation_level=None)
      db.execute("BEGIN IMMEDIATE")
      db.execute("DELETE FROM notifications")
      db.execute("UPDATE tally SET accepted = 7")
      print("in the middle", flush=True)
      sys.stdin.read()
      """
    let other = try ManagedProcess(["python3", "-c", script, path])
    _ = try await other.lines.first { $0 == "in the middle" }
    #expect(try await store.queueCounts(now: time()).accepted == 1)
    other.signal(SIGKILL)
    #expect(try await other.exit() == 128 + SIGKILL)
    #expect(try await store.record(nil, queueing: [entry("2", key: "k2")]) == 1)
    #expect(try await store.queue(QueueQuery()).map(\.id) == ["2", "1"])
    #expect(try await store.queueCounts(now: time()).imbalance == 0)
    await store.close()
  }

  @Test("refuses what a newer version wrote, what another program wrote, and what is no database")
  func refusals() async throws {
    let store = try await openSQLite(folder)
    await store.close()
    _ = try await sql(path, "UPDATE meta SET value = 99 WHERE name = 'schema_version'")
    let newer = await code { _ = try await openSQLite(folder) }
    #expect(
      newer
        == StorageError(
          .corrupt,
          "\(path) was written by a newer Syscrap (schema 99, this one knows up to 2); "
            + "run that version, or name another file as the store"))
    _ = try await sql(path, "UPDATE meta SET value = 2 WHERE name = 'schema_version'")
    await (try openSQLite(folder)).close()

    let foreign = try TemporaryDirectory("foreign")
    _ = try await sql(foreign.file("syscrap.db"), "CREATE TABLE precious (x)")
    let other = await code { _ = try await openSQLite(foreign) }
    #expect(other?.code == .corrupt && other?.message.contains("another program") == true)
    #expect(try await sql(foreign.file("syscrap.db"), "SELECT name FROM sqlite_master") == ["precious"])

    let garbage = try TemporaryDirectory("garbage")
    try garbage.write("syscrap.db", String(repeating: "not a database\n", count: 1000))
    let broken = await code { _ = try await openSQLite(garbage) }
    #expect(broken?.code == .corrupt && broken?.rawCode == 26)
    #expect(broken?.message.contains("move the file out of the way") == true)
  }

  @Test("says unavailable where it cannot make its file")
  func unavailable() async throws {
    try folder.write("file", "")
    let error = await code {
      _ = try await SQLiteStorage.open(
        .init(path: folder.file("file/below/syscrap.db")), logger: Logger(label: "test"))
    }
    #expect(error?.code == .unavailable)
    #expect(error?.message.contains(folder.file("file/below")) == true)
  }

  @Test("keeps its files to its user: 0600, in a folder of 0700, also where they were wider")
  func modes() async throws {
    let path = folder.file("state/syscrap.db")
    for _ in 0..<2 {
      let store = try await SQLiteStorage.open(.init(path: path), logger: Logger(label: "test"))
      _ = try await store.record(nil, queueing: [])
      for name in ["", "-wal", "-shm"] {
        let mode = try FileManager.default.attributesOfItem(atPath: path + name)[.posixPermissions] as? NSNumber
        #expect(mode?.intValue == 0o600, "syscrap.db\(name)")
      }
      await store.close()
      try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: path)
    }
    let mode = try FileManager.default.attributesOfItem(atPath: folder.file("state"))[.posixPermissions] as? NSNumber
    #expect(mode?.intValue == 0o700)
  }

  @Test("shares its file: two stores see each other's documents, and what another program commits")
  func sharing() async throws {
    let service = try await openSQLite(folder)
    let tool = try await openSQLite(folder)
    let before = try await service.documentRevision()
    let document = Document(kind: .targets, id: "a", fields: ["target": "a"])
    #expect(try await tool.put([document]) == [.created])
    let after = try await service.documentRevision()
    #expect(after > before)
    #expect(try await service.documents(.targets) == [document])
    #expect(try await service.delete(.targets, id: "a"))
    #expect(try await tool.documentRevision() > after)
    _ = try await sql(path, "UPDATE meta SET value = 1000 WHERE name = 'document_revision'")
    #expect(try await service.documentRevision() == 1000)
    // Both write at once: nobody is refused while the other holds the lock for a moment.
    try await withThrowingTaskGroup(of: Void.self) { group in
      for (name, store) in [("service", service), ("tool", tool)] {
        group.addTask {
          for number in 0..<50 {
            _ = try await store.record(nil, queueing: [entry("\(name) \(number)", key: "\(number)")])
          }
        }
      }
      try await group.waitForAll()
    }
    let counts = try await tool.queueCounts(now: time())
    #expect(counts.accepted == 50 && counts.imbalance == 0)
    await service.close()
    await tool.close()
  }

  @Test("finds the next entry by an index, without sorting")
  func queryPlan() async throws {
    let store = try await openSQLite(folder)
    await store.close()
    let due = try await sql(path, "EXPLAIN QUERY PLAN " + QueueRow.due.replacing("?", with: "5"))
    #expect(
      due.map { $0.split(separator: "|").last } == ["SEARCH notifications USING INDEX notifications_due (next_at<?)"])
    let leased = try await sql(
      path, "EXPLAIN QUERY PLAN SELECT * FROM notifications WHERE state = 1 AND lease_until <= 5")
    #expect(leased.count == 1 && leased[0].contains("USING INDEX notifications_leased (lease_until<?)"))
    let key = try await sql(path, "EXPLAIN QUERY PLAN SELECT * FROM notifications WHERE key = 'k'")
    #expect(key.count == 1 && key[0].contains("USING INDEX notifications_key (key=?)"))
    let newest = try await sql(
      path,
      "EXPLAIN QUERY PLAN SELECT data FROM samples WHERE series = 1 AND type = 0 AND second >= 5 ORDER BY second DESC, n DESC"
    )
    #expect(newest.count == 1 && newest[0].contains("USING PRIMARY KEY (series=? AND type=? AND second>?)"))
  }

  @Test("stays at its size however much passes through")
  func stableSize() async throws {
    let store = try await openSQLite(folder)
    let series = (0..<20).map { Series(target: "t\($0)", metric: "Vitals.CPU") }
    var planner = RetentionPlanner()
    var sizes: [Int64] = []
    let value: Value = [
      "percent": 93.25, "user": 41.5, "system": 12.25, "idle": 6.75, "iowait": 0.5, "load1": 1.25, "cores": 2,
    ]
    // Caps of 100: after a hundredth of it all the histories are full; a hundred times that goes through.
    for round in 0..<100 {
      let batch = (0..<100).flatMap { second in
        series.map { Sample(series: $0, at: time(Double(round * 100 + second)), value: value) }
      }
      try await store.append(batch)
      _ = try await store.prune(planner.rules(after: batch, limits: { _ in HistoryLimits() }, now: time()))
      if round % 10 == 9 { sizes.append(try await store.check()["size_bytes"]?.integer ?? 0) }
    }
    for one in series { #expect(try await store.samples(SampleQuery(one)).count == 100) }
    // A few pages of slack: which ones are free when the next are needed differs from round to round.
    #expect((sizes.max() ?? .max) <= sizes[1] + 8 * 4096, "\(sizes)")
    let facts = try await store.check()
    #expect(facts["journal_mode"] == "wal" && facts["schema"] == 2)
    #expect((facts["log_bytes"]?.integer ?? .max) <= 9_000_000)
    await store.close()
  }

  @Test("says full when its limit is reached, loses nothing, and goes on once there is room")
  func full() async throws {
    let store = try await openSQLite(folder, maximumBytes: 300_000)
    _ = try await store.record(nil, queueing: [entry("1", key: "k")])
    var accepted = 0
    var failure: StorageError?
    while failure == nil, accepted < 1000 {
      let big = Sample(series: cpu, at: time(Double(accepted)), value: .string(String(repeating: "x", count: 3000)))
      failure = await code { try await store.append([big]) }
      if failure == nil { accepted += 1 }
    }
    #expect(failure?.code == .full && failure?.rawCode == 13)
    #expect(accepted > 10)
    #expect(try await store.samples(SampleQuery(cpu, limit: 5000)).count == accepted)
    let refused = await code {
      _ = try await store.record(
        nil, queueing: (0..<200).map { entry("\($0) \(String(repeating: "y", count: 1000))", key: "f\($0)") })
    }
    #expect(refused?.code == .full)
    #expect(try await store.queueCounts(now: time()).accepted == 1)
    #expect(try await store.queueCounts(now: time()).imbalance == 0)
    #expect(try await store.prune([RetentionRule(cpu, type: .realTime, keep: .newest(1))]) == accepted - 1)
    #expect(try await store.record(nil, queueing: [entry("2", key: "k2")]) == 1)
    await store.close()
  }

  @Test("finishes a step whose task was cancelled: a delivery that happened is recorded")
  func cancellation() async throws {
    let store = try await openSQLite(folder)
    _ = try await store.record(nil, queueing: [entry("1")])
    let lease = try #require(try await store.claim(owner: "w", now: time(1), lease: .seconds(60)))
    let settled = Task {
      withUnsafeCurrentTask { $0?.cancel() }
      return try await store.settle(lease, as: .delivered(receipt: "ok"), now: time(2), adding: [])
    }
    #expect(try await settled.value)
    #expect(try await store.queueEntry(id: "1")?.state == .delivered)
    await store.close()
  }

  @Test("stores an error in place of a value that nests too deeply, and all that came with it")
  func deepValue() async throws {
    let store = try await openSQLite(folder)
    var deep: Value = 1
    for _ in 0..<300 { deep = [deep] }
    let good = Sample(series: cpu, at: time(1), value: 1)
    try await store.append([Sample(series: cpu, at: time(), value: deep), good])
    let error = Sample(series: cpu, at: time(), error: "the value is nested deeper than 200 levels")
    #expect(try await store.samples(SampleQuery(cpu)) == [error, good])
    await store.close()
  }

  @Test("answers with corrupt, and does not trap, when a row is not what it must be")
  func damagedRows() async throws {
    let store = try await openSQLite(folder)
    _ = try await store.record(nil, queueing: [entry("1")])
    try await store.append([Sample(series: cpu, at: time(), value: 1)])
    _ = try await store.put([Document(kind: .targets, id: "a", fields: [:])])
    _ = try await sql(
      path, "UPDATE notifications SET body = '{', state = 77", "UPDATE samples SET data = x'0109ffffffffffffffff7f'",
      "UPDATE documents SET fields = x'01'")
    #expect(await code { _ = try await store.queueEntry(id: "1") }?.code == .corrupt)
    #expect(await code { _ = try await store.latest(cpu, type: .realTime) }?.code == .corrupt)
    #expect(await code { _ = try await store.documents(.targets) }?.code == .corrupt)
    await store.close()
  }
}
