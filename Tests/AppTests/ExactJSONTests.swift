internal import Foundation
internal import Model
internal import Storage
internal import Testing

@testable internal import App

/// Whether what is moved by way of lines is the very same afterwards.
@Suite struct ExactJSONTests {
  private func again(_ value: Value) throws -> Value {
    var bytes: [UInt8] = []
    try ExactJSON.write(value, into: &bytes)
    #expect(!bytes.contains(0x0A), "one line")
    return try ExactJSON.read(bytes)
  }

  @Test("Values come back as they were, whole doubles, times and control characters included")
  func round() throws {
    let at = Date(timeIntervalSince1970: 1_795_248_000.001)
    let values: [Value] = [
      nil, true, false, 0, -1, .int(.max), .int(.min), 1.0, .double(-0.0), 0.1, .double(.leastNonzeroMagnitude),
      .double(.greatestFiniteMagnitude), 1e16,
      .double(.infinity), .double(-.infinity), "", "a\"b\\c\n\r\t\u{0}\u{1B}\u{7F}\u{9B}\u{2028}é😀", .date(at),
      [], [[]], [:], ["a": [1, 1.0, ["b": nil]]], ["$date": "2026-11-21T08:00:00Z"], ["$date": 1], ["$double": "nan"],
      ["$object": ["$date": "x"]], ["$object": 1, "a": 2], ["$object": ["$object": ["$double": "inf"]]],
      ["$date": "x", "b": 1], ["!": 1, "$object": .date(at)], ["x": ["$double": .double(.infinity)]],
    ]
    for value in values { #expect(try again(value) == value, "\(value)") }
    guard case .double(let zero) = try again(.double(-0.0)) else { return #expect(Bool(false)) }
    #expect(zero.sign == .minus)
    guard case .double(let none) = try again(.double(.nan)) else { return #expect(Bool(false)) }
    #expect(none.isNaN)
    // Every millisecond of a second, at a time whose fractions are not exact.
    for millisecond in 0..<1000 {
      let date = StoredTime.date(second: 1_795_248_017, millisecond: Int64(millisecond))
      #expect(try again(.date(date)) == .date(date))
    }
  }

  @Test(
    "What is not JSON is refused, and nothing breaks",
    arguments: [
      "", "{", "[", "\"", "tru", "1.", "1e", "-", "01x", "{\"a\"}", "{\"a\":1,}", "[1,]", "[1 2]", "{\"a\":1}x",
      "\"\\u12\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\x\"", "{\"a\":1,\"a\":2}", "1e999", "nan",
      "{\"$date\":1,\"$date\":2}", "{\"$double\":\"x\"}", "{\"$object\":[]}", "\u{1}",
    ])
  func refused(text: String) {
    if text == "1." || text == "01x" {
      #expect(throws: (any Error).self) { try ExactJSON.read(Array((text + "}").utf8)) }
    } else {
      #expect(throws: ExactJSON.Malformed.self) { try ExactJSON.read(Array(text.utf8)) }
    }
  }

  @Test("Nesting is bounded, and any bytes at all are either read or refused")
  func bounds() {
    let deep = Array(String(repeating: "[", count: 100_000).utf8)
    #expect(throws: ExactJSON.Malformed.self) { try ExactJSON.read(deep) }
    let objects = Array(String(repeating: "{\"$object\":", count: 100_000).utf8)
    #expect(throws: ExactJSON.Malformed.self) { try ExactJSON.read(objects) }
    var generator = SystemRandomNumberGenerator()
    let seed = Array(#"{"a":[1,-2.5e3,"\u00e9\n",{"$date":"2026-11-21T08:00:00Z"}],"b":null}"#.utf8)
    for _ in 0..<5000 {
      var bytes = seed
      for _ in 0..<3 { bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255) }
      if let value = try? ExactJSON.read(bytes.prefix(Int.random(in: 0...bytes.count))) {
        _ = try? again(value)
      }
    }
  }

  @Test("Whatever a store holds comes back from its line")
  func lines() throws {
    let at = StoredTime.date(second: 1_795_248_000, millisecond: 7)
    let series = Series(target: "web", metric: "Vitals.CPU", name: "a")
    var entry = QueueEntry(
      id: "e", key: "k", reaction: "r", target: "web", type: "email",
      payload: ["body": "x", "at": .date(at), "half": 1.0, "one": 1], episode: "ep", kind: "firing", option: "ops",
      recipient: "ops@example.org", alternates: ["pager"], after: "before", severity: .critical, created: at)
    entry.state = .leased
    entry.owner = "me"
    entry.epoch = 3
    entry.lease_until = at
    entry.attempts = [.init(at: at, outcome: "again", answer: "450 later")]
    var episode = Episode(
      id: "ep", key: ConditionKey(reaction: "r", target: "web", metric: "Vitals.Disk", element: "/"),
      severity: .warning,
      state: .firing, since: at, value: "93 %", limit: "at most 90 %")
    episode.fired_at = at
    episode.labels = ["role": "web"]
    episode.recent = [.init(at: at, value: "93 %")]
    let bucket = RollUp(type: .hour, start: 1_795_248_000, length: 3600, encoded: [0, 255, 7])
    var counts = QueueCounts()
    (counts.accepted, counts.delivered, counts.merged, counts.dead) = (6, 3, 2, 1)
    let items: [(StorePart, StoreItem)] = [
      (.documents, .document(Document(kind: .targets, id: "web", fields: ["target": "web", "updated": .date(at)]))),
      (.samples, .sample(Sample(series: series, at: at, n: 3, value: ["percent": 1.0, "cores": 2]))),
      (.samples, .sample(Sample(series: Series(target: "w", metric: "Logs"), type: .event, at: at, error: "no"))),
      (.roll_ups, .rollUp(series, bucket)),
      (
        .roll_ups,
        .rollUpState(
          series,
          RollUpState(
            through: SampleKey(second: 5, n: 1), open: [bucket], late: [SampleKey(second: 1, n: 0)]))
      ),
      (.episodes, .episode(episode)), (.notifications, .entry(entry)), (.counts, .forgotten(counts)),
    ]
    for (part, item) in items {
      let line = try StoreLine.bytes(part, item)
      #expect(line.last == 0x0A)
      let value = try ExactJSON.read(line)
      #expect(value["part"] == .string(part.rawValue))
      #expect(try StoreLine.item(part, value["item"] ?? .null) == item)
    }
    let shown = String(decoding: try StoreLine.bytes(.samples, items[1].1), as: UTF8.self)
    #expect(
      shown == #"""
        {"item":{"metric":"Vitals.CPU","n":3,"name":"a","tag":20261121080000,"target":"web","type":"RT",\#
        "updated":"2026-11-21T08:00:00.007Z","value":{"cores":2,"percent":1.0}},"part":"samples"}

        """#)
  }
}
