internal import Foundation
internal import Model
internal import TestKit
internal import Testing

extension EndToEnd {
  /// What monitoring costs a real target, by the service's own account and by the server's log.
  @Suite(.serialized, .enabled(if: Scene.isPossible, Scene.absence)) struct TouchBudgets {
    private static let isLong = ProcessInfo.processInfo.environment["SYSCRAP_LONG"] == "1"

    private static let twenty: String = {
      let instances = "abcde".map { "{name: \($0), interval: 10s}" }.joined(separator: ", ")
      let metrics = ["Vitals.CPU", "Vitals.RAM", "Vitals.Swap", "Vitals.Disk"].map { "\($0): [\(instances)]" }
      return "{kind: aggregation_options, _id: generic, target: generic, metrics: {\(metrics.joined(separator: ", "))}}"
    }()

    /// Every file and folder of the target's account and of its server but the server's own log, with size and time.
    private static func files(_ server: SSHServer) throws -> [String: String] {
      var found: [String: String] = [:]
      let root = server.directory.path
      for name in try FileManager.default.subpathsOfDirectory(atPath: root) where name != "sshd.log" {
        let attributes = try FileManager.default.attributesOfItem(atPath: root + "/" + name)
        found[name] = "\(attributes[.size] ?? "?") \(attributes[.modificationDate] ?? "?")"
      }
      return found
    }

    private static func programs(_ server: SSHServer) -> Int64 {
      Int64(server.log.all.count { $0.hasPrefix("Starting session: command") })
    }

    @Test(
      "A minute (an hour with SYSCRAP_LONG=1) of 20 metrics at 10 s: one login, no file changed, within the budget, and as the server saw it"
    )
    func hour() async throws {
      async let one: Void = Self.hour(1)
      async let two: Void = Self.hour(2)
      _ = try await (one, two)
    }

    private static func hour(_ sessions: Int) async throws {
      try await Scene.with(sshd: ["MaxSessions \(sessions)"]) { scene in
        try await scene.apply(scene.target(more: "channels: \(sessions), touch: {load: 100000}"), Self.twenty)
        let before = try Self.files(scene.ssh)
        try await scene.service.start()
        let clock = ContinuousClock()
        let end = clock.now + (Self.isLong ? .seconds(3600) : .seconds(60))
        let names = "abcde".map(String.init)
        while clock.now < end { try await clock.sleep(for: .seconds(1)) }
        for metric in ["Vitals.CPU", "Vitals.RAM", "Vitals.Swap", "Vitals.Disk"] {
          for name in names {
            let kept = try await scene.service.values("history/box/\(metric)?type=RT&name=\(name)&limit=10000")
            let values = kept.count { $0["value"] != nil }
            #expect(values >= 5 && values == kept.count, "\(metric) \(name): \(kept)")
          }
        }
        // Between two ticks nothing is under way.
        let server = scene.ssh
        let report = try await scene.service.eventually("an account that agrees with the server's log") {
          () async throws -> Value? in
          let report = try await scene.service.value("touch/box")
          guard let commands = report.at("hour.commands")?.integer, let polls = report.at("hour.polls")?.integer,
            report["channels_now"]?.integer ?? 9 <= 1
          else { return Optional.none }
          // The resident reader runs commands, too, of which the server knows nothing.
          return commands >= Self.programs(server) && polls > 0 ? report : Optional.none
        }
        #expect(Self.programs(server) <= 4)
        print("touch with \(sessions) sessions: \(report.json())")
        #expect(scene.ssh.acceptedCount == 1)
        #expect(report["logins_last_hour"]?.integer == 1)
        #expect(report.at("hour.logins")?.integer == 1)
        #expect(report.at("hour.looks_shed")?.integer == 0)
        #expect(report.at("hour.looks_stretched")?.integer == 0)
        #expect(try Self.files(scene.ssh) == before)

        let worst = try #require(report["worst_minute"])
        let budget = try #require(report["budget"])
        #expect(try #require(worst["share"]?.number) < 1)
        #expect(try #require(worst["share"]?.number) > 0)
        for field in ["commands", "bytes"] {
          let (used, limit) = (worst[field]?.integer, budget[field]?.integer)
          #expect(try #require(used) <= #require(limit), "\(field)")
          #expect(try #require(used) > 0, "\(field)")
        }
        #expect(try #require(worst["cpu_ms_estimated"]?.number) <= 600)
        #expect(try #require(report.at("hour.channels_at_once")?.integer) <= Int64(sessions))
        #expect(budget["channels"]?.integer == Int64(sessions))

        let shown = try await scene.service.run(["touch", "box"])
        #expect(shown.status == 0)
        #expect(shown.lines.first?.hasPrefix("WHAT") == true)
        #expect(shown.lines.contains { $0.hasPrefix("logins an hour") && $0.hasSuffix(" 1") }, "\(shown.text)")
        #expect(shown.lines.contains { $0.hasPrefix("commands a minute") && $0.contains(" 120 ") }, "\(shown.text)")
        #expect(!shown.text.contains(" is stretched") && !shown.text.contains(" is shed"))
        let yaml = try await scene.service.run(["touch", "box", "-o", "yaml"])
        #expect(yaml.text.contains("worst_minute:"))
        let json = try await scene.service.run(["touch", "box", "-o", "json"])
        #expect(try Value(json: json.output)["target"]?.text == "box")
        #expect(try await scene.service.run(["touch", "nobody"]).status == 3)
        #expect(try await scene.service.figure("syscrap_ssh_channel_open_wait_seconds_count") ?? 0 > 0)
        let text = try await scene.service.request("GET", "/metrics").text
        #expect(text.contains("syscrap_ssh_connections{state=\"open\"} 1\n"))
        #expect(text.contains("syscrap_ssh_connections{state=\"establishing\"} 0\n"))

        // What the kernel counted on the client's socket, but for what is on its way or keeps the link alive.
        let bytes = try await scene.service.eventually("an account that agrees with the kernel's") {
          () async throws -> [Int64]? in
          let report = try await scene.service.value("touch/box")
          let ours = [report.at("hour.bytes_received")?.integer ?? 0, report.at("hour.bytes_sent")?.integer ?? 0]
          let kernel = try await Self.socketBytes(to: server.port)
          return zip(ours, kernel).allSatisfy { abs($0 - $1) <= 1000 } ? ours + kernel : nil
        }
        print("bytes received and sent by our account and by the kernel's: \(bytes)")
        #expect(bytes.count == 4 && bytes.allSatisfy { $0 > 0 }, "\(bytes)")
      }
    }

    /// Bytes received and sent on the one connection to a port, as the kernel counts them.
    private static func socketBytes(to port: UInt16) async throws -> [Int64] {
      let words = try await ManagedProcess.run(["/bin/ss", "-Htin", "dport = :\(port)"]).joined(separator: " ")
        .split(separator: " ")
      return ["bytes_received:", "bytes_sent:"].map { name in
        words.first { $0.hasPrefix(name) }.flatMap { Int64($0.dropFirst(name.count)) } ?? -1
      }
    }

    @Test("With a budget too small for its metrics a target is asked less often, never beyond it, and it is visible")
    func tooSmall() async throws {
      try await Scene.with { scene in
        // The options came first and the budget after them by hand, as in a database: such a target goes on.
        try await scene.apply(scene.target(more: "touch: {commands: 3, load: 100000}"), Self.disks("60s"))
        try await scene.apply(Self.disks("1s"))
        try await scene.service.start()
        let problem = try await scene.service.eventually("a warning") {
          try await scene.service.values("objects/problems").first { $0["path"]?.text == "touch.commands" }
        }
        #expect(problem["level"]?.text == "warning")
        #expect(problem["reason"]?.text?.contains("its metrics need 60 commands a minute, and the budget is 3") == true)
        let event = try await scene.service.eventually("the event of a metric that is shed") {
          try await scene.service.history("box", "Vitals.Disk", type: "event").first
        }
        #expect(event.at("value.touch")?.text == "shed")
        #expect(event.at("value.why")?.text == "commands")
        let described = try await scene.service.value("describe/target/box")
        #expect(described["metrics"]?["Vitals.Disk"]?.text == "every 1s, shed for commands")
        let shown = try await scene.service.run(["touch", "box"])
        #expect(shown.text.contains("Vitals.Disk is shed for commands"), "\(shown.text)")
        let report = try await scene.service.value("touch/box")
        // What the host is is asked once an hour, whatever the budget; a command of it may come on top of three.
        #expect(try #require(report.at("worst_minute.commands")?.integer) <= 3, "\(report.json())")
        #expect(try #require(report.at("hour.looks_shed")?.integer) > 0)
        let text = try await scene.service.request("GET", "/metrics").text
        #expect(text.contains("syscrap_touch_shed_looks_total{why=\"commands\"} "))
        #expect(scene.ssh.acceptedCount == 1)
      }
    }

    private static func disks(_ interval: String) -> String {
      "{kind: aggregation_options, _id: generic, target: generic, metrics: {Vitals.Disk: {interval: \(interval)}}}"
    }
  }
}

