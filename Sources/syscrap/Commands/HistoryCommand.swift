internal import App
internal import ArgumentParser
internal import Foundation
internal import Model

struct HistoryCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "history", abstract: "Values of one metric, oldest first, or a plot of them.",
    discussion: """
      Without --type the finest history is taken that reaches back to --since: RT, else variable, hour, day.
      Of roll-ups a field shows min, mean and max; one of them is had by e.g. --field percent.max.
      """)
  @OptionGroup var common: CommonOptions
  @Argument(help: "The target's name.") var target: String
  @Argument(help: "The metric, e.g. Vitals.CPU.") var metric: String
  @Option(name: .shortAndLong, help: "table, wide, json, yaml, csv or name.")
  var output: HistoryFormat = .table
  @Option(name: .long, help: "Only this field, e.g. percent or status.5xx.") var field: String?
  @Option(name: .customLong("where"), help: "Of a list only the elements with this, e.g. mount=/ (may be repeated).")
  var conditions: [String] = []
  @Option(name: .long, help: "Only this instance, where a metric has several.") var name: String?
  @Option(name: .long, help: "RT, variable, hour, day or event.") var type: String?
  @Option(name: .long, help: "From when on: 10m, 1h, 2d ago, or an instant such as 2026-11-21T08:00:00Z.")
  var since: String = "1h"
  @Option(name: .long, help: "Until when, like --since (default: now).") var until: String?
  @Option(name: .long, help: "At most so many, the newest.") var limit: Int = 1000
  @Flag(name: .long, help: "Draw a plot.") var plot = false

  func validate() throws {
    guard (1...100_000).contains(limit) else { throw ValidationError("--limit takes a number from 1 to 100000.") }
    if plot, output != .table { throw ValidationError("--plot and --output do not go together.") }
  }

  func run() async throws {
    let now = Date()
    let request = HistoryRequest(
      target: target, metric: metric, name: name, type: type, since: try moment(since, "--since"),
      until: try until.map { try moment($0, "--until") }, limit: limit)
    let window =
      request.since.date(
        from: now)..<max(
        request.since.date(from: now), request.until?.date(from: now) ?? now)
    guard !window.isEmpty else { throw Ending(Exit.usage, "--until must be later than --since") }
    let selection = HistorySelection(metric: metric, field: field, conditions: try parsedConditions())
    let samples = try await common.serviceOrStore { client in
      try await client.get(["history", target, metric], query: query).elements ?? []
    } store: { desk in
      try await HistoryDesk(storage: desk.storage).history(request)
    }
    let chosen = try selection.apply(samples)
    if plot {
      Print.result(try HistoryPlot(selection: selection, window: window).text(chosen, on: .output()))
    } else {
      let text = HistoryOutput.text(chosen, selection, format: output, terminal: .output())
      if output == .csv {
        Print.raw(Array(text.utf8), to: 1)
      } else if !text.isEmpty {
        Print.result(text)
      }
    }
    if samples.isEmpty { return Print.message("none") }
    if type == nil, plot || output == .table || output == .wide {
      Print.message("type \(Terminal.safe(samples[0]["type"]?.text ?? "?")), chosen by --since; --type names another")
    }
    if samples.count >= limit { Print.message("only the newest \(limit) are shown: --limit takes more") }
  }

  private func moment(_ text: String, _ option: String) throws -> HistoryRequest.Moment {
    guard let moment = HistoryRequest.Moment(text) else {
      if Self.isTooLong(text) {
        let days = DurationText.longest.components.seconds / 86_400
        throw Ending(Exit.usage, "\(option) goes back \(days)d (100 years) at most, not '\(Terminal.safe(text))'")
      }
      throw Ending(
        Exit.usage,
        "\(option) takes a length of time such as 10m, 1h or 2d, or an instant such as 2026-11-21T08:00:00Z, not "
          + "'\(Terminal.safe(text))'")
    }
    return moment
  }

  /// Whether it is a length of time such as 99999d that is only longer than any that is understood: with another count it
  /// would be taken.
  private static func isTooLong(_ text: String) -> Bool {
    guard text.utf8.count <= 32, text.first?.isASCII == true, text.first?.isNumber == true else { return false }
    return DurationText.parse("1" + text.drop { $0.isASCII && $0.isNumber }) != nil
  }

  private var query: [(String, String)] {
    var query = [("since", since), ("limit", String(limit))]
    if let until { query.append(("until", until)) }
    if let type { query.append(("type", type)) }
    if let name { query.append(("name", name)) }
    return query
  }

  private func parsedConditions() throws -> [String: String] {
    var parsed: [String: String] = [:]
    for condition in conditions {
      guard let equals = condition.firstIndex(of: "="), equals != condition.startIndex else {
        throw Ending(Exit.usage, "--where takes field=value such as mount=/, not '\(Terminal.safe(condition))'")
      }
      parsed[String(condition[..<equals])] = String(condition[condition.index(after: equals)...])
    }
    return parsed
  }
}

/// How a history is written.
enum HistoryFormat: String, ExpressibleByArgument, CaseIterable, Sendable {
  case table, wide, json, yaml, csv, name
}
