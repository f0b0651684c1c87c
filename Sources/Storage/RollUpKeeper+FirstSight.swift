internal import FoundationEssentials
package import Model

extension RollUpKeeper {
  /// Catches up with series that are not in memory, or that RT may be ahead of.
  func takeUp(_ series: [Series]) async {
    if isPausing { return }
    let unseen = series.filter { standings[$0] == nil }
    let room = await makeRoom(for: unseen.count)
    var rest = unseen.prefix(room)
    do throws(StorageError) {
      for one in series {
        guard let standing = standings[one], standing.isUncertain else { continue }
        try await catchUp(standing)
        standing.isUncertain = false
      }
      while !rest.isEmpty {
        let part = Array(rest.prefix(500))
        rest = rest.dropFirst(part.count)
        let states = try await states(part)
        for one in part {
          let standing = try await standing(one, states[one])
          try await catchUp(standing)
          standings[one] = standing
        }
      }
      note(nil)
    } catch {
      // They are looked at again when their next samples come; RT keeps what came meanwhile.
      note(error)
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

  private func standing(_ series: Series, _ state: RollUpState?) async throws(StorageError) -> RollUpStanding {
    guard let state else { return RollUpStanding(series) }
    var standing = RollUpStanding(series)
    do throws(StorageError) {
      standing = try RollUpStanding(series, state)
    } catch {
      counters.failures += 1
      counters.lastError = error
    }
    if standing.lastVariable == nil, let newest = try await newestVariable(series, before: nil) {
      standing.remember(variable: newest)
    }
    return standing
  }

  /// Takes in what RT has and `standing` has not: all that is newer.
  private func catchUp(_ standing: RollUpStanding) async throws(StorageError) {
    let variable = plan(standing.series.target).variableSeconds
    let first = standing.through?.second
    standing.lastUsed = uptime()
    // The store gives the newest first, buckets want the oldest first: where each page begins is found from the newest
    // back. Pages end between two seconds, so that a page larger than asked for is one second's.
    var limit = max(1, configuration.page)
    var ends: [Int64?] = [nil]
    var page = try await page(standing.series, since: first, until: nil, limit: limit)
    while page.count >= limit, let oldest = page.first.map({ SampleKey($0).second }) {
      let next = oldest &+ 1
      if ends.last == next {
        limit = limit &* 2
        guard limit < 1 << 30 else { break }
      } else {
        ends.append(next)
      }
      page = try await self.page(standing.series, since: first, until: ends.last ?? nil, limit: limit)
    }
    take(page, standing, variable)
    var since = ends.popLast() ?? nil
    while let until = ends.popLast() {
      take(try await self.page(standing.series, since: since, until: until, limit: limit), standing, variable)
      since = until
    }
    touch(standing)
  }

  /// The newest raw samples between two instants in seconds, the first included, oldest first.
  private func page(
    _ series: Series, since: Int64?, until: Int64?, limit: Int
  ) async throws(StorageError) -> [Sample] {
    try await store.samples(
      SampleQuery(
        series, since: since.map { StoredTime.date(second: $0, millisecond: 0) },
        until: until.map { StoredTime.date(second: $0, millisecond: 0) }, limit: limit))
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
