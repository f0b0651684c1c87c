internal import CoreMetrics
internal import FoundationEssentials

/// What the lives below one target share; it outlives each of them.
struct TargetShared: Sendable {
  let link: Link
  let asker: Asker
  let emitter: Emitter
  let facts: FactsBoard
  let warden: TouchWarden
  let timeline: Timeline
  let now: @Sendable () -> Date
  /// The service's own figure: ticks that were skipped because a host was slow.
  let skipped = Counter(label: "syscrap_aggregation_skipped_ticks")
}
