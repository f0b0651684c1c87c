package import FoundationEssentials
package import Model
package import Storage

/// Reading a metric's history: what the running service and the command line without one have in common.
package struct HistoryDesk: Sendable {
  private let storage: any Storage
  private let now: @Sendable () -> Date

  package init(storage: any Storage, now: @escaping @Sendable () -> Date = { Date() }) {
    self.storage = storage
    self.now = now
  }

  /// Samples as documents, oldest first, all of one type.
  /// - Throws: `usage` for an unknown type; `notFound` for an unknown metric, or a target that is unknown and left nothing.
  package func history(_ request: HistoryRequest) async throws(OperationError) -> [Value] {
    var type: SampleType?
    if let name = request.type {
      guard let known = SampleType(rawValue: name) else {
        throw OperationError(
          .usage,
          "there is no type \"\(name.prefix(40))\": use \(SampleType.allCases.map(\.rawValue).joined(separator: ", "))")
      }
      type = known
    }
    guard MetricCatalogue.headline[request.metric] != nil else {
      throw OperationError(
        .notFound,
        "there is no metric \"\(request.metric.prefix(80))\""
          + (NearestName.hint(request.metric, in: MetricCatalogue.headline.keys).map { " (\($0))" } ?? ""))
    }
    let time = now()
    let window = Window(
      since: request.since.date(from: time), until: request.until?.date(from: time), limit: request.limit)
    do {
      let found =
        if let type { try await samples(request, type, window) } else { try await finest(request, window) }
      if found.isEmpty, try await !isTarget(request.target) {
        throw OperationError(.notFound, "there is no target \"\(request.target.prefix(80))\"")
      }
      return found.map(\.document)
    } catch let error as OperationError {
      throw error
    } catch let error as StorageError {
      throw OperationError(store: error)
    } catch {
      throw OperationError(.failed, "the store: \(error)")
    }
  }

  private struct Window {
    var since: Date
    var until: Date?
    var limit: Int
  }

  /// The bucket that `since` lies in counts, too.
  private func samples(
    _ request: HistoryRequest, _ type: SampleType, _ window: Window
  ) async throws(StorageError) -> [Sample] {
    var since = window.since
    if let length = Self.length(type) {
      since = Date(timeIntervalSince1970: (since.timeIntervalSince1970 / length).rounded(.down) * length)
    }
    return try await storage.samples(query(request, type, since: since, until: window.until, limit: window.limit))
  }

  private func query(
    _ request: HistoryRequest, _ type: SampleType, since: Date?, until: Date?, limit: Int
  ) -> SampleQuery {
    SampleQuery(
      Series(target: request.target, metric: request.metric, name: request.name), matchesName: request.name != nil,
      type: type, since: since, until: until, limit: limit)
  }

  private static func length(_ type: SampleType) -> Double? {
    switch type {
    case .hour: 3600
    case .day: 86_400
    case .realTime, .variable, .event: nil
    }
  }

  /// One type's part of the window.
  private struct Candidate {
    var type: SampleType
    var samples: [Sample]
    /// More than the limit: its beginning is not seen.
    var isCut: Bool

    /// A sample stands for so much time from its own on; nothing is known of a lone bucket but that an hour is long for it.
    var length: Double {
      HistoryDesk.length(type) ?? (type == .variable && samples.count < 2 ? 3600 : HistoryDesk.spacing(samples))
    }
  }

  /// The finest type that is whole from `since` on: it fits into the limit and either begins about there, or
  /// begins where the coarser ones begin. Of nothing else there are events.
  ///
  /// A bucket begins before what is in it. So one that begins at `since` says nothing of how far back the series goes; an
  /// earlier bucket does.
  private func finest(_ request: HistoryRequest, _ window: Window) async throws(StorageError) -> [Sample] {
    // What is kept for just as long as is asked for begins a little later.
    let slack = max(0, (window.until ?? now()).timeIntervalSince(window.since) / 20)
    var candidates: [Candidate] = []
    for type in [SampleType.realTime, .variable, .hour, .day] {
      let candidate = try await part(request, type, window)
      guard let first = candidate.samples.first?.at else { continue }
      candidates.append(candidate)
      guard !candidate.isCut else { continue }
      var earlier = min(window.since, first)
      if type == .variable { earlier.addTimeInterval(-candidate.length) }
      if try await !storage.samples(query(request, type, since: nil, until: earlier, limit: 1)).isEmpty {
        return candidate.samples
      }
      if first <= window.since.addingTimeInterval(max(2 * Self.spacing(candidate.samples), slack)) {
        if type == .realTime { return candidate.samples }
        break
      }
    }
    // Everything is younger than `since`: a coarser bucket begins before the first sample in it, by its length at most.
    for (index, candidate) in candidates.enumerated() where !candidate.isCut {
      guard let begin = candidate.samples.first?.at else { continue }
      let isEarliest = candidates[(index + 1)...].allSatisfy { other in
        guard let first = other.samples.first?.at else { return true }
        return begin <= first.addingTimeInterval(other.length)
      }
      if isEarliest { return candidate.samples }
    }
    if let last = candidates.last { return last.samples }
    return try await samples(request, .event, window)
  }

  private func part(
    _ request: HistoryRequest, _ type: SampleType, _ window: Window
  ) async throws(StorageError) -> Candidate {
    let found = try await samples(request, type, window)
    return Candidate(type: type, samples: found, isCut: found.count >= window.limit)
  }

  /// The shortest distance between two samples, 5 minutes where there is only one: a bucket's length.
  private static func spacing(_ samples: [Sample]) -> Double {
    let distances = zip(samples, samples.dropFirst()).map { $1.at.timeIntervalSince($0.at) }.filter { $0 > 0 }
    return distances.min() ?? 300
  }

  private func isTarget(_ name: String) async throws(StorageError) -> Bool {
    try await storage.documents(.targets).contains { ($0.fields["target"]?.text ?? $0.id) == name || $0.id == name }
  }
}
