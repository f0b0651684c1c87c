internal import Crypto
package import Model

/// The idempotency key of a message: the same news to the same recipient has the same key, whoever queues it and
/// however often.
///
/// SHA-256 in hex over the fields, each written as its length in bytes, a colon and its bytes, so that no two lists of
/// fields share an encoding; an absent field is a lone dash.
package enum MessageKey {
  /// The digest of any list of fields. For what is no ``MessageIdentity``: the first field says what it is.
  package static func digest(_ fields: [String?]) -> String {
    var hash = SHA256()
    for field in fields {
      guard let field else {
        hash.update(data: Array("-".utf8))
        continue
      }
      hash.update(data: Array("\(field.utf8.count):".utf8))
      hash.update(data: Array(field.utf8))
    }
    return hash.finalize().map { byte in
      let hex = String(byte, radix: 16)
      return hex.count == 1 ? "0" + hex : hex
    }.joined()
  }
}

/// What a queue entry's `kind` says.
package enum MessageKind: Sendable, Hashable {
  case firing
  /// The n-th reminder, from 1.
  case reminder(Int)
  case resolved
  /// Asked for by a person, to prove a channel.
  case test
  /// The service's own news.
  case notice

  /// As it stands in the document.
  package var name: String {
    switch self {
    case .firing: "firing"
    case .reminder(let number): "repeat \(number)"
    case .resolved: "resolved"
    case .test: "test"
    case .notice: "notice"
    }
  }

  /// Anything nobody knows is a notice: messages that other programs queue.
  package init(name: String) {
    switch name {
    case "firing": self = .firing
    case "resolved": self = .resolved
    case "test": self = .test
    default:
      if name.hasPrefix("repeat "), let number = Int(name.dropFirst("repeat ".count)) {
        self = .reminder(number)
      } else {
        self = .notice
      }
    }
  }

  /// Whether it tells that the condition holds.
  package var tellsFiring: Bool {
    switch self {
    case .firing, .reminder: true
    case .resolved, .test, .notice: false
    }
  }
}

/// What a message is about, apart from the way it goes: the part of its key that all channels share.
///
/// For the service's own notices the condition holds their source and dedupe key, and `episode` the hour.
package struct MessageIdentity: Sendable, Hashable {
  package var condition: ConditionKey
  package var episode: String
  package var kind: MessageKind

  package init(condition: ConditionKey, episode: String, kind: MessageKind) {
    self.condition = condition
    self.episode = episode
    self.kind = kind
  }

  package func key(option: String, recipient: String?) -> String {
    MessageKey.digest([
      condition.reaction, condition.target, condition.metric, condition.name, condition.element, episode, kind.name,
      option, recipient,
    ])
  }

  /// The message that opened the episode.
  var firing: MessageIdentity {
    MessageIdentity(condition: condition, episode: episode, kind: .firing)
  }

  /// As it stands in a payload; `kind`, `reaction`, `target` and `episode` are fields of the entry already.
  var value: Value {
    var fields: [String: Value] = ["metric": .string(condition.metric), "episode": .string(episode)]
    if let name = condition.name { fields["name"] = .string(name) }
    if let element = condition.element { fields["element"] = .string(element) }
    return .object(fields)
  }

  /// Reads it back from an entry of our own; `nil`: another program queued it.
  init?(_ entry: QueueEntry) {
    guard let fields = entry.payload["identity"], let metric = fields["metric"]?.text,
      let episode = fields["episode"]?.text
    else { return nil }
    condition = ConditionKey(
      reaction: entry.reaction, target: entry.target, metric: metric, name: fields["name"]?.text,
      element: fields["element"]?.text)
    self.episode = episode
    kind = MessageKind(name: entry.kind)
  }
}
