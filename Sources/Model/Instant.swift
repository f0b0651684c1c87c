package import FoundationEssentials

/// Writing and reading UTC instants. All arithmetic is on the proleptic Gregorian calendar, without a time zone.
package enum Instant {
  /// ISO 8601 with milliseconds where they are not zero, e.g. `2026-11-21T08:15:00Z`.
  package static func format(_ date: Date) -> String {
    let parts = civil(date)
    let milliseconds = parts.millisecond == 0 ? "" : "." + pad(parts.millisecond, 3)
    return
      "\(pad(parts.year, 4))-\(pad(parts.month, 2))-\(pad(parts.day, 2))T\(pad(parts.hour, 2)):\(pad(parts.minute, 2)):\(pad(parts.second, 2))\(milliseconds)Z"
  }

  /// Reads `YYYY-MM-DD`, optionally followed by `T` or a space, `hh:mm[:ss[.fff]]` and `Z` or `±hh[:]mm`.
  /// Without a zone the time is UTC. Anything else is nil.
  package static func parse(_ text: String) -> Date? {
    var reader = Digits(text)
    guard let year = reader.number(4), reader.take("-"), let month = reader.number(2), reader.take("-"),
      let day = reader.number(2), (1...12).contains(month), (1...31).contains(day)
    else { return nil }
    var seconds = Double(daysFromCivil(year, month, day)) * 86_400
    if reader.isAtEnd { return Date(timeIntervalSince1970: seconds) }
    guard reader.take("T") || reader.take("t") || reader.take(" "), let hour = reader.number(2), reader.take(":"),
      let minute = reader.number(2), hour < 24, minute < 60
    else { return nil }
    seconds += Double(hour * 3600 + minute * 60)
    if reader.take(":") {
      guard let second = reader.number(2), second <= 60 else { return nil }
      seconds += Double(second)
      if reader.take(".") || reader.take(",") {
        guard let fraction = reader.fraction() else { return nil }
        seconds += fraction
      }
    }
    if reader.isAtEnd || reader.take("Z") || reader.take("z") {
      return reader.isAtEnd ? Date(timeIntervalSince1970: seconds) : nil
    }
    let sign: Double
    if reader.take("+") { sign = 1 } else if reader.take("-") { sign = -1 } else { return nil }
    guard let zoneHour = reader.number(2), zoneHour < 24 else { return nil }
    _ = reader.take(":")
    let zoneMinute = reader.isAtEnd ? 0 : reader.number(2) ?? 60
    guard zoneMinute < 60, reader.isAtEnd else { return nil }
    return Date(timeIntervalSince1970: seconds - sign * Double(zoneHour * 3600 + zoneMinute * 60))
  }

  /// The integer `YYYYMMDDhhmmss` that stamps an aggregation.
  package static func tag(_ date: Date) -> Int64 {
    let parts = civil(date)
    return
      ((((Int64(parts.year) * 100 + Int64(parts.month)) * 100 + Int64(parts.day)) * 100 + Int64(parts.hour)) * 100
      + Int64(parts.minute)) * 100 + Int64(parts.second)
  }

  /// The instant a tag stands for; nil when it is not a time.
  package static func date(tag: Int64) -> Date? {
    guard tag >= 1_00_00_00_00_00, tag <= 9999_12_31_23_59_60 else { return nil }
    let second = tag % 100
    let minute = tag / 100 % 100
    let hour = tag / 10_000 % 100
    let day = Int(tag / 1_000_000 % 100)
    let month = Int(tag / 100_000_000 % 100)
    let year = Int(tag / 10_000_000_000)
    guard (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60, second <= 60 else { return nil }
    return Date(
      timeIntervalSince1970: Double(daysFromCivil(year, month, day)) * 86_400
        + Double(hour * 3600 + minute * 60 + second))
  }

  private static func pad(_ number: Int, _ width: Int) -> String {
    let digits = String(number)
    return digits.count >= width ? digits : String(repeating: "0", count: width - digits.count) + digits
  }

  private static func civil(
    _ date: Date
  ) -> (year: Int, month: Int, day: Int, hour: Int, minute: Int, second: Int, millisecond: Int) {
    // Years 1 to 9999: what a tag and ISO 8601 can hold.
    let clamped = min(max(date.timeIntervalSince1970, -62_135_596_800), 253_402_300_799)
    let total = (clamped * 1000).rounded(.down)
    let milliseconds = Int64(total.isFinite ? total : 0)
    let seconds = Int(floorDivide(milliseconds, 1000))
    let millisecond = Int(milliseconds - Int64(seconds) * 1000)
    let days = Int(floorDivide(Int64(seconds), 86_400))
    let rest = seconds - days * 86_400
    // Days to a civil date, by eras of 400 years that start on 1 March.
    let shifted = days + 719_468
    let era = Int(floorDivide(Int64(shifted), 146_097))
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthIndex = (5 * dayOfYear + 2) / 153
    let month = monthIndex < 10 ? monthIndex + 3 : monthIndex - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    return (
      year, month, dayOfYear - (153 * monthIndex + 2) / 5 + 1, rest / 3600, rest / 60 % 60, rest % 60, millisecond
    )
  }

  private static func daysFromCivil(_ year: Int, _ month: Int, _ day: Int) -> Int {
    let shiftedYear = month <= 2 ? year - 1 : year
    let era = Int(floorDivide(Int64(shiftedYear), 400))
    let yearOfEra = shiftedYear - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    return era * 146_097 + dayOfEra - 719_468
  }

  private static func floorDivide(_ a: Int64, _ b: Int64) -> Int64 {
    let quotient = a / b
    return a % b < 0 ? quotient - 1 : quotient
  }

  private struct Digits {
    var rest: Substring.UTF8View
    init(_ text: String) { rest = Substring(text).utf8 }
    var isAtEnd: Bool { rest.isEmpty }

    mutating func take(_ character: Character) -> Bool {
      guard let first = rest.first, first == character.asciiValue else { return false }
      rest.removeFirst()
      return true
    }

    mutating func number(_ width: Int) -> Int? {
      var result = 0
      for _ in 0..<width {
        guard let digit = rest.first, (48...57).contains(digit) else { return nil }
        result = result * 10 + Int(digit - 48)
        rest.removeFirst()
      }
      return result
    }

    mutating func fraction() -> Double? {
      var result = 0.0
      var scale = 0.1
      var count = 0
      while let digit = rest.first, (48...57).contains(digit), count < 12 {
        result += Double(digit - 48) * scale
        scale /= 10
        count += 1
        rest.removeFirst()
      }
      return count > 0 ? result : nil
    }
  }
}
