import Foundation
import Model
import Testing
import TestKit

@testable import MongoStorage

@Suite("BSON")
struct BSONTests {
  static let sample: Value = [
    "percent": 93.25, "cores": 2, "name": "ä\u{1F4A5}", "none": nil, "on": true, "at": .date(time(0.25)),
    "list": [1, "two", 3.0, [], ["deep": [nil]]], "empty": [:], "big": .int(.max), "small": .int(.min), "": "no name",
  ]

  @Test("brings values back as they were")
  func values() throws {
    let document = BSON { $0.value("v", Self.sample) }
    #expect(try document["v"]?.value() == Self.sample)
    #expect(try BSON(checking: document.bytes) == document)
    #expect(document["w"] == nil)
    #expect(document.firstKey == "v")
  }

  @Test("numbers the elements of arrays, past nine too")
  func arrays() throws {
    let document = BSON { $0.array("a") { for number in 0..<12 { $0.int("ignored", number) } } }
    var keys: [String] = []
    try document["a"]?.arrayValue?.forEach { key, _ in keys.append(key) }
    #expect(keys == (0..<12).map { String($0) })
  }

  @Test("keeps a zero in a name from cutting the document")
  func zeros() throws {
    let document = BSON { $0.value("v", ["a\u{0}b": "c\u{0}d"]) }
    #expect(try document["v"]?.value() == ["a\u{FFFD}b": "c\u{0}d"])
  }

  struct Thing: Codable, Hashable {
    struct Part: Codable, Hashable {
      var at: Date
      var weights: [Double]
    }
    enum State: String, Codable { case on, off }
    var id: String
    var count: Int
    var port: UInt16
    var ratio: Float
    var isOn: Bool
    var note: String?
    var state: State
    var parts: [Part]
    var labels: [String: String]
    var payload: [String: Value]
    var bytes: [UInt8]
    var data: Data
    var kinds: Set<State>
    var nested: [[Int]]
  }

  @Test("is written from and read into Codable types")
  func codable() throws {
    let thing = Thing(
      id: "x", count: -3, port: 65_535, ratio: 0.5, isOn: true, note: nil, state: .off,
      parts: [.init(at: time(1.5), weights: [1, 2.5]), .init(at: time(2), weights: [])], labels: ["a": "b", "c": "d"],
      payload: ["when": .date(time(7)), "all": Self.sample], bytes: [0, 1, 255], data: Data([7, 8]), kinds: [.on],
      nested: [[1], [], [2, 3]])
    let document = try BSONEncoder().encode(thing)
    #expect(try BSONDecoder().decode(Thing.self, from: document) == thing)
    #expect(document["count"] == .int64(-3))
    #expect(document["note"] == nil)
    #expect(document["bytes"] == .binary(subtype: 0, [0, 1, 255]))
    #expect(document["parts"]?.arrayValue?["1"]?.documentValue?["at"] == .date(milliseconds: 1_795_248_002_000))
    #expect(throws: DecodingError.self) { try BSONDecoder().decode([String: Int].self, from: document) }
    #expect(throws: (any Error).self) { try BSONEncoder().encode("no document") }
    #expect(throws: (any Error).self) { try BSONDecoder().decode(Thing.self, from: BSON()) }
    let entry = QueueEntry(
      id: "e", key: "k", reaction: "r", target: "t", type: "email", payload: ["to": ["a"]], created: time(),
      next_at: time(3))
    #expect(try BSONDecoder().decode(QueueEntry.self, from: BSONEncoder().encode(entry)) == entry)
  }

