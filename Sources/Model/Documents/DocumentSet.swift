/// All documents that count at one time, typed, with the documents they were made from.
package struct DocumentSet: Sendable {
  package var targets: [Target] = []
  package var aggregationOptions: [AggregationOptions] = []
  package var reactionTargets: [ReactionTarget] = []
  package var notificationOptions: [NotificationOptions] = []
  /// As they were written, for the paths in messages.
  private var written: [String: Document] = [:]
  /// Documents that came under an `_id` that was there already; the first counts.
  private var duplicates: [Document] = []

  package init() {}

  /// Reads all documents; those that cannot be used are left out and stand in the problems.
  package static func read(
    _ documents: [Document], available: Availability = .everything
  ) -> (set: DocumentSet, problems: [Problem]) {
    var set = DocumentSet()
    var problems: [Problem] = []
    for document in documents { problems += set.add(document, available: available) }
    return (set, problems)
  }

  /// Reads one more document.
  /// - Returns: everything that is wrong with it; it is in the set only when it can be used.
  package mutating func add(_ document: Document, available: Availability = .everything) -> [Problem] {
    let key = Self.key(document.kind.rawValue, document.id)
    guard written[key] == nil else {
      duplicates.append(document)
      return []
    }
    written[key] = document
    switch document.kind {
    case .targets: return Self.take(Target.read(document), into: &targets)
    case .aggregation_options:
      return Self.take(AggregationOptions.read(document, available: available), into: &aggregationOptions)
    case .reaction_targets:
      return Self.take(ReactionTarget.read(document, available: available), into: &reactionTargets)
    case .notification_options:
      return Self.take(NotificationOptions.read(document, available: available), into: &notificationOptions)
    }
  }

  private static func take<Content>(_ reading: Reading<Content>, into list: inout [Content]) -> [Problem] {
    if let value = reading.value { list.append(value) }
    return reading.problems
  }

  /// The set without the documents that refused problems of ``check()`` name.
  package func removing(refusedBy problems: [Problem]) -> DocumentSet {
    let refused = Set(problems.filter { $0.level == .refused }.map { Self.key($0.kind, $0.id) })
    func keeps(_ kind: DocumentKind, _ id: String) -> Bool { !refused.contains(Self.key(kind.rawValue, id)) }
    var set = self
    set.duplicates = []
    set.targets.removeAll { !keeps(.targets, $0.id) }
    set.aggregationOptions.removeAll { !keeps(.aggregation_options, $0.id) }
    set.reactionTargets.removeAll { !keeps(.reaction_targets, $0.id) }
    set.notificationOptions.removeAll { !keeps(.notification_options, $0.id) }
    return set
  }

  /// What was written at a field of a document.
  func value(_ kind: DocumentKind, _ id: String, _ field: String) -> Value? {
    written[Self.key(kind.rawValue, id)]?.fields[field]
  }

  var repeated: [Document] { duplicates }

  func origin(_ kind: DocumentKind, _ id: String) -> String? { written[Self.key(kind.rawValue, id)]?.origin }

  private static func key(_ kind: String, _ id: String) -> String { "\(kind) \(id)" }
}
