internal import App
internal import Model
internal import Testing

/// Good documents with random mistakes: nothing may end the process, and whatever is refused must be named.
@Suite struct MutationTests {
  static let seed: UInt64 = 20_261_121
  static let count = 400

  private static let good = """
    - {kind: target, target: web-1, host: 192.0.2.10, port: 22, user: monitor, identity_file: k, jump: bastion, parents: [switch],
       channels: 4, labels: {role: web}, agent: false, password_command: [pass, show]}
    - {kind: aggregation_options, _id: opts, target: {labels: {role: web}}, variable: 5m, limits: {RT: 100, hour: 72h},
       metrics: {Vitals.CPU: {interval: 10s}, Vitals: {RAM: {interval: 5}}, POL.Port: [{name: ssh, port: 22}, {name: db, port: 5432}]}}
    - {kind: aggregation_options, _id: older, metric: Vitals.Disk, target: web-1, options: {interval: 60, variable: 300, limits: {RT: 5}}}
    - {kind: reaction_target, _id: disk, reaction: Range, target: [web-1, bastion], severity: critical, for: 1m, no_data: keep,
       metrics: {Vitals.Disk: {max: 90, field: percent, where: {mount: /}, clear: {max: 80}, times: {n: 3, last: 5}}},
       notify: [ops, [ops, ops]], repeat: 4h, resolved: true, runbook: https://example.org/r}
    - {kind: reaction_target, _id: conn, reaction: Presence, metrics: {Connection: {max_age: 30s}}}
    - {kind: reaction_target, _id: both, reaction: Composed, of: {a: disk, b: conn}, when: a and not b}
    - {kind: reaction_target, _id: old, reaction: Range, options: {metrics: [Vitals.CPU], cpu_max: 90}}
    - {kind: notification_options, _id: ops, type: email, to: [ops@example.org], from: s@example.org, relay: smtp://mail:587,
       username: u, password_file: p, template: {subject: s, body: b}, timeout: 10s, rate: 10/m}
    - {kind: notification_options, _id: hook, type: webhook, url: https://example.org/h, method: POST, secret_file: s}
    """
  private static let others = "---\n{kind: target, target: bastion}\n---\n{kind: target, target: switch}\n"
  private static let base = PathBase(folder: "/x", home: nil)

  @Test("The documents that are mutated are good before")
  func start() {
    let (set, problems) = DocumentFiles.read(
      Array((Self.others + "---\n" + Self.good).utf8), file: "f", base: Self.base
    ).check()
    #expect(problems == [])
    #expect(set.targets.count == 3)
  }

  @Test(
    "400 mutated documents: no crash, each refused one is named with file, line and field, and the rest of its file counts"
  )
  func mutations() throws {
    let values = DocumentText(Array(Self.good.utf8), file: "f").parts.map(\.value)
    var random = SeededNumbers(seed: Self.seed)
    var refused = 0
    var kinds: [String: Int] = [:]
    for number in 0..<Self.count {
      let value = try #require(values.randomElement(using: &random))
      var mutation = Mutation(random: random)
      let text = mutation.mutate(value)
      random = mutation.random
      kinds[mutation.name, default: 0] += 1
      let bytes = Array((Self.others + "---\n" + text).utf8)
      let files = DocumentFiles.read(bytes, file: "f", base: Self.base)
      let (set, problems) = files.check()
      let context = "seed \(Self.seed), mutation \(number) (\(mutation.name)): \(text.prefix(600))"
      // The neighbours are untouched.
      #expect(Set(set.targets.map(\.name)).isSuperset(of: ["bastion", "switch"]), "\(context)")
      let used = set
      let isUsed =
        used.targets.count > 2 || !used.aggregationOptions.isEmpty || !used.reactionTargets.isEmpty
        || !used.notificationOptions.isEmpty
      let refusals = problems.filter { $0.level == .refused }
      if !isUsed { #expect(!refusals.isEmpty, "\(context)") }
      if !refusals.isEmpty { refused += 1 }
      for problem in problems {
        #expect(
          !problem.path.isEmpty && problem.file == "f" && problem.line != nil && !problem.reason.isEmpty,
          "\(problem) in \(context)")
        #expect(!problem.description.contains("hunter2"), "\(context)")
      }
      // What remains can be worked with.
      for target in used.targets { _ = AggregationPlan.merge(matching: used.aggregationOptions, target: target) }
      #expect(files.check().problems == problems, "\(context)")
    }
    #expect(refused > Self.count / 2, "only \(refused) of \(Self.count) mutations were mistakes: \(kinds)")
    #expect(kinds.count == Mutation.names.count, "\(kinds)")
  }