  @Test("reads whole numbers however they were written")
  func numbers() throws {
    let document = BSON {
      $0.int32("a", 7)
      $0.double("b", 7)
      $0.int("c", Int64(7))
      $0.double("d", 7.5)
      $0.double("e", .nan)
    }
    #expect(try BSONDecoder().decode([String: Double].self, from: document)["a"] == 7)
    for key in ["a", "b", "c"] { #expect(document[key]?.int64Value == 7) }
    #expect(document["d"]?.int64Value == nil && document["e"]?.int64Value == nil)
  }

  @Test("is byte for byte what pymongo writes", .enabled(if: PythonEnvironment.isExpected))
  func pymongo() async throws {
    let document = BSON {
      $0.double("double", 1.5)
      $0.string("text", "ä")
      $0.document("document") { $0.int("x", Int64(1)) }
      $0.array("array") {
        $0.int32("", 1)
        $0.string("", "b")
        $0.document { $0.null("z") }
      }
      $0.binary("binary", [0, 255])
      $0.objectID("id", BSONObjectID([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], at: 0))
      $0.bool("yes", true)
      $0.date("date", milliseconds: 1_795_248_000_250)
      $0.null("null")
      $0.value("regex", .regex(pattern: "^a", options: "i"))
      $0.int32("int32", -1)
      $0.value("timestamp", .timestamp(5 << 32 | 3))
      $0.int("int64", Int64.min)
      $0.value("decimal", .other(type: 0x13, [0x0F, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x3E, 0x30]))
    }
    let script = """
      import bson, datetime
      from bson import ObjectId, Int64, Decimal128, Timestamp, Regex
      print(bson.encode({"double": 1.5, "text": "ä", "document": {"x": Int64(1)}, "array": [1, "b", {"z": None}],
        "binary": b"\\x00\\xff", "id": ObjectId("0102030405060708090a0b0c"), "yes": True,
        "date": datetime.datetime(2026, 11, 21, 8, 0, 0, 250000), "null": None, "regex": Regex("^a", "i"), "int32": -1,
        "timestamp": Timestamp(5, 3), "int64": Int64(-2**63), "decimal": Decimal128("1.5")}).hex())
      """
    let lines = try await ManagedProcess.run([PythonEnvironment.required(), "-c", script])
    #expect(document.bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined() == lines.first)
    var copy = BSONWriter()
    try document.forEach { copy.value($0, $1) }
    #expect(copy.finished() == document)
    #expect(try document["decimal"]?.value() == 1.5)
    #expect(try document["id"]?.value() == "0102030405060708090a0b0c")
    #expect(try document["regex"]?.value() == ["$regularExpression": ["pattern": "^a", "options": "i"]])
  }

  @Test("reads decimals as numbers where nothing is lost, and names all other foreign types")
  func foreignTypes() throws {
    func decimal(_ coefficient: UInt64, _ exponent: Int, isNegative: Bool = false) throws -> Value {
      try special(UInt64(exponent + 6176) << 49 | (isNegative ? 1 << 63 : 0), coefficient)
    }
    func special(_ high: UInt64, _ low: UInt64 = 0) throws -> Value {
      let bytes = [low, high].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64($0 * 8)) } }
      return try BSONValue.other(type: 0x13, bytes).value()
    }
    #expect(try decimal(28222, 0) == .int(28222))
    #expect(try decimal(282220, -1) == .int(28222))
    #expect(try decimal(2, 3) == .int(2000))
    #expect(try decimal(0, 0, isNegative: true) == .int(0))
    #expect(try decimal(1, -1) == .double(0.1))
    #expect(try decimal(9050, -2, isNegative: true) == .double(-90.5))
    #expect(try decimal(UInt64(Int64.max), 0) == .int(.max))
    #expect(try decimal(1 << 63, 0, isNegative: true) == .int(.min))
    #expect(try decimal(1, 300) == .double(1e300))
    // NaN, both infinities, too large, too small, too many digits, no 64 bits.
    let others = try [
      special(0x7C << 56), special(0x78 << 56), special(0xF8 << 56), decimal(1, 400), decimal(1, -400),
      decimal(12_345_678_901_234_567, -17), decimal(1 << 63, 0),
    ]
    for other in others { #expect(other.foreignName == "a BSON decimal that is no number of ours", "\(other)") }
    #expect(others.first == ["$numberDecimal": "NaN"] && others.last == ["$numberDecimal": "9223372036854775808"])
    let named = try [0x06, 0x0C, 0x0D, 0x0E, 0x0F, 0x7F, 0xFF, 0x42].map {
      try BSONValue.other(type: $0, []).value().foreignName
    }
    #expect(
      named == [
        "a BSON undefined value", "a BSON DBPointer", "BSON JavaScript code", "a BSON symbol", "BSON JavaScript code",
        "the BSON MaxKey", "the BSON MinKey", "a BSON value of type 66",
      ])
    #expect(try BSONValue.regex(pattern: ".", options: "").value().foreignName == "a BSON regular expression")
    #expect(try BSONValue.binary(subtype: 4, [1]).value().foreignName == "BSON binary data")
    #expect(try BSONValue.timestamp(1).value().foreignName == "a BSON timestamp (not a date)")
  }

  @Test("makes documents refuse foreign types by name, and take decimals as the numbers they are")
  func foreignInDocuments() throws {
    let document = Document(
      kind: .targets, id: "web-1",
      fields: try BSON {
        $0.string("target", "web-1")
        $0.value("host", .regex(pattern: "web.*", options: ""))
        // 2222
        $0.value("port", .other(type: 0x13, [0xAE, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x30]))
        $0.value("labels", .binary(subtype: 0, [1]))
      }.fields())
    #expect(document.fields["port"] == 2222)
    #expect(
      Target.read(document).problems.map { "\($0.path): \($0.reason)" }.sorted() == [
        "host: expected text, found a BSON regular expression", "labels: expected a map, found BSON binary data",
      ])
  }

  @Test("never traps on 20,000 damaged documents, and refuses what is nested too deeply")
  func damage() throws {
    var random = SystemRandomNumberGenerator()
    let original = BSON {
      $0.value("v", Self.sample)
      $0.value("r", .regex(pattern: "a", options: "b"))
      $0.binary("b", [1, 2, 3])
      $0.objectID("o", BSONObjectID.make())
      $0.value("d", .other(type: 0x13, Array(repeating: 3, count: 16)))
    }
    var refused = 0
    for _ in 0..<20_000 {
      var bytes = original.bytes
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let index = Int.random(in: 4..<bytes.count, using: &random)
        if Bool.random(using: &random) {
          bytes[index] = UInt8.random(in: 0...255, using: &random)
        } else {
          bytes.remove(at: index)
        }
      }
      let length = UInt32(bytes.count)
      for index in 0..<4 { bytes[index] = UInt8(truncatingIfNeeded: length >> UInt32(8 * index)) }
      guard let document = try? BSON(checking: bytes) else {
        refused += 1
        continue
      }
      if (try? document.fields()) == nil { refused += 1 }
      _ = document["zzz"]
      _ = try? BSONDecoder().decode([String: Value].self, from: document)
      _ = try? BSONDecoder().decode(Thing.self, from: document)
    }
    #expect(refused > 1000)
    var deep = BSON()
    for _ in 0..<(BSON.depthBound + 10) {
      let inner = deep
      deep = BSON { $0.raw("d", inner) }
    }
    #expect(throws: BSONError.tooDeep) { try deep.fields() }
    for length in 0..<5 { #expect(throws: BSONError.self) { try BSON(checking: [UInt8](repeating: 0, count: length)) } }
  }
}
