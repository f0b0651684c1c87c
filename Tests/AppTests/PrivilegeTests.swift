internal import Foundation
internal import Model
internal import Remote
internal import TestKit
internal import Testing

@testable internal import App

/// What `syscrap privileges` prints, and what it finds to be missing or too much.
@Suite struct PrivilegeTests {
  private static func plan(_ metrics: Value, user: String = "monitor") throws -> PrivilegePlan {
    try #require(
      PrivilegePlan(
        of: "box",
        in: [
          ["kind": "target", "target": "box", "host": "127.0.0.1", "user": .string(user)],
          ["kind": "target", "target": "other"],
          ["kind": "aggregation_options", "_id": "box", "target": "box", "metrics": metrics],
          ["kind": "aggregation_options", "_id": "other", "target": "other", "metrics": ["Vitals.Disk": [:]]],
          ["kind": "odd"],
        ], defaultUser: "root"))
  }

  // MARK: The list

  @Test("The list has what the target's own documents use, each line once, under who needs it")
  func list() throws {
    let df = "exec exec /bin/sh -c 'export \"${1}\"; shift 1; exec \"$@\"' sh 'LC_ALL=C' 'df' '-Pk' '/'"
    #expect(
      try Self.plan(["Vitals.RAM": [:], "Vitals.Swap": [:], "Vitals.CPU": false]).list == """
        # What syscrap-gate lets the monitoring do here; made by: syscrap privileges box

        # Host
        path /proc/sys/kernel/random/boot_id
        path /proc/stat
        path /proc/loadavg
        path /etc/os-release
        link /usr/lib/os-release
        path /proc/sys/kernel/osrelease
        path /proc/self/smaps
        link /proc/*/smaps
        \(df)

        # Host, Vitals.Swap
        path /proc/uptime

        # Host, Vitals.RAM, Vitals.Swap
        path /proc/meminfo

        # Vitals.Swap
        path /proc/vmstat

        # syscrap privileges diff
        exec exec /bin/sh -c 'exec "$@"' sh '/usr/local/libexec/syscrap-gate' 'allowed'

        """)
    #expect(try Self.plan([:]).needs.allSatisfy { $0.metrics == ["Host"] })
    #expect(
      try Self.plan(["Vitals.Disk": [:]]).list.contains("\n# Vitals.Disk\npath /proc/mounts\nlink /proc/*/mounts\n"))
    #expect(PrivilegePlan(of: "nobody", in: [], defaultUser: "root") == nil)
  }

  @Test("What the gate has no words for is not in the list")
  func wordless() {
    for path in [
      "", "/", "relative", "/a b", "/a*", "/a?", "/a/../b", "/./a", "/a//b", "/a/", "/é", "/a\n", "/a'",
      "/" + String(repeating: "a", count: 5000),
    ] {
      #expect(PrivilegePlan.lines(for: .read(path: path)) == nil, "\(path)")
    }
    #expect(PrivilegePlan.lines(for: .read(path: "/var/log/a-b_c.d/1:2@x+y=z,%.log"))?.count == 1)
    #expect(PrivilegePlan.lines(for: .run(Command(["cat"], input: [1]))) == nil)
    #expect(PrivilegePlan.lines(for: .run(Command(["a\0"]))) == nil)
    // A newline travels in the line without being one.
    #expect(PrivilegePlan.lines(for: .run(Command(["echo", "a\nb"]))) == nil)
    #expect(PrivilegePlan.lines(for: .run(Command(["echo", "é"])))?.count == 1)
  }

  @Test("A metric that cannot run is named and changes nothing else")
  func unknown() throws {
    let plan = try Self.plan(["Weather": [:], "Vitals.RAM": [["name": "a"], ["name": "b"]]])
    #expect(plan.needs.contains { $0.metrics == ["Host", "Vitals.RAM a", "Vitals.RAM b"] })
    #expect(plan.notes.count == 1 && plan.notes.contains { $0.hasPrefix("Weather cannot run") }, "\(plan.notes)")
  }

  // MARK: The sheet

  private static func sheet(
    _ target: Target, _ directory: TemporaryDirectory, from: String? = nil, known: [TrustDesk.Line] = []
  ) throws -> PrivilegeSheet {
    var configuration = Configuration(base: .current, stateDirectory: directory.path)
    configuration.ssh.identityFiles = [directory.file("default")]
    let plan = PrivilegePlan(target, plan: AggregationPlan(), defaultUser: "monitor")
    return try PrivilegeSheet(plan, configuration, from: from, known: known)
  }

  @Test(
    "The line has the key's public half and nothing of the private one; from is taken only where it cannot break out")
  func sheet() async throws {
    let directory = try TemporaryDirectory("sheet")
    for name in ["default", "own"] {
      _ = try await ManagedProcess.run([
        "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", directory.file(name),
      ])
    }
    func publicHalf(_ name: String) throws -> String {
      try String(contentsOfFile: directory.file(name) + ".pub", encoding: .utf8).trimmingCharacters(in: .newlines)
    }
    var target = Target(id: "box", name: "box", host: "box.example")
    let plain = try Self.sheet(target, directory)
    #expect(
      plain.authorizedKeys == ["restrict,command=\"/usr/local/libexec/syscrap-gate\" \(try publicHalf("default"))"])
    #expect(plain.notes.count == 1 && plain.notes[0].hasPrefix("no key of box.example is known"), "\(plain.notes)")
    target.identityFile = directory.file("own")
    let own = try Self.sheet(target, directory, from: "192.0.2.7,2001:db8::/32,!*.example")
    #expect(
      own.authorizedKeys == [
        "restrict,from=\"192.0.2.7,2001:db8::/32,!*.example\",command=\"/usr/local/libexec/syscrap-gate\" \(try publicHalf("own"))"
      ])
    let secret = try String(contentsOfFile: directory.file("own"), encoding: .utf8).split(separator: "\n").dropFirst(2)
    for line in secret.dropLast() { #expect(!own.text.contains(line) && !own.value.json().contains(line)) }
    for from in ["", "a\"b", "a b", "a\nb", "a\\", "$(id)", "é", String(repeating: "a", count: 1001)] {
      #expect("\(from)") {
        try Self.sheet(target, directory, from: from)
      } throws: {
        ($0 as? OperationError)?.code == .usage
      }
    }
    #expect(own.value["sudoers"] == [])
    // A name in a document cannot begin a line that would be pasted.
    let forged = try Self.sheet(
      Target(id: "x", name: "x\nssh-rsa evil", host: "box.example", user: "a\nb"), directory)
    #expect(!forged.text.contains("\nssh-rsa evil") && !forged.text.contains("\nb"))
    #expect(own.text.contains("# === on box: /etc/sudoers.d/syscrap\n# nothing that is gathered is run through sudo"))
    target.identityFile = nil
    target.usesAgent = true
    target.user = "root"
    let agent = try Self.sheet(target, directory)
    #expect(agent.authorizedKeys.isEmpty)
    #expect(agent.notes.contains { $0.contains("ssh-add -L") } && agent.notes.contains { $0.contains("is root") })
  }

  @Test("With a pin only the pinned key is in the bundle, and what is revoked stays revoked")
  func bundle() throws {
    let directory = try TemporaryDirectory("sheet")
    let lines = [("a", false), ("b", false), ("c", true)].map {
      TrustDesk.Line(text: $0.0, fingerprint: "SHA256:\($0.0)", isRevoked: $0.1)
    }
    var target = Target(id: "box", name: "box", host: "box.example")
    #expect(try Self.sheet(target, directory, known: lines).knownHosts == ["a", "b", "c"])
    target.hostKeyPin = "SHA256:b="
    #expect(try Self.sheet(target, directory, known: lines).knownHosts == ["b", "c"])
  }

  // MARK: The difference

  private static let survey = "=survey\n1001\n=groups\nmonitor adm\n=sudo\n=password\nmonitor L 2026-11-01\n=keys\n"

  /// A host whose account has just this, asked by a check.
  private static func report(
    _ plan: PrivilegePlan, survey: CommandResult, allowed: CommandResult? = nil, refusing refused: Set<String> = [],
    authentication: String = ""
  ) async throws -> PrivilegeCheck.Report {
    let host = ScriptedHost(facts: ConnectionFacts(address: "scripted", authentication: authentication)) { question in
      switch question {
      case .read(let path, _):
        refused.contains(path)
          ? .failed(RemoteError(.protocolError, phase: .command, "\(path): we may not read it."))
          : .content([1], isTruncated: true)
      case .run(PrivilegeCheck.survey): .result(survey)
      case .run(PrivilegePlan.inquiry): allowed.map { .result($0) } ?? .result(CommandResult(status: 127))
      case .run(let command):
        refused.contains(command.arguments[0])
          ? .result(CommandResult(status: 126, errors: Array("syscrap-gate 1: refused: not allowed\n".utf8)))
          : .result(CommandResult(status: 1, errors: Array("df: some complaint\n".utf8)))
      }
    }
    return try await PrivilegeCheck(plan, over: host).report()
  }

  private static func ended(_ status: Int32, _ output: String, _ errors: String = "") -> CommandResult {
    CommandResult(status: status, output: Array(output.utf8), errors: Array(errors.utf8))
  }

  private static let atGate = ended(126, "", "syscrap-gate 1: refused: not allowed: exec\n")

  @Test("Behind a gate with exactly the list nothing is missing and nothing too much")
  func exact() async throws {
    let plan = try Self.plan(["Vitals.Disk": [:]])
    let lines = plan.listGroups.flatMap(\.lines)
    let allowed = Self.ended(0, lines.map { $0 + "\n" }.joined())
    let report = try await Self.report(plan, survey: Self.atGate, allowed: allowed)
    #expect(report.bearing == .gate && report.missing.isEmpty && report.excess.isEmpty)
    #expect(report.unknown.count == 1)
    let wide = Self.ended(0, (lines + ["path /etc/*", "verb ps", "command reboot"]).map { $0 + "\n" }.joined())
    let more = try await Self.report(plan, survey: Self.atGate, allowed: wide)
    #expect(
      more.excess.map(\.what) == [
        "the gate allows: path /etc/*", "the gate allows: verb ps", "the gate allows: command reboot",
      ])
    let endless = Self.ended(0, (1...5000).map { "path /\($0)\n" }.joined())
    let bounded = try await Self.report(plan, survey: Self.atGate, allowed: endless)
    #expect(bounded.excess.count == 200 && bounded.unknown.last == "4800 more findings of excess are left out")
    let silent = try await Self.report(plan, survey: Self.atGate)
    #expect(silent.excess.isEmpty && silent.unknown.count == 2)
  }

  @Test("What is refused is missing for exactly the metrics that ask it")
  func missing() async throws {
    let plan = try Self.plan(["Vitals.Swap": [:], "Vitals.Disk": [:]])
    let report = try await Self.report(
      plan, survey: Self.atGate, refusing: ["/proc/vmstat", "/proc/uptime", "df"])
    #expect(
      report.missing.map { "\($0.what): \($0.metrics.joined(separator: " "))" } == [
        "reading /proc/uptime: Host Vitals.Swap", "running df -Pk /: Host", "reading /proc/vmstat: Vitals.Swap",
      ])
    #expect(report.missing[0].reason == "/proc/uptime: we may not read it.")
    #expect(report.missing[1].reason.hasPrefix("the gate refused it"), "\(report.missing[1].reason)")
    // A program's own complaints are no lack of a privilege; that it is not there is.
    #expect(PrivilegeCheck.trouble(.result(CommandResult(status: 1))) == nil)
    #expect(PrivilegeCheck.trouble(.result(CommandResult(status: nil, signal: "TERM"))) == nil)
    #expect(PrivilegeCheck.trouble(.result(CommandResult(status: 127)))?.isEmpty == false)
  }

  @Test("Where commands are free that is told, with sudo, groups, a password and the key's options")
  func free() async throws {
    let plan = try Self.plan([:])
    let modest = try await Self.report(plan, survey: Self.ended(0, Self.survey))
    #expect(modest.bearing == .free)
    #expect(modest.excess.map(\.what) == ["any command is run"])
    let sudo = """
      Matching Defaults entries for monitor on box:
          env_reset, mail_badpass

      User monitor may run the following commands on box:
          (ALL : ALL) NOPASSWD: ALL
          (root) /usr/bin/gcore
      """
    let key = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
    let own = try #require(AuthorizedKey("ssh-ed25519 \(key) x")).fingerprint
    let generous =
      "=survey\n0\n=groups\nmonitor sudo docker video\n=sudo\n\(sudo)\n=password\nmonitor P 2026-11-01\n=keys\n"
      + "# =survey\nfrom=\"10.0.0.1, restrict\",environment=\"A=restrict\" ssh-ed25519 \(key) syscrap\n"
    let report = try await Self.report(
      plan, survey: Self.ended(0, generous), authentication: "publickey (\(own))")
    #expect(
      report.excess.map(\.what) == [
        "any command is run", "the account monitor has the user id 0", "the account is in the group sudo",
        "the account is in the group docker", "sudo allows: (ALL : ALL) NOPASSWD: ALL",
        "sudo allows: (root) /usr/bin/gcore",
        "the account has a password", "the key may forward ports, agents and displays and have terminals",
      ])
    let good = try await Self.report(
      plan, survey: Self.ended(0, Self.survey + "restrict,from=\"a b\" ssh-ed25519 \(key)\n"),
      authentication: "agent (\(own))")
    #expect(good.excess.count == 1 && good.unknown.isEmpty)
    let elsewhere = try await Self.report(plan, survey: Self.ended(0, Self.survey), authentication: "agent (\(own))")
    #expect(elsewhere.unknown.count == 1)
    let asks = Self.survey.replacing("=sudo\n", with: "=sudo\nsudo: a password is required\n")
    #expect(try await Self.report(plan, survey: Self.ended(0, asks)).unknown.count == 1)
  }

  @Test("Something else before the account is not taken for our gate; root is told from the documents alone")
  func other() async throws {
    let plan = try Self.plan([:], user: "root")
    for survey in [
      Self.ended(0, "welcome\n"), Self.ended(126, "", "no syscrap-gate 1"), Self.ended(1, "=survey\n"),
      Self.ended(1, ""),
      Self.ended(0, "noise\n=survey\n0\n"),
    ] {
      let report = try await Self.report(plan, survey: survey)
      #expect(report.bearing == .other && report.unknown.count == 1)
      #expect(report.excess.map(\.what) == ["the account is root"])
    }
  }

  @Test(
    "Lines of authorized_keys are read as sshd reads them",
    arguments: [
      ("ssh-ed25519 KEY", []), ("restrict ssh-ed25519 KEY c d", ["restrict"]),
      ("Restrict,command=\"a \\\"restrict,b\\\" c\",no-pty ssh-ed25519 KEY", ["restrict", "command", "no-pty"]),
      ("command=\"x,restrict\"\tssh-ed25519  KEY", ["command"]), ("# ssh-ed25519 KEY", nil), ("ssh-rsa KEY", nil),
      ("", nil), ("a b ssh-ed25519 KEY", nil), ("ssh-ed25519", nil), ("restrict \"ssh-ed25519 KEY", nil),
    ] as [(String, [String]?)])
  func authorizedKey(line: String, options: [String]?) {
    let key = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
    #expect(AuthorizedKey(line.replacing("KEY", with: key))?.options == options.map(Set.init))
  }
}
