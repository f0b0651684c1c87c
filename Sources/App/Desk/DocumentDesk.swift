internal import FoundationEssentials
package import Model
package import Storage

/// Looking at and changing documents in a store: what the running service and the command line without one have in
/// common.
package struct DocumentDesk: Sendable {
  package let storage: any Storage
  package let checks: DocumentChecks

  package init(storage: any Storage, checks: DocumentChecks) {
    self.storage = storage
    self.checks = checks
  }

  /// Kinds that ``get(kind:name:labels:limit:)`` knows.
  package static let kinds = [
    "targets", "aggregation_options", "reaction_targets", "notification_options", "aggregations", "notifications",
    "episodes", "problems",
  ]

  /// What a person may call an object's kind, to the collection's name; nil when nothing is called so.
  package static func collection(_ name: String) -> String? {
    if let kind = DocumentKind(name: name) { return kind.rawValue }
    switch name {
    case "aggregations", "aggregation": return "aggregations"
    case "notifications", "notification": return "notifications"
    case "episodes", "episode": return "episodes"
    case "problems", "problem": return "problems"
    default: return nil
    }
  }

  package static func unknownKind(_ name: String) -> OperationError {
    OperationError(
      .usage,
      "there is no kind \"\(name.prefix(80))\""
        + (NearestName.hint(name, in: kinds).map { " (\($0))" } ?? ": use one of \(kinds.joined(separator: ", "))"))
  }

  // MARK: Reading

  package func get(
    kind name: String, name id: String?, labels: [String: String], limit: Int
  ) async throws(OperationError) -> [Value] {
    guard let collection = Self.collection(name) else { throw Self.unknownKind(name) }
    // `-o name` prints collection/name; what it prints is understood here.
    let id = id.map { $0.hasPrefix(collection + "/") ? String($0.dropFirst(collection.count + 1)) : $0 }
    var found = try await storageFailure { () throws(StorageError) in
      try await self.all(collection, id: id, limit: limit)
    }
    if !labels.isEmpty {
      found = found.filter { value in labels.allSatisfy { value["labels"]?[$0.key]?.text == $0.value } }
    }
    if let id, found.isEmpty {
      throw OperationError(.notFound, "there is nothing named \"\(id)\" among the \(collection)")
    }
    return Array(found.prefix(limit))
  }

  private func all(_ collection: String, id: String?, limit: Int) async throws(StorageError) -> [Value] {
    if let kind = DocumentKind(rawValue: collection) {
      let documents = try await storage.documents(kind)
      guard let id else { return documents.map(\.value) }
      // A target is asked for by its name, whatever its _id.
      return documents.filter { $0.id == id || (kind == .targets && $0.fields["target"]?.text == id) }.map(\.value)
    }
    switch collection {
    case "episodes":
      let episodes = try await storage.episodes(reaction: nil, openOnly: false, limit: max(limit, 1000))
      return episodes.filter { id == nil || $0.id == id || $0.key.target == id || $0.key.reaction == id }
        .map(EpisodeDocument.value)
    case "notifications":
      if let id {
        if let entry = try await storage.queueEntry(id: id) { return [EpisodeDocument.value(entry)] }
        return try await storage.queue(QueueQuery(episode: id, limit: limit)).map { EpisodeDocument.value($0) }
      }
      return try await storage.queue(QueueQuery(limit: limit)).map { EpisodeDocument.value($0) }
    case "aggregations":
      // All that is kept, of one target where a name is given; oldest first.
      var samples: [Sample] = []
      for type in SampleType.allCases {
        for series in try await storage.series(type: type, target: id) where samples.count < limit {
          samples += try await storage.samples(SampleQuery(series, type: type, limit: limit - samples.count))
        }
      }
      return samples.sorted { ($0.at, $0.n) < ($1.at, $1.n) }.map(\.document)
    default:
      var documents: [Document] = []
      for kind in DocumentKind.allCases { documents += try await storage.documents(kind) }
      return checks.check(documents).filter { id == nil || $0.id == id }.map(\.value)
    }
  }

  // MARK: Changing

  /// Stores every document that can be used and refuses the others, each with what is wrong with it.
  ///
  /// A refused document stops no other, and its stored version stays. One that names a module nobody knows is stored: the
  /// rest of it counts, and the problem is shown until it is mended.
  package func apply(_ values: [Value], dryRun: Bool) async throws(OperationError) -> ApplyReport {
    var documents: [Document] = []
    var problems: [Problem] = []
    for value in values {
      let reading = Document.read(value)
      problems += reading.problems
      if let document = reading.value { documents.append(document) }
    }
    var report = try await apply(documents, dryRun: dryRun)
    report.problems = problems + report.problems
    return report
  }

  package func apply(_ documents: [Document], dryRun: Bool) async throws(OperationError) -> ApplyReport {
    let stored = try await everything()
    var problems: [Problem] = []
    var usable: [Document] = []
    var places: [Int?] = []
    var seen: Set<String> = []
    for document in documents {
      let outcome = checks.read(document)
      problems += outcome.problems
      let isFirst = seen.insert(Self.key(document)).inserted
      if !isFirst {
        problems.append(
          Problem(
            kind: document.kind.rawValue, id: document.id, path: "_id",
            reason: "another document with this id stands before it",
            hint: "each document of a kind has an _id of its own"))
      }
      places.append(outcome.isUsable && isFirst ? usable.count : nil)
      if outcome.isUsable, isFirst { usable.append(document) }
    }
    // Between documents: only what these bring about; what was wrong before is no reason to refuse them.
    let mine = Set(documents.map(Self.key))
    let rest = stored.filter { !mine.contains(Self.key($0)) }
    // A name stays with whom it has in the store; what is applied comes first there, as it may be an edit of the owner.
    let before = stored.filter { mine.contains(Self.key($0)) } + rest
    var owners: [String: String] = [:]
    for target in DocumentSet.read(before, available: checks.available).set.targets where owners[target.name] == nil {
      owners[target.name] = target.id
    }
    let whole = DocumentSet.read(rest + usable, available: checks.available).set
    let together =
      whole.check(owners: owners).filter { mine.contains("\($0.kind)/\($0.id)") }
      + checks.touchProblems(in: whole) { mine.contains("\($0.rawValue)/\($1)") }.map { problem in
        // Options for many targets are not refused for the sake of one: that one's intervals are stretched.
        var problem = problem
        if !mine.contains("\(problem.kind)/\(problem.id)") { problem.level = .warning }
        return problem
      }
    problems += together
    let conflicting = Set(together.filter { $0.level == .refused }.map { "\($0.kind)/\($0.id)" })
    let accepted = usable.filter { !conflicting.contains(Self.key($0)) }
    let outcomes = try await store(accepted, over: stored, dryRun: dryRun)
    let known = Dictionary(zip(accepted.map(Self.key), outcomes), uniquingKeysWith: { first, _ in first })
    let items = zip(documents, places).map { document, place in
      let outcome = place.flatMap { known[Self.key(usable[$0])] }
      return ApplyReport.Item(
        kind: document.kind.rawValue, id: document.id, outcome: outcome?.rawValue ?? "refused")
    }
    return ApplyReport(items: items, problems: problems)
  }

  private func store(
    _ documents: [Document], over stored: [Document], dryRun: Bool
  ) async throws(OperationError) -> [PutOutcome] {
    guard dryRun else {
      return try await storageFailure { () throws(StorageError) in try await self.storage.put(documents) }
    }
    let known = Dictionary(stored.map { (Self.key($0), $0) }, uniquingKeysWith: { first, _ in first })
    return documents.map { document in
      guard let old = known[Self.key(document)] else { return .created }
      return old.content == document.content ? .unchanged : .changed
    }
  }

  /// All documents of all kinds.
  package func everything() async throws(OperationError) -> [Document] {
    try await storageFailure { () throws(StorageError) in
      var all: [Document] = []
      for kind in DocumentKind.allCases { all += try await self.storage.documents(kind) }
      return all
    }
  }

  private static func key(_ document: Document) -> String { "\(document.kind.rawValue)/\(document.id)" }

  package func delete(kind name: String, name id: String, dryRun: Bool) async throws(OperationError) {
    guard let collection = Self.collection(name) else { throw Self.unknownKind(name) }
    guard let kind = DocumentKind(rawValue: collection) else {
      throw OperationError(.usage, "\(collection) are written by the service and cannot be deleted by hand")
    }
    let found = try await get(kind: name, name: id, labels: [:], limit: 10)
    guard let documentID = found.first?["_id"]?.text, !dryRun else { return }
    let isThere = try await storageFailure { () throws(StorageError) in
      try await self.storage.delete(kind, id: documentID)
    }
    if !isThere { throw OperationError(.notFound, "there is nothing named \"\(id)\" among the \(collection)") }
  }

  private func storageFailure<Result: Sendable>(
    _ work: () async throws(StorageError) -> Result
  ) async throws(OperationError) -> Result {
    do {
      return try await work()
    } catch {
      throw OperationError(store: error)
    }
  }
}
