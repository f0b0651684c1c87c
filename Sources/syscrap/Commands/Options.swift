internal import App
internal import ArgumentParser
internal import Foundation
internal import Logging
internal import Model
internal import Storage

/// What every command takes.
struct CommonOptions: ParsableArguments {
  @Option(
    name: .long, help: "The configuration file (default: $SYSCRAP_CONFIG, ./syscrap.yaml, /etc/syscrap/syscrap.yaml).")
  var config: String?

  /// The configuration, or an ending that shows everything that is wrong with it.
  func load() throws -> Configuration {
    let loaded = Configuration.load(path: config)
    guard let configuration = loaded.value else {
      let lines = loaded.problems.filter { $0.level == .refused }.map { Terminal.safe($0.description) }
      throw Ending(Exit.failed, lines.joined(separator: "\n"))
    }
    return configuration
  }

  /// The running service. - Throws: exit code 3 when there is none.
  func service() async throws -> ServiceClient {
    let configuration = try load()
    guard let client = try await ServiceClient.connect(configuration) else {
      if await ServiceClient.isSomebodyAt(configuration) {
        throw Ending(
          Exit.denied,
          "a service runs at \(configuration.http.listen), but the token in \(configuration.shownTokenPath) is not its own: "
            + "name that service's configuration with --config")
      }
      throw Ending(
        Exit.notFound,
        "no service is running at \(configuration.http.listen): start one with 'syscrap run', or name its "
          + "configuration with --config")
    }
    return client
  }

  /// The running service where there is one, else the store itself.
  func serviceOrStore<Result>(
    makesStore: Bool = false, service: (ServiceClient) async throws -> Result,
    store: (DocumentDesk) async throws -> Result
  ) async throws -> Result {
    let configuration = try load()
    if let client = try await ServiceClient.connect(configuration) { return try await service(client) }
    guard makesStore || configuration.hasStore else {
      throw Ending(
        Exit.notFound,
        "no service is running at \(configuration.http.listen), and there is no store yet: start one with 'syscrap run', "
          + "apply documents, or name a configuration with --config")
    }
    let storage = try await Stores.open(
      configuration, logger: Logger(label: "syscrap") { _ in SwiftLogNoOpLogHandler() })
    do {
      let result = try await store(DocumentDesk(storage: storage, checks: .standard))
      await storage.close()
      return result
    } catch {
      await storage.close()
      throw error
    }
  }
}

struct OutputOptions: ParsableArguments {
  @Option(name: .shortAndLong, help: "table, wide, json, yaml or name.")
  var output: OutputFormat = .table
}

/// Shows something again and again until it is interrupted.
enum Watching {
  static func every(_ seconds: Double, isOn: Bool, _ show: () async throws -> String) async throws {
    if !isOn {
      let text = try await show()
      if !text.isEmpty { Print.result(text) }
      return
    }
    let terminal = Terminal.output()
    while true {
      let text = try await show()
      // Home and clear to the end: no flicker, and the scroll-back stays.
      Print.result(terminal.isTerminal ? "\u{1B}[H\u{1B}[J\(text)" : text)
      try await Task.sleep(for: .seconds(seconds))
    }
  }
}
