/// Collects the problems of one document while it is read: all of them, not only the first.
///
/// Used by one reader on one task and then thrown away.
package final class ProblemList {
  package let kind: String
  package let id: String
  package private(set) var problems: [Problem] = []
  /// Whether the document cannot be used at all.
  package private(set) var isFatal = false
  private var dropped = 0
  private var firstDropped = ""
  /// Whether further problems are only counted, so that no work is spent on their hints.
  var isFull: Bool { problems.count >= Self.bound }

  /// Most problems kept of one document; the rest is counted in one last problem.
  package static let bound = 100

  package init(kind: String, id: String) {
    self.kind = kind
    self.id = id
  }

  /// The document cannot be used.
  package func refuse(_ path: String, _ reason: String, hint: String? = nil) {
    isFatal = true
    append(.refused, path, reason, hint)
  }

  /// One part of the document has no meaning here (an unknown module); the rest can be used.
  package func refusePart(_ path: String, _ reason: String, hint: String? = nil) {
    append(.refused, path, reason, hint)
  }

  /// It counts, but probably not as meant.
  package func warn(_ path: String, _ reason: String, hint: String? = nil) {
    append(.warning, path, reason, hint)
  }

  private func append(_ level: Problem.Level, _ path: String, _ reason: String, _ hint: String?) {
    guard problems.count < Self.bound else {
      if dropped == 0 { firstDropped = path }
      return dropped += 1
    }
    problems.append(Problem(level, kind: kind, id: id, path: path, reason: reason, hint: hint))
  }

  /// The value, unless something was fatal, with all problems.
  package func reading<Content: Sendable>(_ value: @autoclosure () -> Content?) -> Reading<Content> {
    var all = problems
    if dropped > 0 {
      all.append(
        Problem(
          isFatal ? .refused : .warning, kind: kind, id: id, path: firstDropped, reason: "\(dropped) more problems"))
    }
    return Reading(isFatal ? nil : value(), problems: all)
  }
}
