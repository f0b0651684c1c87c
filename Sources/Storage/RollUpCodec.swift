internal import FoundationEssentials
internal import Model

/// The bytes of a bucket.
///
/// One byte for the version, the newest sample's key and the number of samples, then the tree of fields: parents before
/// their children, children in the order of their names, so that equal buckets have equal bytes. Whole numbers are
/// varints (signed ones zig-zag), a double that is a short decimal is stored as one, names that documents.md knows take
/// one byte. Versions are added, never changed.
enum RollUpCodec {
  static let version: UInt8 = 1

  struct Malformed: Error {}

  /// Names by number. Append only; at most 254.
  static let names: [String] = [
    "percent", "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "load1", "load5", "load15",
    "cores", "total", "used", "free", "available", "buffers", "cached", "slab", "in_per_second", "out_per_second",
    "mount", "device", "fstype", "size", "inodes", "inodes_used", "inodes_percent", "requests_per_second",
    "bytes_per_second", "status", "1xx", "2xx", "3xx", "4xx", "5xx", "active", "reading", "writing", "waiting",
    "accepts", "handled", "latency", "p50", "p95", "p99", "upstream_errors", "path", "exists", "age_seconds", "host",
    "port", "from", "open", "latency_ms", "error", "exit", "output", "performance", "value", "unit", "warning",
    "critical", "min", "max", "state", "phase", "attempt", "boot_id", "uptime_seconds", "clock_skew_ms", "name",
    "interface", "label", "id",
  ]
  private static let numbers: [String: UInt8] = Dictionary(
    uniqueKeysWithValues: names.prefix(254).enumerated().map { ($1, UInt8(truncatingIfNeeded: $0 + 1)) })

  private enum NodeFlag {
    /// The two lowest bits are the step's kind.
    static let kind: UInt8 = 3
    static let leaf: UInt8 = 4
    static let children: UInt8 = 8
  }

  private enum LeafFlag {
    static let figures: UInt8 = 1
    static let isConstant: UInt8 = 2
    static let lastIsMinimum: UInt8 = 4
    static let lastIsMaximum: UInt8 = 8
    static let isNewest: UInt8 = 16
    static let others: UInt8 = 32
    /// As many numbers as samples.
    static let isInAll: UInt8 = 64
    /// The sum is the smallest number times the count.
    static let isProduct: UInt8 = 128
  }

  private enum Tag {
    /// 0 … 3: a double with so many decimal places.
    static let raw: UInt8 = 4
    static let int: UInt8 = 5
    static let no: UInt8 = 16
    static let yes: UInt8 = 17
    static let text: UInt8 = 18
    static let date: UInt8 = 19
    /// 128 … 255: the whole numbers 0 … 127.
    static let smallInt: UInt8 = 128
  }

  // MARK: Writing

  static func encode(_ leaves: RollUpLeaves, _ layout: RollUpLayout, start: Int64) -> [UInt8] {
    var writer = Writer(leaves: leaves, layout: layout, children: layout.children, used: leaves.usedNodes(in: layout))
    writer.out.reserveCapacity(16 + 16 * leaves.byNode.count)
    writer.out.append(version)
    let newest = leaves.newest ?? SampleKey(second: start, n: 0)
    writer.newest = newest
    writer.key(newest, from: start)
    writer.unsigned(UInt64(clamping: leaves.sampleCount))
    writer.node(0)
    return writer.out
  }

  private struct Writer {
    var out: [UInt8] = []
    var newest = SampleKey(second: 0, n: 0)
    let leaves: RollUpLeaves
    let layout: RollUpLayout
    let children: [[Int]]
    let used: [Bool]

    init(leaves: RollUpLeaves, layout: RollUpLayout, children: [[Int]], used: [Bool]) {
      self.leaves = leaves
      self.layout = layout
      self.children = children
      self.used = used
    }

    mutating func node(_ number: Int) {
      let below = children[number].filter { used[$0] }.sorted { isBefore($0, $1) }
      let leaf = leaves.leaf(number)
      var flags = layout.steps[number]?.kind.rawValue ?? 0
      if leaf != nil { flags |= NodeFlag.leaf }
      if !below.isEmpty { flags |= NodeFlag.children }
      out.append(flags)
      if let step = layout.steps[number] {
        switch step.kind {
        case .field: name(step.name)
        case .element:
          name(step.identity)
          name(step.name)
        case .place: unsigned(UInt64(step.name) ?? 0)
        }
      }
      if let leaf { write(leaf) }
      if below.isEmpty { return }
      unsigned(UInt64(below.count))
      for child in below { node(child) }
    }

