package import FoundationEssentials
package import Model

/// The end of news that reaches people only when it is over, and that nobody else will tell the end of.
package enum LateEnd {
  /// The "resolved" to a message that fired, by the same way. It is due before that one, which is then taken in: one
  /// message tells of both, as if the first had never been sent.
  ///
  /// When it ended is not known; that it no longer held at `time` is.
  /// - Returns: nil for what needs no end, and for what another program queued.
  package static func message(of episode: Episode, after entry: QueueEntry, at time: Date) -> QueueEntry? {
    guard MessageKind(name: entry.kind).tellsFiring, var identity = MessageIdentity(entry),
      var fields = MessageFields(entry.payload["fields"])
    else { return nil }
    let firing = identity.firing.key(option: entry.option ?? "", recipient: entry.recipient)
    identity.kind = .resolved
    fields["kind"] = identity.kind.name
    fields["status"] = "RESOLVED"
    fields["until"] = PlainText.instant(time)
    fields["reason"] = "no longer so when the instance that had found it came back"
    fields["duration"] = PlainText.duration(PlainText.span(from: episode.since, to: time))
    var end = QueueEntry(
      id: UUID().uuidString.lowercased(), key: identity.key(option: entry.option ?? "", recipient: entry.recipient),
      reaction: entry.reaction, target: entry.target, type: entry.type, payload: entry.payload, episode: entry.episode,
      kind: identity.kind.name, option: entry.option, recipient: entry.recipient, alternates: entry.alternates,
      after: entry.key, severity: entry.severity, created: time,
      next_at: min(entry.next_at, entry.created).addingTimeInterval(-0.001))
    let text = MessageText(fields, untold: true)
    end.payload["subject"] = .string(text.subject)
    end.payload["body"] = .string(text.body)
    end.payload["fields"] = fields.value
    end.payload["thread"] = .string(firing)
    return end
  }
}
