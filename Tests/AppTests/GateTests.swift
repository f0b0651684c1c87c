internal import Foundation
internal import Glibc
internal import Model
internal import Remote
internal import TestKit
internal import Testing

@testable internal import App

/// `deploy/syscrap-gate` as the forced command of a real sshd: what it lets through, and what it does not.
@Suite(.serialized, .enabled(if: SSHServer.isAvailable, "openssh-server is missing")) struct GateTests {
  // MARK: The script itself

  @Test("The gate is under 200 lines, and shellcheck finds nothing in it")
  func tidy() async throws {
    let lines = try String(contentsOfFile: GateRig.source, encoding: .utf8).split(
      separator: "\n", omittingEmptySubsequences: false)
    #expect(lines.count - 1 < 200)
    #expect(FileManager.default.isExecutableFile(atPath: GateRig.source))
    if ProcessInfo.processInfo.environment["CI"] == "true"
      || FileManager.default.fileExists(atPath: "/usr/bin/shellcheck")
    {
      #expect(try await ManagedProcess.run(["shellcheck", "--severity=style", GateRig.source]) == [])
    }
  }

  // MARK: What is monitored

  /// Everything that can be gathered, as the documents would ask for it.
  static func everything() throws -> PrivilegePlan {
    let documents: [Value] = [
      ["kind": "target", "target": "box", "host": "127.0.0.1", "user": "monitor"],
      [
        "kind": "aggregation_options", "_id": "generic", "target": "generic",
        "metrics": .object(
          Dictionary(
            uniqueKeysWithValues: DocumentChecks.standard.available.metrics.filter {
              !MetricCatalogue.always.contains($0)
            }
            .map { ($0, .object([:])) })),
      ],
    ]
    return try #require(PrivilegePlan(of: "box", in: documents, defaultUser: "root"))
  }

  /// Which needs of a plan are not met through the gate.
  static func unmet(_ plan: PrivilegePlan, _ rig: GateRig) async throws -> Set<Question> {
    var unmet: Set<Question> = []
    var files: [(need: Question, path: String, limit: Int)] = []
    for need in plan.needs {
      switch need.question {
      case .read(let path, let limit): files.append((need.question, path, limit))
      case .run(let command):
        let answer = try await rig.ask(try ShellQuoting.line(command))
        if answer.isRefused {
          unmet.insert(need.question)
        } else {
          #expect(answer.status <= 1 && answer.text.contains("1024-blocks"), "\(command): \(answer)")
        }
      }
    }
    let answers = try #require(try await rig.read(files.map { ($0.path, $0.limit) }))
    #expect(answers.count == files.count)
    for (file, answer) in zip(files, answers) {
      if answer.status == "0" {
        #expect(!answer.bytes.isEmpty && answer.bytes.count <= file.limit + 1, "\(file.path)")
      } else {
        #expect(answer.status == "6" && answer.bytes.isEmpty, "\(file.path): \(answer.status)")
        unmet.insert(file.need)
      }
    }
    return unmet
  }

  @Test(
    "All questions of all metrics pass with the list that is printed for them, and nobody can log in otherwise",
    arguments: GateRig.interpreters)
  func metrics(interpreter: String) async throws {
    try await GateRig.with(interpreter: interpreter) { rig in
      let plan = try Self.everything()
      try rig.allow([plan.list])
      #expect(try await Self.unmet(plan, rig) == [])
      #expect(rig.server.acceptedCount == 1)
      #expect(try await rig.ask("version").text == "syscrap-gate 1\n")
      #expect(
        try await rig.ask("allowed").text.split(separator: "\n").map(String.init) == plan.listGroups.flatMap(\.lines))
      // The one command that only works where commands are free.
      #expect(try await rig.ask(try ShellQuoting.line(PrivilegeCheck.survey)).isRefused)
      // The gate asked by the list's own line, as `privileges diff` does.
      let own = try ShellQuoting.line(PrivilegePlan.inquiry).replacing(PrivilegePlan.gatePath, with: rig.gate)
      try rig.allow([plan.list.replacing(PrivilegePlan.gatePath, with: rig.gate)])
      let allowed = try await rig.ask(own)
      #expect(allowed.text.split(separator: "\n").count == plan.listGroups.flatMap(\.lines).count, "\(allowed)")
      #expect(allowed.text.contains("\nexec \(own)\n"))
    }
  }

  @Test("Without one line of the list exactly what needs it is refused")
  func oneLess() async throws {
    try await GateRig.with { rig in
      let plan = try Self.everything()
      let lines = plan.listGroups.flatMap(\.lines)
      #expect(lines.count > 12)
      for line in lines {
        try rig.allow(lines.filter { $0 != line })
        let needing = plan.needs.map(\.question).filter { PrivilegePlan.lines(for: $0)?.contains(line) == true }
        #expect(try await Self.unmet(plan, rig) == Set(needing), "without \(line)")
      }
    }
  }

  @Test("The verbs do what they say", arguments: GateRig.interpreters)
  func verbs(interpreter: String) async throws {
    try await GateRig.with(interpreter: interpreter) { rig in
      let open = rig.directory.file("open")
      try FileManager.default.createDirectory(atPath: open, withIntermediateDirectories: false)
      let bytes = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 7 ^ $0 >> 8) }
      try Data(bytes).write(to: URL(fileURLWithPath: open + "/a.log"))
      try FileManager.default.createSymbolicLink(atPath: open + "/same.log", withDestinationPath: "a.log")
      try FileManager.default.createSymbolicLink(
        atPath: open + "/led.log", withDestinationPath: rig.directory.file("elsewhere"))
      try rig.directory.write("elsewhere", "led")
      try rig.allow([
        "# comment", "", "path \(open)/*.log", "path \(open)/no.txt", "path \(open)",
        "link \(rig.directory.file("elsewhere"))", "verb vitals", "verb disk",
        "verb ps", "verb port", "command twice echo one; echo \"two $0\"", "action note printf '[%s]' \"$1\" \"$#\"",
        "action fail exit 3",
      ])
      for (offset, length) in [
        (0, 10), (1, 1), (65_535, 3), (65_536, 70_000), (199_999, 5), (200_000, 5), (131_073, 0),
      ] {
        let answer = try await rig.ask("read \(open)/a.log \(offset) \(length)")
        #expect(answer.status == 0 && answer.output == Array(bytes[offset...].prefix(length)), "\(offset) \(length)")
      }
      #expect(try await rig.ask("read \(open)/same.log 3 4").output == Array(bytes[3..<7]))
      #expect(try await rig.ask("read \(open)/led.log 0 100").text == "led")
      #expect(try await rig.ask("read \(rig.directory.file("elsewhere")) 0 100").isRefused)
      let missing = try await rig.ask("read \(open)/no.txt 0 1")
      #expect(missing.status == 1 && missing.errorText.hasPrefix("syscrap-gate 1: failed: "), "\(missing)")
      #expect(try await rig.ask("read \(open) 0 1").status == 1)
      let status = try await rig.ask("stat \(open)/a.log")
      #expect(status.text.hasPrefix("size=200000 mtime=") && status.text.hasSuffix("type=regular file\n"), "\(status)")
      #expect(try await rig.ask("stat \(open)").text.hasSuffix("type=directory\n"))
      let age = try await rig.ask("touchage \(open)/a.log").text.split(separator: "\n").first.flatMap { Int($0) }
      #expect(age.map { (0..<300).contains($0) } == true)
      let vitals = try await rig.ask("vitals").text
      for name in ["stat", "loadavg", "meminfo", "vmstat", "uptime", "sys/kernel/random/boot_id"] {
        #expect(vitals.contains("=file /proc/\(name)\n"))
      }
      #expect(vitals.contains("MemTotal:") && vitals.contains("cpu0 "))
      let disk = try await rig.ask("disk").text
      #expect(disk.contains("=df -Pk ") && disk.contains("=df -Pi ") && disk.contains("Mounted on"))
      #expect(try await rig.ask("ps").text.split(separator: " ").first == "PID")
      #expect(try await rig.ask("port \(rig.server.port)").text == "open\n")
      #expect(try await rig.ask("port \(try ManagedProcess.freePort())").text == "closed\n")
      #expect(try await rig.ask("command twice", input: Array("ignored".utf8)).text == "one\ntwo syscrap-gate\n")
      #expect(try await rig.ask("action note Ab_9-").text == "[Ab_9-][1]")
      #expect(try await rig.ask("action note \(String(repeating: "x", count: 64))").status == 0)
      #expect(try await rig.ask("action fail x").status == 3)
      // The reader: sets, limits, what is no file, and requests that go on after a refusal of one path.
      let script =
        "+1 4 \(open)/a.log\n+2 9 \(open)/led.log\n+1 5 \(open)\n+1 5 \(open)/no.txt\n+1 5 /etc/passwd\n1\n-1\n1\n2\n"
      let answer = try await rig.ask("reader \(GateRig.boundary)", input: Array(script.utf8))
      let mark = Array("\n\(GateRig.boundary) ".utf8)
      func end(_ status: String) -> [UInt8] { mark + Array("\(status)\n".utf8) }
      #expect(
        answer.output == Array("syscrap-reader 1 gate\n".utf8) + bytes[0..<5] + end("0") + end("3") + end("1")
          + end("6")
          + Array("led".utf8) + end("0"))
      #expect(answer.status == 0 && answer.errors.isEmpty)
    }
  }

  @Test("What is as large as an answer may be comes whole, and more is not asked for")
  func large() async throws {
    try await GateRig.with { rig in
      let path = rig.directory.file("big")
      try Data(repeating: 7, count: (1 << 20) + 5).write(to: URL(fileURLWithPath: path))
      try rig.allow(["path \(path)"])
      let read = try #require(try await rig.read([(path, 1 << 20)])?.first)
      #expect(read.status == "0" && read.bytes.count == (1 << 20) + 1)
      #expect(try await rig.ask("read \(path) 0 \(1 << 20)").output.count == 1 << 20)
      #expect(try await rig.ask("read \(path) 0 \((1 << 20) + 1)").isRefused)
      #expect(try await rig.read([(path, (1 << 20) + 1)]) == nil)
    }
  }

  // MARK: What is not

  /// A folder that may be read in part, a secret beside it, and links from the one to the other.
  struct Prison: Sendable {
    let rig: GateRig
    var open: String { rig.directory.file("open") }
    var secret: String { rig.directory.file("secret") + "/outside.log" }
    /// Made by whoever can run a command.
    var canary: String { rig.directory.file("canary") }
    static let word = "TOP-SECRET-7041"

    init(_ rig: GateRig) throws {
      self.rig = rig
      let files = FileManager.default
      for folder in ["open", "open/sub", "secret"] {
        try files.createDirectory(atPath: rig.directory.file(folder), withIntermediateDirectories: false)
      }
      for file in [secret, open + "/.hidden.log", open + "/sub/deep.log", open + "/other.txt"] {
        try Data(Self.word.utf8).write(to: URL(fileURLWithPath: file))
      }
      for file in [open + "/a.log", open + "/fixed.txt"] { try Data("fine".utf8).write(to: URL(fileURLWithPath: file)) }
      let links = [
        ("link.log", secret), ("relative.log", "../secret/outside.log"), ("chain.log", "link.log"),
        ("folder.log", rig.directory.file("secret")), ("environment.log", "/proc/self/environ"),
        ("dangling.log", rig.directory.file("secret/none")), ("loop.log", "loop.log"), ("hidden.log", ".hidden.log"),
        ("root.log", "/"), ("shadow.log", "/etc/shadow"), ("deeper.log", "sub/deep.log"),
      ]
      for (name, destination) in links {
        try files.createSymbolicLink(atPath: "\(open)/\(name)", withDestinationPath: destination)
      }
      try files.createSymbolicLink(atPath: rig.directory.file("way"), withDestinationPath: rig.directory.file("secret"))
      try rig.allow([
        "path \(open)/*.log", "path \(open)/fixed.txt", "path \(rig.directory.file("way"))/*.log", "path /proc/stat",
        "verb port", Self.line.map { "exec \($0)" } ?? "", "command hello echo hello", "action note printf '%s' \"$1\"",
      ])
    }

    /// The one line that is let through as a whole.
    static let line = try? ShellQuoting.line(Command(["echo", "allowed"]))

    /// Paths that are not to be read, by whatever verb.
    var paths: [String] {
      [
        secret, "\(open)/link.log", "\(open)/relative.log", "\(open)/chain.log", "\(open)/folder.log",
        "\(open)/folder.log/outside.log", "\(open)/environment.log", "\(open)/dangling.log", "\(open)/loop.log",
        "\(open)/hidden.log", "\(open)/.hidden.log", "\(open)/root.log\(secret)", "\(open)/shadow.log",
        "\(open)/deeper.log", "\(open)/sub/deep.log", "\(open)/other.txt", "\(open)/../secret/outside.log",
        "\(open)/../open/a.log", "\(open)/./a.log", "\(open)//a.log", "/\(open)/a.log", "\(open)/a.log/", "\(open)/",
        "\(open)/..", "\(open)", "\(open)/*", "\(open)/*.log", "\(open)/?.log", "\(open)/[a].log", "\(open)/{a,b}.log",
        "\(open)/A.LOG", "\(open)/a.log\\", "\(open)/\\a.log", "\(open)/$(touch${IFS}\(canary)).log",
        "\(open)/`id`.log",
        "\(open)/a.log;id", "\(open)/а.log", "\(open)/a\u{200B}.log", "\(open)/a.log\u{301}", "\(open)/a.ｌog", "~",
        "~root",
        "open/a.log", "./open/a.log", "../a.log", "a.log", "-", "--", "--help", "-n", "-la", "/", "//", "/..", ".", "*",
        "/*",
        "/proc/stat/", "/proc/./stat", "/proc/self/../stat", "/proc/self/environ", "/proc/1/environ", "/etc/shadow",
        "\(rig.directory.file("way"))/outside.log", "%2e%2e/secret", "/proc/stat%00", "@", ":", "=", "''",
        "\"\(secret)\"",
      ]
    }

    /// Whole commands that must all be refused.
    var commands: [String] {
      let line = Self.line ?? ""
      return [
        "", "cat \(secret)", "sh", "/bin/sh -i", "bash -c id", "sh -c 'touch \(canary)'", "exec touch \(canary)",
        "eval touch \(canary)", "version;touch \(canary)", "version; touch \(canary)", "version\ntouch \(canary)",
        "\ntouch \(canary)", "version\r\ntouch \(canary)", "version && touch \(canary)", "version || touch \(canary)",
        "nothing || touch \(canary)", "version | touch \(canary)", "version & touch \(canary)", "version&",
        "version `touch \(canary)`", "`touch \(canary)`", "$(touch \(canary))", "version $(touch \(canary))",
        "version ${IFS}", "version <(touch \(canary))", "version > \(canary)", "version >\(canary)", ">\(canary)",
        "< \(secret)", "version\ttouch", "\u{1B}[2Jversion", "version\u{7F}", "version\u{85}", "vеrsion", "ｖersion",
        "version；id", "Version", "VERSION", "version extra", "version #", "#", "\\version", "'version'", "\"version\"",
        "!version", "!!", "{version,}", "[version]", "*", "?", "~", "-", "--", "--help", "-c id", "A=1 version",
        "PATH=/tmp version", "LC_ALL=C version", "syscrap-gate version", "/usr/local/libexec/syscrap-gate version",
        "vitals", "disk", "ps", "ps -ef", "port", "port 0", "port 65536", "port -1", "port 022", "port 0x16",
        "port 1e1",
        "port 22;id", "port 22 23", "port $(id)", "port 99999999999999999999", "read", "read \(open)/a.log",
        "read \(open)/a.log 0", "read \(open)/a.log 0 1 2", "read \(open)/a.log -1 1", "read \(open)/a.log 01 1",
        "read \(open)/a.log 0x1 1", "read \(open)/a.log 1+1 1", "read \(open)/a.log 0 9999999",
        "read \(open)/a.log 0 99999999999999999999", "read \(open)/a.log 9999999999999999 1", "read 0 1 \(open)/a.log",
        "stat", "touchage", "stat \(open)/a.log \(secret)", "stat -c%n \(open)/a.log", "command", "command other",
        "command hello extra", "command hello;id", "command hell", "command hello\nid", "command *", "action",
        "action note",
        "action note ;id", "action note a;id", "action note ../../x", "action note $(id)", "action note a b",
        "action note *",
        "action note é", "action note \(String(repeating: "x", count: 65))", "action other a", "path /etc/shadow",
        "exec id", "verb ps", "allowed extra", line + " ", " " + line, line + ";id", line + "\nid", line.uppercased(),
        String(line.dropLast()), line.replacing("allowed", with: "allowed; id"), line.replacing("'echo'", with: "'id'"),
        line.replacing("'allowed'", with: "allowed"), "reader", "reader x", "reader \(GateRig.boundary.dropLast())",
        "reader \(GateRig.boundary)0", "reader \(GateRig.boundary.uppercased())", "reader \(GateRig.boundary) x",
        "reader \(GateRig.boundary.dropLast())*", "reader 2aa", "scp -f \(secret)", "scp -t /tmp", "sftp-server",
        "internal-sftp",
        "/usr/lib/openssh/sftp-server", "rsync --server --sender . \(secret)", "git-upload-pack '\(secret)'",
        "version " + String(repeating: "a", count: 100_000), String(repeating: "a", count: 100_000),
        String(repeating: "../", count: 30_000), String(repeating: "日本", count: 10_000), "\u{FEFF}version",
        "version\u{A0}",
        "version\u{2028}id", "read \(open)/a.log\n0 1", "read\n\(secret)\n0\n10",
      ]
    }

    /// Requests to the reader at which it must end.
    static let requests = [
      "x", "", " ", "1 ", "1;id", "1 2", "--1", "-", "-x", "-1 2", "+", "+1", "+1 5", "+x 5 /proc/stat",
      "+1 x /proc/stat",
      "+1 -5 /proc/stat", "+1 05 /proc/stat", "+1 1048577 /proc/stat", "+1 99999999999999999999 /proc/stat", "12345",
      "01",
      "+12345 5 /proc/stat", "+1;id 5 /proc/stat", "$(id)", "`id`", "version", "read /proc/stat 0 1", "\u{1B}", "é",
      "+1 5 /" + String(repeating: "a", count: 5000), String(repeating: "9", count: 100_000),
    ]
  }

  @Test("Hundreds of attempts to get out fail, each with a short refusal", arguments: GateRig.interpreters)
  func escapes(interpreter: String) async throws {
    try await GateRig.with(interpreter: interpreter) { rig in
      let prison = try Prison(rig)
      let before = try FileManager.default.subpathsOfDirectory(atPath: rig.directory.path).sorted()
      // That the attempts fail means something only where the door works.
      #expect(try await rig.ask("read \(prison.open)/a.log 0 9").text == "fine")
      #expect(try await rig.ask(try #require(Prison.line)).text == "allowed\n")
      #expect(try await rig.ask("command hello").text == "hello\n")
      let attempts =
        prison.commands + prison.paths.map { "read \($0) 0 100" }
        + prison.paths.prefix(30).flatMap { ["stat \($0)", "touchage \($0)"] }
      #expect(Set(attempts).count >= 200)
      let failures = await Self.tried(attempts, rig)
      #expect(failures.isEmpty, "\(failures.prefix(5))")
      // The same paths by the reader: each is refused by itself, and the next request is served.
      let files = prison.paths.map { (path: $0, limit: 1000) } + [(path: "\(prison.open)/a.log", limit: 1000)]
      let read = try #require(try await rig.read(files))
      #expect(read.map(\.status) == prison.paths.map { _ in "6" } + ["0"])
      #expect(read.dropLast().allSatisfy { $0.bytes.isEmpty })
      for request in Prison.requests {
        let answer = try await rig.ask("reader \(GateRig.boundary)", input: Array("\(request)\n1\n".utf8))
        #expect(
          answer.isRefused && answer.text == "syscrap-reader 1 gate\n",
          "\(request.prefix(80).debugDescription): \(answer)")
        #expect(answer.errors.count < 260 && answer.errors.dropLast().allSatisfy { $0 >= 0x20 && $0 < 0x7F })
      }
      // NUL bytes: a shell drops them, and what is left is judged like everything else.
      let bytes = Array("+1 50 \(prison.secret)\0\n+1 50 \0\(prison.open)/../secret/outside.log\n1\n".utf8)
      let answer = try await rig.ask("reader \(GateRig.boundary)", input: bytes)
      #expect(
        answer.status == 0 && answer.text.split(separator: "\n").filter { $0.hasSuffix(" 6") }.count == 2, "\(answer)")
      #expect(!answer.text.contains(Prison.word))
      let many = String(repeating: "+1 5 /proc/stat\n", count: 3000)
      #expect(try await rig.ask("reader \(GateRig.boundary)", input: Array(many.utf8)).isRefused)
      #expect(try FileManager.default.subpathsOfDirectory(atPath: rig.directory.path).sorted() == before)
    }
  }

  /// What was not refused as it should be, each with what came of it. Eight at a time.
  private static func tried(_ attempts: [String], _ rig: GateRig) async -> [String] {
    await withTaskGroup(of: String?.self) { group in
      var next = attempts.makeIterator()
      func add() {
        guard let attempt = next.next() else { return }
        group.addTask {
          guard let answer = try? await rig.ask(attempt) else { return "\(attempt.prefix(80)): no answer" }
          let isClean =
            answer.isRefused && answer.output.isEmpty && answer.errors.count < 260 && answer.errors.last == 10
            && answer.errors.dropLast().allSatisfy { $0 >= 0x20 && $0 < 0x7F }
            && !answer.errorText.contains(Prison.word)
          return isClean ? nil : "\(attempt.prefix(80).debugDescription): \(answer)"
        }
      }
      for _ in 0..<8 { add() }
      var failures: [String] = []
      while let result = await group.next() {
        if let result { failures.append(result) }
        add()
      }
      return failures
    }
  }

  @Test("The key gives no terminal, no forwarding and no file transfer")
  func restricted() async throws {
    try await GateRig.with { rig in
      _ = try Prison(rig)
      #expect(try await rig.ask("version", options: ["-tt"]).errorText.contains("PTY allocation request failed"))
      let transfer = try await rig.ask("sftp", options: ["-s"])
      // sshd passes no standard error on from a subsystem.
      #expect(transfer.status == 126 && transfer.output.isEmpty, "\(transfer)")
      let forwarded = try await rig.run(
        ["ssh", "-W", "127.0.0.1:\(rig.server.port)"] + Array(rig.arguments) + ["--", "\(rig.server.user)@127.0.0.1"])
      #expect(forwarded.status != 0 && forwarded.output.isEmpty, "\(forwarded)")
    }
  }

  // MARK: Its own state

  @Test("It refuses to work when others could change it or its list, and when the list is not understood")
  func trust() async throws {
    try await GateRig.with { rig in
      func isWorking() async throws -> Bool { try await rig.ask("version").status == 0 }
      func refuses(_ reason: String) async throws {
        for command in ["version", "reader \(GateRig.boundary)", "read /proc/stat 0 1"] {
          let answer = try await rig.ask(command)
          #expect(
            answer.isRefused && answer.output.isEmpty && answer.errorText.contains(reason), "\(reason): \(answer)")
        }
      }
      try rig.allow(["path /proc/stat"])
      #expect(try await isWorking())
      for mode in [0o664, 0o646, 0o666] {
        chmod(rig.list, mode_t(mode))
        try await refuses("others can write")
      }
      chmod(rig.list, 0o644)
      for mode in [0o775, 0o757] {
        chmod(rig.gate, mode_t(mode))
        try await refuses("others can write")
      }
      chmod(rig.gate, 0o755)
      chmod(rig.directory.path, 0o770)
      try await refuses("others can write")
      chmod(rig.directory.path, 0o700)
      #expect(try await isWorking())
      if geteuid() == 0 {
        for path in [rig.list, rig.gate] {
          chown(path, 65_534, 65_534)
          try await refuses("another user")
          chown(path, 0, 0)
        }
      }
      #expect(try await isWorking())
      for line in [
        "path relative", "path /a/../b", "path /a//b", "path /a/", "path /a b", "path /a[b]", "path /a?", "path /a\\*",
        "path", "link x", "verb", "verb all", "verb ps extra", "exec", "exec ", "command x", "command a;b id",
        "command  id",
        "action x", "action é id", "anything", " path /proc/stat", "path\t/proc/stat", "Path /proc/stat", "path /a\r",
      ] {
        try rig.allow(["path /proc/stat", line])
        try await refuses("line 2 of the list")
      }
      try FileManager.default.removeItem(atPath: rig.list)
      try await refuses("is missing")
      // A list without an end of line counts as well.
      try rig.directory.write("gate.allow", "path /proc/stat", permissions: 0o644)
      #expect(try await rig.read([("/proc/stat", 10)])?.first?.status == "0")
    }
  }
}
