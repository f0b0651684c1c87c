internal import Model

/// One insert command with as many samples as it may carry.
enum SampleBatch {
  /// Bytes of documents in one command. A command may take 16 MiB; shorter ones keep time-outs and retries short.
  static let bytesBound = 4 << 20
  /// Documents in one command; MongoDB takes 100,000.
  static let countBound = 10_000
  /// Room that is made for each sample in advance; more is made where it is needed.
  private static let usualBytes = 512

  /// The command for the first of these samples, and how many it covers. Samples of a roll-up's type are covered, but
  /// left out; when nothing else is covered there is no command.
  ///
  /// The documents are written where they are sent from, without a copy of each.
  static func next(_ samples: ArraySlice<Sample>) -> (command: BSONWriter?, covered: Int) {
    var writer = BSONWriter(capacity: min(samples.count, countBound) * usualBytes / 2 + usualBytes)
    var count = 0
    var covered = 0
    begin(&writer, SampleNames.aggregations)
    writer.array("documents") { writer in
      let start = writer.count
      for sample in samples {
        if count == countBound { break }
        if !sample.type.isRollUp {
          let mark = writer.mark
          SampleDocument.write(sample, into: &writer)
          if count > 0, writer.count - start > bytesBound {
            writer.goBack(to: mark)
            break
          }
          count += 1
        }
        covered += 1
      }
    }
    return (count == 0 ? nil : writer, covered)
  }

  /// An unordered insert: those that are there already do not keep the others out.
  static func insert(_ documents: [BSON], into collection: String) -> BSON {
    BSON { writer in
      begin(&writer, collection)
      writer.documents("documents", documents)
    }
  }

  private static func begin(_ writer: inout BSONWriter, _ collection: String) {
    writer.string("insert", collection)
    writer.bool("ordered", false)
  }
}
