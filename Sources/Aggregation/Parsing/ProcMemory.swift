/// What /proc/meminfo says (proc(5)), in bytes.
struct ProcMeminfo: Hashable {
  private var values: [String: Int64]

  /// Everything else in the file is passed over.
  private static let wanted: Set<String> = [
    "MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "Slab", "SReclaimable", "Shmem", "Active(file)",
    "Inactive(file)", "SwapTotal", "SwapFree",
  ]

  /// A wanted line whose number cannot be read counts as missing; whoever needs it says so.
  static func parse(_ bytes: [UInt8]) -> ProcMeminfo {
    var values: [String: Int64] = [:]
    for line in Bytes.lines(bytes) {
      guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon - line.startIndex <= 16 else { continue }
      let name = String(decoding: line[..<colon], as: UTF8.self)
      guard wanted.contains(name) else { continue }
      let words = Bytes.words(line[(colon + 1)...])
      guard words.count == 2, Bytes.equal(words[1], "kB"), let kibibytes = Bytes.unsigned(words[0]),
        let number = Int64(exactly: kibibytes)
      else { continue }
      let (size, isTooLarge) = number.multipliedReportingOverflow(by: 1024)
      if !isTooLarge { values[name] = size }
    }
    return ProcMeminfo(values: values)
  }

  /// - Throws: when the line is missing or holds no number of kB.
  func bytes(_ name: String) throws(Unreadable) -> Int64 {
    guard let value = values[name] else { throw Unreadable("/proc/meminfo has no readable line \"\(name)\"") }
    return value
  }

  func bytesIfPresent(_ name: String) -> Int64? { values[name] }

  /// What programs can still take without swapping.
  ///
  /// Kernels before 3.14 do not say it. Then it is what the kernel itself later based the figure on: free memory, the
  /// page cache on files and reclaimable slab, less nothing for watermarks; and on kernels that do not even tell these
  /// apart, free + buffers + cached less shared memory, which cannot be dropped.
  func available() throws(Unreadable) -> Int64 {
    if let available = values["MemAvailable"] { return available }
    let free = try bytes("MemFree")
    if let active = values["Active(file)"], let inactive = values["Inactive(file)"] {
      return Self.sum([free, active, inactive, values["SReclaimable"] ?? 0])
    }
    let cache = Self.sum([free, try bytes("Buffers"), try bytes("Cached"), values["SReclaimable"] ?? 0])
    return max(free, cache - (values["Shmem"] ?? 0))
  }

  /// Every number is at least 0; a sum beyond 64 bits stays at the largest and is caught as "more than there is".
  private static func sum(_ numbers: [Int64]) -> Int64 {
    numbers.reduce(0) { total, number in
      let (sum, isTooLarge) = total.addingReportingOverflow(number)
      return isTooLarge ? .max : sum
    }
  }
}

/// The counters of /proc/vmstat that count here: pages since boot.
struct ProcVmstat: Hashable {
  /// nil where the kernel has no swap support.
  var swappedIn: UInt64?
  var swappedOut: UInt64?

  static func parse(_ bytes: [UInt8]) -> ProcVmstat {
    var result = ProcVmstat()
    for line in Bytes.lines(bytes) {
      guard Bytes.starts(line, with: "pswp") else { continue }
      let words = Bytes.words(line)
      guard words.count == 2, let number = Bytes.unsigned(words[1]) else { continue }
      if Bytes.equal(words[0], "pswpin") { result.swappedIn = number }
      if Bytes.equal(words[0], "pswpout") { result.swappedOut = number }
    }
    return result
  }
}

/// The size of a page, from the first entry of /proc/self/smaps (proc(5)): told without running a program.
enum PageSize {
  /// - Parameter bytes: the beginning of the file is enough.
  /// - Returns: bytes; nil when the line is missing or holds no power of two from 4 KiB to 1 MiB.
  static func parse(_ bytes: [UInt8]) -> Int64? {
    for line in Bytes.lines(bytes) where Bytes.starts(line, with: "KernelPageSize:") {
      let words = Bytes.words(line)
      guard words.count == 3, Bytes.equal(words[2], "kB"), let kibibytes = Bytes.unsigned(words[1]) else { return nil }
      return [4, 8, 16, 32, 64, 256, 1024].first { UInt64($0) == kibibytes }.map { $0 * 1024 }
    }
    return nil
  }
}
