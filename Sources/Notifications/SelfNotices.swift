package import FoundationEssentials
package import Logging
internal import Model
package import Storage

/// Sends the service's own notices, as `self: {notify: [..]}` of the configuration says; without it by all enabled
/// channels with `target: generic`.
package actor SelfNotices {
  private let storage: any Storage
  private let directory: Directory
  private let notifiers: Notifiers
  private let doorbell: Doorbell
  private let names: [[String]]
  private let host: String
  private let logger: Logger
  private let now: @Sendable () -> Date
  private var book = NoticeBook()

  /// - Parameters:
  ///   - notify: names of notification_options; an inner list is tried in order. Empty: all generic ones.
  ///   - host: this machine's name, for the reader.
  package init(
    storage: any Storage, directory: Directory, notifiers: Notifiers, doorbell: Doorbell, notify: [[String]],
    host: String, logger: Logger, now: @escaping @Sendable () -> Date
  ) {
    self.storage = storage
    self.directory = directory
    self.notifiers = notifiers
    self.doorbell = doorbell
    self.names = notify
    self.host = host
    self.logger = logger
    self.now = now
  }

  /// Queues a notice, unless its source has had one within the hour. Never throws: it is itself the last resort; what
  /// cannot be queued is in the log.
  /// - Returns: how many messages were queued.
  @discardableResult
  package func post(_ notice: Notice) async -> Int {
    let time = now()
    logger.log(
      level: notice.severity == .info ? .info : .warning, "notice",
      metadata: ["notice.source": "\(notice.source)", "notice.text": "\(notice.text)"])
    guard let heldBack = book.pass(notice.source, at: time) else { return 0 }
    do {
      let steps = try await ways()
      let message = message(notice, heldBack: heldBack, at: time)
      var entries: [QueueEntry] = []
      for step in steps {
        guard let first = step.first else { continue }
        entries += message.entries(
          for: first, recipients: notifiers[first.type]?.recipients(first) ?? [],
          alternates: step.dropFirst().map(\.id), at: time)
      }
      guard !entries.isEmpty else {
        logger.warning("nobody to tell of a notice", metadata: ["notice.source": "\(notice.source)"])
        return 0
      }
      let count = try await storage.record(nil, queueing: entries)
      if count > 0 { doorbell.ring() }
      return count
    } catch {
      // The next one may pass.
      book.withdraw(notice.source)
      logger.warning(
        "a notice could not be queued",
        metadata: ["notice.source": "\(notice.source)", "error": "\(PlainText.line("\(error)"))"])
      return 0
    }
  }

  private func ways() async throws -> [[NotificationOptions]] {
    SelfWays(names: names, notifiers: notifiers).choose(from: try await directory.options())
  }

  private func message(_ notice: Notice, heldBack: Int, at time: Date) -> Message {
    let text = PlainText.line(notice.text)
    var body = "\(notice.severity.rawValue.uppercased()): \(text)\n\n"
    body += "Source:   \(PlainText.line(notice.source, limit: 200))\nService:  syscrap on \(host)\n"
    body += "Time:     \(PlainText.instant(time))\n"
    if !notice.details.isEmpty { body += "\n" + PlainText.lines(notice.details) + "\n" }
    if heldBack > 0 {
      body += "\n\(heldBack) more of the same source since the last message; all are in the log.\n"
    }
    body += "\nSee more:\n  syscrap get problems\n  syscrap tree\n  syscrap doctor\n"
    // The hour is part of the key: a service that crashes and starts again does not say it twice.
    let seconds = time.timeIntervalSince1970 / 3600
    let hour = seconds.isFinite && abs(seconds) < 1e12 ? String(Int64(seconds.rounded(.down))) : "0"
    return Message(
      MessageIdentity(
        condition: ConditionKey(
          reaction: "", target: "self", metric: notice.source, element: notice.dedupeKey),
        episode: hour, kind: .notice),
      words: .fixed(subject: "[FIRING \(notice.severity.rawValue)] syscrap on \(host): \(text)", body: body),
      severity: notice.severity)
  }
}
