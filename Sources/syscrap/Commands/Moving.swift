internal import App
internal import ArgumentParser
internal import Foundation
internal import Logging
internal import Model
internal import Storage

struct ExportCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export", abstract: "Write everything that the store holds: documents, history, episodes, the queue.",
    discussion: "Lines of JSON, for 'syscrap import' into a store of either kind. A service may run meanwhile.")
  @OptionGroup var common: CommonOptions
  @Argument(help: "The file to write; '-' or none: standard output.") var file: String?

  func run() async throws {
    let configuration = try common.load()
    guard configuration.hasStore else {
      throw Ending(Exit.notFound, "there is no store yet: name a configuration with --config")
    }
    let storage = try await Stores.open(configuration, logger: Logger.silent)
    let output: ExportFile
    do { output = try await ExportFile(file == "-" ? nil : file) } catch {
      await storage.close()
      throw error
    }
    let progress = Progress("exported")
    do {
      let counts = try await StoreTransfer.export(
        storage, kind: configuration.storeKind, write: output.write, progress: progress.show)
      try await output.finish()
      progress.clear()
      Print.message("exported \(Progress.text(counts))")
    } catch {
      output.abandon()
      await storage.close()
      throw error
    }
    await storage.close()
  }
}

struct ImportCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import", abstract: "Put into the store what 'syscrap export' wrote; or make documents from a file.",
    subcommands: [ImportStore.self, ImportSSHConfig.self], defaultSubcommand: ImportStore.self)
}

struct ImportSSHConfig: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ssh-config", abstract: "Print documents of targets for the hosts of an ssh_config file.",
    discussion: """
      Nothing is stored: look at them, then give them to 'syscrap apply'. Names with wildcards are left out. What \
      'Match exec' in the file names is run, as by ssh itself.
      """)
  @Argument(help: "The file.") var file: String = "~/.ssh/config"
  @Option(
    name: .long, help: ArgumentHelp("Only names like this, '*' and '?' allowed; may be repeated.", valueName: "pattern")
  )
  var host: [String] = []

  func run() async throws {
    let home = NSHomeDirectory()
    let expanded = file.hasPrefix("~/") ? home + file.dropFirst() : file
    let path = URL(fileURLWithPath: expanded).path
    guard let data = FileManager.default.contents(atPath: path), data.count <= 8 << 20 else {
      throw Ending(Exit.notFound, "\(path) cannot be read")
    }
    let patterns = host
    let result = await withCheckedContinuation { continuation in
      // The client is waited for, which does not belong into the pool of tasks.
      DispatchQueue.global().async {
        let reader = SSHConfigImport(path: path, home: home) { try Self.resolve($0, path) }
        continuation.resume(returning: reader.read(String(decoding: data, as: UTF8.self), patterns: patterns))
      }
    }
    for remark in result.remarks { Print.message(Terminal.safe(remark)) }
    guard !result.documents.isEmpty else { throw Ending(Exit.notFound, "no host was found in \(path)") }
    Print.result(DocumentEncoder().yaml(result.documents).trimmingCharacters(in: .newlines))
  }

  private static func resolve(_ name: String, _ path: String) throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/ssh")
    process.arguments = ["-G", "-F", path, "--", name]
    process.standardInput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let data = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw SSHConfigImport.Failure("ssh -G does not take it") }
    return String(decoding: data, as: UTF8.self)
  }
}

struct ImportStore: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "store", abstract: "Put into the store what 'syscrap export' wrote.",
    discussion: """
      The whole file is looked at first: unless it is whole and every line is right, nothing is put in. What the store \
      has already stays as it is, so that doing it again changes nothing. Deliveries that were under way are due again.
      No service may gather meanwhile: import before the first one is started.
      """)
  @OptionGroup var common: CommonOptions
  @Argument(help: "The file; '-': standard input.") var file: String
  @Flag(name: .long, help: "Only look at the file.") var dryRun = false
  @Flag(name: .long, help: "Take what can be read of a file that is broken or was cut off.") var partial = false

  func run() async throws {
    let configuration = try common.load()
    let reader = try await ExportReader(
      file == "-" ? nil : file, spoolingTo: FileManager.default.temporaryDirectory.path)
    let progress = Progress("read")
    let seen = try await StoreTransfer.read(reader.next, progress: progress.show)
    progress.clear()
    for line in seen.broken { Print.message(Terminal.safe("\(file): \(line)")) }
    if seen.brokenCount > seen.broken.count {
      Print.message("and \(seen.brokenCount - seen.broken.count) more broken lines")
    }
    if let gap = seen.gap { Print.message("\(Terminal.safe(file)): \(gap)") }
    guard seen.isWhole || partial else {
      throw Ending(Exit.failed, "nothing was put in; --partial takes \(Progress.text(seen.counts))")
    }
    if dryRun {
      Print.result("would take \(Progress.text(seen.counts))")
      if !seen.isWhole { throw Ending(Exit.failed) }
      return
    }
    let hold = try StoreHold(configuration)
    defer { hold.end() }
    try await reader.rewind()
    let storage = try await Stores.open(configuration, logger: Logger.silent)
    let putting = Progress("put in")
    var gathering: GatheringHold?
    let isAlone: Bool
    do {
      if configuration.isStoreShared {
        gathering = try await GatheringHold(storage) { holder in
          Print.message("\(Terminal.safe(holder)) has gathered into this store last: looking whether it still does")
        }
      }
      let taken = try await StoreTransfer.read(
        reader.next, into: storage, progress: putting.show)
      putting.clear()
      isAlone = await gathering?.isHeld ?? true
      await gathering?.end()
      await storage.close()
      Print.result("took \(Progress.text(taken.counts)); \(taken.new) were new")
    } catch {
      await gathering?.end()
      await storage.close()
      throw error
    }
    if !isAlone {
      throw Ending(
        Exit.failed, "a service may have begun to gather into this store meanwhile: stop it, and import once more")
    }
    if !seen.isWhole { throw Ending(Exit.failed, "what was broken or missing is not in the store") }
  }
}

/// A line on standard error that is written over and over, where that is a terminal.
private struct Progress: Sendable {
  private let doing: String
  private let terminal = Terminal.output(2)

  init(_ doing: String) { self.doing = doing }

  func show(_ counts: StoreTransfer.Counts) {
    guard terminal.isTerminal else { return }
    Print.raw(Array("\r\u{1B}[K\(doing) \(Self.text(counts))".prefix(max(20, terminal.width)).utf8), to: 2)
  }

  func clear() { if terminal.isTerminal { Print.raw(Array("\r\u{1B}[K".utf8), to: 2) } }

  static func text(_ counts: StoreTransfer.Counts) -> String {
    StorePart.allCases.filter { $0 != .counts }.map { part in
      "\(counts[part] ?? 0) \(part.rawValue.replacingOccurrences(of: "_", with: "-"))"
    }.joined(separator: ", ")
  }
}

extension Logger {
  /// Says nothing: what is wrong is thrown.
  static let silent = Logger(label: "syscrap") { _ in SwiftLogNoOpLogHandler() }
}
