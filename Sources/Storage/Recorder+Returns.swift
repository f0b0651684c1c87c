internal import Model

/// Samples that come back from a journal, and those that wait in the store for whoever gathers.
extension Recorder {
  /// From now on the journal's samples come here first, see ``takeIn(_:into:)``.
  package func attach() async {
    if rollUps != nil { await journaled?.setIntake(self) }
  }

  /// Appends what must pass the roll-ups by: to the journal while the store is away, as parcels when another instance
  /// gathers. - Returns: whether that succeeded; nil: it is not such a time, nothing was done.
  func appendAside(_ batch: [Sample]) async -> Bool? {
    guard rollUps != nil else { return nil }
    do throws(StorageError) {
      if let journaled, try await journaled.appendWhileAway(batch) {
        succeed(batch, holding: [])
        return true
      }
      if mayGather() { return nil }
      _ = try await add(ReturnedSamples.parcels(batch))
    } catch {
      fail(error)
      return false
    }
    succeed(batch, holding: [])
    return true
  }

  /// Takes samples from the journal into the roll-ups and the store, if this instance gathers.
  /// - Returns: those that could not be taken in now.
  /// - Throws: when the store did not take them; what was taken in then is told by notes when they come again.
  func takeIn(_ samples: [Sample], into primary: any Storage) async throws(StorageError) -> [Sample] {
    await begin()
    defer { end() }
    guard let rollUps, mayGather() else { return samples }
    await lookBack()
    // The store answers again.
    await rollUps.endPause()
    let held = await rollUps.prepare(samples)
    let ready = held.isEmpty ? samples : samples.indices.filter { !held.contains($0) }.map { samples[$0] }
    if !ready.isEmpty {
      do throws(StorageError) {
        try await primary.append(ready)
      } catch {
        await rollUps.doubt(ready)
        throw error
      }
      await settleReturned(ready, rollUps)
    }
    return held.sorted().map { samples[$0] }
  }

  private func settleReturned(_ samples: [Sample], _ rollUps: RollUpKeeper) async {
    counters.returned += samples.count
    await rollUps.fold(samples)
    await rollUps.saveDue()
    await prune(after: samples)
  }

  /// Takes in what waits in the store, a bounded number of parcels.
  package func lookForReturns() async {
    guard let rollUps else { return }
    await begin()
    defer { end() }
    await takeReturned(rollUps)
  }

  /// Between ``begin()`` and ``end()``. A parcel goes when all of it is in the store: after a crash it is taken in once
  /// more, and its samples are known by their notes or found in RT.
  func takeReturned(_ rollUps: RollUpKeeper) async {
    nextReturns = uptime() + configuration.returns
    guard mayGather() else { return }
    do throws(StorageError) {
      let waiting = try await store.series(type: .event, target: ReturnedSamples.target)
      for series in waiting.prefix(configuration.parcels) where series.metric == ReturnedSamples.metric {
        for parcel in try await store.samples(SampleQuery(series, type: .event, limit: 1)) {
          let samples = ReturnedSamples.samples(in: parcel)
          guard mayGather(), await rollUps.prepare(samples).isEmpty else { return }
          do throws(StorageError) {
            if let journaled {
              try await journaled.appendToStore(samples)
            } else {
              try await store.append(samples)
            }
          } catch {
            await rollUps.doubt(samples)
            throw error
          }
          await settleReturned(samples, rollUps)
        }
        _ = try await store.prune([RetentionRule(series, type: .event, keep: .newest(0))])
      }
      // More than one look may take: the next comes at once.
      if waiting.count > configuration.parcels { nextReturns = uptime() }
    } catch {
      counters.lastError = error
    }
  }
}
