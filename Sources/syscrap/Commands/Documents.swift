internal import App
internal import ArgumentParser
internal import Foundation
internal import Logging
internal import Model
internal import Storage

struct Check: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Validate the configuration and documents: all errors, each with file, line, field and hint.")
  @OptionGroup var common: CommonOptions
  @Option(name: .shortAndLong, parsing: .upToNextOption, help: "Files or folders of documents ('-' is stdin).")
  var file: [String] = []

  func run() async throws {
    let loaded = Configuration.load(.process(path: common.config), warnsOfPermissions: true)
    var problems = loaded.problems
    var count = 0
    let paths = file.isEmpty ? loaded.value?.documents ?? [] : file
    if !paths.isEmpty {
      let read = DocumentFiles.read(paths, base: .current)
      count = read.documents.count
      // What the files refer to may stand in the store.
      let stored = await storedDocuments(loaded.value)
      let checked = read.check(with: stored, available: DocumentChecks.standard.available)
      let own = read.documents.flatMap { DocumentChecks.standard.read($0).problems }
      let known = Set(checked.problems.map(\.description))
      problems += DocumentFiles.ordered(
        checked.problems + read.locate(own).filter { !known.contains($0.description) }
          + read.locate(FilePermissions.of(read.documents)) + read.locate(budgets(read, checked.set)))
      if let notify = loaded.value?.notices.notify {
        problems += checked.set.checkNotify(notify, path: "self.notify", kind: Configuration.kind)
      }
    }
    for problem in problems {
      Print.result(Terminal.safe((problem.level == .warning ? "warning: " : "") + problem.description))
    }
    let refused = problems.count { $0.level == .refused }
    let warnings = problems.count - refused
    Print.message("\(count) documents, \(refused) refused, \(warnings) warnings")
    if refused > 0 { throw Ending(Exit.failed) }
    if warnings > 0 { throw Ending(Exit.lint) }
  }
}

/// Targets that the documents of these files leave without a budget for their metrics.
private func budgets(_ read: DocumentFiles, _ set: DocumentSet) -> [Problem] {
  let mine = Set(read.documents.map { "\($0.kind.rawValue)/\($0.id)" })
  return DocumentChecks.standard.touchProblems(in: set) { mine.contains("\($0.rawValue)/\($1)") }
}

/// The documents of a store that is there already; none where it cannot be read.
private func storedDocuments(_ configuration: Configuration?) async -> [Document] {
  guard let configuration, configuration.hasStore,
    let storage = try? await Stores.open(
      configuration, logger: Logger(label: "syscrap") { _ in SwiftLogNoOpLogHandler() })
  else { return [] }
  let documents = try? await DocumentDesk(storage: storage, checks: .standard).everything()
  await storage.close()
  return documents ?? []
}

/// Reading files for a command: what is wrong with the files themselves is said with file and line.
private func documents(in paths: [String]) throws -> DocumentFiles {
  let read = DocumentFiles.read(paths, base: .current)
  say(read.problems)
  if read.documents.isEmpty {
    throw Ending(Exit.failed, "there are no documents in \(Terminal.safe(paths.joined(separator: ", ")))")
  }
  return read
}

private func say(_ problems: [Problem]) {
  for problem in DocumentFiles.ordered(problems) {
    Print.message((problem.level == .warning ? "warning: " : "") + Terminal.safe(problem.description))
  }
}

struct Apply: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Insert or replace documents from YAML or JSON files.")
  @OptionGroup var common: CommonOptions
  @Option(name: .shortAndLong, parsing: .upToNextOption, help: "Files or folders of documents ('-' is stdin).")
  var file: [String]
  @Flag(name: .long, help: "Say what would change, and change nothing.") var dryRun = false

  func run() async throws {
    let read = try documents(in: file)
    let dry = dryRun
    let result = try await common.serviceOrStore(makesStore: true) { client in
      let answer = try await client.post(
        ["apply"], query: dry ? [("dry_run", "true")] : [], body: .array(read.documents.map(\.value)))
      return ApplyReport(
        items: (answer["items"]?.elements ?? []).map {
          .init(kind: $0["kind"]?.text ?? "", id: $0["id"]?.text ?? "", outcome: $0["outcome"]?.text ?? "")
        },
        problems: (answer["problems"]?.elements ?? []).map {
          Problem(
            $0["level"]?.text == "warning" ? .warning : .refused, kind: $0["kind"]?.text ?? "",
            id: $0["id"]?.text ?? "", path: $0["path"]?.text ?? "",
            reason: $0["reason"]?.text ?? "", hint: $0["hint"]?.text)
        })
    } store: { desk in
      try await desk.apply(read.documents, dryRun: dry)
    }
    say(read.locate(result.problems))
    for item in result.items { Print.result(Terminal.safe("\(item.kind)/\(item.id) \(item.outcome)")) }
    if dryRun { Print.message("nothing was changed (--dry-run)") }
    if (read.problems + result.problems).contains(where: { $0.level == .refused }) { throw Ending(Exit.failed) }
  }
}

