internal import FoundationEssentials
internal import Model

extension RollUpCodec {
  static func decode(_ bytes: [UInt8], start: Int64) throws(Malformed) -> RollUpContent {
    var content = RollUpContent()
    try decode(bytes, start: start, into: &content.layout, leaves: &content.leaves)
    return content
  }

  /// Reads a bucket by the numbers of a layout that may have nodes already.
  /// - Throws: ``Malformed`` for anything that ``encode(_:_:start:)`` did not write, and when the layout is full.
  static func decode(
    _ bytes: [UInt8], start: Int64, into layout: inout RollUpLayout, leaves: inout RollUpLeaves
  ) throws(Malformed) {
    var reader = Reader(rest: bytes[...])
    guard try reader.byte() == version else { throw Malformed() }
    let newest = try reader.key(from: start)
    let count = try reader.count64()
    leaves.newest = newest
    leaves.sampleCount = count
    try reader.node(parent: nil, depth: 0, newest: newest, &layout, &leaves)
    guard reader.rest.isEmpty else { throw Malformed() }
  }

  struct Reader {
    var rest: ArraySlice<UInt8>

    mutating func node(
      parent: Int?, depth: Int, newest: SampleKey, _ layout: inout RollUpLayout, _ leaves: inout RollUpLeaves
    ) throws(Malformed) {
      // A value at the deepest level has its parents and itself.
      guard depth <= RollUpLayout.depthBound else { throw Malformed() }
      let flags = try byte()
      guard flags & ~(NodeFlag.kind | NodeFlag.leaf | NodeFlag.children) == 0 else { throw Malformed() }
      var number = 0
      if let parent {
        guard let kind = RollUpLayout.Kind(rawValue: flags & NodeFlag.kind) else { throw Malformed() }
        var step = RollUpLayout.Step(parent: Int32(truncatingIfNeeded: parent), kind: kind, name: "", identity: "")
        switch kind {
        case .field: step.name = try name()
        case .element:
          step.identity = try name()
          step.name = try name()
        case .place: step.name = String(try unsigned())
        }
        guard let known = layout.node(step) else { throw Malformed() }
        number = known
      } else if flags & NodeFlag.kind != 0 {
        throw Malformed()
      }
      if flags & NodeFlag.leaf != 0 {
        let leaf = try leaf(newest: newest, samples: leaves.sampleCount)
        while leaves.byNode.count <= number { leaves.byNode.append(nil) }
        guard leaves.byNode[number] == nil else { throw Malformed() }
        leaves.byNode[number] = leaf
      }
      guard flags & NodeFlag.children != 0 else { return }
      let below = try count()
      for _ in 0..<below { try node(parent: number, depth: depth + 1, newest: newest, &layout, &leaves) }
    }

    private mutating func leaf(newest: SampleKey, samples: Int64) throws(Malformed) -> RollUpLeaf {
      let flags = try byte()
      var figures: RollUpLeaf.Figures?
      if flags & LeafFlag.figures != 0 {
        let count = flags & LeafFlag.isInAll != 0 ? samples : try count64()
        guard count > 0 else { throw Malformed() }
        let minimum = try number(try byte())
        let maximum = flags & LeafFlag.isConstant != 0 ? minimum : try number(try byte())
        let sum: RollUpSum
        if flags & LeafFlag.isProduct == 0 {
          sum = try self.sum()
        } else {
          guard let product = RollUpDecimal(minimum)?.times(count) else { throw Malformed() }
          sum = .exact(product)
        }
        figures = RollUpLeaf.Figures(minimum: minimum, maximum: maximum, sum: sum, count: count)
      }
      let others = flags & LeafFlag.others != 0 ? try count64() : 0
      let last: Value
      if flags & LeafFlag.lastIsMinimum != 0, let figures {
        last = figures.minimum.value
      } else if flags & LeafFlag.lastIsMaximum != 0, let figures {
        last = figures.maximum.value
      } else {
        last = try value()
      }
      let key = flags & LeafFlag.isNewest != 0 ? newest : try key(from: newest.second)
      return RollUpLeaf(figures: figures, others: others, last: last, lastKey: key)
    }

    private mutating func sum() throws(Malformed) -> RollUpSum {
      let tag = try byte()
      if tag <= 3 { return .exact(RollUpDecimal(mantissa: try signed(), places: tag)) }
      guard tag == Tag.raw else { throw Malformed() }
      let high = try bits()
      return .wide(high, try bits())
    }

    private mutating func number(_ tag: UInt8) throws(Malformed) -> RollUpNumber {
      switch tag {
      case 0...3: return .double(Double(try signed()) / RollUpDecimal.powers[Int(tag)])
      case Tag.raw:
        let double = try bits()
        guard double.isFinite else { throw Malformed() }
        return .double(double)
      case Tag.int: return .int(try signed())
      case Tag.smallInt...: return .int(Int64(tag - Tag.smallInt))
      default: throw Malformed()
      }
    }

    private mutating func value() throws(Malformed) -> Value {
      let tag = try byte()
      switch tag {
      case Tag.no: return .bool(false)
      case Tag.yes: return .bool(true)
      case Tag.text: return .string(try text())
      case Tag.date:
        let seconds = try bits()
        guard seconds.isFinite else { throw Malformed() }
        return .date(Date(timeIntervalSince1970: seconds))
      default: return try number(tag).value
      }
    }

    private mutating func name() throws(Malformed) -> String {
      let number = Int(try byte())
      if number == 0 { return try text() }
      guard names.indices.contains(number - 1) else { throw Malformed() }
      return names[number - 1]
    }

    private mutating func text() throws(Malformed) -> String {
      let count = try count()
      guard let text = String(validating: rest.prefix(count), as: UTF8.self) else { throw Malformed() }
      rest = rest.dropFirst(count)
      return text
    }

    mutating func key(from second: Int64) throws(Malformed) -> SampleKey {
      let second = try signed() &+ second
      guard let n = Int(exactly: try signed()) else { throw Malformed() }
      return SampleKey(second: second, n: n)
    }

    private mutating func bits() throws(Malformed) -> Double {
      var bits: UInt64 = 0
      for shift in stride(from: UInt64(0), to: 64, by: 8) { bits |= UInt64(try byte()) << shift }
      return Double(bitPattern: bits)
    }

    mutating func byte() throws(Malformed) -> UInt8 {
      guard let first = rest.popFirst() else { throw Malformed() }
      return first
    }

    mutating func signed() throws(Malformed) -> Int64 {
      let number = try unsigned()
      return Int64(bitPattern: (number >> 1) ^ (0 &- (number & 1)))
    }

    mutating func unsigned() throws(Malformed) -> UInt64 {
      var number: UInt64 = 0
      var shift: UInt64 = 0
      while shift < 64 {
        let byte = try byte()
        number |= UInt64(byte & 0x7F) << shift
        if byte & 0x80 == 0 { return number }
        shift += 7
      }
      throw Malformed()
    }

    mutating func count64() throws(Malformed) -> Int64 {
      guard let count = Int64(exactly: try unsigned()) else { throw Malformed() }
      return count
    }

    /// A length; whatever has a length takes at least a byte for each, so that no count asks for more than is there.
    mutating func count() throws(Malformed) -> Int {
      guard let count = Int(exactly: try unsigned()), count <= rest.count else { throw Malformed() }
      return count
    }
  }
}
