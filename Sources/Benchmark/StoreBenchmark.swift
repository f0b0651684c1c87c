internal import ArgumentParser
internal import Foundation
internal import Logging
internal import Model
internal import MongoStorage
internal import SQLiteStorage
internal import Storage

/// What samples, claims and history cost in both stores, beside a minimal pymongo program on the same mongod.
struct StoreBenchmark: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "store",
    abstract: "Samples in, claims out and bytes on disk of both stores, beside pymongo on the same mongod.",
    discussion: "Starts a mongod of its own (SYSCRAP_TEST_MONGOD or --mongod) and a Python with pymongo beside it.")

  @Option(help: "The mongod program.")
  var mongod = ProcessInfo.processInfo.environment["SYSCRAP_TEST_MONGOD"] ?? "/usr/bin/mongod"
  @Option(help: "A Python with pymongo.")
  var python = ProcessInfo.processInfo.environment["SYSCRAP_TEST_PYTHON"] ?? "/usr/bin/python3"
  @Option(help: "Samples a round.")
  var samples = 20_000
  @Option(help: "Claims a round.")
  var claims = 500
  @Option(help: "Workers that claim at the same time, beside one alone; pymongo always claims one after the other.")
  var workers = 8
  @Option(help: "Samples in one append, as the recorder makes them.")
  var batch = 500
  @Option(help: "Interleaved rounds; figures are medians.")
  var rounds = 3
  @Option(help: "Targets, of four series each.")
  var targets = 250
  @Option(help: "Where to write the figures as JSON.")
  var json: String?

  func validate() throws {
    guard (1000...1_000_000).contains(samples), (10...100_000).contains(claims), (1...100).contains(rounds),
      (2...64).contains(workers), (1...10_000).contains(batch), (1...10_000).contains(targets)
    else { throw ValidationError("Out of range.") }
  }

  func run() async throws {
    let mongo = try LocalMongo(mongod: mongod, python: python)
    defer { mongo.stop() }
    let folder = FileManager.default.temporaryDirectory.path + "/syscrap-store-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let quiet = Logger(label: "benchmark") { _ in SwiftLogNoOpLogHandler() }
    let inMongo = try await MongoStorage.open(.init(uri: mongo.address("syscrap")), logger: quiet)
    let inFile = try await SQLiteStorage.open(.init(path: folder + "/rate.db"), logger: quiet)
    let plain = VitalsSamples(targets: targets, count: samples, every: 10)
    let file = folder + "/samples.jsonl"
    let rawBytes = try plain.write(to: file)
    let entry = QueueWork.entry(0, run: "x")

    var table = FigureTable()
    for round in 1...rounds {
      print("round \(round) of \(rounds)")
      let mine = VitalsSamples(targets: targets, count: samples, every: 10, prefix: "r\(round)-").samples
      table.add("samples", "MongoStorage", try await append(mine, to: inMongo))
      table.add(
        "samples", "pymongo",
        try Figure(mongo.ask(["do": "insert", "file": file, "prefix": "r\(round)-", "batch": batch])))
      table.add("samples", "SQLiteStorage", try await append(mine, to: inFile))
      for (settles, workers) in [(false, 1), (true, 1), (false, self.workers), (true, self.workers)] {
        let name = (settles ? "claim and settle" : "claim") + (workers == 1 ? ", 1 worker" : ", \(workers) workers")
        let run = "r\(round)\(settles)\(workers)"
        table.add(
          name, "MongoStorage",
          try await QueueWork.measure(inMongo, claims, run: run, settles: settles, workers: workers))
        table.add(
          name, "pymongo",
          try Figure(
            mongo.ask([
              "do": "claims", "count": claims, "prefix": run, "settles": settles, "entry": Self.plain(entry),
            ])))
        table.add(
          name, "SQLiteStorage",
          try await QueueWork.measure(inFile, claims, run: run, settles: settles, workers: workers))
      }
    }
    let rate = try await MongoStorage.open(.init(uri: mongo.address("rate")), logger: quiet)
    let figures = try await rate.measureClaims(entries: claims, claimers: 4)
    await rate.close()
    await inMongo.close()
    await inFile.close()
    let sizes = try await StoreSizes.measure(mongo, folder: folder, plain: plain, file: file, raw: rawBytes, quiet)

    print(table.text)
    print(
      String(
        format: "4 claimers: %.0f claims/s, %.0f claims and settlements/s; bare findAndModify %.0f/s (%.2f of it)",
        figures.claimsPerSecond, figures.deliveriesPerSecond, figures.bareClaimsPerSecond,
        figures.claimsPerSecond / max(figures.bareClaimsPerSecond, 1e-9)))
    print(sizes.text)
    if let json {
      let report = Report(
        samples: samples, claims: claims, batch: batch, rounds: rounds, series: targets * 4, rows: table.rows,
        claims_per_s_4: figures.claimsPerSecond, deliveries_per_s_4: figures.deliveriesPerSecond,
        bare_per_s_4: figures.bareClaimsPerSecond, sizes: sizes.rows)
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
      try encoder.encode(report).write(to: URL(fileURLWithPath: json))
    }
  }

  private func append(_ samples: [Sample], to store: any Storage) async throws -> Figure {
    let clock = ContinuousClock()
    let (before, start) = (Usage.now().cpu, clock.now)
    for index in stride(from: 0, to: samples.count, by: batch) {
      try await store.append(Array(samples[index..<min(index + batch, samples.count)]))
    }
    return Figure(count: samples.count, cpu: Usage.now().cpu - before, wall: start.duration(to: clock.now).seconds)
  }

  /// A queue entry's fields as far as JSON has them.
  private static func plain(_ entry: QueueEntry) -> [String: Any] {
    [
      "key": entry.key ?? "", "reaction": entry.reaction, "target": entry.target, "type": entry.type,
      "payload": entry.payload.compactMapValues(\.text), "episode": entry.episode ?? "", "kind": entry.kind,
      "option": entry.option ?? "", "recipient": entry.recipient ?? "", "severity": entry.severity?.rawValue ?? "",
    ]
  }

  private struct Report: Codable {
    var samples: Int
    var claims: Int
    var batch: Int
    var rounds: Int
    var series: Int
    var rows: [FigureTable.Row]
    var claims_per_s_4: Double
    var deliveries_per_s_4: Double
    var bare_per_s_4: Double
    var sizes: [StoreSizes.Row]
  }
}

