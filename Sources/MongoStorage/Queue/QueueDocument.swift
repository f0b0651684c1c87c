internal import FoundationEssentials
internal import Model
internal import Storage

/// An entry as it stands in `notifications`.
struct StoredEntry: Sendable {
  /// `_id` as it is stored: text, or anything else where another program queued it.
  var id: BSONValue
  var entry: QueueEntry
  /// nil: never changed by us.
  var token: Int64?
  /// nil: not taken in by us, and not counted.
  var sequence: Int64?
  var state: BSONValue
  /// Counted as forgotten: nobody may change it any more.
  var isPruning: Bool
  /// Why it cannot be delivered, in a person's words; nil when all is well.
  var problem: String?
  /// What was found when it was taken in.
  var notedProblem: String?
}

/// Entries as documents in the contract's shape, and back.
///
/// Reading never fails: other programs and people write into the collection. What makes no sense becomes a ``problem``
/// that ends in the entry's ledger. What is found at the taking in and goes with it (a state of somebody's own) is kept in
/// `problem` until the entry is tried again by hand.
enum QueueDocument {
  /// Greatest epoch that counts: well below what arithmetic can bear.
  static let epochBound = 1 << 53

  /// - Parameter entry: as it shall stand there; `accepted` for a new one.
  static func document(_ entry: QueueEntry, sequence: Int64, token: Int64) -> BSON {
    BSON { w in
      w.string("_id", entry.id)
      if let key = entry.key { w.string("key", key) }
      w.string("reaction", entry.reaction)
      w.string("target", entry.target)
      w.string("type", entry.type)
      w.document("payload") { $0.fields(entry.payload) }
      if let episode = entry.episode { w.string("episode", episode) }
      w.string("kind", entry.kind)
      if let option = entry.option { w.string("option", option) }
      if let recipient = entry.recipient { w.string("recipient", recipient) }
      w.strings("alternates", entry.alternates)
      if let after = entry.after { w.string("after", after) }
      if let severity = entry.severity { w.string("severity", severity.rawValue) }
      w.date("created", entry.created)
      changing(entry, &w)
      w.int("sequence", sequence)
      w.int("token", token)
      w.bool("uncounted", true)
    }
  }

  /// What the steps of an entry's life change, except `alternates`.
  static func changing(_ entry: QueueEntry, _ w: inout BSONWriter) {
    w.string("state", entry.state.rawValue)
    w.array("attempts") { w in
      for attempt in entry.attempts {
        w.document { w in
          w.date("at", attempt.at)
          w.string("outcome", attempt.outcome)
          w.string("answer", attempt.answer)
        }
      }
    }
    w.date("next_at", entry.next_at)
    if let owner = entry.owner { w.string("owner", owner) } else { w.null("owner") }
    w.int("epoch", entry.epoch)
    if let until = entry.lease_until { w.date("lease_until", until) } else { w.null("lease_until") }
    w.date("updated", entry.updated)
    if let at = entry.delivered_at { w.date("delivered_at", at) }
    if let receipt = entry.receipt { w.string("receipt", receipt) }
  }

  static func stored(_ document: BSON) -> StoredEntry { stored(BSONReader(document)) }

