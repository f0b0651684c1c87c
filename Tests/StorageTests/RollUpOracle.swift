import Foundation
import Model
import Storage

/// SplitMix64: the same numbers for the same seed, everywhere.
struct Dice: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
  mutating func roll(_ range: Range<Int>) -> Int { Int.random(in: range, using: &self) }
  mutating func oneIn(_ count: Int) -> Bool { roll(0..<count) == 0 }

  /// From the environment's SYSCRAP_SEED, or a new one that is printed.
  static func seeded(_ purpose: String) -> Dice {
    let given = ProcessInfo.processInfo.environment["SYSCRAP_SEED"].flatMap { UInt64($0) }
    let seed = given ?? UInt64.random(in: 0...UInt64(UInt32.max))
    print("\(purpose): SYSCRAP_SEED=\(seed)")
    return Dice(state: seed)
  }
}

/// What a bucket must read as, computed once from all its samples: another way than the one under test.
enum RollUpOracle {
  private struct Element: Hashable, Comparable {
    var isNamed: Bool
    var name: String
    var identity: String
    var place: Int
    static func < (a: Element, b: Element) -> Bool {
      if a.isNamed != b.isNamed { return a.isNamed }
      if a.isNamed { return (a.name, a.identity) < (b.name, b.identity) }
      return a.place < b.place
    }
  }

  static func value(_ samples: [(key: SampleKey, value: Value)]) -> Value {
    reduce(samples.sorted { $0.key < $1.key }.map(\.value)) ?? [:]
  }

  /// Values of one place in the order of their samples.
  private static func reduce(_ values: [Value]) -> Value? {
    var elements: [Element: [Value]] = [:]
    var fields: [String: [Value]] = [:]
    var leaves: [Value] = []
    for value in values {
      switch value {
      case .null: break
      case .object(let map): for (name, field) in map { fields[name, default: []].append(field) }
      case .array(let list):
        for (place, one) in list.enumerated() {
          if case .object(var map) = one,
            let identity = ["mount", "name", "interface", "path", "unit", "label", "id"].first(where: {
              map[$0]?.text != nil
            }), let name = map[identity]?.text
          {
            map[identity] = nil
            let key = Element(isNamed: true, name: name, identity: identity, place: 0)
            elements[key, default: []].append(.object(map))
          } else {
            elements[Element(isNamed: false, name: "", identity: "", place: place), default: []].append(one)
          }
        }
      case .double(let number) where !number.isFinite: break
      default: leaves.append(value)
      }
    }
    let list = elements.sorted { $0.key < $1.key }.compactMap { key, values -> Value? in
      guard let value = reduce(values) else { return nil }
      guard key.isNamed, var map = value.fields else { return value }
      map[key.identity] = .string(key.name)
      return .object(map)
    }
    if !list.isEmpty { return .array(list) }
    let map = fields.compactMapValues(reduce)
    if !map.isEmpty { return .object(map) }
    guard let last = leaves.last else { return nil }
    let numbers = leaves.filter { $0.number != nil }
    guard let first = numbers.first else { return ["last": last, "count": .int(Int64(leaves.count))] }
    // Thousandths are exact: what the tests make has no more places.
    let thousandths = numbers.reduce(Int64(0)) { $0 + Int64((($1.number ?? 0) * 1000).rounded()) }
    func better(_ a: Value, _ b: Value, _ isBetter: (Double, Double) -> Bool) -> Value {
      let (x, y) = (a.number ?? 0, b.number ?? 0)
      if x == y, case .int = b { return b }
      return isBetter(y, x) ? b : a
    }
    return [
      "min": numbers.reduce(first) { better($0, $1, <) }, "max": numbers.reduce(first) { better($0, $1, >) },
      "mean": .double(Double(thousandths) / 1000 / Double(numbers.count)), "last": last,
      "count": .int(Int64(numbers.count)),
    ]
  }

  /// Something that a metric might have gathered; nil is an error.
  static func randomValue(_ dice: inout Dice) -> Value? {
    func number(_ dice: inout Dice) -> Value {
      switch dice.roll(0..<8) {
      case 0: .int(Int64(dice.roll(-50..<1_000_000)))
      case 1: .double(.nan)
      case 2: .double(Double(dice.roll(-3000..<3000)) / 1000)
      default: .double(Double(dice.roll(0..<10_000)) / 100)
      }
    }
    switch dice.roll(0..<20) {
    case 0: return nil
    case 1: return number(&dice)
    case 2...6:
      let mounts = ["/", "/home", "/var", "/srv/\(dice.roll(0..<3))"].shuffled(using: &dice).prefix(dice.roll(0..<4))
      var list: [Value] = mounts.map { mount in
        ["mount": .string(mount), "device": .string("sd\(dice.roll(0..<3))"), "percent": number(&dice)]
      }
      if dice.oneIn(5) { list.append(number(&dice)) }
      return .array(list)
    case 7...8:
      var performance: [String: Value] = [:]
      for label in ["load", "time", "min"] where !dice.oneIn(3) {
        performance[label] = ["value": number(&dice), "unit": dice.oneIn(2) ? "s" : .null, "max": number(&dice)]
      }
      return ["status": number(&dice), "output": .string("o\(dice.roll(0..<5))"), "performance": .object(performance)]
    case 9: return [:]
    default:
      var fields: [String: Value] = ["open": .bool(dice.oneIn(2)), "state": .string("s\(dice.roll(0..<9))")]
      for name in ["percent", "user", "cores", "load1"] where !dice.oneIn(6) { fields[name] = number(&dice) }
      if dice.oneIn(4) { fields["status"] = ["2xx": number(&dice), "5xx": number(&dice)] }
      return .object(fields)
    }
  }
}
