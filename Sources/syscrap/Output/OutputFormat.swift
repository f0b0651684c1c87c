internal import App
internal import ArgumentParser
internal import Foundation
internal import Model

/// How results are written.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable, Sendable {
  case table, wide, json, yaml, name
}

/// Documents and other objects as text.
enum ObjectOutput {
  static func text(_ objects: [Value], collection: String, format: OutputFormat, terminal: Terminal) -> String {
    switch format {
    case .json: return Value.array(objects).json(indent: 2)
    case .yaml: return DocumentEncoder().yaml(objects).trimmed
    case .name: return objects.map { "\(collection)/\(Terminal.safe(name($0, collection)))" }.joined(separator: "\n")
    case .table, .wide:
      if objects.isEmpty { return "" }
      return table(objects, collection, isWide: format == .wide, terminal)
    }
  }

  private static func name(_ object: Value, _ collection: String) -> String {
    switch collection {
    case "targets": object["target"]?.text ?? object["_id"]?.text ?? "?"
    case "aggregations":
      [object["target"]?.text, object["metric"]?.text, object["name"]?.text, object["type"]?.text].compactMap { $0 }
        .joined(separator: "/")
    default: object["_id"]?.text ?? object["id"]?.text ?? "?"
    }
  }

  private static func columns(_ collection: String, isWide: Bool) -> [(heading: String, path: String)] {
    switch collection {
    case "targets":
      [("NAME", "target"), ("HOST", "host"), ("PORT", "port"), ("USER", "user"), ("OS", "detected_specs.os")]
        + (isWide ? [("KERNEL", "detected_specs.kernel"), ("LABELS", "labels"), ("CHANNELS", "channels")] : [])
    case "aggregation_options": [("NAME", "_id"), ("TARGET", "target"), ("METRICS", "metrics")]
    case "reaction_targets":
      [
        ("NAME", "_id"), ("REACTION", "reaction"), ("TARGET", "target"), ("SEVERITY", "severity"),
        ("METRICS", "metrics"),
      ]
    case "notification_options":
      [("NAME", "_id"), ("TYPE", "type"), ("TARGET", "target"), ("TO", "to"), ("RELAY", "relay")]
    case "notifications":
      [
        ("ID", "_id"), ("STATE", "state"), ("KIND", "kind"), ("TARGET", "target"), ("TYPE", "type"),
        ("RECIPIENT", "recipient"), ("ATTEMPTS", "attempts"), ("NEXT", "next_at"), ("SUBJECT", "payload.subject"),
      ]
        + (isWide ? [("KEY", "key"), ("EPISODE", "episode")] : [])
    case "episodes":
      [
        ("ID", "_id"), ("STATE", "state"), ("SEVERITY", "severity"), ("TARGET", "target"), ("METRIC", "metric"),
        ("ELEMENT", "element"), ("SINCE", "since"), ("ENDED", "ended_at"), ("VALUE", "value"), ("LIMIT", "limit"),
      ]
    case "problems":
      [("LEVEL", "level"), ("KIND", "kind"), ("NAME", "id"), ("FIELD", "path"), ("REASON", "reason"), ("HINT", "hint")]
    case "aggregations":
      [
        ("TARGET", "target"), ("METRIC", "metric"), ("NAME", "name"), ("TYPE", "type"), ("TAG", "tag"),
        ("VALUE", "value"),
        ("ERROR", "error"),
      ]
    default: [("NAME", "_id")]
    }
  }

  private static func table(_ objects: [Value], _ collection: String, isWide: Bool, _ terminal: Terminal) -> String {
    let columns = columns(collection, isWide: isWide)
    var table = Table(columns.map(\.heading))
    for object in objects {
      table.add(
        columns.map { column in
          let found = column.path.contains(".") ? object.at(column.path) : object[column.path]
          return Table.Cell(found.map { short($0, column.heading, isWide) } ?? "–", colour(column.heading, found))
        })
    }
    return table.text(on: terminal)
  }

  private static func short(_ value: Value, _ heading: String, _ isWide: Bool) -> String {
    switch value {
    case .string(let text): return text
    case .array(let elements) where heading == "ATTEMPTS": return String(elements.count)
    case .object(let fields) where heading == "METRICS": return fields.keys.sorted().joined(separator: " ")
    case .array(let elements) where elements.allSatisfy({ $0.text != nil }):
      return elements.compactMap(\.text).joined(separator: ",")
    default:
      let text = value.json()
      return isWide || text.count <= 60 ? text : String(text.prefix(59)) + "…"
    }
  }

  private static func colour(_ heading: String, _ value: Value?) -> Terminal.Colour? {
    guard heading == "STATE" || heading == "SEVERITY" || heading == "LEVEL" else { return nil }
    return switch value?.text {
    case "firing", "dead", "critical", "refused": .red
    case "warning", "pending", "leased": .yellow
    case "delivered", "ok": .green
    default: .grey
    }
  }
}

extension String {
  var trimmed: String { trimmingCharacters(in: .whitespacesAndNewlines) }
}
