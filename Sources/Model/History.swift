/// Reading what was gathered; App fulfils it over the store, so that reactions need not know of one.
package protocol History: Sendable {
  /// The newest `count` samples of a series, oldest first.
  func recent(_ series: Series, type: SampleType, count: Int) async throws -> [Sample]
  /// The newest raw sample of every series of a metric on a target (one for each `name`).
  func newest(metric: String, target: String) async throws -> [Sample]
  /// Episodes of a reaction that have not ended.
  func openEpisodes(reaction: String) async throws -> [Episode]
}
