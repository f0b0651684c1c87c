internal import FoundationEssentials
internal import Logging
internal import Model
package import Storage

/// Tells people that the store is away, by a path that needs no store: straight by the notifiers of the documents that
/// were last known, also after a restart. When the store is back, one message with the figures goes through the queue.
///
/// One pair for each outage, at most ``Settings/mostTold`` in ``Settings/spacing``. Both messages have keys made from the outage's beginning:
/// what is sent twice after a crash is the same message to every reader.
package actor OutageNotice {
  package struct Settings: Sendable, Hashable {
    /// So long an outage lasts before it is told.
    package var patience: Duration = .seconds(20)
    /// How often the store's state is looked at.
    package var step: Duration = .seconds(1)
    /// Of a store that comes and goes, so many outages are told in so long; the next one when that is over, if it lasts.
    package var mostTold = 3
    package var spacing: Duration = .seconds(600)
    /// The waits between tries; the last one is repeated until the outage is told or over.
    package var pauses: [Duration] = [2, 5, 10, 20, 30, 60, 120, 300, 600].map { .seconds($0) }
    /// The longest that one try may take.
    package var longestTry: Duration = .seconds(25)
    package init() {}
  }

  /// What it needs from outside.
  package struct Surroundings: Sendable {
    /// How it stands with the store.
    package var status: @Sendable () async -> StoreStatus
    /// Whether this instance speaks for the service; others keep silent.
    package var isSpeaker: @Sendable () async -> Bool
    /// Reads and replaces the small file on this machine that ``OutageNotice`` remembers things in.
    package var load: @Sendable () async -> [UInt8]?
    package var save: @Sendable ([UInt8]) async -> Void
    package init(
      status: @escaping @Sendable () async -> StoreStatus, isSpeaker: @escaping @Sendable () async -> Bool = { true },
      load: @escaping @Sendable () async -> [UInt8]?, save: @escaping @Sendable ([UInt8]) async -> Void
    ) {
      self.status = status
      self.isSpeaker = isSpeaker
      self.load = load
      self.save = save
    }
  }

  private let context: WorkerContext
  private let surroundings: Surroundings
  private let settings: Settings
  private let ways: SelfWays
  private let host: String
  private let beat: @Sendable () -> Void

  private var memory = OutageMemory()
  private var saved: OutageMemory?
  /// For how long the store has been seen away.
  private var away: Duration = .zero
  private var isTelling = false

  /// - Parameters:
  ///   - context: the store is used only once it is back.
  ///   - notify: as for ``SelfNotices``.
  ///   - host: this machine's name, for the reader.
  package init(
    _ context: WorkerContext, surroundings: Surroundings, settings: Settings = .init(), notify: [[String]],
    host: String, beat: @escaping @Sendable () -> Void = {}
  ) {
    self.context = context
    self.surroundings = surroundings
    self.settings = settings
    self.host = host
    self.beat = beat
    ways = SelfWays(names: notify, notifiers: context.notifiers)
  }

  /// Watches until it is cancelled.
  package func run() async throws {
    if let bytes = await surroundings.load(), let known = OutageMemory(bytes) {
      memory = known
      saved = known
    }
    try await withThrowingDiscardingTaskGroup { group in
      var looks = 0
      while true {
        beat()
        if looks % 10 == 0 { await learn() }
        looks &+= 1
        if let outage = await look() {
          isTelling = true
          group.addTask { await self.tell(outage) }
        }
        try await context.clock.sleep(for: settings.step)
      }
    }
  }

  /// Keeps the ways out for the time when they cannot be read.
  private func learn() async {
    guard let options = try? await context.directory.options() else { return }
    memory.ways = OutageMemory.ways(ways.choose(from: options))
    await remember()
  }

  private func remember() async {
    guard memory != saved, let bytes = memory.bytes else { return }
    saved = memory
    await surroundings.save(bytes)
  }

  /// - Returns: an outage that has to be told now.
  private func look() async -> StoreOutage? {
    let status = await surroundings.status()
    switch status.condition {
    case .present:
      away = .zero
      if memory.outage != nil, !isTelling { await tellEnd(status) }
      return nil
    // It answers, and takes what waits; or it does not take it.
    case .replaying where status.hindrance == nil: return nil
    case .replaying, .away: away += settings.step
    }
    guard away > settings.patience, !isTelling, var outage = status.outage else { return nil }
    if let hindrance = status.hindrance {
      outage.reason = "it answers, but does not take what is brought to it: \(hindrance)"
    }
    if let told = memory.outage {
      // From an earlier life of this service: said before it ended, or to be said again under the same key.
      if told.isTold { return nil }
      var same = outage
      same.since = StoredTime.date(milliseconds: told.since)
      return same
    }
    let time = StoredTime.milliseconds(context.now())
    let recent = (memory.announcements ?? []).filter { time >= $0 && time - $0 < milliseconds(settings.spacing) }
    guard recent.count < settings.mostTold, await surroundings.isSpeaker() else { return nil }
    memory.announcements = recent + [time]
    memory.outage = OutageMemory.Told(since: StoredTime.milliseconds(outage.since), isTold: false)
    await remember()
    return outage
  }

  private func milliseconds(_ duration: Duration) -> Int64 {
    let seconds = min(max(duration.components.seconds, 0), 1_000_000_000)
    return seconds * 1000
  }

  // MARK: Away

  private func tell(_ outage: StoreOutage) async {
    defer { isTelling = false }
    let message = beginning(outage)
    repeat {
      let steps = await waysOut()
      context.logger.warning(
        "the outage of the store is told without it",
        metadata: ["outage.since": "\(PlainText.instant(outage.since))", "channels": "\(steps.count)"])
      let isTold = await withTaskGroup(of: Bool.self) { group in
        for step in steps { group.addTask { await self.tell(message, by: step) } }
        var isTold = false
        for await taken in group where taken {
          isTold = true
          await self.noteTold()
        }
        return isTold
      }
      if isTold || Task.isCancelled { return }
      context.logger.error("nobody could be told that the store is away", metadata: ["channels": "\(steps.count)"])
    } while await isStillAway(after: settings.pauses.last ?? settings.step)
  }

  private func waysOut() async -> [[NotificationOptions]] {
    let steps = (try? await context.directory.options()).map { ways.choose(from: $0) } ?? []
    return steps.isEmpty ? memory.options : steps
  }

  private func noteTold() async {
    memory.outage?.isTold = true
    await remember()
  }

  /// Waits. - Returns: false as soon as the store is back, or the task is cancelled.
  private func isStillAway(after pause: Duration) async -> Bool {
    var left = pause
    while await surroundings.status().condition != .present {
      guard left > .zero else { return true }
      let part = min(left, settings.step)
      guard (try? await context.clock.sleep(for: part)) != nil else { return false }
      left -= part
    }
    return false
  }

  /// Tries the channels of one step in order, again and again with pauses, until one has taken the message or the store
  /// is back. Also one that refuses it for good is asked again: somebody may mend that. - Returns: whether anybody has it.
  private func tell(_ message: Message, by step: [NotificationOptions]) async -> Bool {
    var left: [(options: NotificationOptions, notifier: any Notifier, entries: [QueueEntry])] = step.compactMap { way in
      guard let notifier = context.notifiers[way.type] else { return nil }
      var options = way
      options.timeout = min(way.timeout ?? notifier.defaultTimeout, settings.longestTry)
      let entries = message.entries(
        for: options, recipients: notifier.recipients(options), alternates: [], at: context.now())
      return entries.isEmpty ? nil : (options, notifier, entries)
    }
    var isTold = false
    var pauses = settings.pauses[...]
    var pause = Duration.zero
    while !left.isEmpty, await isStillAway(after: pause) {
      pause = pauses.popFirst() ?? settings.pauses.last ?? settings.step
      for index in left.indices {
        var failed: [QueueEntry] = []
        for entry in left[index].entries {
          if Task.isCancelled { return isTold }
          let outcome = await left[index].notifier.deliver(
            entry, options: left[index].options, predecessor: .none)
          switch outcome {
          case .delivered: isTold = true
          case .gaveUp(let answer), .again(_, let answer, _):
            note(answer, left[index].options)
            failed.append(entry)
          }
        }
        left[index].entries = failed
        // One channel of the step has taken it; the others are for when it does not.
        if isTold, failed.isEmpty { return true }
        if isTold { break }
      }
      left.removeAll { $0.entries.isEmpty }
    }
    return isTold
  }

  private func note(_ answer: String, _ options: NotificationOptions) {
    context.logger.warning(
      "the outage of the store could not be told by a channel",
      metadata: ["notification.option": "\(options.id)", "answer": "\(PlainText.line(answer))"])
  }

  // MARK: Back

  private func tellEnd(_ status: StoreStatus) async {
    guard let told = memory.outage else { return }
    let time = context.now()
    let message = end(told, status, at: time)
    do {
      let steps = ways.choose(from: try await context.directory.options())
      let entries = steps.flatMap { step -> [QueueEntry] in
        guard let first = step.first else { return [] }
        return message.entries(
          for: first, recipients: context.notifiers[first.type]?.recipients(first) ?? [],
          alternates: step.dropFirst().map(\.id), at: time)
      }
      if try await context.storage.record(nil, queueing: entries) > 0 { context.doorbell.ring() }
      memory.outage = nil
      await remember()
    } catch {
      // The next look tries again; the keys are the same.
      context.logger.debug("the end of the outage could not be queued yet", metadata: ["error": "\(error)"])
    }
  }

  // MARK: Words

  private func identity(_ since: Int64, _ what: String) -> MessageIdentity {
    MessageIdentity(
      condition: ConditionKey(reaction: "", target: "self", metric: "store", element: what), episode: String(since),
      kind: .notice)
  }

  private func beginning(_ outage: StoreOutage) -> Message {
    let body = """
      CRITICAL: the store is away since \(PlainText.instant(outage.since)).

      Reason:   \(PlainText.line(outage.reason))
      Service:  syscrap on \(host)
      Time:     \(PlainText.instant(context.now()))

      What is gathered and decided meanwhile is kept on this machine and brought to the store when it is back: so far \
      \(outage.samples) samples and \(outage.entries) messages. Messages that come up now leave only then; this one \
      needs no store. There will be one more message when the store is back.

      """
    return Message(
      identity(StoredTime.milliseconds(outage.since), "away"),
      words: .fixed(subject: "[FIRING critical] syscrap on \(host): the store is away", body: body),
      severity: .critical)
  }

  private func end(_ told: OutageMemory.Told, _ status: StoreStatus, at time: Date) -> Message {
    let since = StoredTime.date(milliseconds: told.since)
    let until = status.outage?.until ?? time
    let length = PlainText.duration(PlainText.span(from: since, to: until))
    var body = """
      OK: the store is back and has everything; it was away for \(length).

      Away:     \(PlainText.instant(since)) to \(PlainText.instant(until))
      Service:  syscrap on \(host)

      """
    if let outage = status.outage {
      body += "Brought to it:  \(outage.samples) samples, \(outage.entries) messages\n"
      let dropped = JournalLoss.allCases.compactMap { kind in
        outage.dropped[kind].flatMap { $0 > 0 ? "\($0) \(kind.rawValue)" : nil }
      }
      body +=
        "Given up:       \(dropped.isEmpty ? "nothing" : dropped.joined(separator: ", ") + " (the journal was full)")\n"
      if outage.refused > 0 { body += "Refused by it:  \(outage.refused) operations, kept in the journal's file\n" }
    }
    if !told.isTold { body += "\nThat it was away could not be told while it was.\n" }
    return Message(
      identity(told.since, "back"),
      words: .fixed(subject: "[RESOLVED] syscrap on \(host): the store is back after \(length)", body: body),
      severity: .info)
  }
}
