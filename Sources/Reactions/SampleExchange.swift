package import Model

/// Hands new samples to the reactions that watch their metric.
///
/// Each subscriber has a buffer of ``bound`` batches; when it is full the oldest batch is dropped and counted, and the
/// subscriber goes on with newer ones. A slow reaction therefore delays neither the gathering nor other reactions.
package actor SampleExchange {
  /// Batches kept for one subscriber.
  package static let bound = 1024

  private struct Subscriber {
    var metrics: Set<String>
    var continuation: AsyncStream<[Sample]>.Continuation
  }

  private var subscribers: [Int: Subscriber] = [:]
  private var byMetric: [String: [Int]] = [:]
  private var nextID = 0
  /// Batches that a slow subscriber lost.
  package private(set) var dropped = 0

  package init() {}

  /// Gives raw samples to whoever watches their metrics.
  package func offer(_ samples: [Sample]) {
    var shares: [Int: [Sample]] = [:]
    for sample in samples where sample.type == .realTime {
      for id in byMetric[sample.series.metric] ?? [] { shares[id, default: []].append(sample) }
    }
    for (id, share) in shares {
      if case .dropped? = subscribers[id]?.continuation.yield(share) { dropped += 1 }
    }
  }

  /// A stream of what arrives from now on. It ends with ``unsubscribe(_:)``.
  func subscribe(metrics: Set<String>) -> (id: Int, stream: AsyncStream<[Sample]>) {
    let (stream, continuation) = AsyncStream.makeStream(
      of: [Sample].self, bufferingPolicy: .bufferingNewest(Self.bound))
    nextID += 1
    subscribers[nextID] = Subscriber(metrics: metrics, continuation: continuation)
    for metric in metrics { byMetric[metric, default: []].append(nextID) }
    return (nextID, stream)
  }

  /// Puts an empty batch into a subscriber's stream: the sign of its clock, in line with its samples.
  func tick(_ id: Int) { _ = subscribers[id]?.continuation.yield([]) }

  func unsubscribe(_ id: Int) {
    guard let subscriber = subscribers.removeValue(forKey: id) else { return }
    for metric in subscriber.metrics { byMetric[metric]?.removeAll { $0 == id } }
    subscriber.continuation.finish()
  }
}