/// Budgets in documents, without a service.
@Suite(.serialized) struct TouchDocumentTests {
  private let program: SyscrapProcess
  init() throws { program = try SyscrapProcess("log: {level: info}") }

  private static let target = """
    kind: target
    target: box
    host: 127.0.0.1
    touch:
      commands: 10
    """
  private static func options(_ interval: String) -> String {
    "{kind: aggregation_options, _id: generic, target: generic, metrics: {Vitals.Disk: {interval: \(interval)}}}"
  }
  private static let complaint =
    "targets box: touch.commands: its metrics need 60 commands a minute, and the budget is 10; most of it is Vitals.Disk "
    + "every 1s (gather Vitals.Disk every 6s or less often, or raise touch.commands to 60 or more)"

  @Test("'check' refuses a target whose metrics cannot fit its budget, with place and remedy, and exits with 1")
  func check() async throws {
    let file = try program.directory.write("tight.yaml", Self.target + "\n---\n" + Self.options("1s") + "\n")
    let checked = try await program.run(["check", "-f", file])
    #expect(checked.status == 1)
    #expect(checked.lines == ["\(file):5: \(Self.complaint)"])
    #expect(checked.errorText == "2 documents, 1 refused, 0 warnings\n")
    // What the hint says is enough.
    let mended = try program.directory.write("mended.yaml", Self.target + "\n---\n" + Self.options("6s") + "\n")
    let clean = try await program.run(["check", "-f", mended])
    #expect(clean.status == 0, "\(clean.text)")
  }

