package import FoundationEssentials
package import Model

/// Where roll-ups are kept. Stores keep buckets and states as the bytes that Storage gives them, and read them through
/// the contract's shape (``Storage/samples(_:)`` with a roll-up's type).
package protocol RollUpStorage: Sendable {
  /// How far these series are rolled up, with their open buckets. Series that never were are left out.
  func rollUpStates(_ series: [Series]) async throws(StorageError) -> [Series: RollUpState]
  /// Those of the closed buckets with these starts that are there, for data that came late.
  func rollUps(_ series: Series, type: SampleType, starts: [Int64]) async throws(StorageError) -> [RollUp]
  /// Puts closed buckets, then the state of each series, in this order; what was there under the same series, type and
  /// start is replaced. A crash between leaves the older state, from which the same is computed once more.
  /// - Throws: `conflict` when a higher fence has written one of them (see ``FencedStorage``).
  func store(_ updates: [RollUpUpdate]) async throws(StorageError)
  /// How far the series goes that is rolled up farthest, in seconds since 1970; series beyond `second` do not count.
  /// - Returns: nil where there is none.
  func newestRolledUp(until second: Int64) async throws(StorageError) -> Int64?
  /// Forgets series of which nothing came from an instant on: their raw samples, events and states. A series of which
  /// something did stays whole. Closed buckets are not looked at, they go by their own age.
  /// - Returns: how many samples and events went.
  func remove(_ series: [Series], quietSince date: Date) async throws(StorageError) -> Int
}

/// What became of one series: buckets that closed (or took in late data), and where it stands now.
package struct RollUpUpdate: Sendable, Hashable {
  package var series: Series
  package var closed: [RollUp]
  package var state: RollUpState
  package init(series: Series, closed: [RollUp], state: RollUpState) {
    self.series = series
    self.closed = closed
    self.state = state
  }
}
