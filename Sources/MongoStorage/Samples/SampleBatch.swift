internal import Model

/// One insert command with as many samples as it may carry.
enum SampleBatch {
  /// Bytes of documents in one command. A command may take 16 MiB; shorter ones keep time-outs and retries short.
  static let bytesBound = 4 << 20
  /// Documents in one command; MongoDB takes 100,000.
  static let countBound = 10_000

  /// The command for the first of these samples, and how many it covers. Samples of a roll-up's type are covered, but
  /// left out; when nothing else is covered there is no command.
  static func next(_ samples: ArraySlice<Sample>) -> (command: BSON?, covered: Int) {
    var documents: [BSON] = []
    var bytes = 0
    var covered = 0
    for sample in samples {
      if sample.type.isRollUp {
        covered += 1
        continue
      }
      let document = SampleDocument.document(sample)
      if !documents.isEmpty, bytes + document.bytes.count > bytesBound { break }
      documents.append(document)
      bytes += document.bytes.count
      covered += 1
      if documents.count == countBound { break }
    }
    return (documents.isEmpty ? nil : insert(documents, into: SampleNames.aggregations), covered)
  }

  /// An unordered insert: those that are there already do not keep the others out.
  static func insert(_ documents: [BSON], into collection: String) -> BSON {
    BSON { writer in
      writer.string("insert", collection)
      writer.bool("ordered", false)
      writer.documents("documents", documents)
    }
  }
}
