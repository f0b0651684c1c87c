/// What a peer sent, made fit for logs, terminals and documents.
enum PlainText {
  /// Decodes, replaces each run of control, formatting and line-breaking characters by one space, and cuts.
  ///
  /// - Parameter limit: in bytes of UTF-8; characters are not cut in half.
  static func clean(_ bytes: some Sequence<UInt8>, limit: Int) -> String {
    // Four times the limit is enough: no cleaned character is longer than what it came from, but for U+FFFD (three).
    clean(String(decoding: Array(bytes.prefix(4 * limit)), as: UTF8.self), limit: limit)
  }

  static func clean(_ text: String, limit: Int) -> String {
    var result = String.UnicodeScalarView()
    var count = 0
    var isAfterSpace = true
    for scalar in text.unicodeScalars {
      let isSpace = scalar == " " || isUnfit(scalar)
      if isSpace && isAfterSpace { continue }
      let kept: Unicode.Scalar = isSpace ? " " : scalar
      let width = UTF8.width(kept)
      guard count + width <= limit else { break }
      result.append(kept)
      count += width
      isAfterSpace = isSpace
    }
    if result.last == " " { result.removeLast() }
    return String(result)
  }

  private static func isUnfit(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned, .surrogate: true
    default: false
    }
  }
}
