internal import Model
internal import Storage

/// A document of `roll_up_states`, one for each series:
/// `{_id: {target, metric, name}, through: {second, n}, open: [{type, start, length, data}], late: [second, n, …],
/// fence}`.
enum RollUpStateDocument {
  static func write(_ state: RollUpState, of series: Series, fence: Int64, into writer: inout BSONWriter) {
    writeID(series, into: &writer)
    writer.document("through") { writer in
      writer.int("second", state.through.second)
      writer.int("n", Int64(state.through.n))
    }
    writer.array("open") { writer in
      for rollUp in state.open where RollUpCommands.fits(rollUp) {
        writer.document { writer in
          writer.string("type", rollUp.type.rawValue)
          writer.int("start", rollUp.start)
          writer.int("length", rollUp.length)
          writer.binary("data", rollUp.encoded)
        }
      }
    }
    writer.array("late") { writer in
      for key in state.late.suffix(RollUpState.lateBound) {
        writer.int("", key.second)
        writer.int("", Int64(key.n))
      }
    }
    writer.int("fence", fence)
  }

  static func writeID(_ series: Series, into writer: inout BSONWriter) {
    writer.document("_id") { $0.seriesFields(series) }
  }

  static func read(_ document: BSON) throws -> (series: Series, state: RollUpState) {
    guard let through = document["through"]?.documentValue, let second = through["second"]?.int64Value,
      let n = through["n"]?.intValue
    else { throw RollUpBlock.corrupt("a document of roll_up_states does not say how far it goes") }
    let late = try document["late"]?.arrayValue?.values().compactMap(\.int64Value) ?? []
    let keys = stride(from: 0, to: late.count - 1, by: 2).map { index in
      SampleKey(second: late[index], n: Int(clamping: late[index + 1]))
    }
    return (
      try series(document),
      RollUpState(through: SampleKey(second: second, n: n), open: try open(document), late: keys)
    )
  }

  static func series(_ document: BSON) throws -> Series {
    guard let id = document["_id"]?.documentValue, let target = id["target"]?.stringValue,
      let metric = id["metric"]?.stringValue
    else { throw RollUpBlock.corrupt("a document of roll_up_states has an unknown _id") }
    return Series(target: target, metric: metric, name: id["name"]?.stringValue)
  }

  static func open(_ document: BSON) throws -> [RollUp] {
    try document["open"]?.arrayValue?.values().map { element in
      guard let fields = element.documentValue,
        let type = fields["type"]?.stringValue.flatMap(SampleType.init(rawValue:)),
        let start = fields["start"]?.int64Value, let length = fields["length"]?.int64Value,
        let data = fields["data"]?.binaryValue
      else { throw RollUpBlock.corrupt("a document of roll_up_states has an unknown bucket") }
      return RollUp(type: type, start: start, length: length, encoded: data)
    } ?? []
  }
}
