/// /proc/mounts: what is mounted where, and as what (proc(5), fstab(5)).
struct MountTable: Hashable {
  struct Entry: Hashable {
    var device: [UInt8]
    var mount: [UInt8]
    var fstype: String
  }

  /// By the mount as df shows it; the last one mounted is the one that is seen. Of mounts upon one another the newest
  /// are kept, as many as `stackLimit`.
  private var entries: [[UInt8]: [Entry]] = [:]

  private static let stackLimit = 8

  var isEmpty: Bool { entries.isEmpty }

  /// Lines with fewer than three fields are passed over.
  static func parse(_ bytes: [UInt8]) -> MountTable {
    var table = MountTable()
    for line in Bytes.lines(bytes) {
      let words = Bytes.words(line)
      guard words.count >= 3 else { continue }
      let entry = Entry(
        device: unescape(words[0]), mount: unescape(words[1]), fstype: Bytes.printable(words[2], limit: 40))
      var stack = table.entries[asShown(entry.mount)] ?? []
      if stack.count == stackLimit { stack.removeFirst() }
      table.entries[asShown(entry.mount)] = stack + [entry]
    }
    return table
  }

  func isMount(_ shown: [UInt8]) -> Bool { entries[Self.asShown(shown)] != nil }

  /// What stands at a mount that df printed: the entry of the same device, else the one mounted last.
  func entry(mount: [UInt8], device: [UInt8]) -> Entry? {
    guard let candidates = entries[Self.asShown(mount)] else { return nil }
    return candidates.last { Self.asShown($0.device) == Self.asShown(device) } ?? candidates.last
  }

  /// GNU df shows `?` for each control character, BusyBox shows it raw; so both are compared in GNU's form.
  static func asShown(_ path: [UInt8]) -> [UInt8] {
    path.contains { $0 < 0x20 || $0 == 0x7F } ? path.map { $0 < 0x20 || $0 == 0x7F ? UInt8(ascii: "?") : $0 } : path
  }

  /// The kernel writes space, tab, newline, `\` and `#` as a backslash and three octal digits.
  static func unescape(_ word: ArraySlice<UInt8>) -> [UInt8] {
    guard word.contains(UInt8(ascii: "\\")) else { return Array(word) }
    var result: [UInt8] = []
    var rest = word
    while let byte = rest.first {
      let digits = rest.dropFirst().prefix(3)
      if byte == UInt8(ascii: "\\"), digits.count == 3, digits.allSatisfy({ (0x30...0x37).contains($0) }),
        let code = UInt8(exactly: digits.reduce(0) { $0 * 8 + Int($1 - 0x30) })
      {
        result.append(code)
        rest = rest.dropFirst(4)
      } else {
        result.append(byte)
        rest = rest.dropFirst()
      }
    }
    return result
  }
}
