import Foundation
import Model
import Testing

@testable import SQLiteStorage

@Suite("The bytes of stored values")
struct ValueCodecTests {
  private func random(_ random: inout SeededGenerator, depth: Int = 0) -> Value {
    switch Int.random(in: 0..<(depth < 4 ? 9 : 7), using: &random) {
    case 0: return .null
    case 1: return .bool(Bool.random(using: &random))
    case 2: return .int(Int64(bitPattern: random.next()) >> Int64.random(in: 0..<64, using: &random))
    case 3: return .double(Double(Int.random(in: -100_000...100_000, using: &random)) / 100)
    case 4:
      let number = Double(bitPattern: random.next())
      return .double(number.isNaN ? 0 : number)
    case 5:
      let scalars = (0..<Int.random(in: 0..<200, using: &random)).compactMap { _ in
        Unicode.Scalar(UInt32.random(in: 0...0x10FFFF, using: &random))
      }
      return .string(String(String.UnicodeScalarView(scalars)))
    case 6: return .date(Date(timeIntervalSince1970: Double.random(in: -1e10...1e10, using: &random)))
    case 7:
      return .array((0..<Int.random(in: 0..<5, using: &random)).map { _ in self.random(&random, depth: depth + 1) })
    default:
      let names = ValueCodec.keys + ["own", "", "ä"]
      return .object(
        Dictionary(
          (0..<Int.random(in: 0..<8, using: &random)).map { _ in
            (names.randomElement(using: &random) ?? "", self.random(&random, depth: depth + 1))
          }, uniquingKeysWith: { first, _ in first }))
    }
  }

  @Test("bring back 20,000 random values exactly, and damaged bytes never trap")
  func roundTrip() throws {
    var (generator, seed) = SeededGenerator.seeded("value codec")
    var refusedCount = 0
    for step in 0..<20_000 {
      let value = random(&generator)
      var bytes = try ValueCodec.encode(value)
      try #require(try ValueCodec.decode(bytes[...]) == value, "step \(step), SYSCRAP_SEED=\(seed)")
      #expect(throws: ValueCodec.Malformed.self) { try ValueCodec.decode(bytes.dropLast()) }
      if let index = bytes.indices.randomElement(using: &generator) {
        bytes[index] ^= UInt8.random(in: 1...255, using: &generator)
        if (try? ValueCodec.decode(bytes[...])) == nil { refusedCount += 1 }
      }
    }
    #expect(refusedCount > 100)
  }

  @Test("refuse what is nested too deeply, on writing and on reading")
  func depth() throws {
    var value: Value = 1
    for _ in 1..<ValueCodec.depthBound { value = [value] }
    #expect(try ValueCodec.decode(try ValueCodec.encode(value)[...]) == value)
    #expect(throws: ValueCodec.Malformed.self) { try ValueCodec.encode([value]) }
    #expect(throws: ValueCodec.Malformed.self) {
      try ValueCodec.decode(([[UInt8]](repeating: [8, 1], count: 100_000).flatMap { $0 } + [0])[...])
    }
  }

  @Test("take about a third of what JSON takes for the vitals")
  func size() throws {
    let cpu: Value = [
      "percent": 93.25, "user": 41.52, "nice": 0.0, "system": 12.25, "idle": 6.75, "iowait": 0.5, "irq": 0.0,
      "softirq": 0.31, "steal": 0.0, "load1": 1.25, "load5": 0.98, "load15": 0.45, "cores": 2,
    ]
    let ram: Value = [
      "total": 25_280_241_664, "used": 471_859_200, "free": 23_991_418_880, "available": 24_808_382_464,
      "buffers": 53_248_000, "cached": 1_170_210_816, "slab": 170_110_976, "percent": 1.87,
    ]
    let cpuBytes = try ValueCodec.encode(cpu)
    #expect(cpuBytes.count == 47)
    #expect(cpu.json().utf8.count == 168)
    let ramBytes = try ValueCodec.encode(ram)
    #expect(ramBytes.count == 57)
    #expect(ram.json().utf8.count == 152)
  }

  @Test("know every key by one number, for good")
  func keys() {
    #expect(Set(ValueCodec.keys).count == ValueCodec.keys.count)
    #expect(ValueCodec.keys.count <= 254)
    // A number that moved would read old files wrongly.
    #expect(ValueCodec.keys[0] == "percent" && ValueCodec.keys[35] == "requests_per_second")
    #expect(ValueCodec.keys[79] == "count")
  }
}
