internal import Foundation
internal import Model
internal import TestKit
internal import Testing

/// The program's commands where no service runs: what works on files and on the store itself, and what does not.
@Suite(.serialized) struct CommandLineTests {
  private let program: SyscrapProcess
  init() throws { program = try SyscrapProcess("log: {level: info}") }

  private static let broken = """
    kind: target
    target: box
    host: 127.0.0.1
    prt: 22
    ---
    kind: reaction_target
    _id: memory
    reaction: Range
    target: fine
    metrics:
      Vitals.RAM: {max: high}
    ---
    {kind: target, target: fine, labels: {role: web}}
    """
  /// What is said about it, with the field, the reason, and a hint where one is known.
  private static let complaints = [
    #"targets box: prt: unknown field "prt" (did you mean port?)"#,
    #"reaction_targets memory: metrics.Vitals.RAM.max: expected a number, found the text "high""#,
  ]
  private static let good = """
    {kind: target, target: web-1, host: 127.0.0.1, port: 9, labels: {role: web, rack: a}}
    ---
    {kind: target, target: db-1, host: 127.0.0.1, port: 9, labels: {role: db}}
    ---
    {kind: aggregation_options, _id: generic, target: generic, metrics: {Vitals.RAM: {interval: 10s}}}
    """

  @Test("'check' names every mistake with file, line, document, field, reason and hint, and exits with 1")
  func check() async throws {
    let file = try program.directory.write("broken.yaml", Self.broken)
    let checked = try await program.run(["check", "-f", file])
    #expect(checked.status == 1)
    #expect(checked.lines == ["\(file):4: \(Self.complaints[0])", "\(file):11: \(Self.complaints[1])"])
    #expect(checked.errorText == "3 documents, 2 refused, 0 warnings\n")

    let good = try program.directory.write("good.yaml", Self.good)
    let clean = try await program.run(["check", "-f", good])
    #expect(clean.status == 0)
    #expect(clean.text == "")
    #expect(clean.errorText == "3 documents, 0 refused, 0 warnings\n")

    let soft = try program.directory.write(
      "soft.yaml", "{kind: reaction_target, _id: r, reaction: Presence, target: nobody, metrics: {Connection: {}}}\n")
    let warned = try await program.run(["check", "-f", soft])
    #expect(warned.status == 7)
    #expect(warned.lines.count == 1)
    #expect(warned.lines.first?.hasPrefix("warning: \(soft):1: reaction_targets r: target: ") == true, "\(warned.text)")
  }

