internal import Foundation
internal import Model
internal import TestKit
internal import Testing

/// How a history is chosen from, written and drawn, whatever a service answers.
@Suite(.serialized, .enabled(if: PythonEnvironment.isExpected, "needs python3")) struct HistoryPlotTests {
  /// 08:00, and seconds after it.
  private static let start = 1_795_248_000.0
  private static func time(_ seconds: Double) -> Value { .date(Date(timeIntervalSince1970: start + seconds)) }
  private let program: SyscrapProcess
  init() async throws { program = try SyscrapProcess() }

  /// Runs `history` from 08:00 to 09:00 against a service that answers with these samples.
  private func history(
    _ samples: [Value], _ metric: String, _ arguments: [String], locale: String = "C",
    environment: [String: String] = [:], isOnTerminal: Bool = false
  ) async throws -> SyscrapProcess.Output {
    let service = try await HTTPSink.start(replies: [.init(200, body: Value.array(samples).json())])
    let state = program.stateDirectory
    try FileManager.default.createDirectory(atPath: state, withIntermediateDirectories: true)
    try "http://127.0.0.1:\(service.port)\n".write(toFile: state + "/address", atomically: true, encoding: .utf8)
    try "secret\n".write(toFile: state + "/token", atomically: true, encoding: .utf8)
    let output: SyscrapProcess.Output
    do {
      output = try await program.run(
        ["history", "web", metric, "--since", "2026-11-21T08:00:00Z", "--until", "2026-11-21T09:00:00Z"] + arguments,
        environment: ["LANG": locale].merging(environment) { $1 }, isOnTerminal: isOnTerminal)
    } catch {
      await service.stop()
      throw error
    }
    await service.stop()
    return output
  }

  private func history(
    _ samples: [Value], _ arguments: [String], locale: String = "C", environment: [String: String] = [:],
    isOnTerminal: Bool = false
  ) async throws -> SyscrapProcess.Output {
    try await history(
      samples, "Vitals.CPU", arguments, locale: locale, environment: environment, isOnTerminal: isOnTerminal)
  }

  private func plot(_ samples: [Value], _ metric: String = "Vitals.CPU", field: String = "percent") async throws
    -> String
  {
    let done = try await history(samples, metric, ["--plot", "--field", field])
    #expect(done.status == 0, "\(done.errorText)")
    return done.text.trimmingCharacters(in: .newlines)
  }

  private static func raw(_ seconds: Double, _ percent: Double, name: String? = nil) -> Value {
    var fields: [String: Value] = [
      "target": "web", "metric": "Vitals.CPU", "type": "RT", "updated": time(seconds), "n": 0,
      "tag": .int(Instant.tag(Date(timeIntervalSince1970: start + seconds))), "value": ["percent": .double(percent)],
    ]
    if let name { fields["name"] = .string(name) }
    return .object(fields)
  }

  private static func bucket(_ seconds: Double, _ low: Double, _ mean: Double, _ high: Double) -> Value {
    [
      "target": "web", "metric": "Vitals.CPU", "type": "variable", "updated": time(seconds), "n": 0,
      "value": [
        "percent": [
          "min": .double(low), "mean": .double(mean), "max": .double(high), "last": .double(mean), "count": 30,
        ]
      ],
    ]
  }

  private static func disk(_ mounts: [(String, Double)]) -> Value {
    [
      "target": "web", "metric": "Vitals.Disk", "type": "RT", "updated": time(0), "n": 0,
      "value": .array(mounts.map { ["mount": .string($0.0), "percent": .double($0.1), "size": 1000] }),
    ]
  }

  @Test("A curve has an axis with its unit and times, and where nothing was measured nothing is drawn")
  func gap() async throws {
    // Every minute, 10 % rising to 69 %, but nothing from 08:20 to 08:40.
    let samples = (0..<60).filter { !(20..<40).contains($0) }.map { Self.raw(Double($0) * 60, 10 + Double($0)) }
    let text = try await plot(samples)
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    #expect(lines.count == 16)
    #expect(lines[0] == "web Vitals.CPU percent (RT)")
    #expect(lines.dropLast().allSatisfy { $0.count <= 80 })
    #expect(lines.allSatisfy { $0.utf8.allSatisfy { (32..<127).contains($0) } }, "only ASCII: \(text)")
    #expect(lines[1].hasPrefix("80% +"))
    #expect(lines[12].hasPrefix(" 0% +"))
    #expect(lines[14].split(separator: " ") == ["08:00", "08:10", "08:20", "08:30", "08:40", "08:50"])
    #expect(
      lines[15] == "40 samples, last 69.0%, min 10.0%, mean 39.5%, max 69.0%, "
        + "1 gap 2026-11-21T08:19:00Z-2026-11-21T08:40:00Z")
    // The columns between the last sample before and the first one after it stay empty in every row.
    let width = 75.0
    let (from, to) = (Int(19.0 / 60 * width) + 1, Int(40.0 / 60 * width) - 1)
    for line in lines[1...12] {
      let cells = Array(line.dropFirst(5))
      for column in from...to where column < cells.count {
        #expect(cells[column] == " ", "column \(column) of '\(line)'")
      }
    }
    #expect(lines[1...12].joined().contains("*"))
  }

  @Test("A failed sample breaks the curve and is counted")
  func failure() async throws {
    var samples = (0..<10).map { Self.raw(Double($0) * 60, 50) }
    samples[5] = [
      "target": "web", "metric": "Vitals.CPU", "type": "RT", "updated": Self.time(300), "error": "no answer", "n": 0,
    ]
    let text = try await plot(samples)
    #expect(
      text.hasSuffix(
        "9 samples, last 50.0%, min 50.0%, mean 50.0%, max 50.0%, 1 gap "
          + "2026-11-21T08:04:00Z-2026-11-21T08:06:00Z, 1 failed"))
  }

  @Test("Roll-ups are drawn with the band between least and most, and a missing bucket is a gap")
  func band() async throws {
    let samples = [0, 1, 2, 3, 6, 7].map { Self.bucket(Double($0) * 300, 20, 40, 60) }
    let text = try await plot(samples)
    let rows = text.split(separator: "\n").dropFirst().prefix(12).map { Array($0.dropFirst(5)) }
    func column(_ minute: Double) -> String {
      let x = Int(minute / 60 * 75)
      return String(rows.map { x < $0.count ? $0[x] : " " })
    }
    // From 0 % to 60 % in 12 rows: the band from 20 to 60 with the mean in it.
    #expect(column(10).filter { $0 == "*" }.count == 1, "\(text)")
    #expect(column(10).filter { $0 == ":" }.count >= 6)
    #expect(column(25).allSatisfy { $0 == " " }, "the missing buckets")
    #expect(column(33).contains("*"))
    #expect(column(45).allSatisfy { $0 == " " }, "after the last one")
    #expect(text.contains("6 buckets, last 40.0%, min 20.0%, mean 40.0%, max 60.0%, 1 gap 2026-11-21T08:20:00Z"))
    #expect(text.hasPrefix("web Vitals.CPU percent (variable)"))
  }

  @Test("A terminal gets its width, dots and colour; with NO_COLOR the same without it; elsewhere there are 80 columns")
  func terminal() async throws {
    let samples = (0..<60).map { Self.raw(Double($0) * 60, Double($0)) }
    let utf8 = "C.UTF-8"
    let coloured = try await history(samples, ["--plot"], locale: utf8, isOnTerminal: true).text
    let without = try await history(
      samples, ["--plot"], locale: utf8, environment: ["NO_COLOR": "1"], isOnTerminal: true
    ).text
    #expect(coloured.contains("\u{1B}[32m"))
    #expect(!without.unicodeScalars.contains("\u{1B}"))
    #expect(coloured.replacingOccurrences(of: "\u{1B}\\[[0-9]+m", with: "", options: .regularExpression) == without)
    #expect(without.unicodeScalars.contains { (0x2801...0x28FF).contains($0.value) })
    let curve = without.replacingOccurrences(of: "\r", with: "").components(separatedBy: "\n").filter {
      $0.contains("│") || $0.contains("┤") || $0.contains("└")
    }
    #expect(curve.map(\.count).max() == 120, "\(without)")
    let piped = try await history(samples, ["--plot"], locale: utf8)
    #expect(piped.lines.map(\.count).max() == 80)
    #expect(!piped.text.unicodeScalars.contains("\u{1B}"))
    #expect(piped.errorText == "type RT, chosen by --since; --type names another\n")
    let ascii = try await history(samples, ["--plot"], locale: "de_DE.ISO-8859-1")
    #expect(ascii.output.allSatisfy { $0 < 128 })
  }

  @Test("Instances get a plot each; several elements of a list are refused with the choices; text is no curve")
  func several() async throws {
    let two = try await plot([Self.raw(0, 1, name: "a"), Self.raw(60, 2, name: "b")])
    #expect(
      two.components(separatedBy: "\n\n").map { String($0.prefix(22)) } == [
        "web Vitals.CPU a perce", "web Vitals.CPU b perce",
      ])
    let disks = [Self.disk([("/", 1), ("/var", 2)])]
    let refused = try await history(disks, "Vitals.Disk", ["--plot"])
    #expect(refused.status == 2)
    #expect(
      refused.errorText
        == "Vitals.Disk has several elements; choose one to plot by --where: mount=/, mount=/var\n")
    let chosen = try await history(disks, "Vitals.Disk", ["--plot", "--where", "mount=/var"])
    #expect(chosen.lines.first == "web Vitals.Disk /var percent (RT)", "\(chosen.errorText)")
    let text = try await history(disks, "Vitals.Disk", ["--plot", "--where", "mount=/", "--field", "mount"])
    #expect(text.status == 2)
    #expect(text.errorText.hasPrefix(#"Vitals.Disk has no numbers in "mount" to plot"#))
  }

  @Test("An unknown field or element is refused with what there is")
  func unknown() async throws {
    let field = try await history([Self.raw(0, 1)], ["--field", "percnt"])
    #expect(field.status == 2)
    #expect(field.errorText == "Vitals.CPU has no field \"percnt\"; it has percent\n")
    let element = try await history(
      [Self.disk([("/", 1), ("/var", 2)])], "Vitals.Disk", ["--where", "mount=/home"])
    #expect(element.status == 2)
    #expect(element.errorText == "no element of Vitals.Disk has mount=/home; there are mount=/, mount=/var\n")
    let wrong = try await history([], ["--where", "home"])
    #expect(wrong.status == 2)
  }

  @Test("A table of roll-ups shows least, mean and most of a field; one of them is had by its own path")
  func table() async throws {
    let buckets = [Self.bucket(0, 1, 2.5, 4)]
    let plain = try await history(buckets, ["--field", "percent"])
    #expect(plain.lines == ["AT                    MIN  MEAN  MAX", "2026-11-21T08:00:00Z  1    2.5   4"])
    #expect(plain.errorText == "type variable, chosen by --since; --type names another\n")
    let wide = try await history(buckets, ["--field", "percent", "-o", "wide", "--type", "variable"])
    #expect(
      wide.lines == [
        "AT                    TYPE      N  MIN  MEAN  MAX  LAST  COUNT",
        "2026-11-21T08:00:00Z  variable  0  1    2.5   4    2.5   30",
      ])
    #expect(wide.errorText == "")
    let most = try await history(buckets, ["--field", "percent.max"])
    #expect(most.lines == ["AT                    PERCENT.MAX", "2026-11-21T08:00:00Z  4"])
    let disks = [Self.disk([("/", 1), ("/var", 2)])]
    let elements = try await history(disks, "Vitals.Disk", ["--field", "percent"])
    #expect(
      elements.lines == [
        "AT                    ELEMENT  PERCENT", "2026-11-21T08:00:00Z  /        1",
        "2026-11-21T08:00:00Z  /var     2",
      ])
    let json = try await history(disks, "Vitals.Disk", ["--field", "percent", "--where", "mount=/var", "-o", "json"])
    #expect(
      try Value(json: json.output).elements?.first?["value"] == [["mount": "/var", "percent": 2]])
    let names = try await history([Self.raw(0, 1, name: "a")], ["-o", "name"])
    #expect(names.lines == ["aggregations/web/Vitals.CPU/a/RT/20261121080000.0"])
    let yaml = try await history(buckets, ["-o", "yaml"])
    #expect(yaml.text.contains("mean: 2.5"))
    let csv = try await history(buckets, ["-o", "csv"])
    #expect(csv.text.hasSuffix(",30,2.5,4,2.5,1\r\n"))
    #expect(csv.errorText == "")
  }

  @Test("CSV is as RFC 4180 has it, dotted, and harmless for terminals and spreadsheets")
  func comma() {
    let samples: [Value] = [
      Self.bucket(0, 1, 2.5, 4),
      [
        "target": "a,b", "metric": "Logs", "type": "event", "updated": Self.time(1), "n": 1, "tag": 20_261_121_080_001,
        "value": ["data": "say \"hi\"\r\n", "line": -3, "open": true, "x": "=1+1", "y": " @a", "z": "-"],
      ],
      [
        "target": "web", "metric": "Logs", "type": "event", "updated": Self.time(1.5), "n": 0, "name": "+n",
        "error": "\u{1B}[31m",
      ],
      Self.disk([("/", 1), ("/var", 2)]),
    ]
    #expect(
      HistoryCSV.text(samples).components(separatedBy: "\r\n") == [
        "time,target,metric,name,type,tag,n,error,/.mount,/.percent,/.size,/var.mount,/var.percent,/var.size,data,line,"
          + "open,percent.count,percent.last,percent.max,percent.mean,percent.min,x,y,z",
        "2026-11-21T08:00:00Z,web,Vitals.CPU,,variable,,0,,,,,,,,,,,30,2.5,4.0,2.5,1.0,,,",
        #"2026-11-21T08:00:01Z,"a,b",Logs,,event,20261121080001,1,,,,,,,,"say ""hi""\x0d\x0a",-3,true,,,,,,'=1+1,' @a,'-"#,
        #"2026-11-21T08:00:01.500Z,web,Logs,'+n,event,,0,\x1b[31m,,,,,,,,,,,,,,,,,"#,
        "2026-11-21T08:00:00Z,web,Vitals.Disk,,RT,,0,,/,1.0,1000,/var,2.0,1000,,,,,,,,,,,", "",
      ])
  }

  @Test("Units follow from the names, and large figures get a larger one")
  func units() async throws {
    func ram(_ seconds: Double, _ bytes: Int64) -> Value {
      [
        "target": "web", "metric": "Vitals.RAM", "type": "RT", "updated": Self.time(seconds), "n": 0,
        "value": ["available": .int(bytes)],
      ]
    }
    let text = try await plot([ram(0, 1 << 30), ram(600, 3 << 30)], "Vitals.RAM", field: "available")
    let lines = text.components(separatedBy: "\n")
    #expect(lines[1].hasPrefix("3 GiB +"), "\(text)")
    #expect(lines[12].hasPrefix("0 GiB +"))
    #expect(lines.last?.hasPrefix("2 samples, last 3.00 GiB, min 1.00 GiB, mean 2.00 GiB, max 3.00 GiB") == true)
  }

  @Test("Whatever the figures are, something is drawn and nothing breaks")
  func extremes() async throws {
    for list in [[0], [-1, 1], [1e300, -1e300], [.leastNonzeroMagnitude, 0], [1e15, 1e15 + 1]] as [[Double]] {
      let samples = list.enumerated().map { Self.raw(Double($0.offset) * 60, $0.element) }
      let lines = try await plot(samples).components(separatedBy: "\n")
      #expect(lines.count == 16, "\(list): \(lines)")
      #expect(lines.dropLast().allSatisfy { $0.count <= 90 }, "\(list): \(lines)")
      #expect(lines.contains { $0.contains("*") })
    }
    let none = try await history([], ["--plot"])
    #expect(none.status == 0)
    #expect(none.errorText == "none\n")
  }
}
