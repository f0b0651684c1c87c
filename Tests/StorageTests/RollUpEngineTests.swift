import Foundation
import Model
import Testing

@testable import Storage

@Suite("What a bucket keeps of its samples")
struct RollUpEngineTests {
  private func rollUp(_ content: RollUpContent) -> RollUp {
    RollUp(type: .hour, start: 0, length: 3600, leaves: content.leaves, layout: content.layout)
  }

  private func key(_ second: Int64, _ n: Int = 0) -> SampleKey { SampleKey(second: second, n: n) }

  @Test("is the smallest, the largest, the mean, the last and the count of each field")
  func plain() throws {
    var content = RollUpContent()
    content.fold(["percent": 12.5, "cores": 4, "state": "up", "open": true], key: key(1))
    content.fold(["percent": 10, "cores": 4, "state": "down", "open": false, "late": nil], key: key(3, 1))
    content.fold(["percent": .double(.nan), "cores": 4, "more": .double(.infinity)], key: key(3, 2))
    content.fold(["percent": 0.25, "state": "gone"], key: key(2))
    let sample = try rollUp(content).sample(of: Series(target: "t", metric: "M"))
    #expect(
      sample
        == Sample(
          series: Series(target: "t", metric: "M"), type: .hour, at: Date(timeIntervalSince1970: 0),
          value: [
            "percent": ["min": 0.25, "max": 12.5, "mean": .double(22.75 / 3), "last": 10, "count": 3],
            "cores": ["min": 4, "max": 4, "mean": 4.0, "last": 4, "count": 3],
            "state": ["last": "down", "count": 3], "open": ["last": false, "count": 2],
          ]))
  }

  @Test("keeps each element of a list for itself, its name plain, and each field of a map")
  func nested() {
    var content = RollUpContent()
    content.fold(
      [["mount": "/var", "percent": 1], ["mount": "/", "percent": 50, "device": "sda"], 7], key: key(1))
    content.fold([["mount": "/", "percent": 60]], key: key(2))
    func figures(_ low: Value, _ high: Value, _ mean: Double, _ last: Value, _ count: Int64) -> Value {
      ["min": low, "max": high, "mean": .double(mean), "last": last, "count": .int(count)]
    }
    #expect(
      content.value == [
        ["mount": "/", "percent": figures(50, 60, 55, 60, 2), "device": ["last": "sda", "count": 1]],
        ["mount": "/var", "percent": figures(1, 1, 1, 1, 1)], figures(7, 7, 7, 7, 1),
      ])
    var map = RollUpContent()
    map.fold(["status": ["2xx": 3, "min": 1], "x": 1], key: key(1))
    #expect(
      map.value == [
        "status": ["2xx": figures(3, 3, 3, 3, 1), "min": figures(1, 1, 1, 1, 1)], "x": figures(1, 1, 1, 1, 1),
      ])
  }

  @Test("is the same whatever the order, also in parts that are merged, and as recomputed")
  func orderAndMerge() throws {
    var dice = Dice.seeded("roll-up order")
    for _ in 0..<1200 {
      var samples: [(key: SampleKey, value: Value)] = []
      for second in 0..<dice.roll(1..<20) {
        if let value = RollUpOracle.randomValue(&dice) { samples.append((key(Int64(second / 2), second % 2), value)) }
      }
      var first = RollUpContent()
      for sample in samples { first.fold(sample.value, key: sample.key) }
      var second = RollUpContent()
      var third = RollUpContent()
      for sample in samples.shuffled(using: &dice) {
        if dice.oneIn(2) {
          second.fold(sample.value, key: sample.key)
        } else {
          third.fold(sample.value, key: sample.key)
        }
      }
      second.merge(third)
      #expect(first.value == RollUpOracle.value(samples))
      #expect(second.value == first.value)
      #expect(rollUp(second).encoded == rollUp(first).encoded)
    }
  }

  @Test("has a mean that does not depend on the order for any numbers")
  func wideSums() {
    var dice = Dice.seeded("wide sums")
    for _ in 0..<800 {
      let numbers = (0..<dice.roll(1..<60)).map { _ -> Double in
        let scale = pow(10.0, Double(dice.roll(-9..<13)))
        return Double.random(in: -1...1, using: &dice) * scale
      }
      var means: Set<Value> = []
      for _ in 0..<4 {
        var content = RollUpContent()
        for (place, number) in numbers.enumerated().shuffled(using: &dice) {
          content.fold(.double(number), key: key(Int64(place)))
        }
        if let mean = content.value["mean"] { means.insert(mean) }
      }
      #expect(means.count == 1)
    }
    // Near the end of what 64 bits and doubles hold.
    var content = RollUpContent()
    for second in 0..<4 {
      content.fold(["a": .int(.max), "b": .double(.greatestFiniteMagnitude)], key: key(Int64(second)))
    }
    #expect(content.value["a"]?["mean"] == .double(9_223_372_036_854_775_808))
    #expect(content.value["b"]?["mean"] == nil)
    #expect(content.value["b"]?["max"] == .double(.greatestFiniteMagnitude))
  }

  @Test("has a bound on fields, depth and text, and says what it left out")
  func bounds() throws {
    var content = RollUpContent()
    for round in 0..<3 {
      content.fold(
        .object(Dictionary(uniqueKeysWithValues: (0..<1500).map { ("f\(round)-\($0)", .int(Int64($0))) })),
        key: key(Int64(round)))
    }
    #expect(content.value.fields?.count == RollUpLayout.nodeBound)
    #expect(content.layout.ignored == 4500 - RollUpLayout.nodeBound)
    #expect(try rollUp(content).content().value == content.value)
    var deep: Value = 1
    for _ in 0..<100 { deep = ["a": deep, "b": 1] }
    var nested = RollUpContent()
    nested.fold(deep, key: key(1))
    nested.fold(["t": .string(String(repeating: "ä", count: 5000))], key: key(2))
    #expect(nested.layout.ignored > 0)
    #expect(nested.value["t"]?["last"]?.text?.utf8.count == RollUpLayout.textBound)
    #expect(try rollUp(nested).content().value == nested.value)
  }

  @Test("comes back from its bytes, which nothing can make trap")
  func codec() throws {
    var dice = Dice.seeded("roll-up bytes")
    var refused = 0
    for _ in 0..<500 {
      var content = RollUpContent()
      for second in 0..<dice.roll(0..<8) {
        guard let value = RollUpOracle.randomValue(&dice) else { continue }
        content.fold(value, key: key(Int64(second) - 3, dice.roll(0..<3)))
      }
      content.fold(["d": .date(Date(timeIntervalSince1970: 0.1)), "r": .double(.pi), "µ": "\u{1F4A5}"], key: key(9))
      let whole = rollUp(content)
      let again = try whole.content()
      #expect(again.value == content.value)
      #expect(rollUp(again).encoded == whole.encoded)
      let state = RollUpState(
        through: key(9), open: [whole, whole], late: [key(-4, 2), key(.max, .max), key(.min, 0)])
      #expect(try RollUpState(through: key(9), lateBytes: state.lateBytes, openBytes: state.openBytes) == state)
      for _ in 0..<20 {
        var bytes = whole.encoded
        for _ in 0..<dice.roll(1..<4) {
          switch dice.roll(0..<3) {
          case 0: bytes[dice.roll(0..<bytes.count)] = UInt8.random(in: 0...255, using: &dice)
          case 1: bytes = Array(bytes.prefix(dice.roll(1..<bytes.count + 1)))
          default: bytes.insert(UInt8.random(in: 0...255, using: &dice), at: dice.roll(0..<bytes.count + 1))
          }
        }
        let mutated = RollUp(type: .day, start: dice.oneIn(9) ? .max : 0, length: 1, encoded: bytes)
        do {
          var content = try mutated.content()
          _ = content.value
          content.fold(["percent": 1, "r": 2.5], key: key(.max))
          content.merge(content)
          _ = RollUp(type: .day, start: .min, length: 1, leaves: content.leaves, layout: content.layout)
        } catch {
          #expect(error.code == .corrupt)
          refused += 1
        }
        _ = try? RollUpState(through: key(0), lateBytes: bytes, openBytes: bytes)
      }
    }
    #expect(refused > 300)
    #expect(throws: StorageError.self) { try RollUp(type: .day, start: 0, length: 1, encoded: []).content() }
  }
}
