internal import App
internal import ArgumentParser
internal import Foundation
internal import Model

struct Touch: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "What monitoring may cost a target, and what it did cost in the last hour and its worst minute.",
    discussion: """
      The figures are those of the running service since its start, at most of an hour. Processor time is estimated from \
      what was done, not measured. No file is ever written on a target.
      """)
  @OptionGroup var common: CommonOptions
  @OptionGroup var format: OutputOptions
  @Argument(help: "A target's name.") var target: String

  func run() async throws {
    let report = try await common.service().get(["touch", target])
    switch format.output {
    case .json: Print.result(report.json(indent: 2))
    case .yaml: Print.result(DocumentEncoder().yaml([report]).trimmed)
    case .name: Print.result(Terminal.safe("targets/\(target)"))
    case .table, .wide: Print.result(TouchView.text(report, isWide: format.output == .wide, on: .output()))
    }
  }
}

/// A budget beside its use, as a table, and under it what is gathered less often for its sake.
enum TouchView {
  static func text(_ report: Value, isWide: Bool, on terminal: Terminal) -> String {
    let budget = report["budget"]
    let cpu = budget?["cpu"]?.text.flatMap(DurationText.parse(_:) as (String) -> Duration?)
    let cpuBudget = cpu.map { Double($0.components.seconds) * 1000 + Double($0.components.attoseconds) / 1e15 }
    var table = Table(["WHAT", "BUDGET", "FORECAST", "WORST MINUTE", "LAST HOUR"])
    row(&table, "logins an hour", budget?["logins"]?.number, used: report["logins_last_hour"]?.number) {
      ["", "", $0(report["logins_last_hour"])]
    }
    row(&table, "channels at once", budget?["channels"]?.number, used: report.at("hour.channels_at_once")?.number) {
      ["", $0(report.at("worst_minute.channels_at_once")), $0(report.at("hour.channels_at_once"))]
    }
    for (what, limit, field, forecast) in [
      ("commands a minute", budget?["commands"]?.number, "commands", "commands"),
      ("bytes a minute", budget?["bytes"]?.number, "bytes", "bytes"),
      ("CPU ms a minute (estimated)", cpuBudget, "cpu_ms_estimated", "cpu_ms"),
    ] {
      row(&table, what, limit, used: report.at("worst_minute.\(field)")?.number) {
        [
          $0(report.at("forecast.\(forecast)")), $0(report.at("worst_minute.\(field)")), $0(report.at("hour.\(field)")),
        ]
      }
    }
    if isWide {
      for (what, field) in [
        ("requests to the reader", "polls"), ("channels opened", "channels_opened"),
        ("looks stretched", "looks_stretched"), ("looks shed", "looks_shed"),
      ] {
        row(&table, what, nil, used: nil) {
          ["", $0(report.at("worst_minute.\(field)")), $0(report.at("hour.\(field)"))]
        }
      }
    }
    var out = table.text(on: terminal)
    if let began = report.at("worst_minute.began")?.instant {
      out += "\n\nthe worst minute began at \(Instant.format(began))"
    }
    let gathering = report["gathering"]
    if gathering?["loaded"]?.flag == true, let load = gathering?["load"]?.number {
      out += "\nthe target is loaded: \(load) a core, and touch.load is \(budget?["load"]?.number ?? 0)"
    }
    for (name, entry) in (gathering?["metrics"]?.fields ?? [:]).sorted(by: { $0.key < $1.key }) {
      guard let state = entry["state"]?.text, state != "normal" else { continue }
      let why = entry["why"]?.text.map { " for \($0)" } ?? ": every \(entry["every"]?.text ?? "?")"
      out += "\n" + terminal.paint(Terminal.safe("\(name) is \(state)\(why)"), .yellow)
    }
    return out
  }

  private static func row(
    _ table: inout Table, _ what: String, _ budget: Double?, used: Double?, _ cells: ((Value?) -> String) -> [String]
  ) {
    let isOver = budget.map { limit in used.map { $0 > limit } ?? false } ?? false
    table.add(
      [Table.Cell(what), Table.Cell(budget.map(figure) ?? "–")]
        + cells { $0?.number.map(figure) ?? "–" }.map { Table.Cell($0.isEmpty ? "–" : $0, isOver ? .red : nil) })
  }

  private static func figure(_ number: Double) -> String {
    Int64(exactly: number).map(String.init) ?? String(format: "%.1f", number)
  }
}
