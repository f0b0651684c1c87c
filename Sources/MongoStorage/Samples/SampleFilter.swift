internal import FoundationEssentials
internal import Model
internal import Storage

/// Which samples of one series are meant: a window of time, in milliseconds since 1970.
struct SampleWindow {
  /// From this on.
  var since: Int64
  /// Up to, but not including.
  var until: Int64

  init(since: Date? = nil, until: Date? = nil) {
    self.since = since.map(StoredTime.milliseconds) ?? StoredTime.range.lowerBound
    self.until = until.map(StoredTime.milliseconds) ?? StoredTime.range.upperBound + 1
  }

  init(_ query: SampleQuery) { self.init(since: query.since, until: query.until) }

  var isEmpty: Bool { since >= until }

  func contains(_ date: Date) -> Bool {
    let milliseconds = StoredTime.milliseconds(date)
    return milliseconds >= since && milliseconds < until
  }

  /// The tags that a sample in the window can have: its ends, rounded outwards to whole seconds.
  var tags: ClosedRange<Int64> {
    let first = SampleTag.tag(milliseconds: since)
    return first...max(first, SampleTag.tag(milliseconds: until - 1))
  }

  /// Bucket starts in the window, in seconds since 1970.
  var starts: Range<Int64> {
    let first = SampleTag.secondUp(since)
    return first..<max(first, SampleTag.secondUp(until))
  }
}

enum SampleTag {
  static func tag(milliseconds: Int64) -> Int64 { Instant.tag(StoredTime.date(milliseconds: milliseconds)) }

  /// The whole second at or after.
  static func secondUp(_ milliseconds: Int64) -> Int64 {
    let (quotient, remainder) = milliseconds.quotientAndRemainder(dividingBy: 1000)
    return remainder > 0 ? quotient + 1 : quotient
  }
}

extension BSONWriter {
  /// Equality on what a series' samples of one type share: the first fields of the index.
  mutating func sampleFields(_ series: Series, _ type: SampleType) {
    string("target", series.target)
    string("metric", series.metric)
    // Null also finds documents without the field, and the index knows both as one.
    if let name = series.name { string("name", name) } else { null("name") }
    string("type", type.rawValue)
  }

  /// Only numbers are found by this: a tag of another kind is not ours to touch.
  mutating func tags(_ range: ClosedRange<Int64>) {
    document("tag") { writer in
      writer.int("$gte", range.lowerBound)
      writer.int("$lte", range.upperBound)
    }
  }
}

extension BSONWriter {
  /// At most so many documents, in one answer where they fit.
  mutating func limit(_ count: Int) {
    int("limit", Int64(count))
    int("batchSize", Int64(min(count, 5000)))
  }
}
