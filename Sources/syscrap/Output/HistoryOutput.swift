internal import App
internal import Foundation
internal import Model

/// A history in every format but the plot.
enum HistoryOutput {
  static func text(
    _ samples: [Value], _ selection: HistorySelection, format: HistoryFormat, terminal: Terminal
  ) -> String {
    switch format {
    case .json: Value.array(samples).json(indent: 2)
    case .yaml: samples.isEmpty ? "" : DocumentEncoder().yaml(samples).trimmed
    case .csv: HistoryCSV.text(samples)
    case .name: samples.map { "aggregations/\(Terminal.safe(name($0)))" }.joined(separator: "\n")
    case .table, .wide: samples.isEmpty ? "" : table(samples, selection, isWide: format == .wide, terminal)
    }
  }

  private static func name(_ sample: Value) -> String {
    let tag = sample["tag"].map { $0.json() } ?? "?"
    let n = sample["n"]?.integer ?? 0
    return [sample["target"]?.text, sample["metric"]?.text, sample["name"]?.text, sample["type"]?.text, "\(tag).\(n)"]
      .compactMap { $0 }.joined(separator: "/")
  }

  /// One row for each element of each sample; the columns of instances and elements only where there are any.
  private static func table(
    _ samples: [Value], _ selection: HistorySelection, isWide: Bool, _ terminal: Terminal
  ) -> String {
    let hasNames = samples.contains { $0["name"] != nil }
    let hasElements = samples.contains { $0["value"]?.elements != nil }
    let rolled = selection.field.map { field in
      samples.contains { sample in
        SampleShape.elements(sample["value"] ?? .null, where: [:]).contains {
          SampleShape.find(field, in: $0).map(SampleShape.isStatistic) == true
        }
      }
    }
    let statistics = isWide ? SampleShape.statistics : ["min", "mean", "max"]
    var headings = ["AT"]
    if isWide { headings += ["TYPE", "N"] }
    if hasNames { headings.append("NAME") }
    if hasElements { headings.append("ELEMENT") }
    if rolled == true {
      headings += statistics.map { $0.uppercased() }
    } else {
      headings.append(selection.field?.uppercased() ?? "VALUE")
    }
    var table = Table(headings)
    for sample in samples {
      var head = [Table.Cell(sample["updated"].map(shown) ?? "")]
      if isWide { head += [Table.Cell(sample["type"]?.text ?? ""), Table.Cell(sample["n"].map { $0.json() } ?? "")] }
      if hasNames { head.append(Table.Cell(sample["name"]?.text ?? "–")) }
      guard let value = sample["value"] else {
        if hasElements { head.append(Table.Cell("–")) }
        table.add(head + [Table.Cell("error: \(sample["error"]?.text ?? "")", .red)])
        continue
      }
      for element in SampleShape.elements(value, where: [:]) {
        var cells = head
        if hasElements { cells.append(Table.Cell(SampleShape.identity(element)?.text ?? "–")) }
        let found = selection.field.map { SampleShape.find($0, in: element) } ?? element
        if rolled == true, let found, SampleShape.isStatistic(found) {
          cells += statistics.map { Table.Cell(found[$0].map(shown) ?? "–") }
        } else {
          cells.append(Table.Cell(found.map(shown) ?? "–"))
        }
        table.add(cells)
      }
    }
    return table.text(on: terminal)
  }

  private static func shown(_ value: Value) -> String {
    switch value {
    case .string(let text): text
    case .date(let date): Instant.format(date)
    default: value.json()
    }
  }
}
