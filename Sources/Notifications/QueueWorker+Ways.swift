internal import FoundationEssentials
internal import Logging
internal import Model
internal import Storage

/// Which channel a message goes out by, and which comes after it.
extension QueueWorker {
  enum WayOut {
    case found(NotificationOptions, any Notifier)
    /// There is none; the reason goes into the ledger.
    case none(String)
    /// It cannot be told at this moment.
    case unknown(String)
  }

  func wayOut(for entry: QueueEntry) async -> WayOut {
    do {
      // No document at all: more likely they are not read yet than all deleted. After a few looks it is believed.
      let all = try await context.directory.options()
      if all.isEmpty,
        entry.attempts.count(where: { $0.outcome == DeliveryVerdict.deferred }) < 3
      {
        return .unknown("no notification_options are known yet")
      }
      if let name = entry.option {
        guard let options = all.first(where: { $0.id == name }) else {
          return .none("there is no notification_options document '\(name)' any more")
        }
        guard options.isEnabled else { return .none("the notification_options document '\(name)' is switched off") }
        guard let notifier = context.notifiers[options.type] else {
          await context.report(context.notifiers.unknownType(options))
          return .none("nothing can send by '\(options.type)'")
        }
        return .found(options, notifier)
      }
      let type = PlainText.line(entry.type, limit: 40)
      let matching = try await context.directory.matching(target: entry.target, type: entry.type)
      if let options = matching.first, let notifier = context.notifiers[entry.type] { return .found(options, notifier) }
      let target = PlainText.line(entry.target, limit: 100)
      await context.report(
        Problem(
          .warning, kind: "notifications", id: entry.id, path: "type",
          reason: "no enabled notification_options document of type '\(type)' matches the target '\(target)'",
          hint: "add one, then `syscrap queue retry \(PlainText.shellWord(entry.id))`"))
      return .none("no notification_options document of type '\(type)' matches the target '\(target)'")
    } catch {
      return .unknown(PlainText.answer("notification_options cannot be read: \(error)"))
    }
  }

  /// A message that another program queued for several people: the entry itself serves the first, and the others get
  /// one each, so that one bad address harms nobody else. Their keys make a second adding harmless.
  func others(beside entry: QueueEntry, notifier: any Notifier) -> [QueueEntry] {
    guard entry.option == nil, entry.recipient == nil else { return [] }
    var seen: Set<String> = []
    let recipients = notifier.recipients(payload: entry.payload).filter { seen.insert($0).inserted }
    return recipients.dropFirst().map { recipient in
      var payload = entry.payload
      payload["to"] = .string(recipient)
      return QueueEntry(
        id: UUID().uuidString.lowercased(), key: MessageKey.digest(["part", entry.id, recipient]),
        reaction: entry.reaction, target: entry.target, type: entry.type, payload: payload, episode: entry.episode,
        kind: entry.kind, recipient: recipient, severity: entry.severity, created: entry.created, next_at: context.now()
      )
    }
  }

  func isTurnOfAlternates(_ entry: QueueEntry, since: Date) -> Bool {
    guard !entry.alternates.isEmpty else { return false }
    return DeliveryVerdict.handOver(of: entry, tryingSince: since, schedule: context.schedule) <= context.now()
  }

  /// Queues the next channel's messages while this one goes on trying.
  /// - Returns: false when the store or the documents were away.
  @discardableResult
  func queueAlternates(of lease: QueueLease) async -> Bool {
    do {
      let entries = try await alternates(of: lease)
      guard !entries.isEmpty else { return true }
      if try await context.storage.record(nil, queueing: entries) > 0 {
        context.logger.warning(
          "a channel fails; the next one is used as well",
          metadata: [
            "notification.id": "\(lease.entry.id)", "channel.id": "\(lease.entry.option ?? "")",
            "channel.next": "\(entries.first?.option ?? "")",
          ])
        context.doorbell.ring()
      }
      return true
    } catch {
      return false
    }
  }

  /// The messages for the first usable channel after this one; their keys make a second queueing harmless.
  ///
  /// Where the "resolved" is queued already nothing is handed on: it takes this message in and has alternates itself.
  /// Else the next channel could hear that it fires, and never that it is over.
  func alternates(of lease: QueueLease) async throws -> [QueueEntry] {
    let entry = lease.entry
    guard !entry.alternates.isEmpty, let message = Message(entry, isUntold: lease.predecessor == .untold) else {
      return []
    }
    if message.identity.kind.tellsFiring {
      let episode = try await context.storage.entries(telling: message.identity.episode)
      let isOver = episode.contains {
        MessageKind(name: $0.kind) == .resolved && $0.option == entry.option && $0.recipient == entry.recipient
      }
      if isOver { return [] }
    }
    let options = try await context.directory.options()
    for (index, name) in entry.alternates.enumerated() {
      guard let next = options.first(where: { $0.id == name }), next.isEnabled,
        let recipients = context.notifiers[next.type]?.recipients(next), !recipients.isEmpty
      else { continue }
      return message.entries(
        for: next, recipients: recipients, alternates: Array(entry.alternates.dropFirst(index + 1)), at: context.now())
    }
    return []
  }
}
