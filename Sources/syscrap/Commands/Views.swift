internal import ArgumentParser
internal import Foundation
internal import Model

struct Describe: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Everything known of one thing, with its last error and next try.")
  @OptionGroup var common: CommonOptions
  @OptionGroup var format: OutputOptions
  @Argument(help: "target, reaction or notification.") var kind: String
  @Argument(help: "Its name or _id.") var name: String

  func run() async throws {
    let value = try await common.service().get(["describe", kind, name])
    switch format.output {
    case .json: Print.result(value.json(indent: 2))
    case .name: Print.result(Terminal.safe("\(kind)/\(name)"))
    case .table, .wide, .yaml: Print.result(Outline.text(value, on: .output()))
    }
  }
}

/// A value as an indented list of names and values.
enum Outline {
  static func text(_ value: Value, on terminal: Terminal) -> String {
    lines(value, depth: 0, terminal).joined(separator: "\n")
  }

  private static func lines(_ value: Value, depth: Int, _ terminal: Terminal) -> [String] {
    let indent = String(repeating: "  ", count: depth)
    switch value {
    case .object(let fields):
      return fields.sorted { order($0.key, $1.key) }.flatMap { name, field -> [String] in
        let label = indent + terminal.paint(Terminal.safe(name) + ":", .bold)
        if isNested(field) { return [label] + lines(field, depth: depth + 1, terminal) }
        return [label + " " + scalar(field)]
      }
    case .array(let elements):
      return elements.flatMap { element -> [String] in
        guard isNested(element) else { return [indent + "- " + scalar(element)] }
        var nested = lines(element, depth: depth + 1, terminal)
        if !nested.isEmpty { nested[0] = indent + "- " + nested[0].dropFirst(indent.count + 2) }
        return nested
      }
    default: return [indent + scalar(value)]
    }
  }

  private static func isNested(_ value: Value) -> Bool {
    switch value {
    case .object(let fields): !fields.isEmpty
    case .array(let elements): !elements.isEmpty
    default: false
    }
  }

  private static func scalar(_ value: Value) -> String {
    switch value {
    case .string(let text): Terminal.safe(text)
    case .null: "–"
    case .array, .object: "none"
    default: value.json()
    }
  }

  private static func order(_ a: String, _ b: String) -> Bool {
    func weight(_ name: String) -> Int { ["_id": 0, "target": 1, "state": 2].first { $0.key == name }?.value ?? 9 }
    return (weight(a), a) < (weight(b), b)
  }
}

struct Tree: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "The live supervision tree: state, restarts, age, last error.")
  @OptionGroup var common: CommonOptions
  @OptionGroup var format: OutputOptions
  @Flag(name: .shortAndLong, help: "Show again and again.") var watch = false

  func run() async throws {
    let client = try await common.service()
    let terminal = Terminal.output()
    try await Watching.every(1, isOn: watch) {
      let tree = try await client.get(["tree"])
      if format.output == .json { return tree.json(indent: 2) }
      return Self.lines(tree, prefix: "", isLast: true, isRoot: true, terminal).joined(separator: "\n")
    }
  }

  private static func lines(_ node: Value, prefix: String, isLast: Bool, isRoot: Bool, _ terminal: Terminal) -> [String]
  {
    let branch = isRoot ? "" : prefix + (isLast ? "└─ " : "├─ ")
    let state = node["state"]?.text ?? "?"
    var line = branch + terminal.paint(Terminal.safe(node["name"]?.text ?? "?"), isRoot ? .bold : nil)
    line += "  " + terminal.paint(state, colour(state))
    if let age = node["age_seconds"]?.number { line += terminal.paint("  \(Span.text(age))", .grey) }
    if let restarts = node["restarts"]?.integer, restarts > 0 { line += "  \(restarts) restarts" }
    if let zombies = node["zombies"]?.integer, zombies > 0 { line += terminal.paint("  \(zombies) zombies", .red) }
    if let error = node["last_error"]?.text { line += terminal.paint("  \(Terminal.safe(error))", .yellow) }
    let children = node["children"]?.elements ?? []
    let deeper = isRoot ? "" : prefix + (isLast ? "   " : "│  ")
    return [line]
      + children.enumerated().flatMap { index, child in
        lines(child, prefix: deeper, isLast: index == children.count - 1, isRoot: false, terminal)
      }
  }

  private static func colour(_ state: String) -> Terminal.Colour? {
    switch state {
    case "running": .green
    case "failed": .red
    case "restarting", "backing_off", "stopping": .yellow
    default: .grey
    }
  }
}

