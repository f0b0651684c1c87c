package import Model

/// What is asked of a document before it counts: by the readers of Model, and by the rooms that will use it.
package struct DocumentChecks: Sendable {
  package struct Outcome: Sendable {
    /// Whether there is anything to use; it may be used in spite of problems in a part of it.
    package var isUsable: Bool
    package var problems: [Problem]
  }

  package var available: Availability
  /// What the metrics themselves say of a plan.
  package var plan: @Sendable (MetricPlan) -> Problem?
  /// What the notifiers themselves say of a way out.
  package var way: @Sendable (NotificationOptions) -> [Problem]

  /// What one look of a metric asks of its target; nil for what cannot run.
  package var demand: @Sendable (MetricPlan) -> TouchDemand?

  package init(
    available: Availability, plan: @escaping @Sendable (MetricPlan) -> Problem?,
    way: @escaping @Sendable (NotificationOptions) -> [Problem],
    demand: @escaping @Sendable (MetricPlan) -> TouchDemand? = { _ in nil }
  ) {
    self.available = available
    self.plan = plan
    self.way = way
    self.demand = demand
  }

  /// Reads one document by itself.
  package func read(_ document: Document) -> Outcome {
    var outcome = outcome(document)
    outcome.problems = outcome.problems.map { Self.named($0, document) }
    return outcome
  }

  /// A problem always says which document it is of, also where that has no id that could be read.
  private static func named(_ problem: Problem, _ document: Document) -> Problem {
    guard problem.id.isEmpty else { return problem }
    var named = problem
    let target = document.fields["target"]?.text
    named.id = document.id.isEmpty ? "\"\"" : document.id
    if document.kind == .targets, let target, target != document.id {
      let which = "it is the target \"\(target.prefix(253))\""
      named.hint = problem.hint.map { "\($0); \(which)" } ?? which
    }
    return named
  }

  private func outcome(_ document: Document) -> Outcome {
    if let id = document.fields["_id"] {
      // A store shows an id that is none as a field; see what it makes of such a document.
      let reason = "expected text, an ObjectId or a whole number, found \(FieldReader.found(id, "_id"))"
      return Outcome(
        isUsable: false,
        problems: [
          Problem(
            kind: document.kind.rawValue, id: "", path: "_id", reason: reason,
            hint: "insert it again under another _id")
        ])
    }
    // What another tool put into the store has not been through the reader of files: its bounds, and a `kind` that
    // disagrees with the collection.
    var found = document.fields
    found["_id"] = .string(document.id)
    let whole = Document.read(.object(found), kind: document.kind)
    guard whole.value != nil else { return Outcome(isUsable: false, problems: whole.problems) }
    switch document.kind {
    case .targets:
      let reading = Target.read(document)
      var problems = reading.problems
      if let reason = reading.value.flatMap(Connectors.unsupported) {
        problems.append(
          Problem(
            .warning, kind: document.kind.rawValue, id: document.id,
            path: "jump", reason: reason))
      }
      return Outcome(isUsable: reading.value != nil, problems: problems)
    case .aggregation_options:
      let reading = AggregationOptions.read(document, available: available)
      var problems = reading.problems
      if let options = reading.value {
        // Each document is looked at as if it stood alone: so its own mistakes are said of itself.
        let alone = AggregationPlan.merge(matching: [options], target: Self.anyTarget(of: options.selector))
        let known = Set(problems.map(\.path))
        for plan in alone.metrics where available.metrics.contains(plan.metric) {
          guard var problem = self.plan(plan) else { continue }
          problem.kind = document.kind.rawValue
          problem.id = document.id
          if !known.contains(problem.path) { problems.append(problem) }
        }
      }
      return Outcome(isUsable: reading.value != nil, problems: problems)
    case .reaction_targets:
      let reading = ReactionTarget.read(document, available: available)
      return Outcome(isUsable: reading.value != nil, problems: reading.problems)
    case .notification_options:
      let reading = NotificationOptions.read(document, available: available)
      var problems = reading.problems
      if let options = reading.value, available.notifiers.contains(options.type) {
        let known = Set(problems.map(\.path))
        problems += way(options).filter { !known.contains($0.path) }
      }
      return Outcome(isUsable: reading.value != nil, problems: problems)
    }
  }

  /// Everything that is wrong with these documents together: each by itself, then between them.
  package func check(_ documents: [Document]) -> [Problem] {
    let outcomes = documents.map { ($0, read($0)) }
    let usable = outcomes.filter(\.1.isUsable).map(\.0)
    let set = DocumentSet.read(usable, available: available).set
    return outcomes.flatMap(\.1.problems) + set.check() + set.touchProblems(.warning, demand: demand)
  }

  /// Targets that these documents leave without a budget for their metrics: refused where a person is about to bring that
  /// about.
  /// - Parameter isMine: whether a document of the set is one of those that a person brings now.
  package func touchProblems(
    in set: DocumentSet, _ isMine: (_ kind: DocumentKind, _ id: String) -> Bool
  ) -> [Problem] {
    let options = set.aggregationOptions.filter { $0.isEnabled && isMine(.aggregation_options, $0.id) }
    let concerned = Set(
      set.targets.filter { target in
        isMine(.targets, target.id) || options.contains { $0.selector.matches(target) }
      }.map(\.id))
    return set.touchProblems(.refused, demand: demand).filter { concerned.contains($0.id) }
  }

  private static func anyTarget(of selector: TargetSelector) -> Target {
    switch selector {
    case .generic: Target(id: "any", name: "any", host: "any")
    case .names(let names): Target(id: "any", name: names.first ?? "any", host: "any")
    case .labels(let labels): Target(id: "any", name: "any", host: "any", labels: labels)
    }
  }
}