  static func stored(_ document: BSONReader) -> StoredEntry {
    var entry = QueueEntry(
      id: "", key: nil, reaction: "", target: "generic", type: "", payload: [:],
      created: StoredTime.date(milliseconds: 0))
    var result = StoredEntry(id: .null, entry: entry, state: .null, isPruning: false)
    var problems: [String] = []
    var hasType = false
    var hasPayload = false
    var created: Date?
    var updated: Date?
    var next: Date?
    let noPayload = "`payload` has to be a map with what the message says"
    func text(_ name: String, _ value: BSONValue) -> String? {
      if case .string(let text) = value { return text }
      if value.isNull { return nil }
      problems.append("`\(name)` has to be text")
      return nil
    }
    do {
      var reader = document
      while let element = try reader.next() {
        let name = reader.key(of: element)
        if name == "payload", element.type == 3 {
          hasPayload = true
          if let fields = try? BSONReader(reader.bytes, element.body).fields(depth: 0) {
            entry.payload = fields
          } else {
            problems.append(noPayload)
          }
          continue
        }
        let value = try reader.value(of: element)
        switch name {
        case "_id":
          result.id = value
          entry.id = QueueID.text(value)
          if entry.id.isEmpty { problems.append("`_id` has to be text, an ObjectId or a number") }
        case "key": entry.key = value.stringValue
        case "reaction": entry.reaction = text(name, value) ?? ""
        case "target": entry.target = text(name, value) ?? "generic"
        case "type":
          hasType = true
          entry.type = text(name, value) ?? ""
        case "payload":
          hasPayload = true
          problems.append(noPayload)
        case "episode": entry.episode = value.stringValue
        case "kind": entry.kind = value.stringValue ?? entry.kind
        case "option": entry.option = value.stringValue
        case "recipient": entry.recipient = value.stringValue
        case "alternates":
          entry.alternates = (try? value.arrayValue?.values().compactMap(\.stringValue)) ?? []
        case "after": entry.after = value.stringValue
        case "severity": entry.severity = value.stringValue.flatMap(Severity.init(rawValue:))
        case "state":
          result.state = value
          if value.isNull { break }
          if let state = value.stringValue.flatMap(QueueEntry.State.init(rawValue:)) {
            entry.state = state
          } else {
            problems.append("`state` has to be absent, or one of pending, leased, delivered, dead, merged")
          }
        case "attempts": entry.attempts = (try? attempts(value)) ?? []
        case "next_at": next = value.dateValue
        case "owner": entry.owner = value.stringValue
        case "epoch":
          guard let epoch = value.intValue, (0...epochBound).contains(epoch) else {
            if !value.isNull { problems.append("`epoch` has to be a whole number") }
            break
          }
          entry.epoch = epoch
        case "lease_until": entry.lease_until = value.dateValue
        case "created": created = value.dateValue
        case "updated": updated = value.dateValue
        case "delivered_at": entry.delivered_at = value.dateValue
        case "receipt": entry.receipt = value.stringValue
        case "sequence": result.sequence = value.int64Value
        case "token": result.token = value.int64Value
        case "problem": result.notedProblem = value.stringValue
        case "pruning": result.isPruning = value.boolValue ?? false
        default: break
        }
      }
    } catch {
      problems.append("the document cannot be read (\(error))")
    }
    if !hasType || (entry.type.isEmpty && problems.isEmpty) {
      problems.append("`type` is missing: how the message is sent, such as email")
    }
    if !hasPayload { problems.append("`payload` is missing: a map with what the message says") }
    if entry.type == "email", let to = entry.payload["to"], !isAddressee(to) {
      problems.append("`payload.to` has to be text or a list of text")
    }
    entry.created = created ?? updated ?? StoredTime.date(milliseconds: 0)
    entry.updated = updated ?? entry.created
    entry.next_at = next ?? entry.created
    result.entry = entry
    result.problem =
      result.notedProblem
      ?? (problems.isEmpty ? nil : "not a message that can be delivered: " + problems.joined(separator: "; "))
    return result
  }

  private static func isAddressee(_ value: Value) -> Bool {
    switch value {
    case .null, .string: true
    case .array(let all): all.allSatisfy { $0.text != nil }
    default: false
    }
  }

  private static func attempts(_ value: BSONValue) throws -> [QueueEntry.Attempt] {
    guard let list = value.arrayValue else { return [] }
    return try list.values().suffix(QueueEntry.attemptsBound).compactMap { element in
      guard let fields = element.documentValue else { return nil }
      return QueueEntry.Attempt(
        at: fields["at"]?.dateValue ?? StoredTime.date(milliseconds: 0), outcome: fields["outcome"]?.stringValue ?? "",
        answer: (fields["answer"]?.stringValue ?? "").prefix(bytes: QueueEntry.answerBytesBound))
    }
  }
}
