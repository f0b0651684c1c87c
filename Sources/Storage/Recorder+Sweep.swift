internal import FoundationEssentials
internal import Model

/// Series that get no samples any more.
extension Recorder {
  /// Roll-ups that are over age go, and of a target that no document has everything in the end.
  func sweep(_ rollUps: RollUpKeeper) async {
    await rollUps.forget(unusedFor: configuration.sweep)
    guard let limits, !agesArePaused else { return }
    let now = now()
    do {
      var unused: [SampleType: [Series]] = [:]
      for type in SampleType.allCases {
        let left = await rollUps.unused(try await store.series(type: type, target: nil))
        unused[type] = left
        guard type.isRollUp else { continue }
        let rules = left.map { series in
          let plan = RollUpPlan(limits: limits(series.target))
          return RetentionRule(series, type: type, keep: .since(now - max(0, plan.age(type).timeInterval)))
        }
        var rest = rules[...]
        while !rest.isEmpty, !Task.isCancelled {
          counters.pruned += try await store.prune(Array(rest.prefix(500)))
          rest = rest.dropFirst(500)
        }
      }
      // Before their open buckets are taken out: what has none is not listed any more.
      try await removeStrays(Set(unused.values.joined()), rollUps, limits, now)
      for type in SampleType.allCases where type.isRollUp { await rollUps.closeOld(unused[type] ?? []) }
    } catch {
      counters.lastError = error
    }
  }

  /// What is left of targets that no document has, once nothing came of it for as long as anything of it is kept.
  private func removeStrays(
    _ unused: Set<Series>, _ rollUps: RollUpKeeper, _ limits: (String) -> HistoryLimits, _ now: Date
  ) async throws(StorageError) {
    let strays = unused.filter { $0.target != ReturnedSamples.target && isStray($0.target) }
    let byAge = Dictionary(grouping: strays) { RollUpPlan(limits: limits($0.target)).longestAge }
    for (age, series) in byAge {
      var rest = series[...]
      while !rest.isEmpty, !Task.isCancelled {
        counters.pruned += try await rollUps.store.remove(
          Array(rest.prefix(500)), quietSince: now - max(0, age.timeInterval))
        rest = rest.dropFirst(500)
      }
    }
  }
}
