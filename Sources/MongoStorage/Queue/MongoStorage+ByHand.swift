package import FoundationEssentials
internal import Model
package import Storage

extension MongoStorage {
  package func retry(id: String, now: Date) async throws(StorageError) -> Bool {
    try await change("retrying a notification", id) { $0.retried(now: now) }
  }

  package func drop(id: String, reason: String, now: Date) async throws(StorageError) -> Bool {
    try await change("dropping a notification", id) { $0.dropped(reason: reason, now: now) }
  }

  /// Reads, decides and writes if nobody wrote in between; else once more, at most a few times.
  private func change(
    _ doing: String, _ id: String, _ body: @escaping @Sendable (inout QueueEntry) -> Bool
  ) async throws(StorageError) -> Bool {
    let isChanged = try await queue(doing) { session in
      for _ in 0..<10 {
        guard let stored = try session.find(id: id), !stored.isPruning else { return false }
        var entry = stored.entry
        guard body(&entry) else { return false }
        // What was noted of it may have been corrected by that hand.
        if try session.replace(stored, with: entry, also: { if stored.notedProblem != nil { $0.null("problem") } }) {
          return true
        }
      }
      throw StorageError(.conflict, "the notification \(id) is being changed by others all the time; try again")
    }
    if isChanged { queueMemory.forgetWaiting() }
    return isChanged
  }
}