struct Diff: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show what 'apply' would change. Exit code 4 when there is something.")
  @OptionGroup var common: CommonOptions
  @Option(name: .shortAndLong, parsing: .upToNextOption, help: "Files or folders of documents ('-' is stdin).")
  var file: [String]

  func run() async throws {
    let read = try documents(in: file)
    let terminal = Terminal.output()
    var isChanged = false
    for document in read.documents {
      let stored = try await stored(document)
      let old = stored.map { DocumentEncoder().yaml([$0]).split(separator: "\n").map(String.init) } ?? []
      let new = DocumentEncoder().yaml([document.written]).split(separator: "\n").map(String.init)
      if old == new { continue }
      isChanged = true
      Print.result(terminal.paint(Terminal.safe("\(document.kind.rawValue)/\(document.id)"), .bold))
      for change in LineDiff.between(old, new) {
        switch change {
        case .same(let line): Print.result("  " + Terminal.safe(line))
        case .removed(let line): Print.result(terminal.paint("- " + Terminal.safe(line), .red))
        case .added(let line): Print.result(terminal.paint("+ " + Terminal.safe(line), .green))
        }
      }
    }
    if isChanged { throw Ending(Exit.changed) }
  }

  private func stored(_ document: Document) async throws -> Value? {
    let found: [Value]
    do {
      found = try await common.serviceOrStore(makesStore: true) { client in
        try await client.get(["objects", document.kind.rawValue, document.id]).elements ?? []
      } store: { desk in
        try await desk.get(kind: document.kind.rawValue, name: document.id, labels: [:], limit: 10)
      }
    } catch let error as OperationError where error.code == .notFound {
      return nil
    } catch let ending as Ending where ending.code == Exit.notFound {
      return nil
    }
    guard let fields = found.first(where: { $0["_id"]?.text == document.id })?.fields else { return nil }
    return .object(fields.filter { !Document.serviceFields.contains($0.key) })
  }
}

extension Document {
  /// What people wrote, with kind and id: what a diff is about.
  var written: Value {
    .object((value.fields ?? [:]).filter { !Document.serviceFields.contains($0.key) })
  }
}

struct Delete: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Delete a document.")
  @OptionGroup var common: CommonOptions
  @Argument(help: "target, aggregation_options, reaction or notification_options.") var kind: String
  @Argument(help: "Its name or _id.") var name: String
  @Flag(name: .long, help: "Say what would be deleted, and delete nothing.") var dryRun = false

  func run() async throws {
    let (kind, name, dry) = (kind, name, dryRun)
    try await common.serviceOrStore { client in
      _ = try await client.delete(["objects", kind, name], query: dry ? [("dry_run", "true")] : [])
    } store: { desk in
      try await desk.delete(kind: kind, name: name, dryRun: dry)
    }
    Print.result(Terminal.safe("\(kind)/\(name) \(dryRun ? "would be deleted" : "deleted")"))
  }
}

struct Get: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "List objects: targets, aggregation_options, reaction_targets, notification_options, aggregations, "
      + "notifications, episodes, problems.")
  @OptionGroup var common: CommonOptions
  @OptionGroup var format: OutputOptions
  @Argument(help: "The kind, or its singular.") var kind: String
  @Argument(help: "Only this one.") var name: String?
  @Option(name: .shortAndLong, help: "Only with this label: name=value. May be repeated.") var label: [String] = []
  @Option(name: .long, help: "At most so many.") var limit: Int = 100_000
  @Flag(name: .shortAndLong, help: "Show again and again.") var watch = false

  func validate() throws {
    for label in label where !label.dropFirst().contains("=") {
      throw ValidationError("a label is given as name=value, not '\(label)'")
    }
    if limit < 1 || limit > 100_000 { throw ValidationError("--limit must be from 1 to 100000") }
  }

  func run() async throws {
    // A wrong word is wrong whether or not there is anything to look into.
    guard DocumentDesk.collection(kind) != nil else { throw DocumentDesk.unknownKind(kind) }
    let terminal = Terminal.output()
    try await Watching.every(2, isOn: watch) {
      let objects = try await objects()
      let text = ObjectOutput.text(
        objects, collection: DocumentDesk.collection(kind) ?? kind, format: format.output, terminal: terminal)
      if text.isEmpty, format.output == .table { Print.message("none") }
      return text
    }
  }

  private func objects() async throws -> [Value] {
    var wanted: [String: String] = [:]
    for label in label {
      let parts = label.split(separator: "=", maxSplits: 1).map(String.init)
      wanted[parts[0]] = parts.count > 1 ? parts[1] : ""
    }
    let (kind, name, labels, limit) = (kind, name, wanted, limit)
    return try await common.serviceOrStore { client in
      let query = labels.map { ("label", "\($0.key)=\($0.value)") } + [("limit", String(limit))]
      return try await client.get(["objects", kind] + (name.map { [$0] } ?? []), query: query).elements ?? []
    } store: { desk in
      try await desk.get(kind: kind, name: name, labels: labels, limit: limit)
    }
  }
}
