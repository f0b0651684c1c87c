/// What came of reading something that a person wrote: the typed value, and everything that is wrong with it.
///
/// `value` decides: when it is there it is to be used, when it is nil the last good version stays active. A value can
/// come together with refused problems: a metric, reaction or type that nobody knows is named as a problem, yet the rest
/// of the document counts, and the tree shows a harmless child where the unknown part would be.
package struct Reading<Content: Sendable>: Sendable {
  package var value: Content?
  package var problems: [Problem]

  package init(_ value: Content?, problems: [Problem] = []) {
    self.value = value
    self.problems = problems
  }

  /// Whether any problem is more than a warning; decides the exit code of `check`.
  package var hasRefusals: Bool { problems.contains { $0.level == .refused } }
}

extension Reading: Equatable where Content: Equatable {}
