/// What has to happen so that a supervisor's dynamic children are those that are desired.
struct PopulationPlan {
  var start: [ChildSpec] = []
  var replace: [ChildSpec] = []
  /// Desired and present, but without a life.
  var restart: [String] = []
  var remove: [String] = []
  /// Ids that were given twice; the first one counts.
  var duplicates: [String] = []

  /// - Parameter present: all children; those that are not dynamic are none of the populator's.
  init(desired: [ChildSpec], present: [ChildInfo]) {
    let known = Dictionary(present.lazy.map { ($0.id, $0) }) { first, _ in first }
    var wanted: Set<String> = []
    for spec in desired {
      guard wanted.insert(spec.id).inserted else {
        duplicates.append(spec.id)
        continue
      }
      guard let child = known[spec.id] else {
        start.append(spec)
        continue
      }
      if !child.isDynamic { continue }
      if child.digest != spec.digest {
        replace.append(spec)
      } else if [.stopped, .failed, .finished].contains(child.state) {
        restart.append(spec.id)
      }
    }
    remove = present.filter { $0.isDynamic && !wanted.contains($0.id) }.map(\.id)
  }
}
