/// Cutting what a host printed into lines, words and numbers.
///
/// Everything here accepts any bytes whatever: a number that is none, or too large, is nil, never a trap and never 0.
enum Bytes {
  static func lines(_ bytes: [UInt8]) -> [ArraySlice<UInt8>] {
    bytes.split(separator: UInt8(ascii: "\n"))
  }

  /// The words between spaces and tabs.
  static func words(_ line: ArraySlice<UInt8>) -> [ArraySlice<UInt8>] {
    line.split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
  }

  static func starts(_ bytes: ArraySlice<UInt8>, with text: StaticString) -> Bool {
    bytes.count >= text.utf8CodeUnitCount && equal(bytes.prefix(text.utf8CodeUnitCount), text)
  }

  static func equal(_ bytes: ArraySlice<UInt8>, _ text: StaticString) -> Bool {
    guard bytes.count == text.utf8CodeUnitCount else { return false }
    return text.withUTF8Buffer { $0.elementsEqual(bytes) }
  }

  /// Decimal digits only; nil when there are none, anything else stands between them, or it exceeds 64 bits.
  static func unsigned(_ word: ArraySlice<UInt8>) -> UInt64? {
    guard !word.isEmpty else { return nil }
    var number: UInt64 = 0
    for byte in word {
      guard byte >= 0x30, byte <= 0x39 else { return nil }
      let (tenfold, isTooLarge) = number.multipliedReportingOverflow(by: 10)
      let (sum, isAlsoTooLarge) = tenfold.addingReportingOverflow(UInt64(byte - 0x30))
      guard !isTooLarge, !isAlsoTooLarge else { return nil }
      number = sum
    }
    return number
  }

  /// As ``unsigned(_:)``, with an optional minus.
  static func signed(_ word: ArraySlice<UInt8>) -> Int64? {
    if word.first == UInt8(ascii: "-") {
      guard let number = unsigned(word.dropFirst()), let positive = Int64(exactly: number) else { return nil }
      return -positive
    }
    return unsigned(word).flatMap { Int64(exactly: $0) }
  }

  /// `123` or `123.45`: digits with at most one point, at least one digit before it; no sign, exponent, inf or nan.
  static func decimal(_ word: ArraySlice<UInt8>) -> Double? {
    let parts = word.split(separator: UInt8(ascii: "."), maxSplits: 1, omittingEmptySubsequences: false)
    guard let first = parts.first, let whole = unsigned(first) else { return nil }
    guard parts.count == 2 else { return Double(whole) }
    guard parts[1].count <= 18, let fraction = unsigned(parts[1]) else { return nil }
    var scale = 1.0
    for _ in parts[1] { scale *= 10 }
    return Double(whole) + Double(fraction) / scale
  }

  /// A short piece of what was read, for an error message: no control characters, at most `limit` bytes.
  static func printable(_ bytes: some Collection<UInt8>, limit: Int = 60) -> String {
    var text = ""
    for byte in bytes.prefix(limit) {
      text.unicodeScalars.append((0x20...0x7E).contains(byte) ? Unicode.Scalar(byte) : "?")
    }
    return bytes.count > limit ? text + "…" : text
  }
}

/// Why something a host said could not be understood: which source, and what was missing in it.
struct Unreadable: Error, Hashable {
  var message: String

  init(_ message: String) { self.message = message }
}

/// Two decimals: finer is noise in a percentage or a rate, and costs room in the store.
func rounded(_ number: Double) -> Double {
  (number * 100).rounded() / 100
}
