internal import Foundation
internal import Model
internal import Storage

/// The bytes of an operation in the journal: each series' name once, then its samples with values as ``ValueCodec``
/// writes them; episodes and entries as JSON, their payloads as values.
enum JournalCodec {
  private static let samplesMark: UInt8 = 1
  private static let recordMark: UInt8 = 2
  private static let valueMark: UInt8 = 1
  private static let errorMark: UInt8 = 2

  static func encode(_ operation: JournalOperation) throws -> Data {
    var out = JournalWriter()
    switch operation {
    case .append(let samples): write(samples, into: &out)
    case .record(let episode, let entries, let fence): try write(episode, entries, fence, into: &out)
    }
    return Data(out.bytes)
  }

  private static func write(_ samples: [Sample], into out: inout JournalWriter) {
    out.bytes.append(samplesMark)
    var numbers: [Series: Int] = [:]
    var names: [Series] = []
    for sample in samples where numbers[sample.series] == nil {
      numbers[sample.series] = names.count
      names.append(sample.series)
    }
    out.count(names.count)
    for series in names {
      out.text(series.target)
      out.text(series.metric)
      out.bytes.append(series.name == nil ? 0 : 1)
      if let name = series.name { out.text(name) }
    }
    out.count(samples.count)
    var before: Int64 = 0
    for sample in samples {
      let at = StoredTime.parts(sample.at)
      out.count(numbers[sample.series] ?? 0)
      out.signed(StoredNames.number(sample.type))
      out.signed(at.second &- before)
      before = at.second
      out.signed(at.millisecond)
      out.signed(Int64(sample.n))
      if let error = sample.error {
        out.bytes.append(errorMark)
        out.text(error)
        continue
      }
      do throws(ValueCodec.Malformed) {
        let value = try ValueCodec.encode(sample.value ?? .null)
        out.bytes.append(valueMark)
        out.block(value)
      } catch {
        out.bytes.append(errorMark)
        out.text("the value is nested deeper than \(ValueCodec.depthBound) levels")
      }
    }
  }

  private static func write(
    _ episode: Episode?, _ entries: [QueueEntry], _ fence: Int64, into out: inout JournalWriter
  ) throws {
    out.bytes.append(recordMark)
    out.signed(fence)
    out.bytes.append(episode == nil ? 0 : 1)
    if let episode { out.block([UInt8](try JSONEncoder().encode(episode))) }
    out.count(entries.count)
    for entry in entries {
      var bare = entry
      bare.payload = [:]
      out.block([UInt8](try JSONEncoder().encode(bare)))
      out.block(try ValueCodec.encode(.object(entry.payload)))
    }
  }

  /// - Throws: `ValueCodec.Malformed` for anything that ``encode(_:)`` did not write.
  static func decode(_ bytes: [UInt8]) throws(ValueCodec.Malformed) -> JournalOperation {
    var reader = JournalReader(rest: bytes[...])
    let operation: JournalOperation
    switch try reader.byte() {
    case samplesMark: operation = .append(try samples(&reader))
    case recordMark: operation = try record(&reader)
    default: throw ValueCodec.Malformed()
    }
    guard reader.rest.isEmpty else { throw ValueCodec.Malformed() }
    return operation
  }

  private static let types: [Int64: SampleType] = Dictionary(
    SampleType.allCases.map { (StoredNames.number($0), $0) }, uniquingKeysWith: { first, _ in first })

