internal import App
internal import Foundation
internal import Model
internal import TestKit
internal import Testing

@Suite struct DocumentFilesTests {
  private static let base = PathBase(folder: "/etc/syscrap", home: "/home/me")

  /// The lines that `check` prints for one text.
  private func check(_ yaml: String, available: Availability = .everything, isJSON: Bool = false) -> [String] {
    DocumentFiles.read(Array(yaml.utf8), file: "a.yaml", isJSON: isJSON, base: Self.base).check(available: available)
      .problems.map(\.description)
  }

  @Test("Every line that check prints has file, line, document, field, reason and hint")
  func golden() {
    let yaml = """
      # The web servers
      kind: target
      target: web-1
      port: '22'
      ---
      kind: aggregation_options
      target: generic
      metrics:
        Vitals.CPU: {interval: 10 seconds}
        Vitals:
          RAM:
            intervall: 5s
        Vitals.Dusk: {}
        Logs: {files: [/var/log/syslog]}
      ---
      kind: reaction_target
      _id: disk-full
      reaction: Range
      target: [web-1, web-2]
      metrics:
        Vitals.Disk: {max: 90, field: percnt}
      notify: [ops,
        [pager,
         5]]
      ---
      - kind: notification_options
        _id: ops
        type: email
        to: ops@example.org
        relay: smtp://syscrap:hunter2@mail.example.org
      - {kind: reaction_target, _id: r2, reaction: Presence, metrics: [Connection], notify: [opps, ops2]}
      - {kind: reaction_target, _id: r3, reaction: Presence, metrics: [Connection], target: web-3}
      - kind: targat
      ---
      kind: target
       target: web-9
      """
    let now = Availability(
      metrics: ["Vitals.CPU", "Vitals.RAM", "Vitals.Disk"], reactions: ["Range", "Presence"], notifiers: ["email"])
    #expect(
      check(yaml, available: now) == [
        "a.yaml:4: targets web-1: port: expected a whole number from 1 to 65535, found the text \"22\" (write it without quotes)",
        "a.yaml:9: aggregation_options generic: metrics.Vitals.CPU.interval: expected a duration, found the text \"10 seconds\" (write 10s)",
        "a.yaml:12: aggregation_options generic: metrics.Vitals.RAM.intervall: unknown field \"intervall\" (did you mean interval?)",
        "a.yaml:13: aggregation_options generic: metrics.Vitals.Dusk: there is no metric \"Vitals.Dusk\" (did you mean Vitals.Disk?)",
        "a.yaml:14: aggregation_options generic: metrics.Logs: Logs is not available in this version (available: Vitals.CPU, Vitals.Disk, Vitals.RAM)",
        "a.yaml:21: reaction_targets disk-full: metrics.Vitals.Disk.field: Vitals.Disk has no field \"percnt\" (did you mean percent?)",
        "a.yaml:24: reaction_targets disk-full: notify[1][1]: expected text, found the number 5 (write it in quotes: \"5\")",
        "a.yaml:30: notification_options ops: relay: the URI carries a password (write username and password_file beside it, and the URI without them)",
        "a.yaml:31: reaction_targets r2: metrics[0]: Connection is not available in this version (available: Vitals.CPU, Vitals.Disk, Vitals.RAM)",
        "a.yaml:31: reaction_targets r2: notify[0]: there is no notification_options \"opps\" (there are none yet)",
        "a.yaml:31: reaction_targets r2: notify[1]: there is no notification_options \"ops2\" (there are none yet)",
        "a.yaml:32: reaction_targets r3: metrics[0]: Connection is not available in this version (available: Vitals.CPU, Vitals.Disk, Vitals.RAM)",
        "a.yaml:32: reaction_targets r3: target: there is no target \"web-3\" (known: generic)",
        "a.yaml:33: document: kind: unknown kind: the text \"targat\" (did you mean target?)",
        "a.yaml:36: file: not valid YAML: mapping values are not allowed in this context (check the indentation; text with a colon and a space in it needs quotes)",
      ])
  }

  @Test("A document with a mistake harms no other one of its file")
  func keepsTheRest() {
    let files = DocumentFiles.read(
      Array(
        "kind: target\ntarget: a\n---\n{ broken\n---\nkind: target\ntarget: b\n...\n%YAML 1.1\n---\nkind: target\ntarget: c\n"
          .utf8),
      file: "f", base: Self.base)
    #expect(files.documents.map(\.id) == ["a", "b", "c"])
    #expect(files.documents.map(\.origin) == ["f:1", "f:6", "f:11"])
    #expect(files.problems.map(\.line) == [5])
  }

  @Test("A field that stands twice is named with its path, and its document is refused")
  func repeated() {
    #expect(
      check("kind: target\ntarget: a\nlabels:\n  role: web\n  'az': b\n  role: db\n  'az': c\nport: 22\nport: 23\n")
        == [
          "a.yaml:4: targets a: labels.role: the field \"role\" stands twice (keep one of them)",
          "a.yaml:5: targets a: labels.az: the field \"az\" stands twice (keep one of them)",
          "a.yaml:8: targets a: port: the field \"port\" stands twice (keep one of them)",
        ])
    #expect(
      check("{\"kind\":\"target\",\"target\":\"a\",\"port\":1,\"port\":2}", isJSON: true)
        == ["a.yaml:1: targets a: port: the field \"port\" stands twice (keep one of them)"])
  }

  @Test(
    "Syntax errors name the line and say what to do",
    arguments: [
      ("kind: target\n\ttarget: a\n", 2, "indent with spaces, not with tabs"),
      ("kind: target\ntarget: @a\n", 2, "put text that begins with @ in quotes"),
      ("kind: target\ntarget: [a, b\n", 3, "check brackets, braces and commas"),
      ("kind: target\ntarget: 'a\n", 3, "close the quotes"),
      ("kind: target\ntarget: *.log\n", 2, "put text that begins with * or & in quotes"),
      ("kind: target\nnotable: a: b\n", 2, "check the indentation; text with a colon and a space in it needs quotes"),
      ("kind: target\ntarget: a\nnonsense\n", 4, "write name: value"),
    ] as [(String, Int, String)])
  func syntax(yaml: String, line: Int, hint: String) {
    let problems = DocumentFiles.read(Array(yaml.utf8), file: "f", base: Self.base).problems
    #expect(problems.map(\.line) == [line])
    #expect(problems.map(\.hint) == [hint])
    #expect(problems.allSatisfy { $0.reason.hasPrefix("not valid YAML: ") && $0.file == "f" })
  }

  @Test("JSON is read with its lines, with escapes of two halves and with tabs")
  func json() {
    let files = DocumentFiles.read(
      Array(
        "[\n\t{\"kind\": \"target\", \"target\": \"a\",\n\t \"labels\": {\"x\": \"\\ud83d\\ude00 \\\\ud83d \\u00e9\\/\"}, \"port\": -1}\n]"
          .utf8),
      file: "a.json", isJSON: true, base: Self.base)
    #expect(files.documents.map { $0.fields["labels"]?["x"]?.text ?? "" } == ["😀 \\ud83d é/"])
    #expect(files.check().problems.map(\.description) == ["a.json:3: targets a: port: -1 is outside 1 to 65535"])
  }

  @Test("Scalars mean what YAML's core schema says; yes and no stay text")
  func scalars() {
    let yaml = """
      kind: target
      a: 1
      b: 1.5
      c: 1e3
      d: true
      e: ~
      f: '1'
      g: yes
      h: 0755
      i: 0x1F
      j: .nan
      k: 99999999999999999999
      l: 192.0.2.10
      m: 2026-11-21
      n: !!str 5
      o: "true"
      p: -3
      q: 1:30
      r: +.5
      s: |
        two
        lines
      """
    let fields = DocumentFiles.read(Array(yaml.utf8), file: "f", base: Self.base).documents.first?.fields ?? [:]
    #expect(fields["j"]?.number?.isNaN == true)
    #expect(
      fields.filter { $0.key != "j" } == [
        "a": 1, "b": 1.5, "c": 1000.0, "d": true, "e": nil, "f": "1", "g": "yes", "h": "0755", "i": 31,
        "k": .double(1e20), "l": "192.0.2.10", "m": "2026-11-21", "n": "5", "o": "true", "p": -3,
        "q": "1:30", "r": 0.5, "s": "two\nlines\n",
      ])
  }

  @Test("Anchors, aliases and merged maps work")
  func aliases() {
    let yaml = """
      - &web {kind: target, target: a, labels: &l {role: web}, port: 2222}
      - {<<: *web, target: b, port: 22}
      - kind: target
        target: c
        labels: *l
      """
    let files = DocumentFiles.read(Array(yaml.utf8), file: "f", base: Self.base)
    #expect(files.problems == [])
    #expect(
      files.check().set.targets == [
        Target(id: "a", name: "a", host: "a", port: 2222, labels: ["role": "web"]),
        Target(id: "b", name: "b", host: "b", port: 22, labels: ["role": "web"]),
        Target(id: "c", name: "c", host: "c", labels: ["role": "web"]),
      ])
  }

  @Test("Aliases that multiply are cut off, as values and as names")
  func bombs() {
    var bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
    for level in 1..<12 {
      bomb += "a\(level): &a\(level) [" + Array(repeating: "*a\(level - 1)", count: 9).joined(separator: ",") + "]\n"
    }
    let values = DocumentFiles.read(Array(bomb.utf8), file: "f", base: Self.base)
    #expect(values.documents == [])
    #expect(values.problems.map(\.reason).contains("the file holds more than 300000 values"))
    for key in ["? *a11\n: 1\n", "*a11 : 1\n", "x: {[*a11]: 1}\n", "x: [? *a11 : 1]\n"] {
      let names = DocumentFiles.read(Array((bomb + key).utf8), file: "f", base: Self.base)
      #expect(names.documents == [])
      #expect(names.problems.map(\.hint) == ["write the name as text"], "\(key)")
    }
  }

  @Test("The deepest text that the parser takes does not end a thread with a small stack")
  func smallStack() async {
    let texts = [
      "a: " + String(repeating: "{a: ", count: 990) + "1" + String(repeating: "}", count: 990),
      "a: " + String(repeating: "[", count: 990) + String(repeating: "]", count: 990),
      String(repeating: "- ", count: 990) + "x",
    ]
    let reasons = await withCheckedContinuation { (continuation: CheckedContinuation<[String], Never>) in
      let thread = Thread {
        let files = texts.map { DocumentFiles.read(Array($0.utf8), file: "f", base: Self.base) }
        continuation.resume(returning: files.flatMap { $0.problems.map(\.reason) })
      }
      thread.stackSize = 256 << 10
      thread.start()
    }
    #expect(reasons == Array(repeating: "nested deeper than 64 levels", count: 3))
  }

  @Test("A file with far too many values is refused before it is composed")
  func tooMany() {
    let yaml = "kind: target\nlabels: [" + String(repeating: "a,", count: 650_000) + "]\n"
    #expect(
      DocumentFiles.read(Array(yaml.utf8), file: "f", base: Self.base).problems.map(\.description) == [
        "f:2: file: the file holds more than 300000 values (split it into several)"
      ])
  }

  @Test("A file of 2,000 targets is read, each with its own line")
  func fleet() {
    let yaml = (0..<2000).map { "---\nkind: target\ntarget: t\($0)\nlabels: {role: web}\n" }.joined() + "port: x\n"
    let (set, problems) = DocumentFiles.read(Array(yaml.utf8), file: "f", base: Self.base).check()
    #expect(set.targets.count == 1999)
    #expect(problems.map(\.line) == [8001])
  }

  @Test("Nesting is bounded, in flow and in block style")
  func deep() {
    for yaml in [
      "a: " + String(repeating: "[", count: 200) + String(repeating: "]", count: 200),
      String(repeating: "- ", count: 200) + "x",
      String(repeating: "[", count: 100_000),
      "a: " + String(repeating: "{a: ", count: 900) + "1" + String(repeating: "}", count: 900),
    ] {
      let files = DocumentFiles.read(Array(yaml.utf8), file: "f", base: Self.base)
      #expect(files.documents == [])
      #expect(files.problems.contains { $0.reason.contains("nest") || $0.reason.contains("not valid YAML") })
      #expect(files.problems.allSatisfy { $0.line != nil })
    }
  }

  @Test("Text that is not UTF-8, is too large or holds control characters is refused with its line")
  func unreadable() {
    func problems(_ bytes: [UInt8]) -> [String] {
      DocumentFiles.read(bytes, file: "f", base: Self.base).problems.map(\.description)
    }
    #expect(
      problems(Array("a: b\nc: ".utf8) + [0xFF, 0xFE]) == ["f:2: file: the text is not UTF-8 (save the file as UTF-8)"])
    #expect(
      problems(Array(repeating: 97, count: DocumentText.bytes + 1)) == [
        "f: file: the file is larger than 8 MiB (split it into several)"
      ])
    #expect(
      problems(Array("kind: target\na: \u{0}\n".utf8)) == [
        "f:2: file: not valid YAML: control characters are not allowed (remove the character)"
      ])
    #expect(problems([]) == [])
    #expect(problems(Array("# nothing\n---\n---\n".utf8)) == [])
    #expect(
      problems(Array("text".utf8)) == ["f:1: document: expected a document (a map of fields), found the text \"text\""])
  }

  @Test("Relative paths start from the file's folder, ~ is the home, and a target's own paths stay")
  func paths() {
    let yaml = """
      - {kind: target, target: a, identity_file: keys/../a, password_file: ~/p, certificate_file: /c}
      - {kind: notification_options, _id: ops, type: email, password_file: ./secrets/ops, ca_file: ca.pem}
      - {kind: aggregation_options, metrics: {POL.File: {path: run/alive}}}
      """
    let documents = DocumentFiles.read(Array(yaml.utf8), file: "f", base: Self.base).documents
    #expect(
      documents.map(\.fields) == [
        ["target": "a", "identity_file": "/etc/syscrap/a", "password_file": "/home/me/p", "certificate_file": "/c"],
        ["type": "email", "password_file": "/etc/syscrap/secrets/ops", "ca_file": "/etc/syscrap/ca.pem"],
        ["metrics": ["POL.File": ["path": "run/alive"]]],
      ])
  }

  @Test("Folders are read in the order of their names, hidden and other files left out")
  func folders() throws {
    let folder = try TemporaryDirectory("documents")
    try folder.write("b.yaml", "kind: target\ntarget: b\nidentity_file: key\n")
    try folder.write("a.json", "{\"kind\": \"target\", \"target\": \"a\"}")
    try folder.write("c.yml", "kind: target\ntarget: c\nport: x\n")
    try folder.write(".hidden.yaml", "kind: target\ntarget: hidden\n")
    try folder.write("readme.txt", "kind: target\ntarget: text\n")
    let base = PathBase(folder: folder.path, home: nil)
    let files = DocumentFiles.read(["."], base: base)
    #expect(files.documents.map(\.id) == ["a", "b", "c"])
    #expect(files.documents[1].fields["identity_file"]?.text == folder.file("key"))
    #expect(files.check().problems.map(\.file) == ["./c.yml"])
    #expect(files.check().problems.map(\.line) == [3])
    #expect(
      DocumentFiles.read(["nowhere.yaml"], base: base).problems.map(\.description) == [
        "nowhere.yaml: file: there is no such file or folder"
      ])
  }

  @Test("A folder without documents is warned of, and - is standard input")
  func emptyAndStandardInput() throws {
    let folder = try TemporaryDirectory("empty")
    let base = PathBase(folder: folder.path, home: nil)
    #expect(DocumentFiles.read([folder.path], base: base).problems.map(\.level) == [.warning])
    let piped = DocumentFiles.read(
      ["-"], base: base, standardInput: { Array("kind: target\ntarget: a\nport: x\n".utf8) })
    #expect(piped.documents.map(\.id) == ["a"])
    #expect(piped.check().problems.map { "\($0.file ?? ""):\($0.line ?? 0)" } == ["<stdin>:3"])
  }

  @Test("A folder that contains itself ends")
  func loops() throws {
    let folder = try TemporaryDirectory("loop")
    try folder.write("a.yaml", "kind: target\ntarget: a\n")
    try FileManager.default.createSymbolicLink(atPath: folder.file("self"), withDestinationPath: folder.path)
    let files = DocumentFiles.read([folder.path], base: PathBase(folder: "/", home: nil))
    #expect(files.documents.count <= DocumentFiles.levels + 1)
    #expect(files.problems.contains { $0.reason.contains("nested deeper") })
  }

  @Test("Stored documents take part in the check, and files replace them by kind and id")
  func stored() {
    let files = DocumentFiles.read(
      Array(
        "{kind: reaction_target, _id: r, reaction: Presence, metrics: [Connection], target: web-1, notify: [ops]}".utf8),
      file: "f",
      base: Self.base)
    let mail = Document(
      kind: .notification_options, id: "ops", fields: ["type": "email", "to": "a@b", "relay": "smtp://m"])
    let web = Document(kind: .targets, id: "web-1", fields: ["target": "web-1"])
    let old = Document(kind: .reaction_targets, id: "r", fields: ["reaction": "Nonsense"])
    let (set, problems) = files.check(with: [mail, web, old])
    #expect(problems == [])
    #expect(set.reactionTargets.map(\.reaction) == ["Presence"])
  }

  @Test("Two documents of one id are told apart by their places")
  func twice() {
    #expect(
      check("{kind: target, target: a}\n---\n\nkind: target\ntarget: a\n") == [
        "a.yaml:4: targets a: target: another document has the id \"a\", it is taken in a.yaml:1 (each document of a kind has an _id of its own)"
      ])
  }
}
