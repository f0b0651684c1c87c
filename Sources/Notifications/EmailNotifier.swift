internal import FoundationEssentials
package import Model
package import Storage
package import Transfer

/// Sends by SMTP: one message to one recipient, STARTTLS required unless the relay's URI says otherwise aloud.
package struct EmailNotifier: Notifier {
  package typealias Send = @Sendable (MailTransfer) async throws(TransferError) -> MailReply

  package let type = "email"
  package let defaultTimeout: Duration = .seconds(120)
  private let host: String
  private let send: Send
  private let secrets: SecretReader

  /// - Parameters:
  ///   - host: this machine's name, the right side of every Message-ID; the same after each start.
  ///   - send: how a mail leaves, normally ``TransferEngine/send(_:)``.
  package init(host: String, secrets: SecretReader = SecretReader(), send: @escaping Send) {
    self.host = MailAddress.isDomain(Substring(host).utf8) ? host : "localhost"
    self.secrets = secrets
    self.send = send
  }

  package func recipients(_ options: NotificationOptions) -> [String?] {
    var seen: Set<String> = []
    return EmailOptions.recipients(options).filter { seen.insert($0.address).inserted }.map { address in
      address.name.isEmpty ? address.address : "\(address.name) <\(address.address)>"
    }
  }

  package func recipients(payload: [String: Value]) -> [String] { EmailOptions.addresses(payload["to"]) }

  package func problems(_ options: NotificationOptions) -> [Problem] {
    var problems: [Problem] = []
    _ = EmailOptions(withSender(options), problems: &problems)
    return problems
  }

  /// Without `from` the service writes in its own name.
  private func withSender(_ options: NotificationOptions) -> NotificationOptions {
    var options = options
    if options.options["from"] == nil { options.options["from"] = .string("syscrap@\(host)") }
    return options
  }

  package func deliver(
    _ entry: QueueEntry, options: NotificationOptions, predecessor: QueueLease.Predecessor
  ) async -> DeliveryOutcome {
    var problems: [Problem] = []
    var wayOut = options
    // A message that another program queued brings its own addresses.
    for name in ["from", "to"] where wayOut.options[name] == nil { wayOut.options[name] = entry.payload[name] }
    wayOut = withSender(wayOut)
    guard let mail = EmailOptions(wayOut, problems: &problems) else {
      // A person has to mend the document; until then the message waits.
      let reason = problems.first { $0.level == .refused }?.description ?? "the document cannot be used"
      return .again(after: nil, answer: PlainText.answer(reason), isUnknown: false)
    }
    let wanted = entry.recipient ?? EmailOptions.addresses(entry.payload["to"]).first ?? ""
    guard let recipient = MailAddress(wanted) else {
      return .gaveUp(answer: PlainText.answer("'\(wanted)' is no e-mail address"))
    }
    var from = mail.from
    if let written = entry.payload["from"]?.text {
      guard let address = MailAddress(written) else {
        return .gaveUp(answer: PlainText.answer("the sender '\(written)' is no e-mail address"))
      }
      from = address
    }

    let message = compose(entry, options: options, from: from, to: recipient, isUntold: predecessor == .untold)
    var transfer = MailTransfer(
      relay: mail.relay, from: from.address, recipient: recipient.address, message: message.bytes())
    transfer.caFile = mail.caFile
    transfer.username = mail.username
    transfer.deadlines.total = options.timeout ?? defaultTimeout
    if let source = mail.password {
      do throws(SecretError) {
        transfer.password = try await secrets.read(source)
      } catch {
        return .again(after: nil, answer: PlainText.answer(error.message), isUnknown: false)
      }
    }
    do throws(TransferError) {
      let reply = try await send(transfer)
      return .delivered(receipt: PlainText.answer("\(reply.code) \(reply.text)"))
    } catch {
      let answer = PlainText.answer(error.description)
      // The relay itself refuses us (5xx on AUTH) as finally as a recipient: the next channel gets its turn at once.
      if error.isPermanent { return .gaveUp(answer: answer) }
      return .again(after: error.retryAfter, answer: answer, isUnknown: error.isOutcomeUnknown)
    }
  }

  /// The mail of an entry. The same entry gives the same Message-ID and Date at every try.
  func compose(
    _ entry: QueueEntry, options: NotificationOptions, from: MailAddress, to: MailAddress, isUntold: Bool
  ) -> MailMessage {
    let text = Message.text(of: entry, options: options, isUntold: isUntold)
    func identifier(_ key: String) -> String { "\(key)@\(host)" }
    var references: [String] = []
    for key in [entry.payload["thread"]?.text, entry.after].compactMap({ $0 }) where !references.contains(key) {
      references.append(key)
    }
    references.removeAll { $0 == entry.key }
    return MailMessage(
      from: from, to: to, subject: text.subject, body: text.body, date: entry.created,
      messageID: identifier(entry.key ?? MessageKey.digest(["message", entry.id])),
      references: references.map(identifier),
      extra: [
        ("X-Syscrap-Kind", entry.kind), ("X-Syscrap-Severity", entry.severity?.rawValue ?? ""),
        ("X-Syscrap-Target", entry.target), ("X-Syscrap-Reaction", entry.reaction),
        ("X-Syscrap-Episode", entry.episode ?? ""),
      ])
  }
}
