extension FieldReader {
  // MARK: - Numbers

  /// A whole number within bounds.
  package func integer(_ name: String, in range: ClosedRange<Int>, example: String? = nil) -> Int? {
    guard let value = value(name) else { return nil }
    let path = path(of: name)
    guard let number = value.integer, let integer = Int(exactly: number) else {
      problems.refuse(
        path,
        "expected a whole number from \(range.lowerBound) to \(range.upperBound), found \(Self.found(value, path))",
        hint: Self.unquoted(value) ?? example.map { "for example \($0)" })
      return nil
    }
    guard range.contains(integer) else {
      problems.refuse(path, "\(integer) is outside \(range.lowerBound) to \(range.upperBound)")
      return nil
    }
    return integer
  }

  /// A number; sizes (`10MiB`), percentages (`90%`) and, for fields that hold times, durations are converted.
  /// - Parameter field: the sample's field that the number is compared with: `…_seconds` and `…_ms` take durations.
  package func quantity(_ name: String, field: String? = nil) -> Double? {
    guard let value = value(name) else { return nil }
    let path = path(of: name)
    if let number = value.number {
      guard number.isFinite else {
        problems.refuse(path, "expected a number, found \(Self.found(value, path))")
        return nil
      }
      return number
    }
    if let text = value.text {
      if text.hasSuffix("%"), let percent = Double(text.dropLast()), percent.isFinite { return percent }
      if let field, let duration = DurationText.parse(text) {
        if field.hasSuffix("_seconds") { return duration.secondsValue }
        if field.hasSuffix("_ms") { return duration.secondsValue * 1000 }
      }
      if text.last?.isLetter == true, let bytes = SizeText.parse(text) { return Double(bytes) }
    }
    problems.refuse(path, "expected a number, found \(Self.found(value, path))", hint: Self.unquoted(value))
    return nil
  }

  /// A size in bytes.
  package func size(_ name: String, in range: ClosedRange<Int64>) -> Int64? {
    guard let value = value(name) else { return nil }
    let path = path(of: name)
    guard let bytes = SizeText.parse(value) else {
      problems.refuse(path, "expected a size, found \(Self.found(value, path))", hint: "for example 10MiB, or bytes")
      return nil
    }
    guard range.contains(bytes) else {
      problems.refuse(path, "\(bytes) bytes is outside \(range.lowerBound) to \(range.upperBound)")
      return nil
    }
    return bytes
  }

  // MARK: - Truth

  package func flag(_ name: String) -> Bool? {
    guard let value = value(name) else { return nil }
    if let flag = value.flag { return flag }
    let path = path(of: name)
    var hint = "write true or false"
    if let word = value.text?.lowercased() {
      if ["yes", "on", "y", "true"].contains(word) { hint = "write true" }
      if ["no", "off", "n", "false"].contains(word) { hint = "write false" }
    }
    problems.refuse(path, "expected true or false, found \(Self.found(value, path))", hint: hint)
    return nil
  }

  // MARK: - Time

  package func duration(_ name: String, in range: ClosedRange<Duration> = .zero...DurationText.longest) -> Duration? {
    guard let value = value(name) else { return nil }
    return duration(value, at: path(of: name), in: range)
  }

  func duration(_ value: Value, at path: String, in range: ClosedRange<Duration>) -> Duration? {
    guard let duration = DurationText.parse(value) else {
      problems.refuse(path, "expected a duration, found \(Self.found(value, path))", hint: Self.durationHint(value))
      return nil
    }
    guard range.contains(duration) else {
      let least = DurationText.format(range.lowerBound)
      let most = DurationText.format(range.upperBound)
      problems.refuse(path, "\(DurationText.format(duration)) is outside \(least) to \(most)")
      return nil
    }
    return duration
  }

  private static func durationHint(_ value: Value) -> String {
    let general = "write 500ms, 10s, 5m, 2h or 7d; a plain number is seconds"
    guard let text = value.text?.lowercased() else { return general }
    let digits = text.prefix { $0.isNumber || $0 == "." }
    let unit = text[digits.endIndex...].filter { $0 != " " }
    let units: [(String, [String])] = [
      ("ms", ["msec", "msecs", "millis", "milliseconds"]), ("s", ["s", "sec", "secs", "second", "seconds"]),
      ("m", ["m", "min", "mins", "minute", "minutes"]), ("h", ["h", "hr", "hrs", "hour", "hours"]),
      ("d", ["d", "day", "days"]),
    ]
    for (symbol, words) in units where !digits.isEmpty && words.contains(unit) { return "write \(digits)\(symbol)" }
    return general
  }

  // MARK: - What was found

  /// What stands there, in a person's words; the content of delicate fields is not repeated.
  package static func found(_ value: Value, _ path: String) -> String {
    if LiteralSecrets.isDelicate(path) { return value.foreignName ?? value.kindName }
    switch value {
    case .bool(let flag): return flag ? "true" : "false"
    case .int(let number): return "the number \(number)"
    case .double(let number): return "the number \(number)"
    case .string(let text): return "the text \(quoted(text))"
    default: return value.foreignName ?? value.kindName
    }
  }

  /// At most 40 characters of a person's text, in quotes, with control characters made visible.
  package static func quoted(_ text: String) -> String {
    var shown = ""
    for scalar in text.unicodeScalars.prefix(40) {
      let isControl =
        scalar.value < 32 || (127...159).contains(scalar.value) || (0x2028...0x202E).contains(scalar.value)
      if isControl { shown += "\\u{\(String(scalar.value, radix: 16))}" } else { shown.unicodeScalars.append(scalar) }
    }
    return "\"\(shown)\(text.unicodeScalars.count > 40 ? "…" : "")\""
  }

  private static func unquoted(_ value: Value) -> String? {
    guard let text = value.text, text.utf8.count <= 20, Double(text) != nil else { return nil }
    return "write it without quotes"
  }
}
