package import Model

/// An episode in the shape that the command line and the API show.
package enum EpisodeDocument {
  package static func value(_ episode: Episode) -> Value {
    var fields: [String: Value] = [
      "_id": .string(episode.id), "reaction": .string(episode.key.reaction), "target": .string(episode.key.target),
      "metric": .string(episode.key.metric), "severity": .string(episode.severity.rawValue),
      "state": .string(episode.state.rawValue), "since": .date(episode.since), "value": .string(episode.value),
      "limit": .string(episode.limit), "repeats": .int(Int64(episode.repeats)),
    ]
    if let name = episode.key.name { fields["name"] = .string(name) }
    if let element = episode.key.element { fields["element"] = .string(element) }
    if let at = episode.fired_at { fields["fired_at"] = .date(at) }
    if let at = episode.ended_at { fields["ended_at"] = .date(at) }
    if let reason = episode.end_reason { fields["end_reason"] = .string(reason) }
    if let at = episode.announced_at { fields["announced_at"] = .date(at) }
    if let runbook = episode.runbook { fields["runbook"] = .string(runbook) }
    if !episode.labels.isEmpty { fields["labels"] = .object(episode.labels.mapValues(Value.string)) }
    fields["recent"] = .array(
      episode.recent.map { .object(["at": .date($0.at), "value": .string($0.value)]) })
    return .object(fields)
  }

  /// A queue entry in the shape of the collection `notifications`.
  package static func value(_ entry: QueueEntry) -> Value {
    var fields: [String: Value] = [
      "_id": .string(entry.id), "reaction": .string(entry.reaction), "target": .string(entry.target),
      "type": .string(entry.type), "payload": .object(entry.payload), "updated": .date(entry.updated),
      "kind": .string(entry.kind), "state": .string(entry.state.rawValue), "next_at": .date(entry.next_at),
      "epoch": .int(Int64(entry.epoch)), "created": .date(entry.created),
      "attempts": .array(
        entry.attempts.map {
          .object(["at": .date($0.at), "outcome": .string($0.outcome), "answer": .string($0.answer)])
        }),
    ]
    if let key = entry.key { fields["key"] = .string(key) }
    if let episode = entry.episode { fields["episode"] = .string(episode) }
    if let option = entry.option { fields["option"] = .string(option) }
    if let recipient = entry.recipient { fields["recipient"] = .string(recipient) }
    if let severity = entry.severity { fields["severity"] = .string(severity.rawValue) }
    if let owner = entry.owner { fields["owner"] = .string(owner) }
    if let until = entry.lease_until { fields["lease_until"] = .date(until) }
    if let at = entry.delivered_at { fields["delivered_at"] = .date(at) }
    if let receipt = entry.receipt { fields["receipt"] = .string(receipt) }
    if !entry.alternates.isEmpty { fields["alternates"] = .array(entry.alternates.map(Value.string)) }
    return .object(fields)
  }
}
