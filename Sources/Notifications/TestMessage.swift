internal import FoundationEssentials
package import Model
internal import Storage

/// Proves a channel: sends a message through the real queue and tells what the peer said.
package struct TestMessage: Sendable {
  /// What became of it, one entry for each recipient.
  package struct Report: Sendable, Hashable {
    package var option: String
    package var entries: [QueueEntry]

    /// Everybody got it.
    package var isDelivered: Bool { !entries.isEmpty && entries.allSatisfy { $0.state == .delivered } }

    /// `{option, delivered, messages: [{_id, recipient, state, receipt, attempts: [{at, outcome, answer}]}]}`
    package var value: Value {
      [
        "option": .string(option), "delivered": .bool(isDelivered),
        "messages": .array(
          entries.map { entry in
            [
              "_id": .string(entry.id), "recipient": entry.recipient.map { .string($0) } ?? .null,
              "state": .string(entry.state.rawValue), "receipt": entry.receipt.map { .string($0) } ?? .null,
              "attempts": .array(
                entry.attempts.map {
                  ["at": .date($0.at), "outcome": .string($0.outcome), "answer": .string($0.answer)]
                }),
            ]
          }),
      ]
    }
  }

  private let context: WorkerContext
  private let host: String

  /// - Parameter host: this machine's name, for the reader.
  package init(_ context: WorkerContext, host: String) {
    self.context = context
    self.host = host
  }

  /// Queues a test message by one channel and waits for its end, at most `limit`. A failure is final: a test is not
  /// tried again.
  /// - Parameter name: the `_id` of a notification_options document; a disabled one can be tested, too, but is not
  /// sent.
  /// - Throws: ``OperationError`` with `notFound`, `refused` (the document cannot be used), `failed` (the store is
  /// away).
  package func send(option name: String, within limit: Duration = .seconds(30)) async throws(OperationError) -> Report {
    let options = try await self.options(name)
    let recipients = try self.recipients(options)
    let time = context.now()
    let identity = MessageIdentity(
      condition: ConditionKey(reaction: "test", target: "self", metric: "test"),
      episode: UUID().uuidString.lowercased(), kind: .test)
    var fields = MessageFields([:])
    fields["kind"] = identity.kind.name
    fields["status"] = "TEST"
    fields["severity"] = Severity.info.rawValue
    fields["what"] = "Test message by \(PlainText.line(name, limit: 200))"
    fields["target"] = PlainText.line(host, limit: 200)
    fields["since"] = PlainText.instant(time)
    let message = Message(identity, words: .facts(fields), severity: .info)
    let queued = message.entries(for: options, recipients: recipients, alternates: [], at: time)
    do throws(StorageError) {
      _ = try await context.storage.record(nil, queueing: queued)
      context.doorbell.ring()
      return Report(option: name, entries: try await settled(queued, within: limit))
    } catch {
      throw OperationError(.failed, "the queue cannot be used: \(error.message)")
    }
  }

  private func options(_ name: String) async throws(OperationError) -> NotificationOptions {
    let all: [NotificationOptions]
    do {
      all = try await context.directory.options()
    } catch {
      throw OperationError(.failed, "notification_options cannot be read: \(PlainText.line("\(error)"))")
    }
    guard let found = all.first(where: { $0.id == name }) else {
      let hint = NearestName.hint(name, in: all.map(\.id)).map { "; \($0)" } ?? ""
      throw OperationError(.notFound, "there is no notification_options document '\(PlainText.line(name))'\(hint)")
    }
    guard found.isEnabled else {
      throw OperationError(.refused, "the notification_options document '\(PlainText.line(name))' is switched off")
    }
    return found
  }

  private func recipients(_ options: NotificationOptions) throws(OperationError) -> [String?] {
    let problems = context.notifiers.problems(options).filter { $0.level == .refused }
    guard problems.isEmpty, let notifier = context.notifiers[options.type] else {
      throw OperationError(
        .refused, "the notification_options document '\(PlainText.line(options.id))' cannot be used", problems: problems
      )
    }
    return notifier.recipients(options)
  }

  /// Looks at the entries every tenth of a second until all have an end.
  private func settled(_ queued: [QueueEntry], within limit: Duration) async throws(StorageError) -> [QueueEntry] {
    let rounds = max(1, Int(min(max(limit, .zero), .seconds(600)) / .milliseconds(100)))
    var found = queued
    for _ in 0..<rounds {
      for index in found.indices where found[index].state == .pending || found[index].state == .leased {
        if let entry = try await context.storage.queueEntry(id: found[index].id) { found[index] = entry }
      }
      if !found.contains(where: { $0.state == .pending || $0.state == .leased }) { break }
      guard (try? await context.clock.sleep(for: .milliseconds(100))) != nil else { break }
    }
    return found
  }
}
