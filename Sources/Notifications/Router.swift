internal import FoundationEssentials
package import Logging
package import Model
package import Storage

/// From an announcement to the queue: who hears of it, by which ways, in which words. Stores episode and messages as
/// one step.
///
/// `notify` of the reaction's document says who: of its steps all are used, a step that is a list in itself is tried in
/// order, its first usable channel now and the others if that one fails. Without `notify`: all enabled channels whose
/// `target` matches. Every recipient has an entry of their own.
package actor Router {
  private let storage: any Storage
  private let directory: Directory
  private let notifiers: Notifiers
  private let doorbell: Doorbell
  private let report: ProblemReport
  private let logger: Logger
  /// Reactions whose lack of recipients was reported. Bounded by the number of reaction documents.
  private var unheard: Set<String> = []

  package init(
    storage: any Storage, directory: Directory, notifiers: Notifiers, doorbell: Doorbell,
    report: @escaping ProblemReport, logger: Logger
  ) {
    self.storage = storage
    self.directory = directory
    self.notifiers = notifiers
    self.doorbell = doorbell
    self.report = report
    self.logger = logger
  }

  /// Queues what has to be said; when this returns it is durable.
  /// - Returns: how many messages were new.
  /// - Throws: what the store or the directory throws; nothing was stored then, and the same announcement may be given
  /// again.
  @discardableResult
  package func route(_ announcement: Announcement) async throws -> Int {
    let episode = announcement.episode
    guard let kind = try await kind(of: announcement) else { return try await storage.record(episode, queueing: []) }
    let target = await directory.target(episode.key.target)
    let identity = MessageIdentity(condition: episode.key, episode: episode.id, kind: kind)
    let message = Message(
      identity, words: .facts(MessageFields(announcement, kind: kind, target: target)), severity: episode.severity)

    var entries: [QueueEntry] = []
    let steps = try await ways(for: announcement)
    for step in steps {
      guard let first = step.first else { continue }
      entries += message.entries(
        for: first, recipients: recipients(first), alternates: step.dropFirst().map(\.id), at: announcement.at)
    }
    if kind != .firing {
      entries = try await behindEarlier(entries, message: message, at: announcement.at)
    }
    let count = try await storage.record(episode, queueing: entries)
    if count > 0 { doorbell.ring() }
    logger.debug(
      "announcement queued",
      metadata: [
        "episode.id": "\(episode.id)", "reaction.id": "\(episode.key.reaction)", "target.id": "\(episode.key.target)",
        "notification.kind": "\(kind.name)", "notification.count": "\(count)",
      ])
    if entries.isEmpty, kind != .resolved {
      await reportUnheard(announcement)
    } else {
      unheard.remove(episode.key.reaction)
    }
    return count
  }

  /// What there is to say. An episode that ends here before it fired may have fired in the eyes of an instance that
  /// could not store it then: when that one's message has come to the queue meanwhile, its end is news.
  private func kind(of announcement: Announcement) async throws -> MessageKind? {
    let episode = announcement.episode
    if let kind = MessageKind(announcement.kind) { return kind }
    guard !episode.isOpen, episode.fired_at == nil else { return nil }
    let earlier = try await storage.entries(telling: episode.id)
    return earlier.contains { MessageKind(name: $0.kind).tellsFiring } ? .resolved : nil
  }

  /// The steps, each a list of usable channels in order; empty ones are left out.
  private func ways(for announcement: Announcement) async throws -> [[NotificationOptions]] {
    let reaction = announcement.episode.key.reaction
    guard let notify = announcement.notify else {
      let matching = try await directory.matching(target: announcement.episode.key.target)
      return await usable(matching, areNamed: false).map { [$0] }
    }
    let all = Dictionary(try await directory.options().map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
    var steps: [[NotificationOptions]] = []
    for (index, names) in notify.enumerated() {
      var found: [NotificationOptions] = []
      for name in names where !found.contains(where: { $0.id == name }) {
        guard let options = all[name] else {
          await report(
            Problem(
              .warning, kind: DocumentKind.reaction_targets.rawValue, id: reaction, path: "notify.\(index)",
              reason: "there is no notification_options document named '\(PlainText.line(name, limit: 100))'",
              hint: NearestName.hint(name, in: all.keys)))
          continue
        }
        // Switched off on purpose: the next in the list takes its place.
        if options.isEnabled { found.append(options) }
      }
      found = await usable(found, areNamed: true)
      if !found.isEmpty { steps.append(found) }
    }
    return steps
  }

  /// Leaves out what nothing can be sent by: with a problem, unless it merely has no recipients of its own and nobody
  /// named it (a way out for messages that other programs queue).
  private func usable(_ options: [NotificationOptions], areNamed: Bool) async -> [NotificationOptions] {
    var usable: [NotificationOptions] = []
    for option in options {
      guard let notifier = notifiers[option.type] else {
        await report(notifiers.unknownType(option))
        continue
      }
      if !recipients(option).isEmpty {
        usable.append(option)
      } else if areNamed {
        for problem in notifier.problems(option) { await report(problem) }
      }
    }
    return usable
  }

  private func recipients(_ options: NotificationOptions) -> [String?] {
    notifiers[options.type]?.recipients(options) ?? []
  }

  /// Puts each entry behind the newest one of its way and recipient in the episode; a "resolved" also goes wherever the
  /// firing went by an alternate.
  private func behindEarlier(_ entries: [QueueEntry], message: Message, at now: Date) async throws -> [QueueEntry] {
    // Newest first. More entries than the bound: the oldest are not seen, and the firing's key stands in for them.
    let earlier = try await storage.entries(telling: message.identity.episode)
      .filter { MessageKind(name: $0.kind).tellsFiring }
    var result = entries
    // Who was told of the beginning is told of the end, and nobody else: whatever the document says by now.
    if message.identity.kind == .resolved {
      let options = Dictionary(
        try await directory.options().map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
      let wasTold = Set(earlier.map { Way(option: $0.option, recipient: $0.recipient) })
      result = entries.filter { wasTold.contains(Way(option: $0.option, recipient: $0.recipient)) }
      var told = Set(result.map { Way(option: $0.option, recipient: $0.recipient) })
      for entry in earlier {
        let way = Way(option: entry.option, recipient: entry.recipient)
        guard let id = way.option, let option = options[id], option.isEnabled, told.insert(way).inserted else {
          continue
        }
        result += message.entries(for: option, recipients: [way.recipient], alternates: [], at: now)
      }
    }
    for index in result.indices {
      let newest = earlier.first { $0.option == result[index].option && $0.recipient == result[index].recipient }
      if let key = newest?.key, key != result[index].key { result[index].after = key }
    }
    return result
  }

  private struct Way: Hashable {
    var option: String?
    var recipient: String?
  }

  private func reportUnheard(_ announcement: Announcement) async {
    let key = announcement.episode.key
    guard unheard.insert(key.reaction).inserted else { return }
    logger.warning(
      "nobody to tell", metadata: ["reaction.id": "\(key.reaction)", "target.id": "\(key.target)"])
    await report(
      Problem(
        .warning, kind: DocumentKind.reaction_targets.rawValue, id: key.reaction,
        path: announcement.notify == nil ? "" : "notify",
        reason: "nobody hears of it: no enabled notification_options document is named or matches \(key.target)",
        hint: "add a notification_options document with `target: generic`, or name one in `notify`"))
  }
}

extension MessageKind {
  /// `nil`: there is nothing to say.
  package init?(_ kind: Announcement.Kind) {
    switch kind {
    case .silent: return nil
    case .firing: self = .firing
    case .reminder(let number): self = .reminder(number)
    case .resolved: self = .resolved
    }
  }
}
