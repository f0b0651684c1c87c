internal import Model
internal import Remote

/// What both tables of df and /proc/mounts say together: the file systems worth watching.
struct DiskReport {
  struct Entry: Hashable {
    var mount: String
    var device: String
    /// nil when /proc/mounts did not tell.
    var fstype: String?
    var size: Int64
    var used: Int64
    var available: Int64
    /// nil where the file system has no fixed number of inodes, or df cannot count them.
    var inodes: Inodes?

    struct Inodes: Hashable {
      var total: Int64
      var used: Int64
      var available: Int64
    }

    var value: Value {
      var fields: [String: Value] = [
        "mount": .string(mount), "device": .string(device), "size": .int(size), "used": .int(used),
        "available": .int(available),
      ]
      fields["fstype"] = fstype.map(Value.string)
      fields["percent"] = Self.percent(used, available)
      if let inodes {
        fields["inodes"] = .int(inodes.total)
        fields["inodes_used"] = .int(inodes.used)
        fields["inodes_percent"] = Self.percent(inodes.used, inodes.available)
      }
      return .object(fields)
    }

    /// As df: used / (used + available). Once root has eaten into its reserve, 100. nil when there is nothing to use.
    static func percent(_ used: Int64, _ available: Int64) -> Value? {
      let usable = Double(used) + Double(max(0, available))
      guard usable > 0 else { return nil }
      return .double(rounded(Double(used) / usable * 100))
    }
  }

  var entries: [Entry] = []
  /// What was wrong although there are entries.
  var complaint: String?

  private static let skippedTypes: Set<String> = [
    "proc", "sysfs", "devtmpfs", "cgroup", "cgroup2", "squashfs",
  ]

  /// - Throws: when not one file system could be read.
  init(_ result: CommandResult, mounts: MountTable) throws(Unreadable) {
    let words = Bytes.printable(result.errors.split(separator: UInt8(ascii: "\n")).first ?? [], limit: 200)
    guard !result.isTruncated else { throw Unreadable("df printed more than the limit of its output") }
    let (blocks, blocksStatus, rest) = try Self.section(result.output[...], "=blocks ", words)
    let table: DiskTable
    do {
      table = try DiskTable.parse(blocks, mounts: mounts)
    } catch {
      throw Unreadable(words.isEmpty ? error.message : words)
    }
    var inodes: [[UInt8]: DiskTable.Row] = [:]
    var inodesProblem: String?
    do {
      let (lines, status, _) = try Self.section(rest, "=inodes ", words)
      let counted = try DiskTable.parse(lines, mounts: mounts)
      for row in counted.rows { inodes[row.mount] = row }
      if status != 0, blocksStatus == 0 { inodesProblem = "df -i ended with status \(status): \(words)" }
    } catch {
      inodesProblem = "inodes: \(words.isEmpty ? error.message : words)"
    }
    let candidates = table.rows.compactMap { row in Self.entry(row, inodes[row.mount], mounts) }
    entries = Self.onePerDevice(candidates)
    guard !entries.isEmpty else {
      throw Unreadable("df shows no file system" + (words.isEmpty ? "" : ": \(words)"))
    }
    if let malformed = table.malformed {
      complaint = "df printed a line that cannot be understood: \"\(malformed)\""
    } else if !entries.contains(where: { $0.mount == "/" }) {
      complaint = "df shows no line for /"
    } else if blocksStatus != 0 {
      complaint = "df ended with status \(blocksStatus): \(words)"
    } else {
      complaint = inodesProblem
    }
  }

  /// What stands before a mark, the status behind it, and the rest.
  private static func section(
    _ bytes: ArraySlice<UInt8>, _ mark: String, _ errors: String
  ) throws(Unreadable) -> (content: ArraySlice<UInt8>, status: UInt64, rest: ArraySlice<UInt8>) {
    for line in bytes.split(separator: UInt8(ascii: "\n"))
    where line.first == UInt8(ascii: "=") && line.starts(with: mark.utf8) {
      guard let status = Bytes.unsigned(line.dropFirst(mark.utf8.count)) else { continue }
      return (bytes[..<line.startIndex], status, bytes[min(line.endIndex + 1, bytes.endIndex)...])
    }
    throw Unreadable("df did not come to its end" + (errors.isEmpty ? "" : ": \(errors)"))
  }

  private static func entry(_ row: DiskTable.Row, _ inodes: DiskTable.Row?, _ mounts: MountTable) -> Entry? {
    guard let size = bytes(row.total), let used = bytes(row.used), let available = bytes(row.available) else {
      return nil
    }
    let mount = String(decoding: row.mount, as: UTF8.self)
    let device = String(decoding: row.device, as: UTF8.self)
    let fstype = mounts.entry(mount: row.mount, device: row.device)?.fstype
    // Pseudo file systems carry their type's name as the device, by custom: good enough where the type is unknown.
    guard mount == "/" || !isSkipped(fstype ?? device, mount) else { return nil }
    var entry = Entry(
      mount: mount, device: device, fstype: fstype, size: size, used: used, available: available, inodes: nil)
    if let total = inodes?.total, let used = inodes?.used, let available = inodes?.available, total > 0 {
      entry.inodes = .init(total: total, used: used, available: available)
    }
    return entry
  }

  private static func isSkipped(_ fstype: String, _ mount: String) -> Bool {
    if skippedTypes.contains(fstype) { return true }
    guard fstype == "tmpfs" else { return false }
    return ["/run", "/dev", "/sys"].contains { mount == $0 || mount.hasPrefix($0 + "/") }
  }

  private static func bytes(_ kibibytes: Int64?) -> Int64? {
    guard let kibibytes else { return nil }
    let (bytes, isTooLarge) = kibibytes.multipliedReportingOverflow(by: 1024)
    return isTooLarge ? nil : bytes
  }

  /// BusyBox prints each mount of a device, and a mount twice when something was mounted over it. Devices are told
  /// apart by name where the name is a device's (`/dev/…`, `server:/export`), everything else by its mount.
  private static func onePerDevice(_ entries: [Entry]) -> [Entry] {
    var kept: [Entry] = []
    var places: [String: Int] = [:]
    for entry in entries {
      let isNamed = entry.device.hasPrefix("/") || entry.device.contains(":/") || entry.device.hasPrefix("//")
      let key = isNamed ? "device \(entry.device)" : "mount \(entry.mount)"
      if let place = places[key] {
        // The same mount again: the later one lies on top. Otherwise the shorter, so that `/` stays.
        if entry.mount == kept[place].mount || entry.mount.utf8.count < kept[place].mount.utf8.count {
          kept[place] = entry
        }
      } else {
        places[key] = kept.count
        kept.append(entry)
      }
    }
    return kept
  }
}
