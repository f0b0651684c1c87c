internal import FoundationEssentials
internal import Model

/// Samples that came to the store past the roll-ups: from a journal, or from an instance that does not gather any more.
/// They are no raw samples yet. They wait in the store as parcels until the recorder of the instance that gathers takes
/// them in, as it does with samples that came late: then they are raw samples, and in the roll-ups.
///
/// A parcel is an event of the series `syscrap.returned` `Samples`, its name made from what is in it: the same samples
/// make the same parcel. Its value is a list of `[target, metric, name, at, n, value]`.
enum ReturnedSamples {
  static let target = "syscrap.returned"
  static let metric = "Samples"
  /// Most samples in a parcel: a crash while it is taken in is healed by notes, of which a state keeps
  /// ``RollUpState/lateBound`` for each series.
  static let largest = 250
  /// About so many bytes at most in a parcel, unless it is one sample.
  private static let weightBound = 1 << 20
  /// A value nested deeper is appended as it is: it could be too deep within a parcel. It is not rolled up then.
  private static let depthBound = 64

  /// What has to be appended instead of these samples. Only values are rolled up: all else stays as it is.
  static func parcels(_ samples: [Sample]) -> [Sample] {
    var result: [Sample] = []
    var parcel: [Sample] = []
    var weight = 0
    for sample in samples {
      guard sample.type == .realTime, let value = sample.value, let more = Self.weight(value, depthBound) else {
        result.append(sample)
        continue
      }
      if parcel.count >= largest || (weight + more > weightBound && !parcel.isEmpty) {
        result.append(Self.parcel(parcel))
        (parcel, weight) = ([], 0)
      }
      parcel.append(sample)
      weight += more + sample.series.target.utf8.count + sample.series.metric.utf8.count + 64
    }
    if !parcel.isEmpty { result.append(Self.parcel(parcel)) }
    return result
  }

  /// Roughly the bytes of a value; nil when it is nested deeper than `depth`.
  private static func weight(_ value: Value, _ depth: Int) -> Int? {
    guard depth > 0 else { return nil }
    switch value {
    case .string(let text): return text.utf8.count + 16
    case .array(let elements):
      return elements.reduce(16) { sum, next in sum.flatMap { sum in weight(next, depth - 1).map { sum + $0 } } }
    case .object(let fields):
      return fields.reduce(16) { sum, next in
        sum.flatMap { sum in weight(next.value, depth - 1).map { sum + $0 + next.key.utf8.count } }
      }
    case .null, .bool, .int, .double, .date: return 16
    }
  }

  private static func parcel(_ samples: [Sample]) -> Sample {
    // FNV-1a over what tells samples apart.
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    func mix(_ bytes: some Sequence<UInt8>) {
      for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
      hash = (hash ^ 0xFF) &* 0x100_0000_01B3
    }
    func mix(_ number: Int64) { mix((0..<8).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }) }
    let list = samples.map { sample in
      let key = SampleKey(sample)
      mix(sample.series.target.utf8)
      mix(sample.series.metric.utf8)
      mix((sample.series.name ?? "").utf8)
      mix(key.second)
      mix(Int64(key.n))
      return Value.array([
        .string(sample.series.target), .string(sample.series.metric),
        sample.series.name.map { .string($0) } ?? .null, .date(sample.at), .int(Int64(sample.n)), sample.value ?? .null,
      ])
    }
    let first = samples.first?.at ?? Date(timeIntervalSince1970: 0)
    // By name the oldest come first.
    let name = "\(padded(UInt64(max(0, StoredTime.parts(first).second))))-\(padded(hash))"
    return Sample(
      series: Series(target: target, metric: metric, name: name), type: .event, at: first, value: .array(list))
  }

  private static func padded(_ number: UInt64) -> String {
    let digits = String(number, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  /// What is in a parcel; what is none of ours is left out.
  static func samples(in parcel: Sample) -> [Sample] {
    guard case .array(let list)? = parcel.value else { return [] }
    return list.compactMap { element in
      guard case .array(let parts) = element, parts.count == 6, case .string(let target) = parts[0],
        case .string(let metric) = parts[1], case .date(let at) = parts[3], case .int(let number) = parts[4],
        let n = Int(exactly: number)
      else { return nil }
      let name: String? = if case .string(let name) = parts[2] { name } else { nil }
      return Sample(series: Series(target: target, metric: metric, name: name), at: at, n: n, value: parts[5])
    }
  }
}
