internal import Model
internal import Testing

@Suite struct DocumentReadingTests {
  @Test("A document is taken apart into kind, id and fields")
  func takesApart() {
    let reading = Document.read(
      ["kind": "reaction", "_id": "disk-full", "reaction": "Range", "target": "generic"], origin: "a.yaml:1")
    #expect(
      reading.value
        == Document(
          kind: .reaction_targets, id: "disk-full", fields: ["reaction": "Range", "target": "generic"],
          origin: "a.yaml:1"))
    #expect(reading.problems == [])
  }

  @Test("In a collection the kind may be absent, and an ObjectId counts as its hexadecimal digits")
  func inCollection() {
    let reading = Document.read(["_id": ["$oid": "5f43a1"], "target": "web-1"], kind: .targets)
    #expect(reading.value == Document(kind: .targets, id: "5f43a1", fields: ["target": "web-1"]))
  }

  @Test(
    "Without _id an id is made that is the same every time",
    arguments: [
      (["kind": "target", "target": "web-1"], "web-1"),
      (["kind": "aggregation_options", "target": "generic"], "generic"),
      (["kind": "aggregation_options"], "generic"),
      (["kind": "aggregation_options", "metric": "Vitals.CPU", "target": "web-1"], "Vitals.CPU for web-1"),
      (
        ["kind": "reaction_target", "reaction": "Range", "target": ["labels": ["role": "web", "az": "1"]]],
        "Range for az=1,role=web"
      ),
      (["kind": "reaction_target", "reaction": "Range", "target": ["a", "b"]], "Range for a,b"),
      (["kind": "notification_options", "type": "email"], "email for generic"),
    ] as [(Value, String)])
  func derives(value: Value, id: String) {
    #expect(Document.read(value).value?.id == id)
  }

  @Test("Documents that would get the same id are numbered, with a warning; targets are not")
  func unique() {
    let range = document(.reaction_targets, ["reaction": "Range"], id: "Range for generic")
    let target = document(.targets, ["target": "a"], id: "a")
    var documents = [range, range, target, target, document(.reaction_targets, [:], id: "Range for generic 2"), range]
    let problems = Document.makeUnique(&documents, isDerived: [true, true, true, true, false, true])
    #expect(
      documents.map(\.id) == [
        "Range for generic", "Range for generic 3", "a", "a", "Range for generic 2", "Range for generic 4",
      ])
    #expect(
      lines(problems)
        == Array(
          repeating: "~_id: several documents would have the id Range for generic (give each an _id)", count: 2))
  }

  @Test(
    "What is no document is refused",
    arguments: [
      ("text", "expected a document (a map of fields), found the text \"text\""),
      ([], "expected a document (a map of fields), found a list"),
      (["reaction": "Range"], "kind: kind is missing (write kind: reaction_target)"),
      (["metrics": [:]], "kind: kind is missing (write kind: aggregation_options)"),
      (
        [:], "kind: kind is missing (write kind: target | aggregation_options | reaction_target | notification_options)"
      ),
      (["kind": "targett"], "kind: unknown kind: the text \"targett\" (did you mean target?)"),
      (["kind": 5], "kind: unknown kind: the number 5"),
      (
        ["kind": "target", "target": "a", "_id": ""],
        "_id: expected text or an ObjectId, found the text \"\" (at most 256 bytes on one line, not empty)"
      ),
    ] as [(Value, String)])
  func refuses(value: Value, expected: String) {
    let reading = Document.read(value)
    #expect(reading.value == nil)
    #expect(lines(reading.problems) == [expected])
  }

  @Test("A kind that disagrees with the collection is refused")
  func disagrees() {
    #expect(
      lines(Document.read(["kind": "target", "target": "a"], kind: .reaction_targets).problems)
        == [
          "kind: the document says target, but it stands in reaction_targets"
            + " (leave kind out, or move the document to targets)"
        ])
  }

  @Test("A document beyond the bounds is refused and named, however deep or wide it is")
  func bounds() {
    var deep: Value = "x"
    for _ in 0..<500 { deep = ["a": deep] }
    let wide = Value.array(Array(repeating: 1, count: 50_000))
    let long = Value.string(String(repeating: "x", count: 100_000))
    for (fields, expected) in [
      (["target": "a", "labels": deep], "nested deeper than 64 levels"),
      (["target": "a", "labels": wide], "the document holds more than 20000 values"),
      (["target": "a", "labels": ["x": long]], "the text is longer than 64 KiB"),
      (["target": "a", String(repeating: "n", count: 300): 1], "a field's name is longer than 256 bytes"),
    ] as [([String: Value], String)] {
      for kind in DocumentKind.allCases {
        let (set, problems) = DocumentSet.read([document(kind, fields)])
        #expect(problems.contains { $0.reason == expected && $0.level == .refused }, "\(kind) \(expected)")
        #expect(set.targets.isEmpty && set.reactionTargets.isEmpty)
      }
    }
  }

  @Test("A document with very many mistakes keeps a bound of them and counts the rest")
  func manyProblems() {
    var fields: [String: Value] = ["target": "a"]
    for number in 0..<500 { fields["unknown_\(number)"] = 1 }
    let problems = Target.read(document(.targets, fields)).problems
    #expect(problems.count == ProblemList.bound + 1)
    #expect(problems.last?.reason == "400 more problems")
  }
}
