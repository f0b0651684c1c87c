import Foundation
import Model
import SQLiteStorage
import Storage
import TestKit
import Testing

@Suite struct JournalBoundTests {
  private func failure(_ n: Int) -> Sample {
    Sample(series: load, at: time(Double(n)), n: n, error: "no answer within 10 s")
  }

  private func event(_ n: Int) -> Sample {
    Sample(series: Series(target: "web-1", metric: "Connection"), type: .event, at: time(Double(n)), n: n, value: "up")
  }

  /// What is in the journal, oldest first.
  private func all(_ journal: SQLiteJournal) async throws -> [JournalOperation] {
    try await journal.oldest(samples: 10_000_000).compactMap(\.operation)
  }

  private func samples(_ journal: SQLiteJournal) async throws -> [Sample] {
    try await all(journal).flatMap { operation -> [Sample] in
      guard case .append(let samples) = operation else { return [] }
      return samples
    }
  }

  @Test("thinning takes every second value of each series in the older half, and counts it")
  func halves() async throws {
    let folder = try TemporaryDirectory("journal")
    let journal = try await SQLiteJournal.open(path: folder.file("journal.db"), logger: quiet)
    let other = Series(target: "web-2", metric: "Vitals.CPU")
    for n in 0..<400 {
      try await journal.append(.append([sample(n), sample(n, other)]), at: time(Double(n)))
      if n % 100 == 0 {
        try await journal.append(.append([failure(n), event(n)]), at: time(Double(n)))
        try await journal.append(.record(nil, [entry("m\(n)")], fence: 0), at: time(Double(n)))
      }
    }
    let before = await journal.size
    try await journal.thin(to: before.bytes - before.bytes / 5)
    let after = await journal.size
    #expect(after.bytes <= before.bytes - before.bytes / 5)
    let left = try await samples(journal)
    for series in [load, other] {
      let values = left.filter { $0.series == series && $0.error == nil }.map(\.n)
      // The newer half is whole; the older one is thinned from its beginning, as far as it was necessary.
      #expect(Array(values.suffix(200)) == Array(200..<400))
      #expect(Array(values.prefix(20)) == (0..<20).map { 2 * $0 })
    }
    #expect(left.count { $0.error != nil } == 4)
    #expect(left.count { $0.type == .event } == 4)
    #expect(after.dropped == [.values: 808 - left.count])
    #expect(after.samples == left.count)
    #expect(after.entries == 4)
    await journal.close()
    let again = try await SQLiteJournal.open(path: folder.file("journal.db"), logger: quiet)
    #expect(await again.size == after)
    await again.close()
  }

