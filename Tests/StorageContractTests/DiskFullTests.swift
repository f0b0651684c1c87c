import Foundation
import Logging
import Model
import SQLiteStorage
import Storage
import TestKit
import Testing

/// A small file system of its own, in memory; it goes away with `end()`.
private struct SmallDisk {
  let folder: TemporaryDirectory
  var path: String { folder.file("disk") }

  /// - Returns: nil where this user may not mount anything.
  static func make(_ size: String) async throws -> SmallDisk? {
    let disk = SmallDisk(folder: try TemporaryDirectory("disk"))
    try FileManager.default.createDirectory(atPath: disk.path, withIntermediateDirectories: false)
    do {
      _ = try await ManagedProcess.run(["mount", "-t", "tmpfs", "-o", "size=\(size),mode=0700", "tmpfs", disk.path])
      return disk
    } catch {
      print("no small disk, so nothing is filled: \(error)")
      return nil
    }
  }

  /// Whether a test may ask for one: it takes the right to mount, which a container's root often has not.
  static let isAllowed: Bool = {
    guard getuid() == 0, let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
      let line = status.split(separator: "\n").first(where: { $0.hasPrefix("CapEff:") }),
      let capabilities = UInt64(line.dropFirst(7).trimmingCharacters(in: .whitespaces), radix: 16)
    else { return false }
    // CAP_SYS_ADMIN
    return capabilities & (1 << 21) != 0
  }()

  /// Takes all that is left, to the last byte.
  func fill() throws {
    // A process that another test starts meanwhile must not keep the room when the file is gone.
    let descriptor = open(path + "/ballast", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    try #require(descriptor >= 0)
    defer { close(descriptor) }
    for size in [1 << 20, 4096, 1] {
      let bytes = [UInt8](repeating: 7, count: size)
      while write(descriptor, bytes, size) == size {}
    }
  }

  func free() { unlink(path + "/ballast") }

  func end() async { _ = try? await ManagedProcess.run(["umount", "-l", path]) }
}

@Suite(
  "A full disk under the SQLite store", .serialized,
  .enabled(if: SmallDisk.isAllowed, "this user may mount no small file system to be filled"))
struct DiskFullTests {
  private let cpu = Series(target: "web-1", metric: "Vitals.CPU")
  private let rounds = ProcessInfo.processInfo.environment["SYSCRAP_LONG"] == "1" ? 50 : 10

  private func failure(_ body: () async throws -> Void) async -> StorageError? {
    do {
      try await body()
      return nil
    } catch {
      return error as? StorageError
    }
  }

  private func samples(_ number: Int) -> [Sample] {
    (0..<20).map { index in
      Sample(
        series: cpu, at: time(Double(number * 20 + index)), value: .string(String(repeating: "x", count: 1000)))
    }
  }

  private func on(_ body: (SmallDisk) async throws -> Void) async throws {
    guard let disk = try await SmallDisk.make("32m") else { return }
    do {
      try await body(disk)
    } catch {
      await disk.end()
      throw error
    }
    await disk.end()
  }

  private func open(_ disk: SmallDisk, pause: Duration = .milliseconds(20)) async throws -> SQLiteStorage {
    var configuration = SQLiteStorage.Configuration(
      path: disk.path + "/syscrap.db", reserveBytes: SQLiteStorage.usualReserveBytes)
    configuration.reservePause = pause
    return try await SQLiteStorage.open(configuration, logger: Logger(label: "test"))
  }

  private func integrity(_ disk: SmallDisk) async throws -> [String] {
    try await ManagedProcess.run([
      "python3", "-c",
      """
      import sqlite3, sys
      db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
      print(db.execute("PRAGMA integrity_check").fetchone()[0])
      """, disk.path + "/syscrap.db",
    ])
  }

