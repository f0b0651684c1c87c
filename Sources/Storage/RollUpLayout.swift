internal import FoundationEssentials
internal import Model

/// Where in a metric's values its fields are: a tree of maps and lists whose nodes are numbered, so that the open buckets
/// of one series share the search for a field.
struct RollUpLayout: Sendable {
  /// How a node is reached from its parent.
  struct Step: Sendable, Hashable {
    var parent: Int32
    var kind: Kind
    /// The field's name, the element's name, or its place in the list.
    var name: String
    /// The field that holds an element's name.
    var identity: String
  }

  enum Kind: UInt8, Sendable {
    case field = 0
    /// An element of a list that has a name.
    case element = 1
    /// An element that has none, by its place.
    case place = 2
  }

  /// Most fields and elements of one bucket, those of maps inside counted. What comes after is left out and counted.
  static let nodeBound = 2000
  /// Maps and lists further inside are left out.
  static let depthBound = 16
  /// Most bytes of a text that are kept as `last`.
  static let textBound = 1024

  /// The fields that name an element, the first that it has: as reactions tell elements apart.
  static let identities = ["mount", "name", "interface", "path", "unit", "label", "id"]

  /// The root is number 0 and has no step. Children come after their parents.
  private(set) var steps: [Step?] = [nil]
  private var numbers: [Step: Int] = [:]
  /// How many values had no room since this was made.
  private(set) var ignored = 0

  var count: Int { steps.count }

  /// The node's number; it is made when there is room for it.
  mutating func node(_ step: Step) -> Int? {
    if let number = numbers[step] { return number }
    guard steps.count <= Self.nodeBound else {
      ignored &+= 1
      return nil
    }
    steps.append(step)
    numbers[step] = steps.count - 1
    return steps.count - 1
  }

  /// The nodes below each node.
  var children: [[Int]] {
    var result = [[Int]](repeating: [], count: steps.count)
    for (number, step) in steps.enumerated() {
      if let step { result[Int(step.parent)].append(number) }
    }
    return result
  }

  /// Takes a value apart. Nothing is made of `null`, of what is no number though it is called one, and of empty lists.
  mutating func observe(_ value: Value, into out: inout [RollUpObservation]) {
    observe(value, at: 0, depth: 0, into: &out)
  }

  private mutating func observe(_ value: Value, at node: Int, depth: Int, into out: inout [RollUpObservation]) {
    switch value {
    case .null: break
    case .int(let number):
      let number = RollUpNumber.int(number)
      out.append(RollUpObservation(node: node, number: (number, RollUpDecimal(number)), value: value))
    case .double(let number):
      guard number.isFinite else { break }
      let known = RollUpNumber.double(number)
      out.append(RollUpObservation(node: node, number: (known, RollUpDecimal(known)), value: value))
    case .bool: out.append(RollUpObservation(node: node, number: nil, value: value))
    case .string(let text):
      let cut = text.utf8.count > Self.textBound ? .string(text.prefix(bytes: Self.textBound)) : value
      out.append(RollUpObservation(node: node, number: nil, value: cut))
    case .date(let date):
      guard date.timeIntervalSince1970.isFinite else { break }
      out.append(RollUpObservation(node: node, number: nil, value: value))
    case .object(let fields): observe(fields, except: nil, at: node, depth: depth, into: &out)
    case .array(let elements):
      guard depth < Self.depthBound else { return ignored &+= 1 }
      for (place, element) in elements.enumerated() {
        if case .object(let fields) = element, let (identity, name) = Self.name(of: fields) {
          let step = Step(parent: Int32(truncatingIfNeeded: node), kind: .element, name: name, identity: identity)
          guard let child = self.node(step) else { continue }
          observe(fields, except: identity, at: child, depth: depth + 1, into: &out)
        } else {
          let step = Step(parent: Int32(truncatingIfNeeded: node), kind: .place, name: String(place), identity: "")
          guard let child = self.node(step) else { continue }
          observe(element, at: child, depth: depth + 1, into: &out)
        }
      }
    }
  }

  private mutating func observe(
    _ fields: [String: Value], except identity: String?, at node: Int, depth: Int, into out: inout [RollUpObservation]
  ) {
    guard depth < Self.depthBound else { return ignored &+= 1 }
    for (name, field) in fields where name != identity {
      if case .null = field { continue }
      let step = Step(parent: Int32(truncatingIfNeeded: node), kind: .field, name: name, identity: "")
      guard let child = self.node(step) else { continue }
      observe(field, at: child, depth: depth + 1, into: &out)
    }
  }

  private static func name(of fields: [String: Value]) -> (identity: String, name: String)? {
    for identity in identities {
      if case .string(let name)? = fields[identity] { return (identity, name.prefix(bytes: textBound)) }
    }
    return nil
  }
}
