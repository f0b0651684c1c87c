internal import Model

/// What samples of one bucket come down to.
///
/// - Numbers: the smallest, the largest, their sum, how many, and the newest. What is not a finite number does not
///   enter and is not counted: a mean is over the numbers that there were.
/// - Text, flags and times: the newest, and how many. Texts are cut to ``RollUpLayout/textBound`` bytes.
/// - Maps: each field for itself. Lists: each element for itself, told apart as reactions do, and by its place when it
///   has no name.
/// - Samples that are errors do not enter.
///
/// The result does not depend on the order in which samples come. A field that is now a number, now a map or a list,
/// reads as the list, or else the map.
struct RollUpContent: Sendable {
  var layout = RollUpLayout()
  var leaves: RollUpLeaves = .init()

  mutating func fold(_ value: Value, key: SampleKey) {
    var observations: [RollUpObservation] = []
    layout.observe(value, into: &observations)
    leaves.fold(observations, key: key)
  }

  /// Takes in all that `other` has, as if its samples had come here.
  mutating func merge(_ other: RollUpContent) {
    leaves.merge(other.leaves, from: other.layout, into: &layout)
  }

  /// In the contract's shape.
  var value: Value { leaves.value(in: layout) }
}

/// The fields of one bucket, by the numbers of a layout.
struct RollUpLeaves: Sendable {
  /// May be shorter than the layout.
  var byNode: [RollUpLeaf?] = []
  /// The newest sample that is in.
  var newest: SampleKey?
  var sampleCount: Int64 = 0

  mutating func fold(_ observations: [RollUpObservation], key: SampleKey) {
    sampleCount &+= 1
    newest = newest.map { max($0, key) } ?? key
    for observation in observations {
      while byNode.count <= observation.node { byNode.append(nil) }
      if byNode[observation.node] == nil {
        byNode[observation.node] = RollUpLeaf(observation, key: key)
      } else {
        byNode[observation.node]?.fold(observation, key: key)
      }
    }
  }

  mutating func merge(_ other: RollUpLeaves, from: RollUpLayout, into layout: inout RollUpLayout) {
    sampleCount = sampleCount.addingReportingOverflow(other.sampleCount).partialValue
    if let theirs = other.newest { newest = newest.map { max($0, theirs) } ?? theirs }
    // Numbers of theirs as ours; parents come first. Nodes without content are not carried over.
    let used = other.usedNodes(in: from)
    var ours: [Int?] = [0]
    for (number, step) in from.steps.enumerated().dropFirst() {
      guard var step, used[number], let parent = ours[Int(step.parent)] else {
        ours.append(nil)
        continue
      }
      step.parent = Int32(truncatingIfNeeded: parent)
      ours.append(layout.node(step))
    }
    for (number, leaf) in other.byNode.enumerated() {
      guard let leaf, ours.indices.contains(number), let node = ours[number] else { continue }
      while byNode.count <= node { byNode.append(nil) }
      if byNode[node] == nil { byNode[node] = leaf } else { byNode[node]?.merge(leaf) }
    }
  }

  func leaf(_ node: Int) -> RollUpLeaf? { byNode.indices.contains(node) ? byNode[node] : nil }

  /// Whether a node or anything below it has content.
  func usedNodes(in layout: RollUpLayout) -> [Bool] {
    var used = (0..<layout.count).map { leaf($0) != nil }
    for (number, step) in layout.steps.enumerated().reversed() {
      if let step, used[number] { used[Int(step.parent)] = true }
    }
    return used
  }

  func value(in layout: RollUpLayout) -> Value {
    value(0, layout, layout.children) ?? .object([:])
  }

  private func value(_ node: Int, _ layout: RollUpLayout, _ children: [[Int]]) -> Value? {
    var fields: [String: Value] = [:]
    var named: [(name: String, identity: String, value: Value)] = []
    var placed: [(place: Int, value: Value)] = []
    for child in children[node] {
      guard let step = layout.steps[child], let value = value(child, layout, children) else { continue }
      switch step.kind {
      case .field: fields[step.name] = value
      case .place: placed.append((Int(step.name) ?? 0, value))
      case .element:
        var element = value.fields ?? [:]
        element[step.identity] = .string(step.name)
        named.append((step.name, step.identity, .object(element)))
      }
    }
    if !named.isEmpty || !placed.isEmpty {
      named.sort { $0.name != $1.name ? $0.name.precedesInBytes($1.name) : $0.identity.precedesInBytes($1.identity) }
      placed.sort { $0.place < $1.place }
      return .array(named.map(\.value) + placed.map(\.value))
    }
    return fields.isEmpty ? leaf(node)?.value : .object(fields)
  }
}
