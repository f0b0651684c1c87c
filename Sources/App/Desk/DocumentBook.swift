internal import Crypto
package import FoundationEssentials
package import Model
package import Storage

/// The documents that count now: what the store holds, read and checked, with the last good version of whatever was
/// broken by an edit.
///
/// ``refresh()`` asks the store for its revision and reads documents only when that moved, so that nothing is paid for
/// documents that did not change. Over restarts the last good versions stand in a ``DocumentMemory``.
package actor DocumentBook {
  package struct Snapshot: Sendable {
    package var revision: Int64 = -1
    package var set = DocumentSet()
    /// By name; only enabled ones.
    package var targets: [String: Target] = [:]
    /// What is gathered, by the target's name.
    package var plans: [String: AggregationPlan] = [:]
    /// What history is kept, also of targets that are not watched.
    package var histories = HistoryPlans()
    /// Of the documents that count, by kind and id: equal digests mean equal content.
    package var digests: [String: String] = [:]
    package var problems: [Problem] = []
    /// `detected_specs` as stored when the documents were read, by the target's name.
    package var specs: [String: Value] = [:]
    /// Targets that are there but cannot be used in any version, by name, with the reason.
    package var refusedTargets: [String: String] = [:]
    /// The ids of such `reaction_targets`: whoever is refused is not removed.
    package var refusedReactions: Set<String> = []

    package func digest(_ kind: DocumentKind, _ id: String) -> String { digests["\(kind.rawValue)/\(id)"] ?? "" }
  }

  private let storage: any Storage
  private let checks: DocumentChecks
  private let memory: DocumentMemory?
  private let now: @Sendable () -> Date
  /// The last version of each document that could be used.
  private var good: [String: Document] = [:]
  /// Which document each target's name belongs to.
  private var names: [String: String] = [:]
  private var since: [String: Date] = [:]
  package private(set) var snapshot = Snapshot()

  /// What the memory holds of ``good`` and ``names``.
  private struct Mark: Equatable {
    var digests: [String: String] = [:]
    var names: [String: String] = [:]
  }
  private var kept = Mark()
  private var hasRemembered = false
  private var isKeeping = false
  private var hasFailed = false

  package init(
    storage: any Storage, checks: DocumentChecks, memory: DocumentMemory? = nil, now: @escaping @Sendable () -> Date
  ) {
    self.storage = storage
    self.checks = checks
    self.memory = memory
    self.now = now
  }

  /// The snapshot, once there is one.
  /// - Throws: as long as the store was never read: nothing may be given up because documents are not known yet.
  package func known() throws -> Snapshot {
    guard snapshot.revision >= 0 else {
      throw StorageError(.unavailable, "the documents have not been read since the start")
    }
    return snapshot
  }

  /// Brings the snapshot up to what the store holds. - Returns: the snapshot, and whether it is a new one.
  package func refresh() async throws(StorageError) -> (snapshot: Snapshot, isNew: Bool) {
    let revision = try await storage.documentRevision()
    guard revision != snapshot.revision else {
      await keep()
      return (snapshot, false)
    }
    await remember()
    var written: [Document] = []
    for kind in DocumentKind.allCases { written += try await storage.documents(kind) }
    // A slower refresh that began earlier must not put back what a later one has read.
    if revision <= snapshot.revision { return (snapshot, false) }
    snapshot = settle(written, revision: revision)
    await keep()
    // A later refresh may have been done while this one's versions were kept.
    return (snapshot, true)
  }

  /// Begins with the versions that were good before the restart.
  private func remember() async {
    guard let memory, !hasRemembered else { return }
    let content = await memory.load()
    guard !hasRemembered else { return }
    hasRemembered = true
    good = Dictionary(content.documents.map { (Self.key($0), $0) }, uniquingKeysWith: { first, _ in first })
    names = content.names
    kept = Mark(digests: good.mapValues(Self.digest), names: names)
  }

  /// Keeps the good versions for the next start, where they are not what is kept already. What failed is tried again with
  /// the next refresh.
  private func keep() async {
    // Whoever is at it takes the newest in the end.
    guard let memory, !isKeeping, snapshot.revision >= 0 else { return }
    isKeeping = true
    defer { isKeeping = false }
    while true {
      let mark = Mark(digests: snapshot.digests, names: names)
      guard mark != kept else { return }
      let documents = good.sorted { $0.key < $1.key }.map(\.value)
      guard await memory.save(.init(documents: documents, names: names), isQuiet: hasFailed) else {
        hasFailed = true
        return
      }
      hasFailed = false
      kept = mark
    }
  }

  /// Of documents whose ids look alike (`5` and `"5"`) the one that counted before, else the first.
  private func unique(_ written: [Document], _ problems: inout [Problem]) -> [Document] {
    var places: [String: Int] = [:]
    var unique: [Document] = []
    for document in written {
      let key = Self.key(document)
      guard let place = places[key] else {
        places[key] = unique.count
        unique.append(document)
        continue
      }
      if let known = snapshot.digests[key] ?? kept.digests[key], known == Self.digest(document) {
        unique[place] = document
      }
      problems.append(
        Problem(
          kind: document.kind.rawValue, id: document.id, path: "_id",
          reason: "another document has the id \"\(document.id)\"",
          hint: "each document of a kind has an _id of its own"))
    }
    return unique
  }

  private func settle(_ written: [Document], revision: Int64) -> Snapshot {
    var problems: [Problem] = []
    var effective: [Document] = []
    let written = unique(written, &problems)
    for document in written {
      let reading = checks.read(document)
      problems += reading.problems
      if reading.isUsable {
        effective.append(document)
      } else if let last = good[Self.key(document)] {
        effective.append(last)
      }
    }
    var (set, _) = DocumentSet.read(effective, available: checks.available)
    let conflicts = set.check(owners: names)
    let refused = Set(conflicts.filter { $0.level == .refused }.map { "\($0.kind)/\($0.id)" })
    if !refused.isEmpty {
      // An edit that spoils the whole (a cycle of jump hosts) is taken back to the last version that did not.
      effective = effective.compactMap { refused.contains(Self.key($0)) ? good[Self.key($0)] : $0 }
      set = DocumentSet.read(effective, available: checks.available).set
      set = set.removing(refusedBy: set.check(owners: names))
    }
    problems += conflicts
    names = set.nameOwners(names)
    good = Dictionary(effective.map { (Self.key($0), $0) }, uniquingKeysWith: { first, _ in first })
    // What counts already goes on, within its budget.
    problems += set.touchProblems(.warning, demand: checks.demand)
    problems = dated(problems)

    var next = Snapshot(revision: revision, set: set, problems: problems)
    next.digests = good.mapValues(Self.digest)
    for target in set.targets where target.isEnabled {
      next.targets[target.name] = target
      next.specs[target.name] = good["\(DocumentKind.targets.rawValue)/\(target.id)"]?.fields["detected_specs"]
      next.plans[target.name] = AggregationPlan.merge(matching: set.aggregationOptions, target: target)
    }
    noteRefused(written, &next)
    next.histories = HistoryPlans(set, unread: Self.unread(written, set))
    return next
  }

  /// The names of targets whose documents cannot be used in any version, switched off or not.
  private static func unread(_ written: [Document], _ set: DocumentSet) -> Set<String> {
    let usable = Set(set.targets.map(\.id))
    return Set(
      written.filter { $0.kind == .targets && !usable.contains($0.id) }.map { $0.fields["target"]?.text ?? $0.id })
  }

  /// What is there and cannot be used in any version. What says of itself that it is switched off is.
  private func noteRefused(_ written: [Document], _ next: inout Snapshot) {
    let targets = Set(next.set.targets.map(\.id))
    let reactions = Set(next.set.reactionTargets.map(\.id))
    for document in written where document.fields["enabled"] != .bool(false) {
      switch document.kind {
      case .targets where !targets.contains(document.id):
        let name = document.fields["target"]?.text.map { String($0.prefix(253)) } ?? document.id
        guard !name.isEmpty, next.targets[name] == nil, next.refusedTargets[name] == nil else { continue }
        let reason = next.problems.first {
          $0.level == .refused && $0.kind == document.kind.rawValue && $0.id == document.id
        }
        next.refusedTargets[name] =
          reason.map { [$0.path, $0.reason].filter { !$0.isEmpty }.joined(separator: ": ") }
          ?? "see syscrap get problems"
      case .reaction_targets where !reactions.contains(document.id): next.refusedReactions.insert(document.id)
      default: continue
      }
    }
  }

  /// A problem keeps the time at which it was first seen.
  private func dated(_ problems: [Problem]) -> [Problem] {
    let time = now()
    var next: [String: Date] = [:]
    let dated = problems.map { problem in
      var copy = problem
      let first = since[problem.description] ?? time
      next[problem.description] = first
      copy.since = first
      return copy
    }
    since = next
    return dated
  }

  private static func key(_ document: Document) -> String { "\(document.kind.rawValue)/\(document.id)" }

  static func digest(_ document: Document) -> String {
    let hash = SHA256.hash(data: Data(document.content.json().utf8))
    return hash.prefix(12).map { byte in
      let hex = String(byte, radix: 16)
      return hex.count == 1 ? "0" + hex : hex
    }.joined()
  }
}
