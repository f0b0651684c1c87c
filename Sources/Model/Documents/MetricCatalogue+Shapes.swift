extension MetricCatalogue {
  /// What one field of a sample's value is.
  package enum FieldShape: Sendable, Hashable { case number, text, flag }

  /// The fields of each metric's value (of one element where the value is a list). A metric that is not here, and
  /// anything below a dot, may have any field.
  package static let fields: [String: [String: FieldShape]] = [
    "Vitals.CPU": numbers(
      "percent user nice system idle iowait irq softirq steal load1 load5 load15 cores"),
    "Vitals.RAM": numbers("total used free available buffers cached slab percent"),
    "Vitals.Swap": numbers("total used free percent in_per_second out_per_second"),
    "Vitals.Disk": numbers("size used available percent inodes inodes_used inodes_percent")
      .merging(texts("mount device fstype")) { $1 },
    "Logs": numbers("line offset").merging(texts("data file generation")) { $1 },
    "POL.File": numbers("age_seconds size").merging(texts("path")) { $1 }.merging(["exists": .flag]) { $1 },
    "POL.Port": numbers("port latency_ms").merging(texts("host from error")) { $1 }.merging(["open": .flag]) { $1 },
    "POL.Socket": numbers("latency_ms").merging(texts("path error")) { $1 }.merging(["open": .flag]) { $1 },
    "Connection": numbers("attempt latency_ms").merging(texts("state phase error")) { $1 },
    "Host": numbers("uptime_seconds clock_skew_ms").merging(texts("boot_id")) { $1 },
  ]

  /// How often a metric is gathered when its options name no interval.
  package static func defaultInterval(_ metric: String) -> Duration {
    switch metric {
    case "Vitals.Disk", "Command": .seconds(60)
    case "Logs": .seconds(1)
    default: .seconds(10)
    }
  }

  /// How much a metric is missed when a target can bear fewer looks: what matters least is left out first.
  package enum Importance: Int, Sendable, Hashable, Comparable {
    case low, normal
    /// Whether the target lives at all.
    case essential

    package static func < (a: Importance, b: Importance) -> Bool { a.rawValue < b.rawValue }
  }

  package static func importance(of metric: String) -> Importance {
    switch metric {
    case "Host", "Connection", "POL.File", "POL.Port", "POL.Socket": .essential
    case "Vitals.Swap", "Traffic", "Command": .low
    default: .normal
    }
  }

  /// The first parts of dotted names: `Vitals`, `POL`.
  static let families: Set<String> = Set(
    headline.keys.compactMap { name in name.split(separator: ".").count > 1 ? name.split(separator: ".").first : nil }
      .map(String.init))

  /// What an option of a metric may be.
  enum OptionShape { case text, texts, flag, port, count, arguments, origin }

  /// The options of each metric beside `interval` and `name`.
  static let options: [String: [String: OptionShape]] = [
    "Vitals.CPU": [:], "Vitals.RAM": [:], "Vitals.Swap": [:], "Vitals.Disk": [:], "Connection": [:], "Host": [:],
    "Logs": ["files": .texts, "journal": .flag, "notable": .text, "context": .count],
    "Traffic": ["status_url": .text, "access_log": .text, "format": .text],
    "POL.File": ["path": .text],
    "POL.Port": ["host": .text, "port": .port, "from": .origin],
    "POL.Socket": ["path": .text],
    "Command": ["command": .arguments, "parse": .text],
  ]

  private static func numbers(_ names: String) -> [String: FieldShape] { shapes(names, .number) }
  private static func texts(_ names: String) -> [String: FieldShape] { shapes(names, .text) }
  private static func shapes(_ names: String, _ shape: FieldShape) -> [String: FieldShape] {
    Dictionary(names.split(separator: " ").map { (String($0), shape) }, uniquingKeysWith: { $1 })
  }
}
