internal import FoundationEssentials
internal import Model

/// The bytes in which values are stored: every kind comes back as it was, and figures take little room.
///
/// One tag byte, then the content. Whole numbers are zig-zag varints; a double that is a short decimal (two places as a
/// percentage has) is stored as such; keys that documents.md names take one byte. The format belongs to the schema
/// version: tags and ``keys`` may be added at the end, never changed.
enum ValueCodec {
  /// Deeper values are refused on writing and on reading.
  static let depthBound = 200

  private enum Tag {
    static let null: UInt8 = 0
    static let no: UInt8 = 1
    static let yes: UInt8 = 2
    static let int: UInt8 = 3
    static let double: UInt8 = 4
    static let string: UInt8 = 5
    /// Milliseconds since 1970.
    static let date: UInt8 = 6
    /// Seconds since 1970 that are no whole milliseconds.
    static let exactDate: UInt8 = 7
    static let array: UInt8 = 8
    static let object: UInt8 = 9
    /// 10 … 13: a double with 0 … 3 decimal places.
    static let decimal: UInt8 = 10
    /// 64 … 127: the integers 0 … 63.
    static let smallInt: UInt8 = 64
    /// 128 … 255: strings of 0 … 127 bytes.
    static let shortString: UInt8 = 128
  }

  /// The field names of the metrics' values, by number. Append only.
  static let keys: [String] = [
    "percent", "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "load1", "load5", "load15",
    "cores", "total", "used", "free", "available", "buffers", "cached", "slab", "in_per_second", "out_per_second",
    "mount", "device", "fstype", "size", "inodes", "inodes_used", "inodes_percent", "data", "line", "file", "context",
    "offset", "generation", "requests_per_second", "bytes_per_second", "status", "1xx", "2xx", "3xx", "4xx", "5xx",
    "active", "reading", "writing", "waiting", "accepts", "handled", "latency", "p50", "p95", "p99", "upstream_errors",
    "path", "exists", "age_seconds", "host", "port", "from", "open", "latency_ms", "error", "output", "performance",
    "value", "unit", "warning", "critical", "min", "max", "state", "phase", "attempt", "boot_id", "uptime_seconds",
    "clock_skew_ms", "mean", "last", "count",
  ]
  private static let numbers: [String: UInt8] = Dictionary(
    uniqueKeysWithValues: keys.prefix(254).enumerated().map { ($1, UInt8(truncatingIfNeeded: $0 + 1)) })

  struct Malformed: Error {}

  // MARK: Writing

  /// - Throws: ``Malformed`` when nested deeper than ``depthBound``.
  static func encode(_ value: Value) throws(Malformed) -> [UInt8] {
    var out: [UInt8] = []
    try write(value, into: &out, depth: 0)
    return out
  }

  static func write(_ value: Value, into out: inout [UInt8], depth: Int) throws(Malformed) {
    guard depth < depthBound else { throw Malformed() }
    switch value {
    case .null: out.append(Tag.null)
    case .bool(let flag): out.append(flag ? Tag.yes : Tag.no)
    case .int(let number):
      if (0..<64).contains(number) { return out.append(Tag.smallInt + UInt8(number)) }
      out.append(Tag.int)
      write(signed: number, into: &out)
    case .double(let number): write(number, into: &out)
    case .string(let text):
      let count = text.utf8.count
      if count < 128 {
        out.append(Tag.shortString + UInt8(count))
      } else {
        out.append(Tag.string)
        write(UInt64(count), into: &out)
      }
      out.append(contentsOf: text.utf8)
    case .date(let date):
      let milliseconds = (date.timeIntervalSince1970 * 1000).rounded()
      if let whole = Int64(exactly: milliseconds), Date(timeIntervalSince1970: Double(whole) / 1000) == date {
        out.append(Tag.date)
        write(signed: whole, into: &out)
      } else {
        out.append(Tag.exactDate)
        write(bits: date.timeIntervalSince1970, into: &out)
      }
    case .array(let elements):
      out.append(Tag.array)
      write(UInt64(elements.count), into: &out)
      for element in elements { try write(element, into: &out, depth: depth + 1) }
    case .object(let fields):
      out.append(Tag.object)
      write(UInt64(fields.count), into: &out)
      for (key, field) in fields.sorted(by: { $0.key < $1.key }) {
        if let number = numbers[key] {
          out.append(number)
        } else {
          out.append(0)
          write(UInt64(key.utf8.count), into: &out)
          out.append(contentsOf: key.utf8)
        }
        try write(field, into: &out, depth: depth + 1)
      }
    }
  }

  private static let powers: [Double] = [1, 10, 100, 1000]

