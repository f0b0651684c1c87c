internal import FoundationEssentials
internal import Model
internal import Remote
internal import Testing

@testable internal import Aggregation

/// What the metrics say they need is all that they ask, so that an account with these privileges and no others is enough.
@Suite("Needs of metrics")
struct NeedsTests {
  /// How a host may answer; each metric meets each of them in turn, long enough for its longest pause.
  enum Weather: CaseIterable {
    case good, late, missing, empty, garbage, refused, rebooted
  }

  private static let files = MetricTests.host(0, uptime: "100.00").merging(
    [
      "/proc/loadavg": "0.26 0.33 0.17 1/97 9\n", "/proc/vmstat": "pswpin 1\npswpout 1\n",
      "/proc/mounts": "/dev/a / ext4 rw 0 0\n",
    ]
  ) { old, _ in old }

  private static func answer(_ question: Question, _ weather: Weather, round: Int) -> Answer {
    func content(_ text: String) -> Answer { .content(Array(text.utf8), isTruncated: false) }
    switch (weather, question) {
    case (.late, _): return .failed(RemoteError(.timedOut, phase: .command, "late"))
    case (.missing, _): return .failed(RemoteError(.protocolError, phase: .command, "not there"))
    case (.empty, .read): return content("")
    case (.empty, .run): return .result(CommandResult(status: 0))
    case (.garbage, .read): return .content([0, 255, 10, 7], isTruncated: true)
    case (.garbage, .run): return .result(CommandResult(status: 3, output: [0, 255, 10, 7], errors: [1]))
    case (.refused, _): return .result(CommandResult(status: 126, errors: Array("refused".utf8)))
    case (.rebooted, .read(let path, _)):
      return content(MetricTests.host(round % 2, uptime: "\(5 + round).00")[path] ?? files[path] ?? "")
    case (.good, .read(let path, _)):
      return content(path == "/proc/uptime" ? "\(100 + round * 200).00 1.00\n" : files[path] ?? "")
    case (.good, .run), (.rebooted, .run):
      return .result(
        CommandResult(
          status: 0,
          output: Array("Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/a 10 5 5 50% /\n".utf8)))
    }
  }

  private static func asked(by metric: inout any Metric) -> Set<Question> {
    var asked: Set<Question> = []
    var round = 0
    // Each weather twice, so that every one also follows upon every kind of memory that another left.
    for weather in Weather.allCases + Weather.allCases.reversed() {
      for _ in 0..<40 {
        round += 1
        let questions = metric.questions(round % 3 == 0 ? nil : HostFacts())
        asked.formUnion(questions)
        _ = metric.gathered(
          from: questions.map { answer($0, weather, round: round) },
          at: Moment(at: Date(timeIntervalSince1970: 1_795_238_700), elapsed: .seconds(round)))
      }
    }
    return asked
  }

  @Test("Each metric asks exactly what it says it needs, whatever comes back")
  func exactly() throws {
    for name in MetricRegistry.standard.knownNames {
      let plan = MetricTests.plan(name)
      let needs = try MetricRegistry.standard.needs(of: plan)
      #expect(Set(needs).count == needs.count, "\(name) names something twice")
      if name == "Connection" {
        #expect(needs.isEmpty)
        continue
      }
      var metric: any Metric = name == "Host" ? Host(bootID: nil) : try MetricRegistry.standard.make(plan)
      #expect(Self.asked(by: &metric) == Set(needs), "\(name)")
    }
  }

  @Test("A plan that cannot run has no needs but a reason")
  func refused() {
    #expect(throws: MetricRefused.self) { try MetricRegistry.standard.needs(of: MetricTests.plan("Weather")) }
  }
}