    private func isBefore(_ a: Int, _ b: Int) -> Bool {
      guard let a = layout.steps[a], let b = layout.steps[b] else { return a < b }
      if a.kind != b.kind { return a.kind.rawValue < b.kind.rawValue }
      if a.kind == .place { return (Int(a.name) ?? 0) < (Int(b.name) ?? 0) }
      return a.name != b.name ? a.name.precedesInBytes(b.name) : a.identity.precedesInBytes(b.identity)
    }

    private mutating func write(_ leaf: RollUpLeaf) {
      var flags: UInt8 = 0
      if leaf.lastKey == newest { flags |= LeafFlag.isNewest }
      if leaf.others != 0 { flags |= LeafFlag.others }
      var product: RollUpSum?
      if let figures = leaf.figures {
        flags |= LeafFlag.figures
        if figures.minimum == figures.maximum { flags |= LeafFlag.isConstant }
        if figures.minimum.value == leaf.last { flags |= LeafFlag.lastIsMinimum }
        if figures.maximum.value == leaf.last { flags |= LeafFlag.lastIsMaximum }
        if figures.count == leaves.sampleCount { flags |= LeafFlag.isInAll }
        product = RollUpDecimal(figures.minimum)?.times(figures.count).map { .exact($0) }
        if product == figures.sum { flags |= LeafFlag.isProduct }
      }
      out.append(flags)
      if let figures = leaf.figures {
        if flags & LeafFlag.isInAll == 0 { unsigned(UInt64(clamping: figures.count)) }
        number(figures.minimum)
        if flags & LeafFlag.isConstant == 0 { number(figures.maximum) }
        if flags & LeafFlag.isProduct == 0 { sum(figures.sum) }
      }
      if leaf.others != 0 { unsigned(UInt64(clamping: leaf.others)) }
      if flags & (LeafFlag.lastIsMinimum | LeafFlag.lastIsMaximum) == 0 { value(leaf.last) }
      if flags & LeafFlag.isNewest == 0 { key(leaf.lastKey, from: newest.second) }
    }

    private mutating func sum(_ sum: RollUpSum) {
      switch sum {
      case .exact(let decimal):
        out.append(decimal.places)
        signed(decimal.mantissa)
      case .wide(let high, let low):
        out.append(Tag.raw)
        bits(high)
        bits(low)
      }
    }

    private mutating func number(_ number: RollUpNumber) {
      switch number {
      case .int(let whole) where (0..<128).contains(whole): out.append(Tag.smallInt + UInt8(whole))
      case .int(let whole):
        out.append(Tag.int)
        signed(whole)
      case .double(let double):
        if let decimal = RollUpDecimal(number) {
          out.append(decimal.places)
          signed(decimal.mantissa)
        } else {
          out.append(Tag.raw)
          bits(double)
        }
      }
    }

    private mutating func value(_ value: Value) {
      switch value {
      case .int(let whole): number(.int(whole))
      case .double(let double): number(.double(double))
      case .bool(let flag): out.append(flag ? Tag.yes : Tag.no)
      case .string(let string):
        out.append(Tag.text)
        text(string)
      case .date(let date):
        out.append(Tag.date)
        bits(date.timeIntervalSince1970)
      // Never observed.
      case .null, .array, .object:
        out.append(Tag.text)
        text("")
      }
    }

    private mutating func name(_ name: String) {
      if let number = numbers[name] { return out.append(number) }
      out.append(0)
      text(name)
    }

    private mutating func text(_ text: String) {
      unsigned(UInt64(text.utf8.count))
      out.append(contentsOf: text.utf8)
    }

    mutating func key(_ key: SampleKey, from second: Int64) {
      signed(key.second &- second)
      signed(Int64(key.n))
    }

    private mutating func bits(_ number: Double) {
      for shift in stride(from: UInt64(0), to: 64, by: 8) {
        out.append(UInt8(truncatingIfNeeded: number.bitPattern >> shift))
      }
    }

    private mutating func signed(_ number: Int64) { RollUpCodec.write(signed: number, into: &out) }
    mutating func unsigned(_ number: UInt64) { RollUpCodec.write(number, into: &out) }
  }

  static func write(signed number: Int64, into out: inout [UInt8]) {
    write(UInt64(bitPattern: (number << 1) ^ (number >> 63)), into: &out)
  }

  static func write(_ number: UInt64, into out: inout [UInt8]) {
    var rest = number
    while rest >= 0x80 {
      out.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    out.append(UInt8(rest))
  }

  // MARK: Reading

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
