internal import Model

/// A finite number as it was gathered: whole numbers stay whole.
enum RollUpNumber: Sendable, Hashable {
  case int(Int64)
  case double(Double)

  var double: Double {
    switch self {
    case .int(let number): Double(number)
    case .double(let number): number
    }
  }

  var value: Value {
    switch self {
    case .int(let number): .int(number)
    case .double(let number): .double(number)
    }
  }

  /// Of two equal ones the whole number, so that the order in which they come does not matter.
  func isBelow(_ other: RollUpNumber) -> Bool {
    switch (self, other) {
    case (.int(let a), .int(let b)): a < b
    case (.double(let a), .double(let b)): a < b
    case (.int(let a), .double(let b)): Double(a) <= b
    case (.double(let a), .int(let b)): a < Double(b)
    }
  }

  func isAbove(_ other: RollUpNumber) -> Bool {
    switch (self, other) {
    case (.int(let a), .int(let b)): a > b
    case (.double(let a), .double(let b)): a > b
    case (.int(let a), .double(let b)): Double(a) >= b
    case (.double(let a), .int(let b)): a > Double(b)
    }
  }
}

/// A whole number of thousandths or less: what most gathered numbers are.
struct RollUpDecimal: Sendable, Hashable {
  var mantissa: Int64
  /// 0 … 3 decimal places.
  var places: UInt8

  static let powers: [Double] = [1, 10, 100, 1000]
  static let wholePowers: [Int64] = [1, 10, 100, 1000]

  /// `nil` when the number has more places, or is too large for its thousandths to be told apart.
  init?(_ number: RollUpNumber) {
    switch number {
    case .int(let whole): self.init(mantissa: whole, places: 0)
    case .double(let number):
      guard abs(number) < 1e12 else { return nil }
      for (places, power) in Self.powers.enumerated() {
        let scaled = (number * power).rounded()
        if scaled / power == number, let whole = Int64(exactly: scaled) {
          self.init(mantissa: whole, places: UInt8(truncatingIfNeeded: places))
          return
        }
      }
      return nil
    }
  }

  init(mantissa: Int64, places: UInt8) {
    self.mantissa = mantissa
    self.places = min(places, 3)
  }

  /// `nil` when it does not fit.
  func plus(_ other: RollUpDecimal) -> RollUpDecimal? {
    let places = max(places, other.places)
    guard let a = scaled(to: places), let b = other.scaled(to: places) else { return nil }
    let (sum, overflow) = a.addingReportingOverflow(b)
    return overflow ? nil : RollUpDecimal(mantissa: sum, places: places)
  }

  func times(_ count: Int64) -> RollUpDecimal? {
    let (product, overflow) = mantissa.multipliedReportingOverflow(by: count)
    return overflow ? nil : RollUpDecimal(mantissa: product, places: places)
  }

  private func scaled(to places: UInt8) -> Int64? {
    if places == self.places { return mantissa }
    let (product, overflow) = mantissa.multipliedReportingOverflow(by: Self.wholePowers[Int(places - self.places)])
    return overflow ? nil : product
  }
}

/// A sum that does not depend on the order in which it was made, so that late data and merged buckets give what a
/// recomputation gives.
///
/// Decimals are added exactly as long as they fit into 64 bits. Everything else is added in two doubles, 106 bits, of
/// which the result is rounded to 53.
enum RollUpSum: Sendable, Hashable {
  case exact(RollUpDecimal)
  case wide(Double, Double)

  init(_ number: RollUpNumber, _ decimal: RollUpDecimal?) {
    self = decimal.map { .exact($0) } ?? .wide(number.double, 0)
  }

  /// May be infinite when doubles near the end of their range were added.
  var double: Double {
    switch self {
    case .exact(let decimal): Double(decimal.mantissa) / RollUpDecimal.powers[Int(decimal.places)]
    case .wide(let high, let low): high + low
    }
  }

  mutating func add(_ other: RollUpSum) {
    if case .exact(let a) = self, case .exact(let b) = other, let sum = a.plus(b) {
      self = .exact(sum)
      return
    }
    let (a, b) = (parts, other.parts)
    guard (a.high + b.high).isFinite else {
      self = .wide(a.high + b.high, 0)
      return
    }
    let high = Self.twoSum(a.high, b.high)
    let low = Self.twoSum(a.low, b.low)
    let first = Self.quickTwoSum(high.sum, high.error + low.sum)
    let second = Self.quickTwoSum(first.sum, low.error + first.error)
    self = .wide(second.sum, second.error)
  }

  /// As two doubles; the second is what the first leaves over.
  private var parts: (high: Double, low: Double) {
    switch self {
    case .wide(let high, let low): return (high, low)
    case .exact(let decimal):
      let power = RollUpDecimal.powers[Int(decimal.places)]
      let nearest = Double(decimal.mantissa)
      let quotient = nearest / power
      // What rounding to a double left over, and what the division left over.
      let cut = Int64(exactly: nearest).map { Double(decimal.mantissa &- $0) } ?? 0
      let rest = nearest.addingProduct(-quotient, power) + cut
      return (quotient, rest / power)
    }
  }

  private static func twoSum(_ a: Double, _ b: Double) -> (sum: Double, error: Double) {
    let sum = a + b
    let share = sum - a
    return (sum, (a - (sum - share)) + (b - share))
  }

  private static func quickTwoSum(_ a: Double, _ b: Double) -> (sum: Double, error: Double) {
    let sum = a + b
    return (sum, b - (sum - a))
  }
}
