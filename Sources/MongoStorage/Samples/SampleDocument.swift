internal import FoundationEssentials
internal import Model
internal import Storage

/// A document of `aggregations`, in the shape that people and other tools read and write:
/// `{target, metric, name?, type, tag, n, value | error, updated}`.
///
/// Written as bytes directly: samples are what the store takes in most of.
enum SampleDocument {
  /// Levels of nesting that are stored: a few less than are read (``BSON/depthBound``) and than MongoDB takes (180).
  static let depthBound = 120
  /// Bytes that the document of one sample may take. MongoDB refuses more than 16 MiB, the command around it included.
  static let bytesBound = 15 << 20

  /// Writes the fields of a sample.
  /// - Returns: false when its value is nested too deeply; what was written is of no use then.
  private static func fields(_ sample: Sample, _ writer: inout BSONWriter) -> Bool {
    let at = StoredTime.parts(sample.at)
    writer.string("target", sample.series.target)
    writer.string("metric", sample.series.metric)
    if let name = sample.series.name { writer.string("name", name) }
    writer.string("type", sample.type.rawValue)
    writer.int("tag", Instant.tag(StoredTime.date(second: at.second, millisecond: 0)))
    writer.int("n", Int64(sample.n))
    if let error = sample.error {
      writer.string("error", error.prefix(bytes: errorBytesBound))
    } else if !writer.value("value", sample.value ?? .null, levels: depthBound) {
      return false
    }
    writer.date("updated", milliseconds: at.second * 1000 + at.millisecond)
    return true
  }

  /// Writes the document of a sample as the next element of an array. One that cannot be stored must not hold up all
  /// that wait behind it: in place of its value there is an error that says so.
  static func write(_ sample: Sample, into writer: inout BSONWriter) {
    let mark = writer.mark
    let before = writer.count
    var isWritten = true
    writer.document { isWritten = fields(sample, &$0) }
    let problem: String
    if !isWritten {
      problem = "the value is nested deeper than \(depthBound) levels"
    } else if writer.count - before > bytesBound, sample.error == nil {
      problem = "the value takes \(writer.count - before) bytes; at most \(bytesBound) are stored"
    } else {
      return
    }
    writer.goBack(to: mark)
    writer.document { _ = fields(sample.failed(problem), &$0) }
  }

  /// Bytes that are kept of an error's text, which is for a person to read.
  private static let errorBytesBound = 1 << 20

  /// The sample that a document of this type holds, whoever wrote it.
  ///
  /// Other tools leave out `n`, or write numbers as int32 or double. What has no time is no sample.
  /// - Parameter series: where it is known; else it is read, too.
  static func sample(_ document: BSON, series known: Series? = nil, type: SampleType? = nil) throws -> Sample? {
    var series = known ?? Series(target: "", metric: "")
    var hasTarget = known != nil
    var hasMetric = known != nil
    var type = type
    var tag: Int64?
    var n: Int64 = 0
    var updated: Int64?
    var value: BSONValue?
    var error: String?
    try document.forEach { key, field in
      switch key {
      case "target":
        guard known == nil, let text = field.stringValue else { return }
        series.target = text
        hasTarget = true
      case "metric":
        guard known == nil, let text = field.stringValue else { return }
        series.metric = text
        hasMetric = true
      case "name": if known == nil { series.name = field.stringValue }
      case "type": if type == nil { type = field.stringValue.flatMap(SampleType.init(rawValue:)) }
      case "tag": tag = field.int64Value
      case "n": n = field.int64Value ?? 0
      case "updated": updated = field.millisecondsValue
      case "value": value = field
      case "error": error = field.stringValue
      default: break
      }
    }
    guard hasTarget, hasMetric, let type, let tag, let second = Instant.date(tag: tag) else { return nil }
    var at = second
    // The tag is what orders; `updated` adds the milliseconds, unless its writer meant something else by it.
    if let updated, Instant.tag(StoredTime.date(milliseconds: updated)) == tag {
      at = StoredTime.date(milliseconds: updated)
    }
    let number = Int(clamping: n)
    if let error { return Sample(series: series, type: type, at: at, n: number, error: error) }
    return Sample(series: series, type: type, at: at, n: number, value: try value?.value() ?? .null)
  }
}

extension Sample {
  fileprivate func failed(_ error: String) -> Sample {
    Sample(series: series, type: type, at: at, n: n, error: error)
  }
}

extension SampleType {
  /// What is computed from RT samples and kept in `roll_ups`.
  var isRollUp: Bool {
    switch self {
    case .variable, .hour, .day: true
    case .realTime, .event: false
    }
  }
}
