/// A table that `df -P` printed (POSIX df, "-P"): one line a file system, whether in blocks or in inodes.
///
/// A device and a mount may hold spaces, and BusyBox prints newlines raw. So a line is not cut at fixed words: the four
/// number columns are looked for, what stands before them is the device, what stands behind them the mount; where more
/// than one reading is possible the one whose mount is in /proc/mounts counts.
struct DiskTable: Hashable {
  struct Row: Hashable {
    var device: [UInt8]
    var mount: [UInt8]
    /// In the table's unit. nil where df printed `-`.
    var total: Int64?
    var used: Int64?
    /// May be negative when root has eaten into its reserve.
    var available: Int64?
  }

  var rows: [Row] = []
  /// The first line that could not be understood, made printable.
  var malformed: String?

  /// Bounds, so that hostile output costs no more than reading it: longer lines and further rows are malformed.
  private static let lineLimit = 12 << 10
  private static let rowLimit = 4096
  private static let readingsLimit = 64

  /// - Throws: when there is no table at all.
  static func parse(_ bytes: ArraySlice<UInt8>, mounts: MountTable) throws(Unreadable) -> DiskTable {
    let lines = bytes.split(separator: UInt8(ascii: "\n"))
    guard let header = lines.first, Bytes.starts(header, with: "Filesystem") else {
      throw Unreadable("df printed no table: \"\(Bytes.printable(bytes))\"")
    }
    var table = DiskTable()
    for line in lines.dropFirst() {
      guard line.count <= lineLimit, table.rows.count < rowLimit else {
        table.malformed = table.malformed ?? Bytes.printable(line)
        continue
      }
      if let row = row(line, mounts) {
        table.rows.append(row)
      } else if var last = table.rows.last {
        // The rest of a mount with a newline in it?
        last.mount += [UInt8(ascii: "\n")] + line
        if mounts.isMount(last.mount) {
          table.rows[table.rows.count - 1] = last
        } else {
          table.malformed = table.malformed ?? Bytes.printable(line)
        }
      } else {
        table.malformed = table.malformed ?? Bytes.printable(line)
      }
    }
    return table
  }

  private static func row(_ line: ArraySlice<UInt8>, _ mounts: MountTable) -> Row? {
    let words = Bytes.words(line)
    guard words.count >= 6 else { return nil }
    var first: Row?
    for index in 1...min(words.count - 5, readingsLimit) {
      guard let row = row(line, words, at: index) else { continue }
      if mounts.isEmpty || mounts.isMount(row.mount) { return row }
      // A mount with a newline is known only when its other lines are joined.
      first = first ?? row
    }
    return first
  }

  /// The line read with its numbers beginning at `words[index]`.
  private static func row(_ line: ArraySlice<UInt8>, _ words: [ArraySlice<UInt8>], at index: Int) -> Row? {
    let percent = words[index + 3]
    guard let total = number(words[index]), let used = number(words[index + 1]),
      let available = number(words[index + 2]), isDash(percent) || percent.last == UInt8(ascii: "%"),
      isDash(percent) || Bytes.unsigned(percent.dropLast()) != nil,
      words[index + 4].first == UInt8(ascii: "/")
    else { return nil }
    // Only sizes that df can have meant: 0 or more. What is left may be negative.
    guard (total.value ?? 0) >= 0, (used.value ?? 0) >= 0 else { return nil }
    let device = line[line.startIndex..<words[index - 1].endIndex]
    let mount = line[words[index + 4].startIndex...]
    return Row(
      device: Array(device), mount: Array(mount), total: total.value, used: used.value, available: available.value)
  }

  /// nil: no number at all; a value of nil: df's `-`.
  private static func number(_ word: ArraySlice<UInt8>) -> (value: Int64?, Void)? {
    if isDash(word) { return (nil, ()) }
    return Bytes.signed(word).map { ($0, ()) }
  }

  private static func isDash(_ word: ArraySlice<UInt8>) -> Bool { Bytes.equal(word, "-") }
}
