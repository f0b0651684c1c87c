package import Model
package import Storage

/// What history is kept of which target: of every one that a document names, watched or not, and of what is left of others.
package struct HistoryPlans: Sendable {
  /// Targets whose documents can be read.
  private var named: [String: RollUpPlan] = [:]
  /// Targets whose documents cannot: what they ask for is not known.
  private var unread: Set<String> = []
  /// Names that only options have.
  private var strays: [String: RollUpPlan] = [:]
  private var generic = RollUpPlan()

  package init() {}

  /// - Parameter unread: names of targets whose documents cannot be read.
  package init(_ set: DocumentSet, unread: Set<String>) {
    func plan(_ target: Target) -> RollUpPlan {
      let plan = AggregationPlan.merge(matching: set.aggregationOptions, target: target)
      return RollUpPlan(limits: plan.limits, variable: plan.variable)
    }
    func plan(stray name: String) -> RollUpPlan { plan(Target(id: name, name: name, host: name)) }
    for target in set.targets { named[target.name] = plan(target) }
    self.unread = unread
    // No target has an empty name.
    generic = plan(stray: "")
    for options in set.aggregationOptions {
      guard case .names(let names) = options.selector else { continue }
      for name in names where named[name] == nil && strays[name] == nil { strays[name] = plan(stray: name) }
    }
  }

  package func plan(_ target: String) -> RollUpPlan {
    if let plan = named[target] { return plan }
    if unread.contains(target) { return RollUpPlan(limits: .greatest) }
    return strays[target] ?? generic
  }

  /// Whether no document has this target: what it left goes in the end.
  package func isStray(_ target: String) -> Bool { named[target] == nil && !unread.contains(target) }
}
