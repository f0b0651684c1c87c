internal import FoundationEssentials
package import Model
package import Storage

/// The store's history, in the words that reactions know.
package struct StoreHistory: History {
  private let storage: any Storage

  private let flush: @Sendable () async -> Void

  /// - Parameter flush: brings away what was gathered but is not stored yet, so that the newest is found.
  package init(_ storage: any Storage, flush: @escaping @Sendable () async -> Void = {}) {
    self.storage = storage
    self.flush = flush
  }

  package func recent(_ series: Series, type: SampleType, count: Int) async throws -> [Sample] {
    await flush()
    return try await storage.samples(SampleQuery(series, type: type, limit: count))
  }

  package func newest(metric: String, target: String) async throws -> [Sample] {
    await flush()
    var found: [Sample] = []
    for series in try await storage.series(type: .realTime, target: target) where series.metric == metric {
      if let sample = try await storage.latest(series, type: .realTime) { found.append(sample) }
    }
    return found
  }

  package func openEpisodes(reaction: String) async throws -> [Episode] {
    try await storage.episodes(reaction: reaction, openOnly: true, limit: 100_000)
  }
}
