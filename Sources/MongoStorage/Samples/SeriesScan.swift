internal import Model
internal import Storage

/// Finds the series that have samples of a type by leaping through an index: one look for each series, however many
/// samples it has. No document is read.
///
/// The index has target, metric, name and type first. From one entry the scan leaps to the first that can matter next:
/// this series' entries of the wanted type, or the next series.
struct SeriesScan: Sendable {
  private enum Bound: Sendable, Hashable {
    /// Before everything else, or behind it.
    case first, last
    case none
    case text(String)
  }

  private let type: SampleType
  private let target: String?
  private let metric: String?
  /// target, metric, name, type: where the next look begins; nil: the end was reached.
  private var position: [Bound]?

  /// - Parameter metric: only with a target.
  init(type: SampleType, target: String? = nil, metric: String? = nil) {
    self.type = type
    self.target = target
    self.metric = metric
    var start: [Bound] = []
    if let target { start.append(.text(target)) }
    if target != nil, let metric { start.append(.text(metric)) }
    position = start
  }

  var isDone: Bool { position == nil }

  /// Looks at most `hops` times. - Returns: series that were found.
  mutating func advance(hops: Int, _ connection: MongoConnection) throws -> [Series] {
    var found: [Series] = []
    for _ in 0..<hops {
      guard let from = position else { break }
      guard let key = try look(from, connection), target == nil || key.series.target == target,
        metric == nil || key.series.metric == metric
      else {
        position = nil
        break
      }
      let name: Bound = key.series.name.map { .text($0) } ?? .none
      let series: [Bound] = [.text(key.series.target), .text(key.series.metric), name]
      let next: [Bound]
      if key.type == type.rawValue {
        found.append(key.series)
        next = series + [.last]
      } else if let there = key.type, there.precedesInBytes(type.rawValue) {
        next = series + [.text(type.rawValue)]
      } else {
        next = series + [.last]
      }
      // Only a type that stands behind everything else, which is nobody's, could hold the scan.
      position = next == from ? nil : next
    }
    return found
  }

  private func look(_ from: [Bound], _ connection: MongoConnection) throws -> (series: Series, type: String?)? {
    let reply = try connection.read(type.isRollUp ? rollUpCommand(from) : sampleCommand(from))
    guard let entry = reply["cursor"]?.documentValue?["firstBatch"]?.arrayValue?["0"]?.documentValue,
      let key = type.isRollUp ? entry["_id"]?.documentValue : entry, let target = key["target"]?.stringValue,
      let metric = key["metric"]?.stringValue
    else { return nil }
    return (Series(target: target, metric: metric, name: key["name"]?.stringValue), key["type"]?.stringValue)
  }

  private func sampleCommand(_ from: [Bound]) -> BSON {
    BSON { writer in
      writer.string("find", SampleNames.aggregations)
      // What others may have put there in another form is passed over.
      writer.document("filter") { writer in
        writer.document("target") { $0.int32("$type", 2) }
        writer.document("metric") { $0.int32("$type", 2) }
        writer.array("$or") { writer in
          writer.document { $0.null("name") }
          writer.document { $0.document("name") { $0.int32("$type", 2) } }
        }
      }
      writer.document("min") { writer in
        for (index, field) in SampleIndexes.fields.enumerated() {
          Self.write(from.indices.contains(index) ? from[index] : .first, as: field, into: &writer)
        }
      }
      writer.raw("hint", SampleIndexes.key)
      writer.int32("limit", 1)
      writer.bool("singleBatch", true)
      writer.bool("returnKey", true)
    }
  }

  private func rollUpCommand(_ from: [Bound]) -> BSON {
    BSON { writer in
      writer.string("find", SampleNames.rollUps)
      writer.document("min") { writer in
        writer.document("_id") { writer in
          for (bound, field) in zip(from, SampleIndexes.fields) { Self.write(bound, as: field, into: &writer) }
        }
      }
      writer.document("hint") { $0.int32("_id", 1) }
      writer.int32("limit", 1)
      writer.bool("singleBatch", true)
      writer.bool("returnKey", true)
    }
  }

  private static func write(_ bound: Bound, as field: String, into writer: inout BSONWriter) {
    switch bound {
    case .first: writer.value(field, BSONValue.other(type: 0xFF, []))
    case .last: writer.value(field, BSONValue.other(type: 0x7F, []))
    case .none: writer.null(field)
    case .text(let text): writer.string(field, text)
    }
  }
}
