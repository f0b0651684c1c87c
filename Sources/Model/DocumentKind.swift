/// The kinds of documents, named as the collections that hold them.
package enum DocumentKind: String, Sendable, Hashable, Codable, CaseIterable {
  case targets
  case aggregation_options
  case reaction_targets
  case notification_options

  /// The word a person may use: the collection or its singular, and the aliases of the command line.
  package init?(name: String) {
    switch name {
    case "targets", "target": self = .targets
    case "aggregation_options", "aggregation_option": self = .aggregation_options
    case "reaction_targets", "reaction_target", "reaction", "reactions": self = .reaction_targets
    case "notification_options", "notification_option": self = .notification_options
    default: return nil
    }
  }

  /// What stands in a file's `kind`.
  package var singular: String {
    switch self {
    case .targets: "target"
    // As documents.md writes it: these two are plural in themselves.
    case .aggregation_options: "aggregation_options"
    case .reaction_targets: "reaction_target"
    case .notification_options: "notification_options"
    }
  }
}

/// A document as it is written and stored, before anything is made of it.
///
/// `fields` holds everything a person wrote, `_id` and `kind` left out. In `targets` the id is the target's name unless
/// `_id` was given.
package struct Document: Sendable, Hashable {
  package var kind: DocumentKind
  package var id: String
  package var fields: [String: Value]
  /// Where it was read from (`file:line`), for messages only; never stored.
  package var origin: String?

  package init(kind: DocumentKind, id: String, fields: [String: Value], origin: String? = nil) {
    self.kind = kind
    self.id = id
    self.fields = fields
    self.origin = origin
  }

  /// The whole document in the shape of the contract: `_id`, `kind` and the fields.
  package var value: Value {
    var all = fields
    all["_id"] = .string(id)
    all["kind"] = .string(kind.singular)
    return .object(all)
  }

  /// The fields that the service itself writes; they count for no digest.
  package static let serviceFields: Set<String> = ["detected_specs", "updated"]

  /// What people wrote: equal contents mean that nothing has to restart.
  package var content: Value { .object(fields.filter { !Self.serviceFields.contains($0.key) && $0.key != "kind" }) }
}