/// Entries like the service's own, and what claiming them costs.
enum QueueWork {
  static func entry(_ number: Int, run: String) -> QueueEntry {
    QueueEntry(
      id: "\(run)-\(number)", key: "\(run)-\(number)", reaction: "disk-full", target: "web-1", type: "email",
      payload: [
        "to": "ops@example.org", "subject": "[FIRING critical] Vitals.Disk / on web-1",
        "body": .string(String(repeating: "Vitals.Disk / on web-1 is 93.1 %, at most 90 %.\n", count: 8)),
      ], episode: "benchmark", kind: "firing", option: "ops", recipient: "ops@example.org", severity: .critical,
      created: Date(timeIntervalSince1970: 1_795_248_000))
  }

  static func measure(
    _ store: any Storage, _ count: Int, run: String, settles: Bool, workers: Int
  ) async throws -> Figure {
    for start in stride(from: 0, to: count, by: 100) {
      _ = try await store.record(nil, queueing: (start..<min(start + 100, count)).map { entry($0, run: run) })
    }
    let clock = ContinuousClock()
    let (before, start) = (Usage.now().cpu, clock.now)
    let claimed = try await withThrowingTaskGroup(of: [QueueLease].self) { group in
      for worker in 0..<workers { group.addTask { try await work(store, "benchmark \(worker)", settles: settles) } }
      var all: [QueueLease] = []
      for try await part in group { all += part }
      return all
    }
    let figure = Figure(
      count: claimed.count, cpu: Usage.now().cpu - before, wall: start.duration(to: clock.now).seconds)
    if !settles {
      for lease in claimed { _ = try await store.settle(lease, as: .delivered(receipt: ""), now: Date(), adding: []) }
    }
    return figure
  }

  /// Claims until there is nothing.
  private static func work(_ store: any Storage, _ owner: String, settles: Bool) async throws -> [QueueLease] {
    var claimed: [QueueLease] = []
    while let lease = try await store.claim(owner: owner, now: Date(), lease: .seconds(600)) {
      if settles {
        _ = try await store.settle(lease, as: .delivered(receipt: "250 ok"), now: Date(), adding: [])
      }
      claimed.append(lease)
    }
    return claimed
  }
}
