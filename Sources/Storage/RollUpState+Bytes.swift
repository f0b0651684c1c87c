internal import Model

/// The forms in which a store may keep the lists of a state, beside `through`.
///
/// A version, a count, then what there is: late keys as signed varints; buckets as type, start, length and their bytes.
extension RollUpState {
  private static let version: UInt8 = 1

  /// - Throws: `corrupt` when the bytes are not what ``lateBytes`` and ``openBytes`` give.
  package init(through: SampleKey, lateBytes: [UInt8], openBytes: [UInt8]) throws(StorageError) {
    do {
      self.init(through: through, open: try Self.buckets(openBytes), late: try Self.keys(lateBytes))
    } catch {
      throw StorageError(
        .corrupt, "the state of a series' roll-ups is damaged; delete it, or restore the store from a backup")
    }
  }

  package var lateBytes: [UInt8] {
    var out = [Self.version]
    RollUpCodec.write(UInt64(late.count), into: &out)
    for key in late {
      RollUpCodec.write(signed: key.second, into: &out)
      RollUpCodec.write(signed: Int64(key.n), into: &out)
    }
    return out
  }

  package var openBytes: [UInt8] {
    var out = [Self.version]
    RollUpCodec.write(UInt64(open.count), into: &out)
    for bucket in open {
      out.append(Self.number(bucket.type))
      RollUpCodec.write(signed: bucket.start, into: &out)
      RollUpCodec.write(signed: bucket.length, into: &out)
      RollUpCodec.write(UInt64(bucket.encoded.count), into: &out)
      out += bucket.encoded
    }
    return out
  }

  private static func keys(_ bytes: [UInt8]) throws(RollUpCodec.Malformed) -> [SampleKey] {
    var (reader, count) = try open(bytes)
    var keys: [SampleKey] = []
    for _ in 0..<count { keys.append(try reader.key(from: 0)) }
    guard reader.rest.isEmpty else { throw RollUpCodec.Malformed() }
    return keys
  }

  private static func buckets(_ bytes: [UInt8]) throws(RollUpCodec.Malformed) -> [RollUp] {
    var (reader, count) = try open(bytes)
    var buckets: [RollUp] = []
    for _ in 0..<count {
      let type = try type(try reader.byte())
      let start = try reader.signed()
      let length = try reader.signed()
      let size = try reader.count()
      buckets.append(RollUp(type: type, start: start, length: length, encoded: Array(reader.rest.prefix(size))))
      reader.rest = reader.rest.dropFirst(size)
    }
    guard reader.rest.isEmpty else { throw RollUpCodec.Malformed() }
    return buckets
  }

  private static func open(_ bytes: [UInt8]) throws(RollUpCodec.Malformed) -> (RollUpCodec.Reader, Int) {
    var reader = RollUpCodec.Reader(rest: bytes[...])
    guard try reader.byte() == version else { throw RollUpCodec.Malformed() }
    let count = try reader.count()
    return (reader, count)
  }

  private static func number(_ type: SampleType) -> UInt8 {
    switch type {
    case .realTime: 0
    case .event: 1
    case .variable: 2
    case .hour: 3
    case .day: 4
    }
  }

  private static func type(_ number: UInt8) throws(RollUpCodec.Malformed) -> SampleType {
    guard let type = SampleType.allCases.first(where: { self.number($0) == number }) else {
      throw RollUpCodec.Malformed()
    }
    return type
  }
}

extension SampleType {
  /// Whether samples of this type are made of others.
  var isRollUp: Bool {
    switch self {
    case .realTime, .event: false
    case .variable, .hour, .day: true
    }
  }
}
