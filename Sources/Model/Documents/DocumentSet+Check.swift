extension DocumentSet {
  /// What is wrong between documents, each of which can be read.
  ///
  /// Refused is what leaves a document unable to work: an `_id` or a target's name that is taken, a jump host that is not
  /// there, a cycle of jump hosts or of parents, a reaction none of whose receivers exist. Warned of is what counts only
  /// in part: a name in a selector or in `parents` that no target has, labels that match nothing, one receiver of several.
  /// - Parameter owners: the document that each target's name belongs to by now: another one that claims it is refused.
  package func check(owners: [String: String] = [:]) -> [Problem] {
    repeatedIDs() + targetNames(owners) + jumps() + parents() + selectors() + receivers()
  }

  /// Warns of names that no notification_options has; for lists that stand outside documents (`self.notify`).
  package func checkNotify(_ notify: [[String]], path: String, kind: String) -> [Problem] {
    let known = Set(notificationOptions.map(\.id))
    return Set(notify.joined()).subtracting(known).sorted().map { name in
      Problem(
        .warning, kind: kind, id: "", path: path,
        reason: "there is no notification_options \(FieldReader.quoted(name))",
        hint: NearestName.hint(name, in: known))
    }
  }

  private func repeatedIDs() -> [Problem] {
    repeated.map { document in
      // A target's id is its name, as long as none is written.
      let path = document.kind == .targets && document.fields["target"]?.text == document.id ? "target" : "_id"
      let first = origin(document.kind, document.id).map { ", it is taken in \($0)" } ?? ""
      var problem = Problem(
        kind: document.kind.rawValue, id: document.id, path: path,
        reason: "another document has the id \(FieldReader.quoted(document.id))\(first)",
        hint: "each document of a kind has an _id of its own")
      if let origin = document.origin, let colon = origin.lastIndex(of: ":"),
        let line = Int(origin[colon...].dropFirst())
      {
        problem.file = String(origin[..<colon])
        problem.line = line
      }
      return problem
    }
  }

  /// Which document each target's name belongs to; of two that nobody knew before the one whose id comes first.
  package func nameOwners(_ known: [String: String] = [:]) -> [String: String] {
    var owners: [String: String] = [:]
    for target in targets.sorted(by: { $0.id < $1.id })
    where owners[target.name] == nil || known[target.name] == target.id {
      owners[target.name] = target.id
    }
    return owners
  }

  private func targetNames(_ known: [String: String]) -> [Problem] {
    let owners = nameOwners(known)
    return targets.sorted(by: { $0.id < $1.id }).compactMap { target in
      guard let owner = owners[target.name], owner != target.id else { return nil }
      return Problem(
        kind: DocumentKind.targets.rawValue, id: target.id, path: "target",
        reason: "the name \(FieldReader.quoted(target.name)) is taken by the document \(FieldReader.quoted(owner))",
        hint: "names are unique; the address may stand in host")
    }
  }

  // MARK: - Jump hosts and parents

  private func jumps() -> [Problem] {
    let names = Set(targets.map(\.name))
    var next: [String: [String]] = [:]
    for target in targets { next[target.name] = target.jump.map { [$0] } ?? [] }
    return targets.flatMap { target -> [Problem] in
      guard let jump = target.jump, jump != target.name else { return [] }
      if !names.contains(jump) {
        return [
          problem(
            .refused, target, "jump", "there is no target \(FieldReader.quoted(jump))",
            NearestName.hint(jump, in: names))
        ]
      }
      if let circle = cycle(from: target.name, next) {
        return [
          problem(
            .refused, target, "jump", "the jump hosts form a circle: \(circle)",
            "end the chain at a host that needs none")
        ]
      }
      var chain = [target.name]
      while chain.count <= Target.jumpLimit + 1, let before = next[chain[chain.count - 1]]?.first {
        // A circle that it leads into is said of those that are in it.
        if chain.contains(before) { return [] }
        chain.append(before)
      }
      guard chain.count > Target.jumpLimit + 1 else { return [] }
      return [problem(.refused, target, "jump", "there are more than \(Target.jumpLimit) jump hosts in a row", nil)]
    }
  }

  private func parents() -> [Problem] {
    let names = Set(targets.map(\.name))
    var next: [String: [String]] = [:]
    for target in targets { next[target.name] = target.parents }
    return targets.flatMap { target -> [Problem] in
      var problems: [Problem] = []
      let unknown = target.parents.enumerated().filter { !names.contains($0.element) }
      for (index, parent) in unknown.prefix(ProblemList.bound) {
        let isList = value(.targets, target.id, "parents")?.elements != nil
        problems.append(
          problem(
            .warning, target, isList ? "parents[\(index)]" : "parents",
            "there is no target \(FieldReader.quoted(parent))", NearestName.hint(parent, in: names)))
      }
      if let cycle = cycle(from: target.name, next) {
        problems.append(
          problem(
            .refused, target, "parents", "the parents form a circle: \(cycle)",
            "a parent is nearer to us than its child"))
      }
      return problems
    }
  }

  private func problem(
    _ level: Problem.Level, _ target: Target, _ path: String, _ reason: String, _ hint: String?
  ) -> Problem {
    Problem(level, kind: DocumentKind.targets.rawValue, id: target.id, path: path, reason: reason, hint: hint)
  }

  /// The way from a name back to itself, or nil; each name is visited once.
  private func cycle(from start: String, _ next: [String: [String]]) -> String? {
    var cameFrom: [String: String] = [:]
    var queue = [start]
    var head = 0
    while head < queue.count {
      let name = queue[head]
      head += 1
      for neighbour in next[name] ?? [] {
        if neighbour == start {
          var way = [name]
          while let last = way.last, last != start, let before = cameFrom[last] { way.append(before) }
          let shown = way.reversed().prefix(8).joined(separator: " → ")
          return "\(shown)\(way.count > 8 ? " → …" : "") → \(start)"
        }
        if cameFrom[neighbour] == nil {
          cameFrom[neighbour] = name
          queue.append(neighbour)
        }
      }
    }
    return nil
  }

  // MARK: - Selectors and receivers

  private func selectors() -> [Problem] {
    let names = Set(targets.map(\.name))
    let all: [(DocumentKind, String, TargetSelector)] =
      aggregationOptions.map { (.aggregation_options, $0.id, $0.selector) }
      + reactionTargets.map { (.reaction_targets, $0.id, $0.selector) }
      + notificationOptions.map { (.notification_options, $0.id, $0.selector) }
    return all.flatMap { kind, id, selector -> [Problem] in
      func warning(_ path: String, _ reason: String, _ hint: String?) -> Problem {
        Problem(.warning, kind: kind.rawValue, id: id, path: path, reason: reason, hint: hint)
      }
      switch selector {
      case .generic: return []
      case .names(let wanted):
        let isList = value(kind, id, "target")?.elements != nil
        return wanted.enumerated().filter { !names.contains($0.element) }.prefix(ProblemList.bound).map { index, name in
          warning(
            isList ? "target[\(index)]" : "target", "there is no target \(FieldReader.quoted(name))",
            NearestName.hint(name, in: names.union(["generic"])))
        }
      case .labels:
        guard !targets.contains(where: selector.matches) else { return [] }
        return [warning("target.labels", "no target has these labels", labelHint(selector))]
      }
    }
  }

  private func labelHint(_ selector: TargetSelector) -> String? {
    guard case .labels(let wanted) = selector else { return nil }
    for (name, value) in wanted.sorted(by: { $0.key < $1.key }) {
      let values = Set(targets.compactMap { $0.labels[name] })
      if values.isEmpty {
        let known = Set(targets.flatMap { $0.labels.keys })
        return known.isEmpty
          ? "no target has labels"
          : "no target has the label \(name); known: \(known.sorted().prefix(12).joined(separator: ", "))"
      }
      if !values.contains(value) { return "values of \(name): \(values.sorted().prefix(12).joined(separator: ", "))" }
    }
    return nil
  }

  private func receivers() -> [Problem] {
    let known = Set(notificationOptions.map(\.id))
    return reactionTargets.flatMap { reaction -> [Problem] in
      guard let steps = reaction.notify else { return [] }
      if steps.isEmpty {
        return [
          Problem(
            .warning, kind: DocumentKind.reaction_targets.rawValue, id: reaction.id, path: "notify",
            reason: "the list is empty: nobody is told", hint: "leave notify out to tell all that match the target")
        ]
      }
      let level: Problem.Level = steps.joined().contains(where: known.contains) ? .warning : .refused
      let written = value(.reaction_targets, reaction.id, "notify")?.elements
      return steps.enumerated().flatMap { index, step in
        step.enumerated().filter { !known.contains($0.element) }.map { inner, name in
          var path = "notify"
          if let written, written.indices.contains(index) {
            path += "[\(index)]"
            if written[index].elements != nil { path += "[\(inner)]" }
          }
          return Problem(
            level, kind: DocumentKind.reaction_targets.rawValue, id: reaction.id, path: path,
            reason: "there is no notification_options \(FieldReader.quoted(name))",
            hint: NearestName.hint(name, in: known) ?? (known.isEmpty ? "there are none yet" : nil))
        }
      }
    }
  }
}
