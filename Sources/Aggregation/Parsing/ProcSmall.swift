/// The three averages of /proc/loadavg (proc(5)).
struct LoadAverage: Hashable {
  var one: Double
  var five: Double
  var fifteen: Double

  static func parse(_ bytes: [UInt8]) throws(Unreadable) -> LoadAverage {
    let numbers = (Bytes.lines(bytes).first.map { Bytes.words($0) } ?? []).prefix(3).compactMap { Bytes.decimal($0) }
    guard numbers.count == 3 else {
      throw Unreadable("/proc/loadavg does not begin with three numbers: \"\(Bytes.printable(bytes))\"")
    }
    return LoadAverage(one: numbers[0], five: numbers[1], fifteen: numbers[2])
  }
}

/// The first number of /proc/uptime: seconds since boot, in hundredths, time asleep included.
enum Uptime {
  static func parse(_ bytes: [UInt8]) throws(Unreadable) -> Double {
    guard let word = Bytes.lines(bytes).first.flatMap({ Bytes.words($0).first }), let seconds = Bytes.decimal(word),
      seconds < 1e11
    else { throw Unreadable("/proc/uptime does not begin with a number: \"\(Bytes.printable(bytes))\"") }
    return seconds
  }
}

/// /proc/sys/kernel/random/boot_id: a UUID that the kernel makes at each start.
enum BootID {
  static func parse(_ bytes: [UInt8]) throws(Unreadable) -> String {
    let word = bytes.split(whereSeparator: { $0 == 0x0A || $0 == 0x20 }).first ?? []
    let isDash: (Int) -> Bool = { [8, 13, 18, 23].contains($0) }
    let isUUID =
      word.count == 36
      && word.enumerated().allSatisfy { index, byte in
        isDash(index)
          ? byte == UInt8(ascii: "-")
          : (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte) || (0x41...0x46).contains(byte)
      }
    guard isUUID else {
      throw Unreadable("/proc/sys/kernel/random/boot_id holds no UUID: \"\(Bytes.printable(bytes))\"")
    }
    return String(decoding: word, as: UTF8.self).lowercased()
  }
}

/// The names in /etc/os-release (os-release(5)).
enum OSRelease {
  /// `PRETTY_NAME`, else `NAME VERSION_ID`, else nil. At most 100 characters, control characters replaced.
  static func parse(_ bytes: [UInt8]) -> String? {
    var values: [String: String] = [:]
    for line in Bytes.lines(bytes) {
      guard let equals = line.firstIndex(of: UInt8(ascii: "=")), equals - line.startIndex <= 20 else { continue }
      var text = line[(equals + 1)...]
      if let quote = text.first, quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'"), text.last == quote,
        text.count >= 2
      {
        text = text.dropFirst().dropLast()
      }
      values[String(decoding: line[..<equals], as: UTF8.self)] = clean(text)
    }
    if let pretty = values["PRETTY_NAME"], !pretty.isEmpty { return pretty }
    let parts = [values["NAME"], values["VERSION_ID"]].compactMap { $0 }.filter { !$0.isEmpty }
    return parts.isEmpty ? nil : parts.joined(separator: " ")
  }

  /// The first line of a file such as /proc/sys/kernel/osrelease, in the same way; nil when it is empty.
  static func line(_ bytes: [UInt8]) -> String? {
    guard let first = Bytes.lines(bytes).first else { return nil }
    let text = clean(first)
    return text.isEmpty ? nil : text
  }

  private static func clean(_ bytes: ArraySlice<UInt8>) -> String {
    let bounded = bytes.prefix(100).map { $0 < 0x20 || $0 == 0x7F ? UInt8(ascii: "?") : $0 }
    return String(String(decoding: bounded, as: UTF8.self).filter { $0 != "\u{FFFD}" })
  }
}
