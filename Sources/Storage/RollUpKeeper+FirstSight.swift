internal import FoundationEssentials
package import Model

extension RollUpKeeper {
  func takeUp(_ unseen: [Series]) async {
    guard !isPausing, await isWhole() else { return }
    let room = await makeRoom(for: unseen.count)
    var rest = unseen.prefix(room)
    while !rest.isEmpty {
      let part = Array(rest.prefix(500))
      rest = rest.dropFirst(part.count)
      do throws(StorageError) {
        let states = try await states(part)
        for series in part { standings[series] = try await caughtUp(series, states[series]) }
        note(nil)
      } catch {
        // They are looked at again when their next samples come; RT keeps what came meanwhile.
        return note(error)
      }
    }
  }

  private func states(_ series: [Series]) async throws(StorageError) -> [Series: RollUpState] {
    do throws(StorageError) {
      return try await store.rollUpStates(series)
    } catch  where error.code == .corrupt {
      // One that is damaged must not stop the others; it begins anew from what RT has.
      var states: [Series: RollUpState] = [:]
      for one in series {
        do throws(StorageError) {
          states[one] = try await store.rollUpStates([one])[one]
        } catch  where error.code == .corrupt {
          counters.failures += 1
          counters.lastError = error
        }
      }
      return states
    }
  }

  private func caughtUp(_ series: Series, _ state: RollUpState?) async throws(StorageError) -> RollUpStanding {
    var standing = RollUpStanding(series)
    if let state {
      do throws(StorageError) {
        standing = try RollUpStanding(series, state)
      } catch {
        counters.failures += 1
        counters.lastError = error
      }
      if standing.lastVariable == nil, let newest = try await newestVariable(series, before: nil) {
        standing.remember(variable: newest)
      }
    }
    let variable = plan(series.target).variableSeconds
    standing.lastUsed = uptime()
    // Pages are found from the newest back, and taken in from the oldest on.
    var ends: [SampleKey?] = [nil]
    var isFirst = true
    while let end = ends.last {
      let page = try await page(series, after: standing.through, before: end)
      if isFirst, page.count < configuration.page {
        take(page, standing, variable)
        ends = []
        break
      }
      isFirst = false
      guard page.count >= configuration.page, let first = page.first else { break }
      let key = SampleKey(first)
      if let end, end <= key { break }
      ends.append(key)
    }
    for end in ends.reversed() {
      take(try await page(series, after: standing.through, before: end), standing, variable)
    }
    touch(standing)
    return standing
  }

  /// The newest raw samples between two keys, oldest first.
  private func page(
    _ series: Series, after: SampleKey?, before: SampleKey?
  ) async throws(StorageError) -> [Sample] {
    try await store.samples(
      SampleQuery(
        series, since: after.map { StoredTime.date(second: $0.second, millisecond: 0) },
        until: before.map { StoredTime.date(second: $0.second &+ 1, millisecond: 0) }, limit: configuration.page)
    ).filter { sample in
      let key = SampleKey(sample)
      return after.map { key > $0 } ?? true && before.map { key < $0 } ?? true
    }
  }

  private func take(_ samples: [Sample], _ standing: RollUpStanding, _ variable: Int64) {
    for sample in samples {
      let key = SampleKey(sample)
      if let through = standing.through, key <= through { continue }
      if standing.fold(key, sample.value, variable: variable) { makeUrgent(standing) }
      if sample.value != nil { counters.folded += 1 }
    }
  }

  // MARK: Series without samples

  /// Those of the series that are not in memory: they got no samples for a long time.
  package func unused(_ series: [Series]) -> [Series] { series.filter { standings[$0] == nil } }

  /// Takes open buckets that are over age out of the states of series that get no samples any more.
  package func closeOld(_ series: [Series]) async {
    var rest = series.filter { standings[$0] == nil }[...]
    while !rest.isEmpty, !isPausing {
      let part = Array(rest.prefix(configuration.batch))
      rest = rest.dropFirst(part.count)
      do throws(StorageError) {
        var updates: [RollUpUpdate] = []
        for (series, state) in try await states(part) where standings[series] == nil {
          var shorter = state
          let plan = plan(series.target)
          let now = wall()
          shorter.open.removeAll { $0.start &+ $0.length < now &- plan.age($0.type).components.seconds }
          if shorter != state { updates.append(RollUpUpdate(series: series, closed: [], state: shorter)) }
        }
        if !updates.isEmpty { try await store.store(updates) }
        note(nil)
      } catch {
        note(error)
      }
    }
  }
}
