internal import Model
internal import Testing

@Suite struct DocumentSetTests {
  private func target(_ name: String, _ fields: [String: Value] = [:], id: String? = nil) -> Document {
    document(.targets, fields.merging(["target": .string(name)]) { mine, _ in mine }, id: id ?? name)
  }

  private func range(_ fields: [String: Value], id: String = "r") -> Document {
    document(
      .reaction_targets,
      fields.merging(["reaction": "Range", "metrics": ["Vitals.CPU": ["max": 1]]]) { mine, _ in mine }, id: id)
  }

  private func mail(_ id: String) -> Document {
    document(.notification_options, ["type": "email", "to": "a@b", "relay": "smtp://m"], id: id)
  }

  private func check(_ documents: Document...) -> [String] {
    let (set, problems) = DocumentSet.read(documents)
    #expect(problems == [])
    return set.check().map { "\($0.id) " + lines([$0])[0] }
  }

  @Test("Documents that fit together have no problems")
  func fits() {
    #expect(
      check(
        target("bastion", ["labels": ["role": "jump"]]), target("web-1", ["jump": "bastion", "parents": ["bastion"]]),
        mail("ops"),
        range(["target": ["bastion", "web-1"], "notify": ["ops"]]),
        range(["target": ["labels": ["role": "jump"]]], id: "s")) == [])
  }

  @Test("Receivers that do not exist: refused when none is left, warned of when one is")
  func receivers() {
    #expect(
      check(
        mail("ops"), range(["notify": ["opss"]]), range(["notify": ["ops", ["pager", "ops"]]], id: "s"),
        range(["notify": "op"], id: "t"))
        == [
          "r notify[0]: there is no notification_options \"opss\" (did you mean ops?)",
          "s ~notify[1][0]: there is no notification_options \"pager\" (known: ops)",
          "t notify: there is no notification_options \"op\" (did you mean ops?)",
        ])
    #expect(
      check(range(["notify": []])) == [
        "r ~notify: the list is empty: nobody is told (leave notify out to tell all that match the target)"
      ])
    #expect(
      check(range(["notify": ["x"]])) == ["r notify[0]: there is no notification_options \"x\" (there are none yet)"])
  }

  @Test("Names and labels that match nothing are warned of")
  func selectors() {
    #expect(
      check(
        target("web-1", ["labels": ["role": "web"]]), range(["target": ["web-1", "web-2"]]),
        range(["target": "wbe-1"], id: "s"),
        range(["target": ["labels": ["role": "db"]]], id: "t"), range(["target": ["labels": ["rle": "db"]]], id: "u"))
        == [
          "r ~target[1]: there is no target \"web-2\" (did you mean web-1?)",
          "s ~target: there is no target \"wbe-1\" (did you mean web-1?)",
          "t ~target.labels: no target has these labels (values of role: web)",
          "u ~target.labels: no target has these labels (no target has the label rle; known: role)",
        ])
  }

  @Test("Jump hosts that do not exist and circles of them are refused, each circle at every target in it")
  func jumps() {
    #expect(
      check(
        target("a", ["jump": "b"]), target("b", ["jump": "c"]), target("c", ["jump": "a"]), target("d", ["jump": "a"]),
        target("e", ["jump": "bb"]))
        == [
          "a jump: the jump hosts form a circle: a → b → c → a (end the chain at a host that needs none)",
          "b jump: the jump hosts form a circle: b → c → a → b (end the chain at a host that needs none)",
          "c jump: the jump hosts form a circle: c → a → b → c (end the chain at a host that needs none)",
          "e jump: there is no target \"bb\" (did you mean b?)",
        ])
  }

  @Test("Circles of parents are refused, unknown parents are warned of")
  func parents() {
    #expect(
      check(target("a", ["parents": ["x", "b"]]), target("b", ["parents": ["a"]]), target("c", ["parents": "switch"]))
        == [
          "a ~parents[0]: there is no target \"x\" (did you mean a?)",
          "a parents: the parents form a circle: a → b → a (a parent is nearer to us than its child)",
          "b parents: the parents form a circle: b → a → b (a parent is nearer to us than its child)",
          "c ~parents: there is no target \"switch\" (known: a, b, c)",
        ])
  }

  @Test("Names and ids that are taken are refused; the first of them counts")
  func duplicates() {
    var again = range([:])
    again.origin = "b.yaml:7"
    let (set, problems) = DocumentSet.read([
      target("web-1", id: "1"), target("web-1", id: "2"), range(["severity": "info"]), again, target("x"), target("x"),
    ])
    #expect(problems == [])
    let found = set.check()
    #expect(
      lines(found) == [
        "_id: another document has the id \"r\" (each document of a kind has an _id of its own)",
        "target: another document has the id \"x\" (each document of a kind has an _id of its own)",
        "target: the name \"web-1\" is taken by the document \"1\" (names are unique; the address may stand in host)",
      ])
    #expect(found.map(\.level) == [.refused, .refused, .refused])
    #expect(found[0].file == "b.yaml")
    #expect(found[0].line == 7)
    #expect(set.reactionTargets.map(\.severity) == [.info])
  }

  @Test("What the check refuses can be taken out of the set, and nothing else goes")
  func removing() {
    let (set, _) = DocumentSet.read([
      target("a", ["jump": "nowhere"]), target("b"), range(["notify": ["x"]]), mail("ops"),
    ])
    let kept = set.removing(refusedBy: set.check())
    #expect(kept.targets.map(\.name) == ["b"])
    #expect(kept.reactionTargets == [])
    #expect(kept.notificationOptions.map(\.id) == ["ops"])
  }

  @Test("A bad document is left out and harms no other one")
  func keepsTheRest() {
    let (set, problems) = DocumentSet.read([
      target("a", ["port": "x"]), target("b"), document(.reaction_targets, [:], id: "r"),
    ])
    #expect(set.targets.map(\.name) == ["b"])
    #expect(problems.map(\.id) == ["a", "r"])
  }

  @Test("Names in self.notify are checked too")
  func selfNotify() {
    let (set, _) = DocumentSet.read([mail("ops")])
    #expect(
      set.checkNotify([["ops"], ["oops"]], path: "self.notify", kind: "configuration") == [
        Problem(
          .warning, kind: "configuration", id: "", path: "self.notify",
          reason: "there is no notification_options \"oops\"",
          hint: "did you mean ops?")
      ])
  }

  @Test("500 targets in one chain of jump hosts are checked, and those behind more than eight refused")
  func long() {
    var documents = [target("t0")]
    for number in 1..<500 { documents.append(target("t\(number)", ["jump": .string("t\(number - 1)")])) }
    let (set, problems) = DocumentSet.read(documents)
    #expect(problems == [])
    #expect(set.targets.count == 500)
    let refused = set.check()
    #expect(refused.map(\.id).sorted() == (9..<500).map { "t\($0)" }.sorted())
    #expect(Set(refused.map(\.reason)) == ["there are more than 8 jump hosts in a row"])
  }
}