  @Test("when all values are gone errors go, then events; entries never")
  func last() async throws {
    let folder = try TemporaryDirectory("journal")
    let journal = try await SQLiteJournal.open(path: folder.file("journal.db"), logger: quiet)
    for n in 0..<50 { try await journal.append(.append([sample(n), failure(1000 + n), event(n)]), at: time()) }
    try await journal.append(.record(nil, [entry("a"), entry("b")], fence: 3), at: time())
    var dropped: [[JournalLoss: Int]] = []
    var bytes = await journal.size.bytes
    while true {
      bytes -= 200
      try await journal.thin(to: bytes)
      let size = await journal.size
      // Errors only when no value is left, events only when no error is.
      if size.dropped[.errors] != nil { #expect(size.dropped[.values] == 50) }
      if size.dropped[.events] != nil { #expect(size.dropped[.errors] == 50) }
      dropped.append(size.dropped)
      if size.samples == 0 { break }
    }
    #expect(dropped.last == [.values: 50, .errors: 50, .events: 50])
    try await journal.thin(to: 0)
    #expect(try await all(journal) == [.record(nil, [entry("a"), entry("b")], fence: 3)])
    await journal.close()
  }

  @Test("the bound holds: samples are thinned, messages are taken until their allowance is used up, then refused aloud")
  func bound() async throws {
    var bench = try JournalBench()
    bench.configuration.maximumBytes = 64 << 10
    bench.configuration.entryAllowance = 32 << 10
    let storage = try await bench.open()
    await bench.store.turn(.away)
    var most: Int64 = 0
    for n in 0..<3000 {
      try await storage.append([sample(n)])
      if n % 30 == 0 { _ = try await storage.record(nil, queueing: [entry("m\(n)")]) }
      most = max(most, await storage.status.journal.bytes)
    }
    // One operation may stand over it until the next comes.
    #expect(most < 65 << 10)
    var status = await storage.status
    #expect((status.outage?.dropped[.values] ?? 0) > 1000)
    #expect(status.journal.samples + (status.outage?.dropped[.values] ?? 0) == 3000)
    #expect(status.journal.entries == 100)

    var refused: StorageError?
    var taken = 100
    while refused == nil, taken < 10_000 {
      do throws(StorageError) {
        _ = try await storage.record(nil, queueing: [entry("x\(taken)")])
        taken += 1
      } catch {
        refused = error
      }
    }
    #expect(refused?.code == .full)
    status = await storage.status
    #expect(status.journal.entries == taken)
    #expect(status.journal.bytes >= 96 << 10)
    #expect(status.journal.bytes < 97 << 10)

    await bench.store.turn(.present)
    await storage.whenPresent(within: .seconds(30))
    #expect(try await bench.queued().count == taken)
    #expect(try await bench.stored().count == 3000 - (status.journal.dropped[.values] ?? 0))
    await storage.close()
  }

  @Test("operations come back from their bytes as they were; bytes that are none of ours are an error and no trap")
  func codec() async throws {
    let folder = try TemporaryDirectory("journal")
    let journal = try await SQLiteJournal.open(path: folder.file("journal.db"), logger: quiet)
    var samples = (0..<50).map {
      sample($0 * 7919, Series(target: "t\($0 % 3)", metric: "m", name: $0 % 2 == 0 ? nil : "n"))
    }
    samples.append(Sample(series: load, at: Date(timeIntervalSince1970: -1.5), n: -3, error: "ünknown\n"))
    samples.append(
      Sample(
        series: load, type: .event, at: time(0.125), value: .object(["a": [1, 2.5, nil, true], "at": .date(time())])))
    var message = entry("a", key: "k", after: "b", episode: "e", alternates: ["pager"])
    message.payload["at"] = .date(time(0.5))
    let (episode, entries) = firing("e", entries: 3)
    let operations: [JournalOperation] = [
      .append(samples), .record(episode, entries + [message], fence: .max), .record(nil, [message], fence: 0),
      .record(episode, [], fence: -1),
    ]
    for operation in operations { try await journal.append(operation, at: time()) }
    #expect(try await all(journal) == operations)
    #expect(try await journal.entries(episode: "e") == entries + [message, message])
    await journal.close()
  }

  @Test("a damaged journal is moved aside, and the service begins a new one")
  func damaged() async throws {
    let folder = try TemporaryDirectory("journal")
    let path = folder.file("journal.db")
    try Data(repeating: 0x5A, count: 20_000).write(to: URL(fileURLWithPath: path))
    let journal = try await SQLiteJournal.open(path: path, logger: quiet)
    try await journal.append(.append([sample(1)]), at: time())
    #expect(await journal.size.operations == 1)
    await journal.close()
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
    #expect(names.contains { $0.hasPrefix("journal.db.damaged-") })
    let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? NSNumber
    #expect(mode?.intValue == 0o600)
  }

  @Test("another version's journal and another program's database are refused and left as they are")
  func notOurs() async throws {
    let folder = try TemporaryDirectory("journal")
    let path = folder.file("journal.db")
    let journal = try await SQLiteJournal.open(path: path, logger: quiet)
    try await journal.append(.record(nil, [entry("a")], fence: 0), at: time())
    await journal.close()
    try await sql(path, "PRAGMA user_version = 2")
    let foreign = folder.file("foreign.db")
    try await sql(foreign, "PRAGMA user_version = 1", "CREATE TABLE theirs (a)", "INSERT INTO theirs VALUES (1)")
    let named = folder.file("named.db")
    try await sql(named, "PRAGMA application_id = 77")
    for (file, reason) in [
      (path, "another version of Syscrap"), (foreign, "another program"), (named, "another program"),
    ] {
      let before = try Data(contentsOf: URL(fileURLWithPath: file))
      let error = await #expect(throws: StorageError.self) { try await SQLiteJournal.open(path: file, logger: quiet) }
      #expect(error?.code == .corrupt)
      #expect(error?.message.contains(reason) == true, "\(error?.message ?? "")")
      #expect(error?.message.contains(file) == true)
      #expect(try Data(contentsOf: URL(fileURLWithPath: file)) == before)
    }
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
    #expect(!names.contains { $0.contains("damaged") })
    // The version that it belongs to goes on with it.
    try await sql(path, "PRAGMA user_version = 1")
    let again = try await SQLiteJournal.open(path: path, logger: quiet)
    #expect(await again.size.entries == 1)
    await again.close()
  }

  @Test("an hour of 200 samples a second costs little memory and is brought back in minutes")
  func figures() async throws {
    let isLong = ProcessInfo.processInfo.environment["SYSCRAP_LONG"] != nil
    let count = isLong ? 720_000 : 60_000
    let folder = try TemporaryDirectory("store")
    let store = try await openSQLite(folder)
    let switched = SwitchedStore(store)
    let bench = try JournalBench(switched)
    let storage = try await bench.open()
    await switched.turn(.away)
    let series = (0..<200).map { Series(target: "host-\($0)", metric: "Vitals.CPU") }
    try await storage.append([sample(0, series[0], at: -1)])
    let before = residentBytes()
    for second in 0..<(count / 200) {
      try await storage.append(series.indices.map { sample(1, series[$0], at: Double(second)) })
    }
    let rise = residentBytes() - before
    let bytes = await storage.status.journal.bytes
    let start = ContinuousClock.now
    await switched.turn(.present)
    await storage.whenPresent(within: .seconds(600))
    let seconds = (ContinuousClock.now - start).timeInterval
    #expect(await storage.status.condition == .present)
    #expect(try await store.samples(SampleQuery(series[7], limit: 1_000_000)).count == count / 200)
    print(
      "journal: \(count) samples in \(bytes) bytes (\(Double(bytes) / Double(count)) each), RSS rise \(rise >> 10) KiB, "
        + "replayed \(Int(Double(count) / seconds)) samples/s")
    #expect(rise < 64 << 20)
    await storage.close()
    await store.close()
    withExtendedLifetime(folder) {}
  }

  private func residentBytes() -> Int {
    let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
    let pages = text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    return pages * 4096
  }
}
