extension TouchBudget {
  private static let names: Set<String> = ["logins", "channels", "commands", "bytes", "cpu", "load"]
  private static let loginsRange = 1...4000
  private static let commandsRange = 1...1_000_000
  private static let bytesRange: ClosedRange<Int64> = 65_536...1_099_511_627_776
  private static let cpuRange: ClosedRange<Duration> = .milliseconds(50)...Duration.seconds(3600)
  private static let loadRange = 0.1...100_000.0

  /// Checks `touch` of a document; what is wrong refuses the document.
  /// - Parameter hasChannels: `channels` may stand in a target only, beside which connections are made.
  /// - Returns: what was written there.
  static func read(_ reader: FieldReader, hasChannels: Bool) -> [String: Value] {
    guard let map = reader.map("touch") else { return [:] }
    var advice = [
      "cpu_ms": "write cpu: 600ms", "logins_per_hour": "write logins", "commands_per_minute": "write commands",
      "bytes_per_minute": "write bytes", "load1": "write load, which is the load a core", "files": "none are written",
    ]
    if !hasChannels { advice["channels"] = "channels stand in the document of a target" }
    map.allow(only: hasChannels ? names : names.subtracting(["channels"]), advice: advice)
    _ = map.integer("logins", in: loginsRange, example: "20")
    if hasChannels { _ = map.integer("channels", in: Target.channelsRange, example: "4") }
    _ = map.integer("commands", in: commandsRange, example: "120")
    _ = map.size("bytes", in: bytesRange)
    _ = map.duration("cpu", in: cpuRange)
    if map.quantity("load") != nil, !loadRange.contains(map.value("load")?.number ?? 0) {
      map.problems.refuse(
        map.path(of: "load"),
        "the load a core is a number from \(loadRange.lowerBound) to \(Int(loadRange.upperBound))",
        hint: "for example 4; it is the load of one minute divided by the number of cores")
    }
    return map.fields
  }

  /// A budget as documents write it, over another; what cannot be read changes nothing.
  package init(_ written: [String: Value], over below: TouchBudget = TouchBudget()) {
    self = below
    func count(_ name: String, _ range: ClosedRange<Int>) -> Int? {
      written[name]?.integer.flatMap { Int(exactly: $0) }.flatMap { range.contains($0) ? $0 : nil }
    }
    logins = count("logins", Self.loginsRange) ?? logins
    channels = count("channels", Target.channelsRange) ?? channels
    commands = count("commands", Self.commandsRange) ?? commands
    if let size = written["bytes"].flatMap(SizeText.parse(_:) as (Value) -> Int64?), Self.bytesRange.contains(size) {
      bytes = size
    }
    if let time = written["cpu"].flatMap(DurationText.parse(_:) as (Value) -> Duration?), Self.cpuRange.contains(time) {
      cpu = time
    }
    if let number = written["load"]?.number, Self.loadRange.contains(number) { load = number }
  }

  /// The shape of `touch`, with every field.
  package var value: Value {
    [
      "logins": .int(Int64(logins)), "channels": .int(Int64(channels)), "commands": .int(Int64(commands)),
      "bytes": .int(bytes), "cpu": .string(DurationText.format(cpu)), "load": .double(load),
    ]
  }
}
