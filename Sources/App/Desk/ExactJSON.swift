internal import Foundation
internal import Model
internal import Storage

/// Values as JSON from which the very same value is read again.
///
/// A number with a point or an exponent is a double, any other an integer. What JSON has no word for is written as an
/// object with one field: `{"$date": "…"}` to the millisecond, `{"$double": "nan" | "inf" | "-inf"}`; an object that only
/// looks like one of these stands in `{"$object": …}`.
enum ExactJSON {
  struct Malformed: Error, Sendable, Hashable, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
  }

  /// Deepest nesting that is read and written.
  static let depthBound = 128
  private static let words: Set<String> = ["$date", "$double", "$object"]

  // MARK: Writing

  static func write(_ value: Value, into out: inout [UInt8], depth: Int = 0) throws(Malformed) {
    guard depth <= depthBound else { throw Malformed("nested deeper than \(depthBound) levels") }
    switch value {
    case .null: out += "null".utf8
    case .bool(let flag): out += (flag ? "true" : "false").utf8
    case .int(let number): out += String(number).utf8
    case .double(let number):
      if number.isFinite {
        out += "\(number)".utf8
      } else {
        out += "{\"$double\":\"\(number.isNaN ? "nan" : number > 0 ? "inf" : "-inf")\"}".utf8
      }
    case .date(let date): out += "{\"$date\":\"\(instant(date))\"}".utf8
    case .string(let text): quote(text, into: &out)
    case .array(let elements):
      out.append(UInt8(ascii: "["))
      for (index, element) in elements.enumerated() {
        if index > 0 { out.append(UInt8(ascii: ",")) }
        try write(element, into: &out, depth: depth + 1)
      }
      out.append(UInt8(ascii: "]"))
    case .object(let fields):
      let isAmbiguous = fields["$object"] != nil || (fields.count == 1 && fields.keys.contains { words.contains($0) })
      if isAmbiguous { out += "{\"$object\":".utf8 }
      out.append(UInt8(ascii: "{"))
      for (index, field) in fields.sorted(by: { $0.key < $1.key }).enumerated() {
        if index > 0 { out.append(UInt8(ascii: ",")) }
        quote(field.key, into: &out)
        out.append(UInt8(ascii: ":"))
        try write(field.value, into: &out, depth: depth + 1)
      }
      out.append(UInt8(ascii: "}"))
      if isAmbiguous { out.append(UInt8(ascii: "}")) }
    }
  }

  /// ISO 8601 to the millisecond, so that the same one is read from it.
  static func instant(_ date: Date) -> String {
    // A quarter of a millisecond keeps a binary fraction from being cut down to the one before.
    Instant.format(Date(timeIntervalSince1970: Double(StoredTime.milliseconds(date)) / 1000 + 0.000_25))
  }

  static func date(_ text: String) -> Date? { Instant.parse(text).map(StoredTime.stored) }

  private static func quote(_ text: String, into out: inout [UInt8]) {
    out.append(UInt8(ascii: "\""))
    for scalar in text.unicodeScalars {
      switch scalar.value {
      case 0x22: out += "\\\"".utf8
      case 0x5C: out += "\\\\".utf8
      case 0..<0x20, 0x7F...0x9F, 0x2028, 0x2029:
        let hex = String(scalar.value, radix: 16)
        out += ("\\u" + String(repeating: "0", count: 4 - hex.utf8.count) + hex).utf8
      case 0..<0x80: out.append(UInt8(truncatingIfNeeded: scalar.value))
      default: out += UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter
      }
    }
    out.append(UInt8(ascii: "\""))
  }

  // MARK: Reading

  static func read(_ bytes: some Collection<UInt8>) throws(Malformed) -> Value {
    var reader = Reader(bytes: Array(bytes))
    let value = try reader.value(depth: 0)
    reader.skipBlanks()
    guard reader.isAtEnd else { throw Malformed("something stands after the end, at byte \(reader.place + 1)") }
    return value
  }

  private struct Reader {
    let bytes: [UInt8]
    var place = 0
    var isAtEnd: Bool { place >= bytes.count }
    private var next: UInt8? { place < bytes.count ? bytes[place] : nil }

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func skipBlanks() {
      while let byte = next, byte == 0x20 || byte == 0x09 || byte == 0x0D || byte == 0x0A { place += 1 }
    }

    private func wrong(_ expected: String) -> Malformed {
      Malformed("expected \(expected) at byte \(place + 1)\(isAtEnd ? ", where the line ends" : "")")
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
      guard let byte = next, UInt32(byte) == character.value else { return false }
      place += 1
      return true
    }

    private mutating func take(word: String) -> Bool {
      guard bytes[place...].starts(with: word.utf8) else { return false }
      place += word.utf8.count
      return true
    }

    mutating func value(depth: Int) throws(Malformed) -> Value {
      guard depth <= ExactJSON.depthBound else { throw Malformed("nested deeper than \(ExactJSON.depthBound) levels") }
      skipBlanks()
      switch next {
      case UInt8(ascii: "{"): return try object(depth: depth)
      case UInt8(ascii: "["):
        place += 1
        var elements: [Value] = []
        skipBlanks()
        if take("]") { return .array([]) }
        while true {
          elements.append(try value(depth: depth + 1))
          skipBlanks()
          if take("]") { return .array(elements) }
          guard take(",") else { throw wrong("a comma or ]") }
        }
      case UInt8(ascii: "\""): return .string(try string())
      case UInt8(ascii: "t"): if take(word: "true") { return true }
      case UInt8(ascii: "f"): if take(word: "false") { return false }
      case UInt8(ascii: "n"): if take(word: "null") { return .null }
      default: return try number()
      }
      throw wrong("a value")
    }

    /// - Parameter isLiteral: nothing in it stands for something else.
    private mutating func object(depth: Int, isLiteral: Bool = false) throws(Malformed) -> Value {
      guard take("{") else { throw wrong("an object") }
      var fields: [String: Value] = [:]
      skipBlanks()
      if take("}") { return .object([:]) }
      guard depth <= ExactJSON.depthBound else { throw Malformed("nested deeper than \(ExactJSON.depthBound) levels") }
      while true {
        skipBlanks()
        guard next == UInt8(ascii: "\"") else { throw wrong("a name in quotes") }
        let name = try string()
        skipBlanks()
        guard take(":") else { throw wrong("a colon") }
        let isWrapped = !isLiteral && name == "$object"
        if isWrapped { skipBlanks() }
        let value = try isWrapped ? object(depth: depth + 1, isLiteral: true) : value(depth: depth + 1)
        guard fields.updateValue(value, forKey: name) == nil else {
          throw Malformed("the name \"\(name.prefix(40))\" stands twice")
        }
        skipBlanks()
        if take("}") { return try isLiteral ? .object(fields) : Self.meant(fields) }
        guard take(",") else { throw wrong("a comma or }") }
      }
    }

    /// Undoes what stands for something JSON has no word for.
    private static func meant(_ fields: [String: Value]) throws(Malformed) -> Value {
      guard fields.count == 1, let (name, value) = fields.first, ExactJSON.words.contains(name) else {
        return .object(fields)
      }
      switch (name, value) {
      case ("$object", .object): return value
      case ("$date", .string(let text)):
        guard let date = ExactJSON.date(text) else { throw Malformed("$date is no time") }
        return .date(date)
      case ("$double", "nan"): return .double(.nan)
      case ("$double", "inf"): return .double(.infinity)
      case ("$double", "-inf"): return .double(-.infinity)
      default: throw Malformed("\(name) holds something else than it should")
      }
    }

    private mutating func number() throws(Malformed) -> Value {
      let start = place
      _ = take("-")
      guard let first = next, (48...57).contains(first) else { throw wrong("a value") }
      var isWhole = true
      while let byte = next {
        switch byte {
        case 48...57: break
        case UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"), UInt8(ascii: "+"), UInt8(ascii: "-"):
          isWhole = false
        default: return try number(bytes[start..<place], isWhole)
        }
        place += 1
      }
      return try number(bytes[start..<place], isWhole)
    }

    private func number(_ digits: ArraySlice<UInt8>, _ isWhole: Bool) throws(Malformed) -> Value {
      let text = String(decoding: digits, as: UTF8.self)
      if isWhole, let number = Int64(text) { return .int(number) }
      guard let number = Double(text), number.isFinite else { throw Malformed("\(text.prefix(40)) is no number") }
      return .double(number)
    }

    private mutating func string() throws(Malformed) -> String {
      place += 1
      var start = place
      var text: [UInt8] = []
      while let byte = next {
        switch byte {
        case UInt8(ascii: "\""):
          text += bytes[start..<place]
          place += 1
          guard let string = String(validating: text, as: UTF8.self) else { throw Malformed("text that is not UTF-8") }
          return string
        case UInt8(ascii: "\\"):
          text += bytes[start..<place]
          place += 1
          text += Array(String(Character(try escaped())).utf8)
          start = place
        case 0..<0x20: throw wrong("no control character in a text")
        default: place += 1
        }
      }
      throw wrong("the end of a text")
    }

    private mutating func escaped() throws(Malformed) -> Unicode.Scalar {
      guard let byte = next else { throw wrong("the end of a text") }
      place += 1
      switch byte {
      case UInt8(ascii: "\""): return "\""
      case UInt8(ascii: "\\"): return "\\"
      case UInt8(ascii: "/"): return "/"
      case UInt8(ascii: "b"): return "\u{8}"
      case UInt8(ascii: "f"): return "\u{C}"
      case UInt8(ascii: "n"): return "\n"
      case UInt8(ascii: "r"): return "\r"
      case UInt8(ascii: "t"): return "\t"
      case UInt8(ascii: "u"):
        let first = try unit()
        if let scalar = Unicode.Scalar(first) { return scalar }
        guard (0xD800..<0xDC00).contains(first), take("\\"), take("u") else {
          throw wrong("half a character's other half")
        }
        let second = try unit()
        guard (0xDC00..<0xE000).contains(second),
          let scalar = Unicode.Scalar(0x10000 + (UInt32(first - 0xD800) << 10) + UInt32(second - 0xDC00))
        else { throw wrong("half a character's other half") }
        return scalar
      default: throw wrong("an escape that JSON knows")
      }
    }

    private mutating func unit() throws(Malformed) -> UInt16 {
      guard place + 4 <= bytes.count,
        let unit = UInt16(String(decoding: bytes[place..<place + 4], as: UTF8.self), radix: 16)
      else { throw wrong("four hexadecimal digits") }
      place += 4
      return unit
    }
  }
}
