internal import App
internal import ArgumentParser
internal import Model

struct Privileges: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "What a target's account must be allowed, ready to paste, and how that differs from what it is allowed.",
    discussion: "A target that is called like a subcommand is reached by 'syscrap privileges show NAME'.",
    subcommands: [Show.self, Diff.self], defaultSubcommand: Show.self)

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "The authorized_keys line, the gate's list, sudoers and known_hosts for what the documents use.")
    @OptionGroup var common: CommonOptions
    @OptionGroup var format: OutputOptions
    @Option(name: .long, help: "Where logins may come from: addresses and patterns with commas, as sshd(8) has them.")
    var from: String?
    @Argument(help: "The target's name.") var target: String

    func run() async throws {
      let configuration = try common.load()
      guard
        let plan = PrivilegePlan(
          of: target, in: try await documents(configuration), defaultUser: configuration.ssh.user)
      else {
        throw Ending(Exit.notFound, "there is no target \"\(Terminal.safe(target))\" that can be used")
      }
      let known = try await TrustDesk.asked(configuration) {
        try await $0.lines(host: plan.target.host, port: plan.target.port)
      }
      let sheet = try PrivilegeSheet(plan, configuration, from: from, known: known)
      switch format.output {
      case .json: Print.result(sheet.value.json(indent: 2))
      case .yaml: Print.result(DocumentEncoder().yaml([sheet.value]).trimmed)
      case .name: Print.result("targets/\(Terminal.safe(plan.target.name))")
      case .table, .wide:
        Print.result(
          sheet.text.split(separator: "\n", omittingEmptySubsequences: false).map { Terminal.safe(String($0)) }
            .joined(separator: "\n"))
        for note in sheet.notes { Print.message(Terminal.safe("note: \(note)")) }
      }
    }

    /// As the service or the store has them; before the first start they are only in the files that the configuration names.
    private func documents(_ configuration: Configuration) async throws -> [Value] {
      let kinds = ["targets", "aggregation_options"]
      do {
        return try await common.serviceOrStore { client in
          var found: [Value] = []
          for kind in kinds {
            found += try await client.get(["objects", kind], query: [("limit", "100000")]).elements ?? []
          }
          return found
        } store: { desk in
          var found: [Value] = []
          for kind in kinds { found += try await desk.get(kind: kind, name: nil, labels: [:], limit: 100_000) }
          return found
        }
      } catch let ending as Ending where ending.code == Exit.notFound && !configuration.documents.isEmpty {
        return DocumentFiles.read(configuration.documents, base: .current).documents.map(\.value)
      }
    }
  }

  struct Diff: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "What the account lacks (a metric is degraded) and what it may do beyond what is used.",
      discussion: "Asks over the running service's connection; changes nothing. Exit code 4 when there is a difference."
    )
    @OptionGroup var common: CommonOptions
    @OptionGroup var format: OutputOptions
    @Argument(help: "The target's name.") var target: String

    func run() async throws {
      let report = try await common.service().post(["privileges", target])
      let missing = report["missing"]?.elements ?? []
      let excess = report["excess"]?.elements ?? []
      let unknown = report["unknown"]?.elements ?? []
      switch format.output {
      case .json: Print.result(report.json(indent: 2))
      case .yaml: Print.result(DocumentEncoder().yaml([report]).trimmed)
      case .name: Print.result("targets/\(Terminal.safe(target))")
      case .table, .wide:
        var table = Table(["FINDING", "WHAT", "METRICS", "REASON OR REMEDY"])
        for item in missing {
          let metrics = item["metrics"]?.elements?.compactMap(\.text).joined(separator: ", ")
          add("missing", .red, item["what"], metrics, item["reason"], to: &table)
        }
        for item in excess { add("excess", .yellow, item["what"], nil, item["remedy"], to: &table) }
        for item in unknown { add("unknown", .grey, item, nil, nil, to: &table) }
        if !table.rows.isEmpty { Print.result(table.text(on: .output())) }
        if missing.isEmpty, excess.isEmpty { Print.message("nothing is missing, and nothing in excess was found") }
      }
      if !missing.isEmpty || !excess.isEmpty { throw Ending(Exit.changed) }
    }

    private func add(
      _ finding: String, _ colour: Terminal.Colour, _ what: Value?, _ metrics: String?, _ reason: Value?,
      to table: inout Table
    ) {
      table.add(
        Table.Cell(finding, colour), Table.Cell(what?.text ?? "?"), Table.Cell(metrics ?? "–"),
        Table.Cell(reason?.text ?? "–"))
    }
  }
}