  private static func write(_ number: Double, into out: inout [UInt8]) {
    // Beyond this a decimal is no shorter than the eight bytes themselves.
    if abs(number) < 1e13 {
      for (places, power) in powers.enumerated() {
        let scaled = (number * power).rounded()
        if scaled / power == number, let whole = Int64(exactly: scaled) {
          out.append(Tag.decimal + UInt8(places))
          return write(signed: whole, into: &out)
        }
      }
    }
    out.append(Tag.double)
    write(bits: number, into: &out)
  }

  private static func write(bits number: Double, into out: inout [UInt8]) {
    let bits = number.bitPattern
    for shift in stride(from: UInt64(0), to: 64, by: 8) { out.append(UInt8(truncatingIfNeeded: bits >> shift)) }
  }

  private static func write(signed number: Int64, into out: inout [UInt8]) {
    write(UInt64(bitPattern: (number << 1) ^ (number >> 63)), into: &out)
  }

  private static func write(_ number: UInt64, into out: inout [UInt8]) {
    var rest = number
    while rest >= 0x80 {
      out.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    out.append(UInt8(rest))
  }

  // MARK: Reading

  /// - Throws: ``Malformed`` for anything that ``encode(_:)`` did not write.
  static func decode(_ bytes: ArraySlice<UInt8>) throws(Malformed) -> Value {
    var reader = Reader(rest: bytes)
    let value = try reader.value(depth: 0)
    guard reader.rest.isEmpty else { throw Malformed() }
    return value
  }

  private struct Reader {
    var rest: ArraySlice<UInt8>

    mutating func value(depth: Int) throws(Malformed) -> Value {
      guard depth < depthBound else { throw Malformed() }
      let tag = try byte()
      switch tag {
      case Tag.null: return .null
      case Tag.no: return .bool(false)
      case Tag.yes: return .bool(true)
      case Tag.int: return .int(try signed())
      case Tag.double: return .double(try bits())
      case Tag.string: return .string(try text(try count()))
      case Tag.date: return .date(Date(timeIntervalSince1970: Double(try signed()) / 1000))
      case Tag.exactDate: return .date(Date(timeIntervalSince1970: try bits()))
      case Tag.array:
        let count = try count()
        var elements: [Value] = []
        elements.reserveCapacity(count)
        for _ in 0..<count { elements.append(try value(depth: depth + 1)) }
        return .array(elements)
      case Tag.object:
        let count = try count()
        var fields: [String: Value] = [:]
        fields.reserveCapacity(count)
        for _ in 0..<count {
          let key = try key()
          fields[key] = try value(depth: depth + 1)
        }
        return .object(fields)
      case Tag.decimal...(Tag.decimal + 3):
        return .double(Double(try signed()) / powers[Int(tag - Tag.decimal)])
      case Tag.smallInt..<Tag.shortString: return .int(Int64(tag - Tag.smallInt))
      case Tag.shortString...: return .string(try text(Int(tag - Tag.shortString)))
      default: throw Malformed()
      }
    }

    private mutating func key() throws(Malformed) -> String {
      let number = Int(try byte())
      if number == 0 { return try text(try count()) }
      guard keys.indices.contains(number - 1) else { throw Malformed() }
      return keys[number - 1]
    }

    private mutating func byte() throws(Malformed) -> UInt8 {
      guard let first = rest.popFirst() else { throw Malformed() }
      return first
    }

    private mutating func unsigned() throws(Malformed) -> UInt64 {
      var number: UInt64 = 0
      var shift: UInt64 = 0
      while shift < 64 {
        let byte = try byte()
        number |= UInt64(byte & 0x7F) << shift
        if byte & 0x80 == 0 { return number }
        shift += 7
      }
      throw Malformed()
    }

    private mutating func signed() throws(Malformed) -> Int64 {
      let number = try unsigned()
      return Int64(bitPattern: (number >> 1) ^ (0 &- (number & 1)))
    }

    /// A length; whatever has a length takes at least a byte for each, so that no count asks for more than is there.
    private mutating func count() throws(Malformed) -> Int {
      guard let count = Int(exactly: try unsigned()), count <= rest.count else { throw Malformed() }
      return count
    }

    private mutating func bits() throws(Malformed) -> Double {
      var bits: UInt64 = 0
      for shift in stride(from: UInt64(0), to: 64, by: 8) { bits |= UInt64(try byte()) << shift }
      return Double(bitPattern: bits)
    }

    private mutating func text(_ count: Int) throws(Malformed) -> String {
      guard count <= rest.count, let text = String(validating: rest.prefix(count), as: UTF8.self) else {
        throw Malformed()
      }
      rest = rest.dropFirst(count)
      return text
    }
  }
}
