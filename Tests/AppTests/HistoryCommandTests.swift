internal import Foundation
internal import Logging
internal import Model
internal import SQLiteStorage
internal import Storage
internal import TestKit
internal import Testing

/// `history` straight on the store, where no service runs.
@Suite(.serialized) struct HistoryCommandTests {
  private let program: SyscrapProcess
  init() throws { program = try SyscrapProcess() }

  private static let at = StoredTime.date(second: 1_795_248_000, millisecond: 0)

  private func store(_ samples: [Sample]) async throws {
    let store = try await SQLiteStorage.open(
      SQLiteStorage.Configuration(path: program.stateDirectory + "/syscrap.db"),
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    try await store.append(samples)
    await store.close()
  }

  private static func load(_ seconds: Double, _ percent: Double) -> Sample {
    Sample(
      series: Series(target: "web", metric: "Vitals.CPU"), at: at.addingTimeInterval(seconds),
      value: ["percent": .double(percent), "load1": 0.5])
  }

  @Test("Samples are read from an instant on and up to another, and as CSV, JSON and names")
  func window() async throws {
    try await store((0..<10).map { Self.load(Double($0) * 60, Double($0)) })
    let bounds = ["--since", "2026-11-21T08:02:00Z", "--until", "2026-11-21T08:05:00Z"]
    let table = try await program.run(["history", "web", "Vitals.CPU", "--field", "percent"] + bounds)
    #expect(table.status == 0, "\(table.errorText)")
    #expect(
      table.lines == [
        "AT                    PERCENT", "2026-11-21T08:02:00Z  2.0", "2026-11-21T08:03:00Z  3.0",
        "2026-11-21T08:04:00Z  4.0",
      ])
    #expect(table.errorText == "type RT, chosen by --since; --type names another\n")
    let csv = try await program.run(["history", "web", "Vitals.CPU", "-o", "csv", "--limit", "1"] + bounds)
    #expect(
      csv.text == "time,target,metric,name,type,tag,n,error,load1,percent\r\n"
        + "2026-11-21T08:04:00Z,web,Vitals.CPU,,RT,20261121080400,0,,0.5,4.0\r\n")
    #expect(csv.errorText == "only the newest 1 are shown: --limit takes more\n")
    let json = try await program.run(["history", "web", "Vitals.CPU", "-o", "json"] + bounds)
    #expect(try Value(json: json.output).elements?.count == 3)
    let plot = try await program.run(["history", "web", "Vitals.CPU", "--plot"] + bounds)
    #expect(plot.lines.first == "web Vitals.CPU percent (RT)")
    #expect(plot.lines.last == "3 samples, last 4.00%, min 2.00%, mean 3.00%, max 4.00%")
  }

  @Test("What nobody knows is said with its own exit code")
  func unknown() async throws {
    try await store([Self.load(0, 1)])
    let target = try await program.run(["history", "nobody", "Vitals.CPU"])
    #expect(target.status == 3)
    #expect(target.errorText == "there is no target \"nobody\"\n")
    let metric = try await program.run(["history", "web", "Vitals.CPUU"])
    #expect(metric.status == 3)
    #expect(metric.errorText == "there is no metric \"Vitals.CPUU\" (did you mean Vitals.CPU?)\n")
    for arguments in [
      ["--type", "week"], ["--since", "soon"], ["--until", "later"], ["--limit", "0"], ["-o", "xml"],
      ["--plot", "-o", "csv"], ["--since", "1h", "--until", "2h"], ["--where", "x"],
    ] {
      let done = try await program.run(["history", "web", "Vitals.CPU"] + arguments)
      #expect(done.status == 2, "\(arguments): \(done.errorText)")
    }
  }

  @Test("A length of time that is too long is refused with the bound, one that is none with what is understood")
  func bound() async throws {
    try await store([Self.load(0, 1)])
    let long = try await program.run(["history", "web", "Vitals.CPU", "--since", "99999d"])
    #expect(long.status == 2)
    #expect(long.errorText == "--since goes back 36525d (100 years) at most, not '99999d'\n")
    let until = try await program.run(["history", "web", "Vitals.CPU", "--until", "99999999999"])
    #expect(until.status == 2)
    #expect(until.errorText == "--until goes back 36525d (100 years) at most, not '99999999999'\n")
    let none = try await program.run(["history", "web", "Vitals.CPU", "--since", "99999x"])
    #expect(none.errorText.hasPrefix("--since takes a length of time such as"), "\(none.errorText)")
  }
}
