internal import App
internal import Model
internal import Testing

@Suite struct DocumentEncoderTests {
  @Test("A document is written with its keys in a fixed order")
  func order() {
    let document = Document(
      kind: .reaction_targets, id: "disk-full",
      fields: [
        "target": ["labels": ["role": "web"]], "reaction": "Range", "updated": "2026-11-21T00:00:00Z", "for": "1m",
        "metrics": [
          "Vitals.Disk": ["max": 90, "where": ["mount": "/"]], "Vitals.CPU": [["name": "a", "max": 1.5], [:]],
        ],
        "notify": ["ops", ["pager", "pager-backup"]], "labels": [:], "resolved": true, "runbook": "https://wiki/x",
      ])
    #expect(
      DocumentEncoder().yaml(document) == """
        kind: reaction_target
        _id: disk-full
        reaction: Range
        target:
          labels:
            role: web
        for: 1m
        labels: {}
        metrics:
          Vitals.CPU:
            - max: 1.5
              name: a
            - {}
          Vitals.Disk:
            max: 90
            where:
              mount: /
        notify: [ops, [pager, pager-backup]]
        resolved: true
        runbook: "https://wiki/x"
        updated: "2026-11-21T00:00:00Z"

        """)
  }

  @Test("Several documents stand after lines of ---")
  func several() {
    #expect(DocumentEncoder().yaml([["a": 1], ["b": nil]]) == "---\na: 1\n---\nb: null\n")
    #expect(DocumentEncoder().yaml([Value]()) == "")
  }

  @Test("Whatever text it is, it reads back as the same text, and no control character is written raw")
  func texts() {
    let texts = [
      "", " ", "yes", "No", "on", "null", "~", "true", "1", "1.5", "1e3", "0x1F", "0o17", "0755", ".5", "-1", "+1",
      ".nan", "1:30",
      "2026-11-21", "10s", "5m", "7d", "192.0.2.10", "::1", "a: b", "a:b", "a #b", "#", "- a", "-", "?", "? a", "*a",
      "&a", "!a", "|",
      ">", "%a", "@a", "`a", "'a'", "\"a\"", "a\\b", "a\nb", "a\tb", "a\r\nb", "[a]", "{a}", "a,b", "é", "😀",
      "\u{202E}abc", "\u{1b}[31m",
      "\u{7f}", "\u{85}", "\u{2028}", "\u{E000}", "\u{F8F0}1\u{F8F0}x", "a ", " a", "---", "...", "--- a",
      "<<", "=", "k: [", "y", "n",
      "1_000", "infinity", "/var/log", "SHA256:abc", "ops@example.org", String(repeating: "x", count: 500),
    ]
    for text in texts {
      for value: Value in [
        ["kind": .string(text)], ["kind": [.string(text), [.string(text)]]], [text.isEmpty ? "x" : text: "v"],
      ] {
        let yaml = DocumentEncoder().yaml([value])
        let read = DocumentText(Array(yaml.utf8), file: "f")
        #expect(read.parts.map(\.value) == [value], "\(text.debugDescription): \(yaml)")
        #expect(read.problems == [], "\(yaml)")
        #expect(
          !yaml.unicodeScalars.contains {
            ($0.value < 32 && $0 != "\n") || (0x7F...0x9F).contains($0.value) || $0.value == 0x202E
          })
      }
    }
  }

  @Test("Random values read back as they were", arguments: 0..<20 as Range<UInt64>)
  func random(seed: UInt64) {
    var random = SeededNumbers(seed: seed)
    for _ in 0..<20 {
      let value = Value.object(["v": Value.random(depth: 5, &random)])
      let yaml = DocumentEncoder().yaml([value])
      #expect(DocumentText(Array(yaml.utf8), file: "f").parts.map(\.value) == [value], "seed \(seed): \(yaml)")
    }
  }
}

extension Value {
  static func random(depth: Int, _ random: inout SeededNumbers) -> Value {
    switch Int.random(in: 0..<(depth > 0 ? 9 : 6), using: &random) {
    case 0: nil
    case 1: .bool(.random(using: &random))
    case 2: .int(.random(in: .min ... .max, using: &random))
    case 3: .double(Double(Int.random(in: -1000...1000, using: &random)) / 8 + 0.0625)
    case 4: .string(["a", "yes", "x: y", "1", "multi\nline", "ünï", "- x"].randomElement(using: &random) ?? "")
    case 5: .string("text")
    case 6: .array((0..<Int.random(in: 0..<4, using: &random)).map { _ in .random(depth: depth - 1, &random) })
    default:
      .object(
        Dictionary(
          (0..<Int.random(in: 0..<4, using: &random)).map { ("key \($0)", .random(depth: depth - 1, &random)) },
          uniquingKeysWith: { $1 }))
    }
  }
}

/// The same numbers for the same seed (SplitMix64).
struct SeededNumbers: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
