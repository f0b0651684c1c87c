/// The index of `aggregations`, by which samples are told apart, ordered, found and pruned. Roll-ups and their states
/// need none but that of `_id`.
enum SampleIndexes {
  /// In this order; unique. A missing name or `n` counts as null.
  static let fields = ["target", "metric", "name", "type", "tag", "n"]

  static let all: [IndexSpec] = [
    IndexSpec(
      SampleNames.aggregations, "sample",
      keys: ["target": 1, "metric": 1, "name": 1, "type": 1, "tag": 1, "n": 1], unique: true)
  ]

  /// As a hint names it.
  static let key = BSON { writer in
    for field in fields { writer.int32(field, 1) }
  }
}
