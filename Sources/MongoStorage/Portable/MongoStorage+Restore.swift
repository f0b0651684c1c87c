internal import Model
package import Storage

extension MongoStorage {
  package func restore(_ items: [StoreItem]) async throws(StorageError) -> Int {
    var count = 0
    // Items of one kind come together: each run of them is one step.
    var rest = items[...]
    while let first = rest.first {
      let kind = first.kind
      let run = Array(rest.prefix { $0.kind == kind }.prefix(5000))
      rest = rest.dropFirst(run.count)
      switch kind {
      case .documents: count += try await restoreDocuments(run)
      case .samples:
        count += try await pool.run("restoring samples") { try $0.restoreSamples(run.compactMap(\.sample)) }
      case .roll_ups:
        let fence = self.fence
        count += try await pool.run("restoring roll-ups") { try $0.restoreRollUps(run, fence: fence) }
      case .episodes: count += try await restoreEpisodes(run.compactMap(\.episode))
      case .notifications: count += try await restoreEntries(run.compactMap(\.entry))
      case .counts:
        for case .forgotten(let counts) in run where try await restoreForgotten(counts) { count += 1 }
      }
    }
    return count
  }

  private func restoreDocuments(_ items: [StoreItem]) async throws(StorageError) -> Int {
    var count = 0
    for case .document(let document) in items where try await self.document(document.kind, id: document.id) == nil {
      _ = try await put([document])
      count += 1
    }
    return count
  }
}

extension StoreItem {
  fileprivate var kind: StorePart {
    switch self {
    case .document: .documents
    case .sample: .samples
    case .rollUp, .rollUpState: .roll_ups
    case .episode: .episodes
    case .entry: .notifications
    case .forgotten: .counts
    }
  }

  fileprivate var sample: Sample? { if case .sample(let sample) = self { sample } else { nil } }
  fileprivate var episode: Episode? { if case .episode(let episode) = self { episode } else { nil } }
  fileprivate var entry: QueueEntry? { if case .entry(let entry) = self { entry } else { nil } }
}

extension MongoConnection {
  fileprivate func restoreSamples(_ samples: [Sample]) throws -> Int {
    var count = 0
    var rest = samples[...]
    while !rest.isEmpty {
      let (command, covered) = SampleBatch.next(rest)
      rest = rest.dropFirst(covered)
      guard let command else { continue }
      count += try write(command, ignoring: [MongoCodes.duplicateKey])["n"]?.intValue ?? 0
    }
    return count
  }

  /// A bucket that is there stays: then the statement's filter finds nothing, and its upsert meets a taken key.
  fileprivate func restoreRollUps(_ items: [StoreItem], fence: Int64) throws -> Int {
    var buckets: [(block: RollUpBlock, rollUp: RollUp)] = []
    var states: [BSON] = []
    for item in items {
      switch item {
      case .rollUp(let series, let rollUp):
        buckets.append((RollUpBlock(series, rollUp.type, of: rollUp.start), rollUp))
      case .rollUpState(let series, let state):
        states.append(BSON { RollUpStateDocument.write(state, of: series, fence: fence, into: &$0) })
      default: break
      }
    }
    let updates = RollUpCommands.commands(SampleNames.rollUps, buckets) { block, rollUp in
      let path = RollUpBlock.path(rollUp.start, in: block.start)
      return BSON { writer in
        writer.document("q") { writer in
          block.writeID(&writer)
          writer.document(path) { $0.bool("$exists", false) }
        }
        writer.document("u") { writer in
          writer.document("$set") { $0.binary(path, RollUpBlock.bytes(rollUp)) }
        }
        writer.bool("upsert", true)
      }
    }
    var count = 0
    for command in updates {
      count += try write(command, ignoring: [MongoCodes.duplicateKey])["n"]?.intValue ?? 0
    }
    for state in states {
      let insert = SampleBatch.insert([state], into: SampleNames.rollUpStates)
      count += try write(insert, ignoring: [MongoCodes.duplicateKey])["n"]?.intValue ?? 0
    }
    return count
  }
}