  @Test("the queue goes on by its reserve, history waits, both go on once there is room: nothing is lost or damaged")
  func fillAndFree() async throws {
    try await on { disk in
      let store = try await open(disk)
      #expect(try await store.check()["reserve_bytes"]?.integer == 2 << 20)
      var number = 0
      var accepted = 0
      var roundsInReserve = 0
      for round in 0..<rounds {
        try disk.fill()
        // History is refused before long, and leaves the reserve alone.
        var refused: StorageError?
        var before = 0
        while refused == nil, before < 2000 {
          refused = await failure { try await store.append(samples(number)) }
          if refused == nil { number += 1 }
          before += 1
        }
        #expect(refused?.code == .full, "round \(round)")
        let red = await failure { _ = try await store.check() }
        #expect(red?.code == .full && red?.message.contains("make room there") == true)
        // Alerts go out meanwhile.
        for message in 0..<40 {
          let id = "\(round)-\(message)"
          #expect(try await store.record(nil, queueing: [entry(id, key: id)]) == 1)
          let lease = try #require(try await store.claim(owner: "w", now: time(1), lease: .seconds(60)))
          #expect(try await store.extend(lease, until: time(70)))
          #expect(try await store.settle(lease, as: .delivered(receipt: "ok"), now: time(2), adding: []))
          accepted += 1
        }
        #expect(await failure { try await store.append(samples(number)) }?.code == .full)
        if await failure({ _ = try await store.check() })?.message.contains("(in use)") == true { roundsInReserve += 1 }
        disk.free()
        let deadline = ContinuousClock.now + .seconds(10)
        var isBack = false
        while !isBack, ContinuousClock.now < deadline {
          isBack = await failure { try await store.append(samples(number)) } == nil
        }
        #expect(isBack, "round \(round)")
        number += 1
        #expect(try await store.check()["reserve_bytes"]?.integer == 2 << 20)
        #expect(try await integrity(disk) == ["ok"], "round \(round)")
        #expect(try await store.samples(SampleQuery(cpu, limit: 40)).count == min(40, number * 20))
        _ = try await store.prune([RetentionRule(cpu, type: .realTime, keep: .newest(100))])
        _ = try await store.pruneQueue(settledBefore: time(3))
      }
      // In the others the log had room enough.
      #expect(roundsInReserve > rounds / 4)
      let counts = try await store.queueCounts(now: time(9))
      #expect(counts.accepted == accepted && counts.delivered == accepted && counts.imbalance == 0)
      await store.close()
    }
  }

  @Test("with the usual pace history goes on within 10 s after there is room")
  func pace() async throws {
    try await on { disk in
      let store = try await open(disk, pause: SQLiteStorage.Configuration(path: "").reservePause)
      try disk.fill()
      _ = try await store.record(nil, queueing: (0..<200).map { entry("\($0)") })
      var isFull = false
      for number in 0..<2000 where !isFull {
        isFull = await failure { try await store.append(samples(number)) }?.code == .full
      }
      #expect(isFull)
      disk.free()
      let start = ContinuousClock.now
      while await failure({ try await store.append(samples(9999)) }) != nil, ContinuousClock.now - start < .seconds(20)
      {
        try await Task.sleep(for: .milliseconds(100))
      }
      #expect(ContinuousClock.now - start <= .seconds(10))
      #expect(try await store.check()["reserve_bytes"]?.integer == 2 << 20)
      await store.close()
    }
  }

  @Test("a service starts on a full disk and has room for its queue")
  func startsOnFullDisk() async throws {
    try await on { disk in
      let first = try await open(disk)
      _ = try await first.record(nil, queueing: [entry("1", key: "k1")])
      await first.close()
      try disk.fill()
      let second = try await open(disk)
      for number in 2..<50 {
        #expect(try await second.record(nil, queueing: [entry("\(number)", key: "k\(number)")]) == 1)
      }
      #expect(await failure { try await second.append(samples(0)) }?.code == .full)
      // Killed while full: what is left of the reserve is not asked for again, and the queue is whole.
      await second.close()
      let third = try await open(disk)
      #expect(try await third.queueCounts(now: time(1)).pending == 49)
      #expect(await failure { _ = try await third.check() }?.code == .full)
      disk.free()
      let deadline = ContinuousClock.now + .seconds(10)
      while await failure({ try await third.append(samples(0)) }) != nil, ContinuousClock.now < deadline {}
      #expect(try await third.check()["reserve_bytes"]?.integer == 2 << 20)
      #expect(try await integrity(disk) == ["ok"])
      await third.close()
    }
  }

  @Test("a reader that keeps the log from the file holds history up before the log has taken the disk")
  func longReader() async throws {
    try await on { disk in
      let store = try await open(disk)
      let reader = try ManagedProcess([
        "python3", "-c",
        """
        import sqlite3, sys
        db = sqlite3.connect(sys.argv[1], isolation_level=None)
        db.execute("BEGIN")
        print(db.execute("SELECT count(*) FROM meta").fetchone()[0] > 0, flush=True)
        sys.stdin.read()
        """, disk.path + "/syscrap.db",
      ])
      _ = try await reader.line { $0 == "True" }
      var number = 0
      var refused: StorageError?
      while refused == nil, number < 2000 {
        refused = await failure { try await store.append(samples(number)) }
        number += 1
      }
      #expect(refused?.code == .full)
      var facts = statvfs()
      #expect(statvfs(disk.path, &facts) == 0)
      #expect(Int(facts.f_bavail) * Int(facts.f_frsize) > 16 << 20)
      #expect(try await store.record(nil, queueing: [entry("1", key: "1")]) == 1)
      await reader.stop()
      let deadline = ContinuousClock.now + .seconds(10)
      while await failure({ try await store.append(samples(number)) }) != nil, ContinuousClock.now < deadline {}
      #expect(try await store.check()["reserve_bytes"]?.integer == 2 << 20)
      #expect(try await integrity(disk) == ["ok"])
      await store.close()
    }
  }
}
