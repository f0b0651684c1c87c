package import Model

/// What a YAML or JSON text holds: one value for each document, with the lines of its fields.
package struct DocumentText: Sendable {
  package struct Part: Sendable {
    package var value: Value
    package var positions: Positions
  }

  package var parts: [Part] = []
  package var problems: [Problem] = []

  /// Largest text that is looked at: 8 MiB.
  package static let bytes = 8 << 20
  /// Most values in one text; more mean that aliases multiply one another.
  package static let values = 300_000
  /// Most documents in one text.
  package static let documents = 10_000

  /// Reads a whole text. A document that is not valid YAML is reported and harms no other one of the text.
  /// - Parameters:
  ///   - file: the name that stands in messages.
  ///   - isJSON: one JSON text, in which `---` separates nothing.
  package init(_ bytes: [UInt8], file: String, isJSON: Bool = false) {
    guard bytes.count <= Self.bytes else {
      refuse(file, nil, "the file is larger than \(Self.bytes >> 20) MiB", "split it into several")
      return
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      refuse(file, Self.lineOfInvalidByte(bytes), "the text is not UTF-8", "save the file as UTF-8")
      return
    }
    let read = DeepWork.run { () -> (parts: [Part], problems: [Problem], lineBeyond: Int?) in
      let chunks =
        isJSON ? [YAMLChunk(firstLine: 1, text: JSONEscapes.joined(text))] : YAMLChunk.split(text)
      var composer = YAMLComposer(file: file)
      for chunk in chunks.prefix(Self.documents) where !composer.isExhausted { composer.compose(chunk) }
      let beyond = chunks.count > Self.documents ? chunks[Self.documents].firstLine : nil
      return (composer.parts, composer.problems, beyond)
    }
    guard let read else {
      refuse(file, nil, "the file was not read in time", "try again; the machine may be out of threads")
      return
    }
    parts = read.parts
    problems = read.problems
    if let line = read.lineBeyond {
      refuse(file, line, "more than \(Self.documents) documents in one file", "split it")
    }
  }

  private mutating func refuse(_ file: String, _ line: Int?, _ reason: String, _ hint: String) {
    problems.append(Problem(kind: "file", id: "", path: "", reason: reason, hint: hint, file: file, line: line))
  }

  private static func lineOfInvalidByte(_ bytes: [UInt8]) -> Int? {
    var line = 1
    for part in bytes.split(separator: 10, omittingEmptySubsequences: false) {
      if String(validating: part, as: UTF8.self) == nil { return line }
      line += 1
    }
    return nil
  }
}

/// One document of a YAML stream.
struct YAMLChunk {
  var firstLine: Int
  var text: String

  /// Cuts at the markers `---` and `...`, which stand at the start of a line and nowhere else in YAML; so a mistake in
  /// one document does not reach the next.
  static func split(_ text: String) -> [YAMLChunk] {
    var chunks: [YAMLChunk] = []
    var current: [UInt8] = []
    var firstLine = 1
    var line = 0
    var hasContent = false
    func finish() {
      if hasContent { chunks.append(YAMLChunk(firstLine: firstLine, text: String(decoding: current, as: UTF8.self))) }
    }
    var bytes = Array(text.utf8)
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes.removeFirst(3) }
    // The end of the last line begins no other one.
    if bytes.last == 10 { bytes.removeLast() }
    for part in bytes.split(separator: 10, omittingEmptySubsequences: false) {
      line += 1
      let isMarker = isMarker(part, 45)
      if isMarker || Self.isMarker(part, 46) {
        finish()
        current = []
        hasContent = false
        firstLine = isMarker ? line : line + 1
        // What follows `---` in its line belongs to the document.
        let rest = isMarker ? part.dropFirst(3) : []
        hasContent = isContent(rest)
        current += (isMarker ? [32, 32, 32] : []) + rest + (isMarker ? [10] : [])
        continue
      }
      // Directives come before a document; ours are all of the same version.
      if part.first == 37, !hasContent {
        current.append(10)
        continue
      }
      if isContent(part) { hasContent = true }
      current += part
      current.append(10)
    }
    finish()
    return chunks
  }

  private static func isMarker(_ line: ArraySlice<UInt8>, _ byte: UInt8) -> Bool {
    guard line.count >= 3, line.prefix(3).allSatisfy({ $0 == byte }) else { return false }
    guard let next = line.dropFirst(3).first else { return true }
    return next == 32 || next == 9 || next == 13
  }

  private static func isContent(_ line: ArraySlice<UInt8>) -> Bool {
    guard let first = line.first(where: { $0 != 32 && $0 != 9 && $0 != 13 }) else { return false }
    return first != 35
  }
}

/// JSON writes characters beyond the first plane as two escapes, which YAML does not know.
enum JSONEscapes {
  /// The text with each such pair in YAML's way, on the same line.
  static func joined(_ text: String) -> String {
    let bytes = Array(text.utf8)
    guard text.contains("\\u") else { return text }
    var out: [UInt8] = []
    out.reserveCapacity(bytes.count)
    var index = 0
    while index < bytes.count {
      guard bytes[index] == 92 else {
        out.append(bytes[index])
        index += 1
        continue
      }
      if let high = unit(bytes, index), (0xD800...0xDBFF).contains(high), let low = unit(bytes, index + 6),
        (0xDC00...0xDFFF).contains(low)
      {
        let scalar = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
        let hex = String(scalar, radix: 16, uppercase: true)
        out += Array(("\\U" + String(repeating: "0", count: 8 - hex.count) + hex).utf8)
        index += 12
      } else {
        // An escape of two characters; the second may be a backslash.
        out += bytes[index..<min(index + 2, bytes.count)]
        index += 2
      }
    }
    return String(decoding: out, as: UTF8.self)
  }

  private static func unit(_ bytes: [UInt8], _ index: Int) -> UInt32? {
    guard index + 6 <= bytes.count, bytes[index] == 92, bytes[index + 1] == 117 else { return nil }
    return UInt32(String(decoding: bytes[(index + 2)..<(index + 6)], as: UTF8.self), radix: 16)
  }
}
