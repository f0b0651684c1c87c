package import FoundationEssentials
package import Model

/// Times as stores keep them: whole milliseconds since 1970 UTC, in the years that a tag can hold (1 to 9999).
///
/// All stores pass what they take through here, so that a value comes back the same from each of them.
package enum StoredTime {
  package static let range: ClosedRange<Int64> = -62_135_596_800_000...253_402_300_799_999

  /// The nearest millisecond; what is not a number is 1970.
  package static func milliseconds(_ date: Date) -> Int64 {
    let value = (date.timeIntervalSince1970 * 1000).rounded()
    guard value.isFinite else { return value.isNaN ? 0 : value < 0 ? range.lowerBound : range.upperBound }
    if value <= Double(range.lowerBound) { return range.lowerBound }
    if value >= Double(range.upperBound) { return range.upperBound }
    return Int64(value)
  }

  package static func date(milliseconds: Int64) -> Date {
    let clamped = min(max(milliseconds, range.lowerBound), range.upperBound)
    return Date(timeIntervalSince1970: Double(clamped) / 1000)
  }

  package static func stored(_ date: Date) -> Date { self.date(milliseconds: milliseconds(date)) }

  /// A sample's time as the second its tag stands for and the milliseconds within it.
  ///
  /// Rounding never carries into the next second: there another sample may have the same `n`.
  package static func parts(_ date: Date) -> (second: Int64, millisecond: Int64) {
    let time = date.timeIntervalSince1970
    guard !time.isNaN else { return (0, 0) }
    let clamped = min(max(time, -62_135_596_800), 253_402_300_799)
    // Downwards, and by way of milliseconds: as `Instant.tag` reads it.
    let second = ((clamped * 1000).rounded(.down) / 1000).rounded(.down)
    let millisecond = ((clamped - second) * 1000).rounded()
    return (Int64(second), Int64(min(max(millisecond, 0), 999)))
  }

  package static func date(second: Int64, millisecond: Int64) -> Date {
    let low = range.lowerBound / 1000
    let high = range.upperBound / 1000
    return Date(
      timeIntervalSince1970: Double(min(max(second, low), high)) + Double(min(max(millisecond, 0), 999)) / 1000)
  }
}

extension Sample {
  /// This sample with the time that a store keeps.
  package var stored: Sample {
    var copy = self
    let parts = StoredTime.parts(at)
    copy.at = StoredTime.date(second: parts.second, millisecond: parts.millisecond)
    return copy
  }
}

extension Episode {
  /// This episode with the times that a store keeps.
  package var stored: Episode {
    var copy = self
    copy.since = StoredTime.stored(since)
    copy.fired_at = fired_at.map(StoredTime.stored)
    copy.ended_at = ended_at.map(StoredTime.stored)
    copy.announced_at = announced_at.map(StoredTime.stored)
    copy.recent = recent.suffix(Self.recentBound).map { Recent(at: StoredTime.stored($0.at), value: $0.value) }
    return copy
  }

  package static let supersededReason = "superseded"

  /// The episode as it is kept where its condition has another open one: ended when it was last heard of.
  package var superseded: Episode {
    var copy = self
    copy.state = .ok
    copy.ended_at = max(since, max(fired_at ?? since, announced_at ?? since))
    copy.end_reason = Self.supersededReason
    return copy
  }

  package var isOpen: Bool { ended_at == nil && state != .ok }

  /// Open ones first, the latest begun first; then the latest ended.
  package static func isListedBefore(_ a: Episode, _ b: Episode) -> Bool {
    if a.isOpen != b.isOpen { return a.isOpen }
    let (first, second) = a.isOpen ? (a.since, b.since) : (a.ended_at ?? a.since, b.ended_at ?? b.since)
    return first != second ? first > second : a.id < b.id
  }
}

extension Value {
  /// This value with its instants as all stores can keep them: whole milliseconds.
  package var stored: Value {
    switch self {
    case .date(let date): .date(StoredTime.stored(date))
    case .array(let elements): .array(elements.map(\.stored))
    case .object(let fields): .object(fields.mapValues(\.stored))
    default: self
    }
  }
}

extension Document {
  /// What is stored when this document is put over `old`, and what that amounts to.
  ///
  /// `detected_specs` stays when the new one says nothing of it. Only what people write decides between changed and
  /// unchanged.
  package func stored(over old: Document?) -> (document: Document, outcome: PutOutcome) {
    var document = self
    document.origin = nil
    document.fields["_id"] = nil
    document.fields["kind"] = nil
    document.fields = document.fields.mapValues(\.stored)
    guard let old else { return (document, .created) }
    if document.fields["detected_specs"] == nil { document.fields["detected_specs"] = old.fields["detected_specs"] }
    if document.content == old.content {
      if document.fields["updated"] == nil { document.fields["updated"] = old.fields["updated"] }
      return (document, .unchanged)
    }
    return (document, .changed)
  }

  /// Merges newly detected facts into `detected_specs`, field by field.
  package mutating func merge(detectedSpecs specs: [String: Value]) {
    let known = fields["detected_specs"]?.fields ?? [:]
    fields["detected_specs"] = .object(known.merging(specs) { _, new in new })
  }
}

extension String {
  /// The order of stores: by bytes, whatever the language.
  package func precedesInBytes(_ other: String) -> Bool { utf8.lexicographicallyPrecedes(other.utf8) }

  /// At most `count` bytes, cut between characters.
  package func prefix(bytes count: Int) -> String {
    guard utf8.count > count else { return self }
    var result = ""
    var left = count
    for character in self {
      left -= character.utf8.count
      if left < 0 { break }
      result.append(character)
    }
    return result
  }
}

extension SampleQuery {
  /// Oldest first; within one tag by `n`, then by the instance's name, none first.
  package static func isListedBefore(_ a: Sample, _ b: Sample) -> Bool {
    let (first, second) = (a.tag, b.tag)
    if first != second { return first < second }
    if a.n != b.n { return a.n < b.n }
    return isListedBefore(a.series, b.series)
  }

  /// By target, metric and name, none first.
  package static func isListedBefore(_ a: Series, _ b: Series) -> Bool {
    if a.target != b.target { return a.target.precedesInBytes(b.target) }
    if a.metric != b.metric { return a.metric.precedesInBytes(b.metric) }
    switch (a.name, b.name) {
    case (nil, nil): return false
    case (nil, _): return true
    case (_, nil): return false
    case (let first?, let second?): return first.precedesInBytes(second)
    }
  }
}

extension Duration {
  /// Seconds, for arithmetic with `Date`.
  package var timeInterval: TimeInterval {
    Double(components.seconds) + Double(components.attoseconds) / 1e18
  }
}
