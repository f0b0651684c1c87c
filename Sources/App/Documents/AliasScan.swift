/// Finds documents in which an alias could become a part of a field's name.
///
/// The parser compares whole names with one another; a name that is an alias to lists of aliases would be walked through
/// as often as it unfolds, which a few hundred bytes can make for ever. No honest document has such names.
///
/// The scan knows neither quotes nor comments, so that nothing can hide in them: in a document that has anchors and
/// aliases it may refuse text that only looks like such a name.
enum AliasScan {
  /// The line of the first such place, or nil. Documents without anchors and aliases are never refused.
  static func lineOfComplexKey(_ text: String) -> Int? {
    let bytes = Array(text.utf8)
    var line = 1
    var hasAnchor = false
    var hasAlias = false
    var keyLine: Int?
    // Whether a new token may begin here, and whether the last one was an alias.
    var isFresh = true
    var isAlias = false
    for (index, byte) in bytes.enumerated() {
      let next = index + 1 < bytes.count ? bytes[index + 1] : 10
      switch byte {
      case 38 where isFresh && !isBlank(next): hasAnchor = true
      case 42 where isFresh && !isBlank(next):
        hasAlias = true
        isAlias = true
      case 63 where isFresh && isBlank(next): keyLine = keyLine ?? line
      case 58 where isAlias: keyLine = keyLine ?? line
      case 93, 125:
        // `]:` and `}:` end a list or a map that is a name.
        let after = bytes[(index + 1)...].first { $0 != 32 && $0 != 9 }
        if after == 58 { keyLine = keyLine ?? line }
        isAlias = false
      case 10:
        line += 1
        isAlias = false
      case 44: isAlias = false
      default: break
      }
      isFresh = [32, 9, 10, 13, 44, 91, 123, 45, 58, 63].contains(byte)
    }
    return hasAnchor && hasAlias ? keyLine : nil
  }

  private static func isBlank(_ byte: UInt8) -> Bool { [32, 9, 10, 13].contains(byte) }
}
