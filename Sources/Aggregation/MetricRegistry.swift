package import Model
package import Remote

/// All metrics by name.
package struct MetricRegistry: Sendable {
  private let kinds: [String: any Metric.Type]

  /// Everything that can stand in `metrics`. ``MetricCatalogue/always`` is gathered without being named.
  package static let standard = MetricRegistry([Vitals.CPU.self, Vitals.RAM.self, Vitals.Swap.self, Vitals.Disk.self])

  /// Of two kinds with the same name the later counts.
  package init(_ kinds: [any Metric.Type]) {
    self.kinds = Dictionary(kinds.map { ($0.name, $0) }, uniquingKeysWith: { _, later in later })
  }

  /// Alphabetically; with `Connection` and `Host`, whose interval may be set.
  package var knownNames: [String] { (Array(kinds.keys) + MetricCatalogue.always).sorted() }

  package func knows(_ name: String) -> Bool { kinds[name] != nil || MetricCatalogue.always.contains(name) }

  /// The known name that a mistyped one most resembles; nil when none is near.
  package func nearest(to name: String) -> String? { NearestName.find(name, in: knownNames) }

  /// The names of a metric's options, `interval` and `name` included; nil for an unknown metric.
  package func options(of name: String) -> Set<String>? {
    if MetricCatalogue.always.contains(name) { return ["interval"] }
    return kinds[name].map { $0.options.union(["interval", "name"]) }
  }

  /// What is wrong with a plan, without running it: an unknown metric, an unknown option, an option's value.
  package func check(_ plan: MetricPlan) -> MetricRefused? {
    guard let known = options(of: plan.metric) else {
      return MetricRefused(
        path: "", reason: "there is no metric \"\(Self.shown(plan.metric))\"",
        hint: nearest(to: plan.metric).map { "did you mean \($0)?" })
    }
    if let unknown = plan.options.keys.sorted().first(where: { !known.contains($0) }) {
      return MetricRefused(
        path: Self.shown(unknown), reason: "\(plan.metric) has no such option",
        hint: NearestName.hint(unknown, in: known))
    }
    guard let kind = kinds[plan.metric] else { return nil }
    do {
      _ = try kind.init(plan: plan)
      return nil
    } catch {
      return error
    }
  }

  /// What one look of a metric asks of a target; nil for a metric that cannot run, and for `Connection`, which asks
  /// nothing.
  package func demand(of plan: MetricPlan) -> TouchDemand? {
    if plan.metric == Host.name { return Host.demand }
    guard var metric = try? make(plan) else { return nil }
    return TouchDemand(metric.questions(nil))
  }

  /// Every question that the metric of a plan may ask; see ``Metric/needs``.
  /// - Throws: ``MetricRefused``, as ``check(_:)`` returns it.
  package func needs(of plan: MetricPlan) throws(MetricRefused) -> [Question] {
    if MetricCatalogue.always.contains(plan.metric) { return plan.metric == Host.name ? Host(bootID: nil).needs : [] }
    return try make(plan).needs
  }

  /// - Throws: ``MetricRefused``, as ``check(_:)`` returns it.
  func make(_ plan: MetricPlan) throws(MetricRefused) -> any Metric {
    if let problem = check(plan) { throw problem }
    guard let kind = kinds[plan.metric] else {
      throw MetricRefused(path: "", reason: "\(plan.metric) is gathered always and cannot be added")
    }
    return try kind.init(plan: plan)
  }

  /// A name for a message: short, without control characters.
  private static func shown(_ name: String) -> String { Bytes.printable(name.utf8, limit: 80) }
}