  @Test(
    "A broken configuration is named by every command with file, line, field and hint, and does not start a service")
  func brokenConfiguration() async throws {
    try program.configure("# a comment\nssh: {usr: monitor}\npopulation: {step: soon}")
    let lines = [
      #":4: configuration: ssh.usr: unknown field "usr" (did you mean user?)"#, ":5: configuration: population.step: ",
    ]
    for arguments in [["check"], ["get", "targets"], ["run"], ["tree"], ["doctor"]] {
      let done = try await program.run(arguments)
      #expect(done.status == 1, "\(arguments)")
      let said = done.text + done.errorText
      for line in lines { #expect(said.contains(program.configurationPath + line), "\(arguments): \(said)") }
    }
    let missing = try await program.run(["check", "--config", "/nowhere/syscrap.yaml"], usesConfiguration: false)
    #expect(missing.status == 1)
    #expect(missing.text.contains("/nowhere/syscrap.yaml"))
  }

  @Test("'apply' stores what is right, refuses the rest with 1, changes nothing on a dry run, and then nothing more")
  func apply() async throws {
    let file = try program.directory.write("broken.yaml", Self.broken)
    let outcomes = ["targets/box refused", "reaction_targets/memory refused", "targets/fine created"]
    let dry = try await program.run(["apply", "-f", file, "--dry-run"])
    #expect(dry.status == 1)
    #expect(dry.lines == outcomes)
    #expect(dry.errorText.hasSuffix("nothing was changed (--dry-run)\n"))
    #expect(try await program.run(["get", "targets", "-o", "name"]).text == "")

    let applied = try await program.run(["apply", "-f", file])
    #expect(applied.status == 1)
    #expect(applied.lines == outcomes)
    #expect(
      applied.errorText
        == "\(file):4: \(Self.complaints[0])\n\(file):11: \(Self.complaints[1])\n")
    #expect(try await program.run(["get", "targets", "-o", "name"]).lines == ["targets/fine"])

    let good = try program.directory.write("good.yaml", Self.good)
    let first = try await program.run(["apply", "-f", good])
    #expect(first.status == 0)
    #expect(first.lines == ["targets/web-1 created", "targets/db-1 created", "aggregation_options/generic created"])
    let second = try await program.run(["apply", "-f", "-"], input: Self.good)
    #expect(second.status == 0)
    #expect(
      second.lines == ["targets/web-1 unchanged", "targets/db-1 unchanged", "aggregation_options/generic unchanged"])
    let json = #"[{"kind": "target", "target": "web-1", "host": "127.0.0.1", "port": 10}]"#
    #expect(try await program.run(["apply", "-f", "-"], input: json).lines == ["targets/web-1 changed"])
    let none = try await program.run(["apply", "-f", program.directory.file("nowhere")])
    #expect(none.status == 1)
    #expect(none.errorText.contains("nowhere"))
  }

  @Test("'diff' exits with 4 and shows what would change, with 0 when nothing would")
  func diff() async throws {
    let new = try await program.run(["diff", "-f", "-"], input: Self.good)
    #expect(new.status == 4)
    #expect(new.lines.contains("+ target: web-1"))
    #expect(try await program.run(["apply", "-f", "-"], input: Self.good).status == 0)
    let same = try await program.run(["diff", "-f", "-"], input: Self.good)
    #expect(same.status == 0)
    #expect(same.text == "")
    let edited = Self.good.replacing("interval: 10s", with: "interval: 20s")
    let changed = try await program.run(["diff", "-f", "-"], input: edited)
    #expect(changed.status == 4)
    #expect(changed.lines.first == "aggregation_options/generic")
    #expect(changed.lines.filter { $0.hasPrefix("- ") } == ["-     interval: 10s"])
    #expect(changed.lines.filter { $0.hasPrefix("+ ") } == ["+     interval: 20s"])
  }

  @Test("'get' writes tables, wide tables, JSON, YAML and names, by label and by name; nothing is 0, nobody is 3")
  func get() async throws {
    #expect(try await program.run(["apply", "-f", "-"], input: Self.good).status == 0)
    let table = try await program.run(["get", "targets"])
    #expect(table.lines.map { $0.split(separator: " ").first } == ["NAME", "db-1", "web-1"])
    let wide = try await program.run(["get", "target", "-o", "wide"])
    #expect(wide.lines.first?.contains("LABELS") == true)
    #expect(wide.text.contains(#""rack":"a""#))
    let json = try await program.run(["get", "targets", "web-1", "-o", "json"])
    let documents = try #require(try Value(json: json.output).elements)
    #expect(documents.count == 1)
    #expect(
      documents.first == [
        "kind": "target", "_id": "web-1", "target": "web-1", "host": "127.0.0.1", "port": 9,
        "labels": ["role": "web", "rack": "a"],
      ])
    // What 'get' writes 'apply' reads.
    let yaml = try await program.run(["get", "targets", "-o", "yaml"])
    let again = try await program.run(["apply", "-f", "-"], input: yaml.text)
    #expect(again.status == 0, "\(again.errorText)")
    #expect(again.lines.sorted() == ["targets/db-1 unchanged", "targets/web-1 unchanged"])
    let labelled = try await program.run(["get", "targets", "-l", "role=db", "-o", "name"])
    #expect(labelled.lines == ["targets/db-1"])
    let both = try await program.run(["get", "targets", "-l", "role=web", "-l", "rack=b", "-o", "name"])
    #expect(both.status == 0)
    #expect(both.text == "")
    for kind in ["notifications", "episodes", "problems", "reaction", "aggregations"] {
      let empty = try await program.run(["get", kind])
      #expect(empty.status == 0, "\(kind): \(empty.errorText)")
      #expect(empty.text == "")
    }
    #expect(try await program.run(["get", "reaction", "-o", "json"]).text == "[]\n")
    let nobody = try await program.run(["get", "target", "nobody"])
    #expect(nobody.status == 3)
    #expect(nobody.errorText == "there is nothing named \"nobody\" among the targets\n")
  }

  @Test("'delete' takes a document away; what is not there is 3, what the service writes is 2")
  func delete() async throws {
    #expect(try await program.run(["apply", "-f", "-"], input: Self.good).status == 0)
    let dry = try await program.run(["delete", "target", "web-1", "--dry-run"])
    #expect(dry.status == 0)
    #expect(dry.text == "target/web-1 would be deleted\n")
    #expect(try await program.run(["delete", "target", "web-1"]).text == "target/web-1 deleted\n")
    let gone = try await program.run(["delete", "target", "web-1"])
    #expect(gone.status == 3)
    #expect(gone.errorText == "there is nothing named \"web-1\" among the targets\n")
    #expect(try await program.run(["get", "targets", "-o", "name"]).lines == ["targets/db-1"])
    #expect(try await program.run(["delete", "notification", "x"]).status == 2)
  }

  @Test(
    "Commands that need a service say with 3 that none runs, and how to start one",
    arguments: [
      ["tree"], ["top"], ["describe", "target", "box"], ["history", "box", "Vitals.RAM"],
      ["exec", "box", "--", "true"],
      ["notify", "test", "ops"], ["queue", "retry", "x"], ["queue", "drop", "x"], ["login"],
    ])
  func noService(_ arguments: [String]) async throws {
    let done = try await program.run(arguments)
    #expect(done.status == 3)
    #expect(done.text == "")
    #expect(done.errorText.contains("syscrap run"), "\(done.errorText)")
  }

  @Test(
    "A wrong command line is 2, with a message and no result",
    arguments: [
      ["bogus"], ["get"], ["get", "targets", "--colour"], ["get", "targets", "-o", "xml"], ["get", "nonsense"],
      ["get", "targets", "-l", "role"], ["get", "targets", "--limit", "0"], ["exec", "box"], ["apply"],
      ["history", "box", "Vitals.RAM", "--since", "soon"], ["queue", "ls", "--state", "lost"], ["trust"],
      ["run", "--fast"],
    ])
  func wrongUsage(_ arguments: [String]) async throws {
    let done = try await program.run(arguments, usesConfiguration: arguments != ["trust"])
    // A command with subcommands shows its help.
    #expect(done.status == (arguments == ["trust"] ? 0 : 2), "\(done.errorText)")
    if done.status == 2 {
      #expect(done.text == "")
      #expect(!done.errorText.isEmpty)
    }
  }

  @Test("'queue ls' and 'queue show' read the store: none is 3 and none is made, an empty queue is no failure")
  func queue() async throws {
    let nothing = try await program.run(["queue", "ls"])
    #expect(nothing.status == 3)
    #expect(nothing.errorText.contains("there is no store yet"), "\(nothing.errorText)")
    #expect(!FileManager.default.fileExists(atPath: program.stateDirectory))
    #expect(try await program.run(["apply", "-f", "-"], input: Self.good).status == 0)
    let list = try await program.run(["queue", "ls"])
    #expect(list.status == 0)
    #expect(list.errorText == "none\n")
    let show = try await program.run(["queue", "show", "x"])
    #expect(show.status == 3)
    #expect(show.errorText == "there is nothing named \"x\" among the notifications\n")
  }

  @Test("Completion scripts for bash, zsh and fish are what those shells accept", arguments: ["bash", "zsh", "fish"])
  func completion(_ shell: String) async throws {
    let script = try await program.run(["--generate-completion-script", shell], usesConfiguration: false)
    #expect(script.status == 0)
    for word in ["quick", "notify", "queue", "trust"] { #expect(script.text.contains(word)) }
    let path = "/usr/bin/\(shell)"
    if FileManager.default.isExecutableFile(atPath: path) {
      let file = try program.directory.write("completion", script.text)
      _ = try await ManagedProcess.run([path, "-n", file])
    }
  }

  @Test("The environment overrides the file, and help and version are results")
  func environment() async throws {
    let elsewhere = program.directory.file("elsewhere.db")
    let done = try await program.run(
      ["apply", "-f", "-"], input: Self.good, environment: ["SYSCRAP_STORE": "sqlite:\(elsewhere)"])
    #expect(done.status == 0)
    #expect(FileManager.default.fileExists(atPath: elsewhere))
    #expect(try await program.run(["get", "targets", "-o", "name"]).text == "")
    let wrong = try await program.run(["check"], environment: ["SYSCRAP_LOG_LEVEL": "warn"])
    #expect(wrong.status == 1)
    #expect(wrong.text.contains("$SYSCRAP_LOG_LEVEL: configuration: log.level: "), "\(wrong.text)")
    let version = try await program.run(["--version"], usesConfiguration: false)
    #expect(version.status == 0)
    #expect(version.text.split(separator: ".").count == 3)
    let help = try await program.run(["get", "--help"], usesConfiguration: false)
    #expect(help.status == 0)
    #expect(help.text.contains("USAGE: syscrap get"))
  }

  @Test("On a terminal there is colour unless NO_COLOR is set, and control characters from outside are escaped")
  func terminal() async throws {
    // The name of a metric may be anything; of a label it may not.
    let applied = try await program.run(
      ["apply", "-f", "-"],
      input: #"""
        {"kind": "aggregation_options", "_id": "t", "target": "generic", "metrics": {"\u001b[31mred\u009b2J\u0007": {}}}
        ---
        {"kind": "target", "target": "t", "host": "127.0.0.1", "labels": {"note": "\u001b[31mred"}}
        """#)
    #expect(applied.lines == ["aggregation_options/t created", "targets/t refused"])
    #expect(!applied.errorText.unicodeScalars.contains("\u{1B}"))
    let coloured = try await program.run(["get", "aggregation_options"], isOnTerminal: true)
    #expect(coloured.text.contains("\u{1B}[1mNAME"))
    #expect(!coloured.text.contains("\u{1B}[31mred"))
    #expect(coloured.text.contains(#"\x1b[31mred\x9b2J\x07"#), "\(coloured.text)")
    #expect(!coloured.text.unicodeScalars.contains("\u{9B}"))
    #expect(!coloured.text.unicodeScalars.contains("\u{07}"))
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
      let plain = try await program.run(
        ["get", "aggregation_options"], environment: [name: value], isOnTerminal: true)
      #expect(!plain.text.unicodeScalars.contains("\u{1B}"), "\(name)")
      #expect(plain.text.contains("NAME"))
    }
    let piped = try await program.run(["get", "aggregation_options"])
    #expect(!piped.text.unicodeScalars.contains { $0.value < 32 && $0 != "\n" })
    // In JSON everything is there, as JSON writes it.
    let json = try await program.run(["get", "aggregation_options", "-o", "json"])
    #expect(!json.text.unicodeScalars.contains { $0.value < 32 && $0 != "\n" })
    #expect(
      try Value(json: json.output).elements?.first?["metrics"]?.fields?.keys.first == "\u{1B}[31mred\u{9B}2J\u{07}")
  }
}