  @Test("Random bytes and torn files never end the process")
  func torn() {
    var random = SeededNumbers(seed: Self.seed)
    let whole = Array((Self.others + "---\n" + Self.good).utf8)
    for _ in 0..<200 {
      var bytes = Array(whole.prefix(Int.random(in: 0...whole.count, using: &random)))
      for _ in 0..<Int.random(in: 0...8, using: &random) where !bytes.isEmpty {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: .min ... .max, using: &random)
      }
      for isJSON in [false, true] {
        let problems = DocumentFiles.read(bytes, file: "f", isJSON: isJSON, base: Self.base).check().problems
        #expect(problems.allSatisfy { $0.file == "f" && $0.line != nil })
      }
    }
  }
}

/// One random mistake in a document.
struct Mutation {
  var random: SeededNumbers
  var name = ""

  static let names = ["type", "missing", "unknown", "huge", "deep", "twice", "cycle", "secret", "name"]

  mutating func mutate(_ value: Value) -> String {
    name = Self.names.randomElement(using: &random) ?? "type"
    var fields = value.fields ?? [:]
    switch name {
    case "missing": remove(&fields)
    case "unknown":
      fields[["prot", "metric s", "", "ünknown", "$set", "a.b", "min"].randomElement(using: &random) ?? "x"] = wrong()
    case "huge": replace(&fields, with: huge())
    case "deep": replace(&fields, with: deep())
    case "twice":
      let key = fields.keys.sorted().randomElement(using: &random) ?? "kind"
      return text(fields) + "\(Value.string(key).json()): again\n"
    case "cycle":
      fields = ["kind": "target", "target": "web-1", "jump": "web-2"]
      fields[Bool.random(using: &random) ? "jump" : "parents"] = "web-2"
      let back = Bool.random(using: &random) ? "jump: web-1" : "parents: [web-1]"
      return text(fields) + "---\n{kind: target, target: web-2, \(back), port: 0}\n"
    case "secret":
      fields[["password", "token", "secret", "api_key", "passphrase"].randomElement(using: &random) ?? "password"] =
        "hunter2"
      fields["user"] = "smtp://u:hunter2@h"
    case "name":
      for field in ["reaction", "type", "metric", "kind"] where fields[field] != nil {
        fields[field] = .string((fields[field]?.text ?? "") + "x")
        break
      }
    default: replace(&fields, with: wrong())
    }
    return text(fields)
  }

  private func text(_ fields: [String: Value]) -> String { DocumentEncoder().yaml([.object(fields)]) }

  private mutating func wrong() -> Value {
    [
      nil, true, 0, -1, 1.5, .double(.nan), .double(-.infinity), "", "nonsense", "yes", [], [:], ["a", 5, nil],
      ["a": ["b": nil]], [[]],
      .int(.min), "\u{1b}[31m\u{0}", "a: b", "-1s", "99999999999d", ["labels": [:]], ["labels": 5], ["generic"],
    ].randomElement(using: &random) ?? nil
  }

  private mutating func huge() -> Value {
    [
      .int(.max), .double(1e308), .string(String(repeating: "x", count: 70_000)),
      .array(Array(repeating: "a", count: 21_000)),
      .object(Dictionary(uniqueKeysWithValues: (0..<300).map { ("Vitals.\($0)", [:]) })),
      .string(String(repeating: "9", count: 400)),
    ].randomElement(using: &random) ?? nil
  }

  private mutating func deep() -> Value {
    var value: Value = 1
    let isMap = Bool.random(using: &random)
    for _ in 0..<Int.random(in: 3...200, using: &random) { value = isMap ? ["a": value] : [value] }
    return value
  }

  /// Replaces one value at any depth.
  private mutating func replace(_ fields: inout [String: Value], with value: Value) {
    guard let key = fields.keys.sorted().randomElement(using: &random) else { return }
    if case .object(var inner)? = fields[key], !inner.isEmpty, Bool.random(using: &random) {
      replace(&inner, with: value)
      fields[key] = .object(inner)
    } else if case .array(var elements)? = fields[key], !elements.isEmpty, Bool.random(using: &random) {
      let index = Int.random(in: 0..<elements.count, using: &random)
      if case .object(var inner) = elements[index], !inner.isEmpty {
        replace(&inner, with: value)
        elements[index] = .object(inner)
      } else {
        elements[index] = value
      }
      fields[key] = .array(elements)
    } else {
      fields[key] = value
    }
  }

  private mutating func remove(_ fields: inout [String: Value]) {
    guard let key = fields.keys.sorted().randomElement(using: &random) else { return }
    if case .object(var inner)? = fields[key], !inner.isEmpty, Bool.random(using: &random) {
      remove(&inner)
      fields[key] = .object(inner)
    } else {
      fields[key] = nil
    }
  }
}
