internal import FoundationEssentials
package import Model
internal import Supervision

/// Where samples of one target go: in order, each series' samples of one second counted. It may suspend; then whoever
/// made the samples waits, and asks the host no further.
package typealias Outlet = @Sendable ([Sample]) async -> Void

/// Stamps the samples of one target and hands them to the outlet.
///
/// It outlives the lives of the wrappers, so that `(tag, n)` stays unique when a wrapper is replaced within a second, and
/// when the wall clock is set back.
actor Emitter {
  /// One sample before it is stamped.
  enum Draft: Sendable {
    case value(Value)
    case event(Value)
    case error(String)

    var type: SampleType { if case .event = self { .event } else { .realTime } }
  }

  private struct Key: Hashable {
    var series: Series
    var type: SampleType
  }

  private let outlet: Outlet
  private let timeline: Timeline
  /// The last stamp of each series; beyond ``stampLimit`` those of earlier seconds are forgotten.
  private var stamps: [Key: (tag: Int64, n: Int)] = [:]
  private static let stampLimit = 512
  /// Lives that wait for a neighbour to take what they hand over: at most one entry for each.
  private var waiting: [Int: ChildContext] = [:]
  private var nextNumber = 0
  /// Well below the shortest heartbeat.
  private static let pulse: Duration = .seconds(20)

  init(timeline: Timeline, outlet: @escaping Outlet) {
    self.timeline = timeline
    self.outlet = outlet
  }

  /// Returns when the outlet has taken the samples. What an ended life hands over is dropped.
  func emit(_ drafts: [Draft], series: Series, at date: Date, context: ChildContext) async {
    guard !drafts.isEmpty, context.fence.isCurrent else { return }
    let samples = drafts.map { draft in
      let n = stamp(Key(series: series, type: draft.type), Instant.tag(date))
      return switch draft {
      case .value(let value), .event(let value):
        Sample(series: series, type: draft.type, at: date, n: n, value: value)
      case .error(let text): Sample(series: series, type: draft.type, at: date, n: n, error: text)
      }
    }
    await handOver(context) { [outlet] in await outlet(samples) }
  }

  /// Runs `body`, which may wait for a slow neighbour; meanwhile the life that waits is not taken for hung.
  func handOver(_ context: ChildContext, _ body: @Sendable () async -> Void) async {
    nextNumber += 1
    let number = nextNumber
    context.beat()
    waiting[number] = context
    await body()
    waiting[number] = nil
    context.beat()
  }

  /// Beats for those who wait for a neighbour, until it is cancelled.
  func mind() async {
    while (try? await timeline.sleep(timeline.now() + Self.pulse)) != nil {
      for context in waiting.values { context.beat() }
    }
  }

  private func stamp(_ key: Key, _ tag: Int64) -> Int {
    if stamps.count > Self.stampLimit { stamps = stamps.filter { $0.value.tag >= tag } }
    // Set back, the clock shows a second again: counting on keeps (tag, n) unique.
    if let last = stamps[key], last.tag >= tag {
      stamps[key] = (last.tag, last.n + 1)
      return last.n + 1
    }
    stamps[key] = (tag, 0)
    return 0
  }
}

/// What is known of a target, shared by its wrappers, and told to whoever keeps `detected_specs` when it changes.
actor FactsBoard {
  private(set) var facts: HostFacts?
  private let report: @Sendable (HostFacts) async -> Void

  init(_ facts: HostFacts?, report: @escaping @Sendable (HostFacts) async -> Void) {
    self.facts = facts
    self.report = report
  }

  func update(_ new: HostFacts) async {
    guard new != facts else { return }
    facts = new
    await report(new)
  }
}