/// A length of time in its largest unit.
enum Span {
  static func text(_ seconds: Double) -> String {
    guard seconds.isFinite, seconds >= 0, seconds < 1e12 else { return "–" }
    if seconds < 120 { return "\(Int(seconds)) s" }
    if seconds < 7200 { return "\(Int(seconds / 60)) min" }
    if seconds < 172_800 { return "\(Int(seconds / 3600)) h" }
    return "\(Int(seconds / 86_400)) d"
  }
}

struct Top: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "The fleet: one row a target, vitals with bars and sparklines.")
  @OptionGroup var common: CommonOptions
  @OptionGroup var format: OutputOptions
  @Flag(name: .shortAndLong, help: "Show again and again.") var watch = false

  func run() async throws {
    let client = try await common.service()
    let terminal = Terminal.output()
    try await Watching.every(2, isOn: watch) {
      let fleet = try await client.get(["fleet"])
      if format.output == .json { return fleet.json(indent: 2) }
      let rows = fleet.elements ?? []
      // Without its store a service that was started meanwhile knows of no target: that is not none.
      if rows.isEmpty, let trouble = try await client.storeTrouble() {
        return "no targets are known: \(Terminal.safe(trouble))"
      }
      return FleetView.text(rows, on: terminal)
    }
  }
}

/// The fleet as a table, the open episodes under it.
enum FleetView {
  static func text(_ rows: [Value], on terminal: Terminal) -> String {
    if rows.isEmpty { return "no targets yet: 'syscrap apply -f FILE' adds some" }
    var table = Table(["TARGET", "STATE", "CPU", "RAM", "SWAP", "DISK", "LOAD", "UP", "FIRING", "NOTE"])
    for row in rows {
      let state = row["state"]?.text ?? "unknown"
      let firing = row["firing"]?.integer ?? 0
      table.add([
        Table.Cell(row["target"]?.text ?? "?"),
        Table.Cell(state, state == "connected" ? .green : state == "connecting" || state == "standby" ? .grey : .red),
        vital(row, "cpu"), vital(row, "ram"), vital(row, "swap"), vital(row, "disk"),
        Table.Cell(row["load1"]?.number.map { String(format: "%.2f", $0) } ?? "–"),
        Table.Cell(row["uptime_seconds"]?.number.map(Span.text) ?? "–"),
        Table.Cell(firing == 0 ? "–" : "\(firing) \(row["severity"]?.text ?? "")", firing == 0 ? .grey : .red),
        Table.Cell(state == "connected" ? "" : row["detail"]?.text ?? "", .yellow),
      ])
    }
    var out = table.text(on: terminal)
    let episodes = rows.flatMap { $0["episodes"]?.elements ?? [] }
    if !episodes.isEmpty {
      var open = Table(["SEVERITY", "TARGET", "WHAT", "VALUE", "LIMIT", "SINCE"])
      for episode in episodes {
        let what = [episode["metric"]?.text, episode["name"]?.text, episode["element"]?.text].compactMap { $0 }
        open.add([
          Table.Cell(episode["severity"]?.text ?? "", episode["severity"]?.text == "critical" ? .red : .yellow),
          Table.Cell(episode["target"]?.text ?? ""), Table.Cell(what.joined(separator: " ")),
          Table.Cell(episode["value"]?.text ?? ""), Table.Cell(episode["limit"]?.text ?? ""),
          Table.Cell(episode["since"]?.text ?? ""),
        ])
      }
      out += "\n\n" + open.text(on: terminal)
    }
    return out
  }

  private static func vital(_ row: Value, _ name: String) -> Table.Cell {
    guard let percent = row[name]?.number, percent.isFinite else { return Table.Cell("–", .grey) }
    let recent = (row["recent"]?[name]?.elements ?? []).compactMap(\.number)
    let figure = String(format: "%5.1f%%", percent)
    return Table.Cell(
      "\(figure) \(Spark.bar(percent, width: 5)) \(Spark.line(recent, width: 6))",
      percent >= 90 ? .red : percent >= 75 ? .yellow : nil)
  }
}
