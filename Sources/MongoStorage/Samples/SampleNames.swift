/// The collections that hold what was measured and what was computed from it.
enum SampleNames {
  /// RT samples and events, as ``SampleDocument`` says.
  static let aggregations = "aggregations"
  /// Closed buckets, as ``RollUpBlock`` says.
  static let rollUps = "roll_ups"
  /// How far each series is rolled up, as ``RollUpStateDocument`` says.
  static let rollUpStates = "roll_up_states"
}
