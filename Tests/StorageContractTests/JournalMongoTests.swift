import Foundation
import Logging
import Model
import MongoStorage
import SQLiteStorage
import Storage
import TestKit
import Testing

@Suite(.enabled(if: MongoServer.isExpected, Comment(rawValue: MongoServer.absence)), .timeLimit(.minutes(3)))
struct JournalMongoTests {
  @Test(
    "a mongod that stands still, then is killed and comes back: callers are not held up, and nothing is lost or doubled"
  )
  func outage() async throws {
    let server = try await MongoServer.start(.standalone)
    let folder = try TemporaryDirectory("journal")
    let uri = server.uri(database: "syscrap", options: ["serverSelectionTimeoutMS=1000", "socketTimeoutMS=4000"])
    let journal = try await SQLiteJournal.open(path: folder.file("journal.db"), logger: quiet)
    var configuration = JournaledStorage.Configuration()
    configuration.patience = .seconds(1)
    let storage = try await JournaledStorage.open(
      journal: journal, configuration: configuration, logger: quiet,
      opening: { () async throws(StorageError) -> any WholeStorage in
        try await MongoStorage.open(MongoStorage.Configuration(uri: uri), logger: quiet)
      })
    try await storage.append([sample(0)])
    #expect(await storage.status.condition == .present)

    server.pause()
    var waits: [Double] = []
    for n in 1...60 {
      let start = ContinuousClock.now
      try await storage.append((0..<200).map { sample(n, Series(target: "t\($0)", metric: "Vitals.CPU")) })
      try await storage.append([sample(n)])
      let (episode, entries) = firing("e\(n)")
      _ = try await storage.record(episode, queueing: entries)
      waits.append((ContinuousClock.now - start).timeInterval)
    }
    waits.sort()
    // One caller finds out; whoever comes later is not held up.
    #expect(waits.count { $0 > 0.9 } <= 1)
    server.resume()
    await server.kill()
    #expect(await storage.status.condition != .present)
    for n in 61...80 { try await storage.append([sample(n)]) }
    try await server.restart()
    let start = ContinuousClock.now
    await storage.whenPresent(within: .seconds(90))
    let seconds = (ContinuousClock.now - start).timeInterval
    print(
      "journal before mongod: longest waits \(waits.suffix(2)) s, median \(waits[30]) s; 12,080 samples and 60 messages "
        + "brought back within \(seconds) s of the restart")
    #expect(await storage.status.condition == .present)
    #expect(try await storage.samples(SampleQuery(load, limit: 1000)).map(\.n) == Array(0...80))
    #expect(
      try await storage.samples(SampleQuery(Series(target: "t7", metric: "Vitals.CPU"), limit: 1000)).count == 60)
    let counts = try await storage.queueCounts(now: time(1000))
    #expect(counts.accepted == 60)
    #expect(counts.imbalance == 0)
    #expect(try await storage.episodes(reaction: nil, openOnly: true, limit: 1000).count == 60)
    await storage.close()
    await server.end()
    withExtendedLifetime(folder) {}
  }
}
