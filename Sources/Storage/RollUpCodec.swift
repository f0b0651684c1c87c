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

  enum NodeFlag {
    /// The two lowest bits are the step's kind.
    static let kind: UInt8 = 3
    static let leaf: UInt8 = 4
    static let children: UInt8 = 8
  }

  enum LeafFlag {
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

  enum Tag {
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
}
