internal import Model

/// One value of a sample on its way into buckets.
struct RollUpObservation: Sendable {
  /// The node of the layout that it belongs to.
  var node: Int
  /// A finite number with its decimal form, or `nil` for text, flags and times.
  var number: (RollUpNumber, RollUpDecimal?)?
  /// What `last` becomes.
  var value: Value
}

/// What is known of one field in one bucket.
struct RollUpLeaf: Sendable, Hashable {
  struct Figures: Sendable, Hashable {
    var minimum: RollUpNumber
    var maximum: RollUpNumber
    var sum: RollUpSum
    var count: Int64
  }

  /// Of the numbers among the values.
  var figures: Figures?
  /// How many values were no numbers.
  var others: Int64 = 0
  var last: Value
  var lastKey: SampleKey

  init(figures: Figures?, others: Int64, last: Value, lastKey: SampleKey) {
    self.figures = figures
    self.others = others
    self.last = last
    self.lastKey = lastKey
  }

  init(_ observation: RollUpObservation, key: SampleKey) {
    last = observation.value
    lastKey = key
    add(observation)
  }

  mutating func fold(_ observation: RollUpObservation, key: SampleKey) {
    if key >= lastKey {
      last = observation.value
      lastKey = key
    }
    add(observation)
  }

  private mutating func add(_ observation: RollUpObservation) {
    guard let (number, decimal) = observation.number else {
      others &+= 1
      return
    }
    let sum = RollUpSum(number, decimal)
    guard figures != nil else {
      figures = Figures(minimum: number, maximum: number, sum: sum, count: 1)
      return
    }
    if let known = figures?.minimum, number.isBelow(known) { figures?.minimum = number }
    if let known = figures?.maximum, number.isAbove(known) { figures?.maximum = number }
    figures?.sum.add(sum)
    figures?.count &+= 1
  }

  mutating func merge(_ other: RollUpLeaf) {
    if other.lastKey >= lastKey {
      last = other.last
      lastKey = other.lastKey
    }
    others = others.addingReportingOverflow(other.others).partialValue
    guard let theirs = other.figures else { return }
    guard var ours = figures else {
      figures = theirs
      return
    }
    if theirs.minimum.isBelow(ours.minimum) { ours.minimum = theirs.minimum }
    if theirs.maximum.isAbove(ours.maximum) { ours.maximum = theirs.maximum }
    ours.sum.add(theirs.sum)
    ours.count = ours.count.addingReportingOverflow(theirs.count).partialValue
    figures = ours
  }

  /// `{min, max, mean, last, count}`, or `{last, count}` where there was no number.
  var value: Value {
    guard let figures else { return ["last": last, "count": .int(others)] }
    var fields: [String: Value] = [
      "min": figures.minimum.value, "max": figures.maximum.value, "last": last, "count": .int(figures.count),
    ]
    let mean = figures.sum.double / Double(figures.count)
    if mean.isFinite { fields["mean"] = .double(mean) }
    return .object(fields)
  }
}
