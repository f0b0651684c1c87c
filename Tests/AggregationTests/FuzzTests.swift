internal import FoundationEssentials
internal import Model
internal import Remote
internal import Testing

@testable internal import Aggregation

/// SplitMix64: a sequence that a printed seed brings back.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}

@Suite("Hostile answers")
struct FuzzTests {
  private static let pieces: [[UInt8]] = [
    [], [0], [0xFF, 0xFE], [0x1B, 0x5B], Array("\n".utf8), Array(" ".utf8), Array("-".utf8), Array("%".utf8),
    Array("18446744073709551615".utf8), Array("18446744073709551616".utf8), Array("-9223372036854775808".utf8),
    Array("9223372036854775807".utf8), Array("nan".utf8), Array("1e400".utf8), Array(".".utf8), Array("kB".utf8),
    Array("cpu ".utf8), Array("=blocks 0\n".utf8), Array("\\777".utf8), Array("/".utf8), Array(":".utf8),
  ]

  private static func mutate(_ bytes: [UInt8], _ generator: inout SeededGenerator) -> [UInt8] {
    var result = bytes
    for _ in 0..<Int.random(in: 1...4, using: &generator) {
      let place = Int.random(in: 0...result.count, using: &generator)
      switch Int.random(in: 0..<5, using: &generator) {
      case 0: result.insert(contentsOf: pieces[Int.random(in: 0..<pieces.count, using: &generator)], at: place)
      case 1: result.removeSubrange(place..<min(result.count, place + Int.random(in: 1...40, using: &generator)))
      case 2: result.removeLast(result.count - place)
      case 3: if place < result.count { result[place] = UInt8.random(in: 0...255, using: &generator) }
      default:
        let end = min(result.count, place + 30)
        result.insert(contentsOf: result[place..<end], at: Int.random(in: 0...result.count, using: &generator))
      }
    }
    return result
  }

  /// The first lines: enough to hold what is read, little enough to be quick.
  private static func head(_ name: String, lines: Int) throws -> [UInt8] {
    Array(
      try Fixture.bytes(name).split(separator: UInt8(ascii: "\n")).prefix(lines).joined(separator: [UInt8(ascii: "\n")])
    )
  }

  @Test("20,000 mutations of captured answers: no trap, no number that cannot be, every metric says something")
  func mutations() throws {
    let seed: UInt64 = 20_261_121
    print("seed of the mutated answers: \(seed)")
    var generator = SeededGenerator(seed: seed)
    let vmstat = Array("nr_dirty 5892463\npswpin 12\npswpout 99\n".utf8)
    let files: [String: [UInt8]] = [
      "/proc/stat": Array(
        "cpu  16996 0 4713 293051 1431 0 42 26 0 0\ncpu0 7309 0 2020 148681 78 0 12 11\nbtime 1795237101\n".utf8),
      "/proc/loadavg": try Fixture.bytes("debian-12-proc-loadavg"),
      "/proc/uptime": try Fixture.bytes("debian-12-proc-uptime"),
      "/proc/meminfo": try Self.head("debian-12-proc-meminfo", lines: 25), "/proc/vmstat": vmstat,
      "/proc/mounts": try Self.head("debian-12-proc-mounts", lines: 10),
      "/proc/sys/kernel/random/boot_id": try Fixture.bytes("debian-12-proc-boot-id"),
      "/etc/os-release": try Self.head("debian-12-os-release", lines: 4),
      "/proc/self/smaps": try Fixture.bytes("debian-12-proc-self-smaps"),
      "/proc/sys/kernel/osrelease": Array("6.1.0\n".utf8),
    ]
    let tables = [try Fixture.bytes("coreutils-9.1-df"), try Fixture.bytes("busybox-1.35.0-df")]
    let plan = MetricPlan(metric: "x", interval: .seconds(10))
    var metrics: [any Metric] = [
      try Vitals.CPU(plan: plan), try Vitals.RAM(plan: plan), try Vitals.Swap(plan: plan), try Vitals.Disk(plan: plan),
      Host(bootID: nil),
    ]
    var silent = 0
    var impossible: [Value] = []
    for round in 0..<20_000 {
      let index = round % metrics.count
      let questions = metrics[index].questions(nil)
      var answers = Fixture.answers(
        questions, files,
        df: .result(CommandResult(status: 0, output: tables[round / 5 % 2])))
      let victim = Int.random(in: 0..<answers.count, using: &generator)
      switch answers[victim] {
      case .content(let bytes, _): answers[victim] = .content(Self.mutate(bytes, &generator), isTruncated: false)
      case .result(var result):
        result.output = Self.mutate(result.output, &generator)
        answers[victim] = .result(result)
      case .failed: break
      }
      let gathered = metrics[index].gathered(from: answers, at: MetricTests.moment)
      if gathered.isEmpty { silent += 1 }
      for case .value(let value) in gathered where !Self.isPossible(value) { impossible.append(value) }
    }
    #expect(silent == 0)
    #expect(impossible == [])
  }

  /// Percentages within 0…100, nothing NaN or infinite.
  private static func isPossible(_ value: Value) -> Bool {
    if let elements = value.elements { return elements.allSatisfy(isPossible) }
    return (value.fields ?? [:]).allSatisfy { name, field in
      guard let number = field.number else { return true }
      return number.isFinite && (!name.hasSuffix("percent") || (0...100).contains(number))
    }
  }
}