  private static func samples(_ reader: inout JournalReader) throws(ValueCodec.Malformed) -> [Sample] {
    var names: [Series] = []
    for _ in 0..<(try reader.count()) {
      let (target, metric) = (try reader.text(), try reader.text())
      names.append(Series(target: target, metric: metric, name: try reader.byte() == 1 ? try reader.text() : nil))
    }
    var samples: [Sample] = []
    let count = try reader.count()
    samples.reserveCapacity(count)
    var second: Int64 = 0
    for _ in 0..<count {
      let number = try reader.unsigned()
      guard let index = Int(exactly: number), names.indices.contains(index),
        let type = types[try reader.signed()]
      else { throw ValueCodec.Malformed() }
      second = second &+ (try reader.signed())
      let at = StoredTime.date(second: second, millisecond: try reader.signed())
      guard let n = Int(exactly: try reader.signed()) else { throw ValueCodec.Malformed() }
      switch try reader.byte() {
      case valueMark:
        let value = try ValueCodec.decode(try reader.block())
        samples.append(Sample(series: names[index], type: type, at: at, n: n, value: value))
      case errorMark:
        samples.append(Sample(series: names[index], type: type, at: at, n: n, error: try reader.text()))
      default: throw ValueCodec.Malformed()
      }
    }
    return samples
  }

  private static func record(_ reader: inout JournalReader) throws(ValueCodec.Malformed) -> JournalOperation {
    let fence = try reader.signed()
    let episode = try reader.byte() == 1 ? try json(Episode.self, try reader.block()) : nil
    var entries: [QueueEntry] = []
    for _ in 0..<(try reader.count()) {
      var entry = try json(QueueEntry.self, try reader.block())
      guard case .object(let payload) = try ValueCodec.decode(try reader.block()) else { throw ValueCodec.Malformed() }
      entry.payload = payload
      entries.append(entry)
    }
    return .record(episode, entries, fence: fence)
  }

  private static func json<Result: Decodable>(
    _: Result.Type, _ bytes: ArraySlice<UInt8>
  ) throws(ValueCodec.Malformed) -> Result {
    do {
      return try JSONDecoder().decode(Result.self, from: Data(bytes))
    } catch {
      throw ValueCodec.Malformed()
    }
  }
}

/// Whole numbers as varints (zig-zag where they have a sign), texts and blocks with their length before them.
struct JournalWriter {
  var bytes: [UInt8] = []

  mutating func unsigned(_ number: UInt64) {
    var rest = number
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(truncatingIfNeeded: rest))
  }

  mutating func signed(_ number: Int64) { unsigned(UInt64(bitPattern: (number << 1) ^ (number >> 63))) }

  mutating func count(_ number: Int) { unsigned(UInt64(max(0, number))) }

  mutating func block(_ content: [UInt8]) {
    count(content.count)
    bytes += content
  }

  mutating func text(_ text: String) {
    count(text.utf8.count)
    bytes += text.utf8
  }
}

/// Reads what ``JournalWriter`` wrote; anything else is an error and never a trap.
struct JournalReader {
  var rest: ArraySlice<UInt8>

  mutating func byte() throws(ValueCodec.Malformed) -> UInt8 {
    guard let first = rest.popFirst() else { throw ValueCodec.Malformed() }
    return first
  }

  mutating func unsigned() throws(ValueCodec.Malformed) -> UInt64 {
    var number: UInt64 = 0
    var shift: UInt64 = 0
    while shift < 64 {
      let byte = try byte()
      number |= UInt64(byte & 0x7F) << shift
      if byte & 0x80 == 0 { return number }
      shift += 7
    }
    throw ValueCodec.Malformed()
  }

  mutating func signed() throws(ValueCodec.Malformed) -> Int64 {
    let number = try unsigned()
    return Int64(bitPattern: (number >> 1) ^ (0 &- (number & 1)))
  }

  /// Whatever is counted takes at least a byte, so that no count asks for more than is there.
  mutating func count() throws(ValueCodec.Malformed) -> Int {
    guard let count = Int(exactly: try unsigned()), count <= rest.count else { throw ValueCodec.Malformed() }
    return count
  }

  mutating func block() throws(ValueCodec.Malformed) -> ArraySlice<UInt8> {
    let count = try count()
    defer { rest = rest.dropFirst(count) }
    return rest.prefix(count)
  }

  mutating func text() throws(ValueCodec.Malformed) -> String {
    guard let text = String(validating: try block(), as: UTF8.self) else { throw ValueCodec.Malformed() }
    return text
  }
}
