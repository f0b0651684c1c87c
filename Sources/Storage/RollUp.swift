package import Model

/// What samples of one series are told apart and ordered by.
package struct SampleKey: Sendable, Hashable, Comparable, Codable {
  /// The instant that the tag stands for, in seconds since 1970.
  package var second: Int64
  package var n: Int
  package init(second: Int64, n: Int) {
    self.second = second
    self.n = n
  }
  package init(_ sample: Sample) {
    self.init(second: StoredTime.parts(sample.at).second, n: sample.n)
  }
  package static func < (a: SampleKey, b: SampleKey) -> Bool { (a.second, a.n) < (b.second, b.n) }
}

/// One bucket of one series: everything that was gathered from `start` for `length` seconds.
///
/// Stores keep ``encoded`` and know no more of it.
package struct RollUp: Sendable, Hashable {
  /// `variable`, `hour` or `day`.
  package var type: SampleType
  /// Seconds since 1970, a multiple of `length`.
  package var start: Int64
  /// Seconds.
  package var length: Int64
  package var encoded: [UInt8]
  package init(type: SampleType, start: Int64, length: Int64, encoded: [UInt8]) {
    self.type = type
    self.start = start
    self.length = length
    self.encoded = encoded
  }
}

/// Where the roll-ups of one series stand.
package struct RollUpState: Sendable, Hashable {
  /// The newest sample that is in.
  package var through: SampleKey
  /// The buckets that `through` lies in, one for each type.
  package var open: [RollUp]
  /// Samples that came late and are in: at most ``lateBound``, the oldest go first.
  package var late: [SampleKey]
  package static let lateBound = 256
  package init(through: SampleKey, open: [RollUp], late: [SampleKey]) {
    self.through = through
    self.open = open
    self.late = late
  }
}

extension RollUp {
  /// This bucket as a sample at its start, its value in the contract's shape: per field `{min, max, mean, last, count}`,
  /// `{last, count}` for what is no number.
  /// - Throws: `corrupt` when the bytes are not what ``encoded`` holds.
  package func sample(of series: Series) throws(StorageError) -> Sample {
    Sample(
      series: series, type: type, at: StoredTime.date(second: start, millisecond: 0), value: try content().value)
  }

  /// Whether an instant, in seconds since 1970, lies in this bucket.
  package func contains(_ second: Int64) -> Bool {
    let (distance, overflow) = second.subtractingReportingOverflow(start)
    return !overflow && distance >= 0 && distance < length
  }

  init(type: SampleType, start: Int64, length: Int64, leaves: RollUpLeaves, layout: RollUpLayout) {
    self.init(
      type: type, start: start, length: length, encoded: RollUpCodec.encode(leaves, layout, start: start))
  }

  func content() throws(StorageError) -> RollUpContent {
    do {
      return try RollUpCodec.decode(encoded, start: start)
    } catch {
      throw StorageError(
        .corrupt, "a roll-up of type \(type.rawValue) is damaged; delete it, or restore the store from a backup")
    }
  }
}