  @Test("'apply' refuses such a target; options that make one such are stored, with a warning")
  func apply() async throws {
    let first = try await program.run(["apply", "-f", "-"], input: Self.options("1s") + "\n")
    #expect(first.status == 0, "\(first.errorText)")
    let refused = try await program.run(["apply", "-f", "-"], input: Self.target + "\n")
    #expect(refused.status == 1)
    #expect(refused.errorText.contains(Self.complaint), "\(refused.errorText)")
    #expect(try await program.run(["get", "targets", "-o", "name"]).text == "")

    #expect(try await program.run(["apply", "-f", "-"], input: Self.options("60s") + "\n").status == 0)
    #expect(try await program.run(["apply", "-f", "-"], input: Self.target + "\n").status == 0)
    let warned = try await program.run(["apply", "-f", "-"], input: Self.options("1s") + "\n")
    #expect(warned.status == 0)
    #expect(warned.errorText.contains("warning: \(Self.complaint)"), "\(warned.errorText)")
    #expect(try await program.run(["get", "targets", "-o", "name"]).lines == ["targets/box"])
    let problems = try await program.run(["get", "problems"])
    #expect(problems.text.contains("touch.commands"))
  }

  @Test("Without a service 'touch' says so, with 3")
  func noService() async throws {
    let shown = try await program.run(["touch", "box"])
    #expect(shown.status == 3)
    #expect(shown.errorText.contains("no service is running"))
  }
}
