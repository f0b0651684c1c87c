/// What /proc/stat says of processor time (proc(5)): ticks since boot, over all processors.
struct ProcStat: Hashable {
  /// `user nice system idle iowait irq softirq steal`, as many as the kernel has: at least four.
  var ticks: [UInt64]
  /// Processors that are online.
  var cores: Int
  /// The second since 1970 at which the kernel started, by the host's clock; old kernels' containers may lack it.
  var bootTime: UInt64?

  static let names = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"]
  private static let idle = 3
  private static let iowait = 4

  static func parse(_ bytes: [UInt8]) throws(Unreadable) -> ProcStat {
    var ticks: [UInt64]?
    var cores = 0
    var bootTime: UInt64?
    for line in Bytes.lines(bytes) {
      if Bytes.starts(line, with: "cpu") {
        let words = Bytes.words(line)
        guard let name = words.first else { continue }
        if name.count > 3 {
          if Bytes.unsigned(name.dropFirst(3)) != nil { cores += 1 }
          continue
        }
        var numbers: [UInt64] = []
        for word in words.dropFirst().prefix(names.count) {
          guard let number = Bytes.unsigned(word) else {
            throw Unreadable("/proc/stat: \"\(Bytes.printable(word))\" in the line \"cpu\" is not a number")
          }
          numbers.append(number)
        }
        guard numbers.count >= 4 else {
          throw Unreadable("/proc/stat: the line \"cpu\" has \(numbers.count) numbers instead of at least 4")
        }
        ticks = numbers
      } else if Bytes.starts(line, with: "btime ") {
        bootTime = Bytes.words(line).dropFirst().first.flatMap { Bytes.unsigned($0) }
      }
    }
    guard let ticks else { throw Unreadable("/proc/stat has no line \"cpu\"") }
    guard cores > 0 else { throw Unreadable("/proc/stat has no line \"cpu0\"") }
    return ProcStat(ticks: ticks, cores: cores, bootTime: bootTime)
  }

  /// What two readings say of the time between them.
  enum Change: Hashable {
    /// Per cent of the time for each of ``names``; adds up to 100.
    case shares([Double])
    /// A counter went back: the host was started anew, or the counter wrapped. The newer reading counts from now on.
    case reset
    /// No tick passed.
    case still
  }

  func change(since old: ProcStat) -> Change {
    guard old.ticks.count == ticks.count else { return .reset }
    // The kernel lets idle and iowait go back a little when a processor changes hands or goes offline (proc(5)).
    let tolerance = UInt64(clamping: max(cores, old.cores)).multipliedReportingOverflow(by: 100)
    var passed: [Double] = []
    for index in ticks.indices {
      if ticks[index] >= old.ticks[index] {
        passed.append(Double(ticks[index] - old.ticks[index]))
      } else if index == Self.idle || index == Self.iowait, !tolerance.overflow,
        old.ticks[index] - ticks[index] <= tolerance.partialValue
      {
        passed.append(0)
      } else {
        return .reset
      }
    }
    let total = passed.reduce(0, +)
    guard total > 0 else { return .still }
    return .shares(passed.map { $0 / total * 100 })
  }
}
