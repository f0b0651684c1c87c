internal import Crypto
package import FoundationEssentials
package import Model
package import Storage

/// The documents that count now: what the store holds, read and checked, with the last good version of whatever was
/// broken by an edit.
///
/// ``refresh()`` asks the store for its revision and reads documents only when that moved, so that nothing is paid for
/// documents that did not change.
package actor DocumentBook {
  package struct Snapshot: Sendable {
    package var revision: Int64 = -1
    package var set = DocumentSet()
    /// By name; only enabled ones.
    package var targets: [String: Target] = [:]
    /// What is gathered, by the target's name.
    package var plans: [String: AggregationPlan] = [:]
    /// Of the documents that count, by kind and id: equal digests mean equal content.
    package var digests: [String: String] = [:]
    package var problems: [Problem] = []
    /// `detected_specs` as stored when the documents were read, by the target's name.
    package var specs: [String: Value] = [:]

    package func digest(_ kind: DocumentKind, _ id: String) -> String { digests["\(kind.rawValue)/\(id)"] ?? "" }
  }

  private let storage: any Storage
  private let checks: DocumentChecks
  private let now: @Sendable () -> Date
  /// The last version of each document that could be used.
  private var good: [String: Document] = [:]
  private var since: [String: Date] = [:]
  package private(set) var snapshot = Snapshot()

  package init(storage: any Storage, checks: DocumentChecks, now: @escaping @Sendable () -> Date) {
    self.storage = storage
    self.checks = checks
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
    if revision == snapshot.revision { return (snapshot, false) }
    var written: [Document] = []
    for kind in DocumentKind.allCases { written += try await storage.documents(kind) }
    // A slower refresh that began earlier must not put back what a later one has read.
    if revision <= snapshot.revision { return (snapshot, false) }
    snapshot = settle(written, revision: revision)
    return (snapshot, true)
  }

  private func settle(_ written: [Document], revision: Int64) -> Snapshot {
    var problems: [Problem] = []
    var effective: [Document] = []
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
    let conflicts = set.check()
    let refused = Set(conflicts.filter { $0.level == .refused }.map { "\($0.kind)/\($0.id)" })
    if !refused.isEmpty {
      // An edit that spoils the whole (a cycle of jump hosts) is taken back to the last version that did not.
      effective = effective.compactMap { refused.contains(Self.key($0)) ? good[Self.key($0)] : $0 }
      set = DocumentSet.read(effective, available: checks.available).set
      set = set.removing(refusedBy: set.check())
    }
    problems += conflicts
    good = Dictionary(effective.map { (Self.key($0), $0) }, uniquingKeysWith: { first, _ in first })
    problems = dated(problems)

    var next = Snapshot(revision: revision, set: set, problems: problems)
    next.digests = good.mapValues(Self.digest)
    for target in set.targets where target.isEnabled {
      next.targets[target.name] = target
      next.specs[target.name] = good["\(DocumentKind.targets.rawValue)/\(target.id)"]?.fields["detected_specs"]
      next.plans[target.name] = AggregationPlan.merge(matching: set.aggregationOptions, target: target)
    }
    return next
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
